//! Files of huge pages: their lengths, holes and pages, and how they show below /sys.
//!
//! The tree of a hugetlbfs is one of [`super::tmpfs`]; what differs is what its files are made of.
//! Source: Linux v6.12 fs/hugetlbfs/inode.c.

pub(crate) mod mount;
pub(crate) mod sysfs;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::area::Backing;
use crate::memory::huge::HugeFile;
use crate::memory::object::Object;
use crate::memory::tables::Pte;
use crate::memory::truncate;
use crate::number::Tid;
use crate::physical;

/// Number of the file system (Linux v6.12 include/uapi/linux/magic.h).
pub(crate) const MAGIC: u64 = 0x9584_58f6;

/// Sets the length of any file in memory. Huge files are whole pages long; what lies beyond the end
/// is gone for everyone who maps it.
pub(crate) fn set_size(kernel: &Kernel, object: &Object, size: u64) -> Result<(), Errno> {
    let Some(file) = object.huge() else {
        truncate::set_size(kernel, object, size);
        return Ok(());
    };
    let bytes = file.size().bytes();
    if !size.is_multiple_of(bytes) {
        return Err(Errno::EINVAL);
    }
    if size < object.size() {
        drop_pages(kernel, (object, file), &(size / bytes..u64::MAX / bytes));
    }
    object.set_size(size);
    Ok(())
}

/// Makes a range of bytes of any file in memory read as zeros; whole pages are given back.
pub(crate) fn punch(kernel: &Kernel, object: &Object, range: Range<u64>) {
    let Some(file) = object.huge() else { return truncate::punch(kernel, object, range) };
    let bytes = file.size().bytes();
    let whole = range.start.div_ceil(bytes)..range.end / bytes;
    if whole.start > whole.end {
        return file.zero(range);
    }
    file.zero(range.start..whole.start * bytes);
    file.zero(whole.end * bytes..range.end);
    drop_pages(kernel, (object, file), &whole);
}

/// Makes the pages of a range of a huge file; ENOSPC where one is refused, and those before it stay.
pub(crate) fn allocate(file: &HugeFile, range: &Range<u64>) -> Result<(), Errno> {
    let bytes = file.size().bytes();
    for page in range.start / bytes..range.end.div_ceil(bytes) {
        file.page(page).map_err(|_| Errno::ENOSPC)?;
    }
    Ok(())
}

/// Takes pages away from everyone who maps them, private copies too, and then from the file.
fn drop_pages(kernel: &Kernel, (object, file): (&Object, &HugeFile), pages: &Range<u64>) {
    if pages.is_empty() {
        return;
    }
    let bytes = file.size().bytes();
    for space in kernel.spaces() {
        let space = space.borrow();
        let parts: Vec<(u64, Range<u64>)> = space
            .areas
            .iter()
            .filter_map(|(start, area)| {
                let offset = area.offset_in(object)?;
                let from = pages.start.saturating_mul(bytes).max(offset) - offset;
                let to = pages.end.saturating_mul(bytes).max(offset) - offset;
                let end = start.saturating_add(to).min(area.end);
                Some((start, start.saturating_add(from).min(area.end)..end))
            })
            .collect();
        for (start, range) in parts {
            if let Some((_, area)) = space.areas.find(start) {
                space.discard_huge(start, area, &range);
            }
        }
    }
    file.drop_range(pages);
}

/// A process that was promised the page at an address may not have a second one to copy it to, since
/// children still map the first: they lose it, and get SIGBUS where they touch it. True where that
/// makes another try worthwhile.
///
/// Source: Linux v6.12 mm/hugetlb.c, `unmap_ref_private`.
pub(crate) fn take_from_children(kernel: &Kernel, tid: Tid, gva: u64) -> bool {
    let own = kernel.task(tid).space.clone();
    let Some((start, area)) = own.borrow().areas.find(gva).map(|(at, area)| (at, area.clone()))
    else {
        return false;
    };
    let (Some(claim), Some(size)) = (&area.claim, area.huge_size()) else { return false };
    let Some(slot) = own.borrow().tables.huge_slot(gva).filter(|_| claim.is_promised()) else {
        return false;
    };
    let Backing::Object { object, offset, .. } = &area.backing else { return false };
    let page = (offset + (gva - start)) / size.bytes() * size.bytes();
    let mut has_taken = false;
    let frame = Pte(physical::word(slot)).gfn();
    for space in kernel.spaces().iter().filter(|space| !Rc::ptr_eq(space, &own)) {
        let space = space.borrow();
        for (start, area) in space.areas.iter() {
            let is_child = area.claim.as_ref().is_some_and(|claim| !claim.is_promised());
            let Some(offset) = area.offset_in(object).filter(|offset| is_child && *offset <= page)
            else {
                continue;
            };
            let at = start + (page - offset);
            let mapped = space.tables.huge_slot(at).map(|slot| Pte(physical::word(slot)).gfn());
            if at < area.end && mapped == Some(frame) {
                space.discard_huge(start, area, &(at..at + size.bytes()));
                has_taken = true;
            }
        }
    }
    has_taken
}
