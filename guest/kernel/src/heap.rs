//! The kernel's heap: a region set aside at boot, backed by the host as it is touched.
#![expect(unsafe_code, reason = "the allocator must be told which memory it owns")]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::with_exposed_provenance_mut;

use talc::DefaultBinning;
use talc::cell::TalcCell;
use talc::source::Manual;

use crate::number::index;

/// Operations that need memory for new objects are refused below this much free heap.
const RESERVE_BYTES: usize = 256 << 10;

/// The allocator, without a lock: the kernel runs on one vCPU and nothing interrupts it.
struct Heap(TalcCell<Manual, DefaultBinning>);

// SAFETY: there is one thread of execution (see `Heap`).
unsafe impl Sync for Heap {}

// SAFETY: every call is passed on to an allocator that keeps the contract.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.realloc(block, layout, new_size) }
    }
}

#[global_allocator]
static HEAP: Heap = Heap(TalcCell::new(Manual));

/// Gives the region to the allocator. Called once, at boot, with memory that is nobody else's.
pub(crate) fn start(gpa: u64, len: u64) {
    // SAFETY: the region lies above everything the boot page names, and is identity-mapped.
    let claimed = unsafe { HEAP.0.claim(with_exposed_provenance_mut(index(gpa)), index(len)) };
    assert!(claimed.is_some(), "the heap is too small to be used");
}

/// Whether so little heap is left that programs are refused new objects (ENOMEM).
pub(crate) fn is_short() -> bool {
    !has_room(0)
}

/// Whether objects of `bytes` together can be made without touching the reserve.
pub(crate) fn has_room(bytes: usize) -> bool {
    HEAP.0.counters().available_bytes >= RESERVE_BYTES.saturating_add(bytes)
}
