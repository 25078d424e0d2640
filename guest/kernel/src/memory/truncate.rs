//! Cutting objects that programs map: their page tables forget what is cut off.

use alloc::collections::BTreeSet;
use core::ops::Range;
use core::ptr::from_ref;

use vmcg_abi::layout::PAGE_SIZE;

use super::area::{Area, Backing};
use super::object::Object;
use super::space::Space;
use super::tables::Pte;
use crate::kernel::Kernel;
use crate::physical;

/// Which pages of a mapping are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copies {
    /// The object's, and the private copies made of them.
    Forgotten,
    /// The object's only.
    Kept,
    /// The object's only, and of these none that are locked in memory.
    KeptAndLocked,
}

/// Sets an object's length. What programs map beyond it is gone: touching it is a SIGBUS.
pub(crate) fn set_size(kernel: &Kernel, object: &Object, size: u64) {
    if size < object.size() {
        let cut = size.div_ceil(PAGE_SIZE) * PAGE_SIZE;
        unmap_everywhere(kernel, object, &(cut..u64::MAX), Copies::Forgotten);
    }
    object.set_size(size);
}

/// Makes a range of bytes read as zeros, also where it is mapped.
pub(crate) fn punch(kernel: &Kernel, object: &Object, range: Range<u64>) {
    let whole = range.start.div_ceil(PAGE_SIZE) * PAGE_SIZE..range.end / PAGE_SIZE * PAGE_SIZE;
    unmap_everywhere(kernel, object, &whole, Copies::Kept);
    object.punch(range);
}

/// Gives up the pages of files that can be read again, but for those that are locked in memory: they
/// take frames also when the host has dropped them. Nothing happens where these are not many.
pub(crate) fn forget_files(kernel: &Kernel) {
    let objects = kernel.files.cached_objects();
    if !kernel.frames.is_worth(objects.iter().map(|object| object.page_count()).sum()) {
        return;
    }
    for object in objects {
        unmap_everywhere(kernel, &object, &(0..u64::MAX), Copies::KeptAndLocked);
        object.forget_unmapped();
    }
}

/// Takes a range of an object's bytes out of the page tables of every address space.
fn unmap_everywhere(kernel: &Kernel, object: &Object, range: &Range<u64>, copies: Copies) {
    let mut seen = BTreeSet::new();
    for task in kernel.tasks.values() {
        if seen.insert(from_ref(&*task.space).addr()) {
            let space = task.space.borrow();
            for (start, area) in space.areas.iter() {
                unmap(&space, object, range, (start, area), copies);
            }
        }
    }
}

fn unmap(space: &Space, object: &Object, range: &Range<u64>, at: (u64, &Area), copies: Copies) {
    let (start, area) = at;
    let Backing::Object { object: mapped, offset, .. } = &area.backing else { return };
    if mapped.id() != object.id() {
        return;
    }
    let gva_of = |byte: u64| start.saturating_add(byte.saturating_sub(*offset)).min(area.end);
    space.tables.for_each(gva_of(range.start), gva_of(range.end), &mut |gva, slot| {
        let gfn = Pte(physical::word(slot)).gfn();
        let is_copy = object.cached((offset + gva - start) / PAGE_SIZE) != Some(gfn);
        let is_kept = match copies {
            Copies::Forgotten => false,
            Copies::Kept => is_copy,
            Copies::KeptAndLocked => is_copy || area.is_locked,
        };
        if !is_kept {
            physical::set_word(slot, 0);
            space.release_mapped(gfn);
        }
    });
}
