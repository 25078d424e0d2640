//! The kernel's heap: a region set aside at boot, backed by the host as it is touched.
//!
//! Objects that are charged to a group do not lie in it but in slabs ([`crate::kmem`]). [`place`]
//! makes the next allocation take a place in a slab; a block that is freed and lies outside the
//! region goes to a list, from where [`take_freed`] brings it back to its slab. So `Box` and `Rc` are
//! the same for objects that are charged and for those that are not.
#![expect(unsafe_code, reason = "the allocator must be told which memory it owns")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr::{null_mut, with_exposed_provenance_mut};

use talc::DefaultBinning;
use talc::cell::TalcCell;
use talc::source::Manual;

use crate::number::index;

/// Operations that need memory for new objects are refused below this much free heap.
const RESERVE_BYTES: usize = 256 << 10;
/// Alignment of every place that is handed out.
const PLACE_ALIGN: usize = 16;

/// The allocator, without a lock: the kernel runs on one vCPU and nothing interrupts it.
struct Heap {
    region: TalcCell<Manual, DefaultBinning>,
    /// First address after the region; everything the kernel allocates beyond it lies in slabs.
    end: Cell<usize>,
    /// Where the next block goes, and how long it may be; 0 = into the region.
    place: Cell<(usize, usize)>,
    /// The block outside the region that was freed last; its first word leads to the one before.
    freed: Cell<*mut usize>,
}

// SAFETY: there is one thread of execution (see `Heap`).
unsafe impl Sync for Heap {}

// SAFETY: every call is passed on to an allocator that keeps the contract, or is about a place in a
// slab, which is handed out once and is long enough.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (place, len) = self.place.get();
        if place != 0 && layout.size() <= len && place.is_multiple_of(layout.align()) {
            self.place.set((0, 0));
            return with_exposed_provenance_mut(place);
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { self.region.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if block.addr() >= self.end.get() {
            let link: *mut usize = with_exposed_provenance_mut(block.expose_provenance());
            // SAFETY: the block is nobody's any more, and every place has room for a word.
            unsafe { link.write(self.freed.get().expose_provenance()) };
            self.freed.set(link);
            return;
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { self.region.dealloc(block, layout) }
    }
}

#[global_allocator]
static HEAP: Heap = Heap {
    region: TalcCell::new(Manual),
    end: Cell::new(usize::MAX),
    place: Cell::new((0, 0)),
    freed: Cell::new(null_mut()),
};

/// Gives the region to the allocator. Called once, at boot, with memory that is nobody else's.
pub(crate) fn start(gpa: u64, len: u64) {
    // SAFETY: the region lies above everything the boot page names, and is identity-mapped.
    let claimed = unsafe { HEAP.region.claim(with_exposed_provenance_mut(index(gpa)), index(len)) };
    assert!(claimed.is_some(), "the heap is too small to be used");
    HEAP.end.set(index(gpa + len));
}

/// Whether so little heap is left that programs are refused new objects (ENOMEM).
pub(crate) fn is_short() -> bool {
    !has_room(0)
}

/// Whether objects of `bytes` together can be made without touching the reserve.
pub(crate) fn has_room(bytes: usize) -> bool {
    HEAP.region.counters().available_bytes >= RESERVE_BYTES.saturating_add(bytes)
}

/// Runs `make`, whose one allocation takes the free place of `len` bytes at `gpa` in a slab, which is
/// nobody else's.
pub(crate) fn place<T>(gpa: u64, len: usize, make: impl FnOnce() -> T) -> T {
    assert!(
        index(gpa) >= HEAP.end.get() && index(gpa).is_multiple_of(PLACE_ALIGN),
        "a place in a slab"
    );
    HEAP.place.set((index(gpa), len));
    let made = make();
    assert!(HEAP.place.get().0 == 0, "an object fits its class");
    made
}

/// Whether a block outside the region was freed that has not been taken.
pub(crate) fn has_freed() -> bool {
    !HEAP.freed.get().is_null()
}

/// Takes a block outside the region that was freed, if there is one.
pub(crate) fn take_freed() -> Option<u64> {
    let block = HEAP.freed.get();
    if block.is_null() {
        return None;
    }
    // SAFETY: blocks in the list are nobody's, and hold the link that `dealloc` wrote.
    let before = unsafe { block.read() };
    HEAP.freed.set(with_exposed_provenance_mut(before));
    Some(block.expose_provenance() as u64)
}
