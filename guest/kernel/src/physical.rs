//! Guest memory by guest-physical address: the kernel's address space maps it one to one.
#![expect(unsafe_code, reason = "a guest-physical address becomes a pointer here and nowhere else")]

use core::ptr::{copy_nonoverlapping, with_exposed_provenance, with_exposed_provenance_mut};
use core::ptr::{read_volatile, write_bytes, write_volatile};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::number::{Gfn, PAGE_LEN, index};

/// Reads an aligned word.
pub(crate) fn word(gpa: u64) -> u64 {
    // SAFETY: gpa is mapped (identity map, checked by callers to be guest memory) and aligned.
    unsafe { read_volatile(with_exposed_provenance(index(gpa))) }
}

/// Writes an aligned word.
pub(crate) fn set_word(gpa: u64, value: u64) {
    // SAFETY: as for `word`; no Rust object lives in the frames that go through this module.
    unsafe { write_volatile(with_exposed_provenance_mut(index(gpa)), value) }
}

/// Writes an aligned half-word, as the free ring holds them.
pub(crate) fn set_half(gpa: u64, value: u32) {
    // SAFETY: as for `set_word`.
    unsafe { write_volatile(with_exposed_provenance_mut(index(gpa)), value) }
}

/// Reads an aligned half-word.
pub(crate) fn half(gpa: u64) -> u32 {
    // SAFETY: as for `word`.
    unsafe { read_volatile(with_exposed_provenance(index(gpa))) }
}

/// Takes one off an aligned word whose high half is that of `owner`, at once, as the host writes it
/// too; false where its low half is 0 or its high half another.
pub(crate) fn take_one(gpa: u64, owner: u64) -> bool {
    let word: *mut u64 = with_exposed_provenance_mut(index(gpa));
    // SAFETY: gpa is an aligned word of guest memory, and everybody writes it atomically.
    let word = unsafe { AtomicU64::from_ptr(word) };
    let less = |now: u64| (now > owner && now >> 32 == owner >> 32).then(|| now - 1);
    word.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok()
}

/// Makes an aligned word 0 where it is `value`, at once, as the host writes it too; false where it is
/// something else.
pub(crate) fn take_value(gpa: u64, value: u64) -> bool {
    let word: *mut u64 = with_exposed_provenance_mut(index(gpa));
    // SAFETY: as for `take_one`.
    let word = unsafe { AtomicU64::from_ptr(word) };
    word.compare_exchange(value, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// Copies from guest memory.
pub(crate) fn read(gpa: u64, into: &mut [u8]) {
    // SAFETY: the range is guest memory that no Rust object occupies; the slices cannot overlap.
    unsafe {
        copy_nonoverlapping(with_exposed_provenance(index(gpa)), into.as_mut_ptr(), into.len());
    }
}

/// Copies to guest memory.
pub(crate) fn write(gpa: u64, from: &[u8]) {
    // SAFETY: as for `read`.
    unsafe {
        copy_nonoverlapping(from.as_ptr(), with_exposed_provenance_mut(index(gpa)), from.len());
    }
}

/// Fills a range with zeros.
pub(crate) fn zero(gpa: u64, len: usize) {
    // SAFETY: as for `write`.
    unsafe { write_bytes(with_exposed_provenance_mut::<u8>(index(gpa)), 0, len) }
}

/// Copies between guest-physical ranges that do not overlap.
pub(crate) fn copy(from_gpa: u64, to_gpa: u64, len: usize) {
    let from = with_exposed_provenance::<u8>(index(from_gpa));
    // SAFETY: both are guest memory without Rust objects, and callers pass ranges apart.
    unsafe { copy_nonoverlapping(from, with_exposed_provenance_mut(index(to_gpa)), len) }
}

/// Copies a whole frame.
pub(crate) fn copy_frame(from: Gfn, to: Gfn) {
    copy(from.gpa(), to.gpa(), PAGE_LEN);
}

/// Address of a kernel object, for the host: the identity map makes it a guest-physical address.
pub(crate) fn gpa_of<T: ?Sized>(object: &T) -> u64 {
    core::ptr::from_ref(object).cast::<u8>().expose_provenance() as u64
}

/// Address of a kernel object that the host is going to write.
pub(crate) fn gpa_of_mut<T: ?Sized>(object: &mut T) -> u64 {
    core::ptr::from_mut(object).cast::<u8>().expose_provenance() as u64
}
