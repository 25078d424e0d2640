//! madvise, msync, mincore, and locking memory.

use core::ops::Range;

use alloc::vec::Vec;

use vmcg_abi::layout::PAGE_SIZE;

use crate::errno::Errno;
use crate::file::hugetlbfs;
use crate::kernel::Kernel;
use crate::memory::area::{Area, Backing};
use crate::memory::lock::Lock;
use crate::memory::map::page_range;
use crate::memory::space::Space;
use crate::number::{page_ceil, page_floor};
use crate::syscall::request::{Outcome, Request};

pub(super) fn madvise(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const WILLNEED: u64 = 3;
    const DONTNEED: u64 = 4;
    const FREE: u64 = 8;
    const REMOVE: u64 = 9;
    const POPULATE_READ: u64 = 22;
    const POPULATE_WRITE: u64 = 23;
    let [start, len, advice, ..] = request.args;
    let range = page_range(start, len)?;
    if advice == REMOVE && remove_huge(kernel, request, &range)? {
        return Ok(Outcome::Done(0));
    }
    let mut space = kernel.task(request.tid).space.borrow_mut();
    let is_huge = |(_, area): (u64, &Area)| area.huge_size().is_some();
    match advice {
        FREE if space.areas_in(&range).any(is_huge) => return Err(Errno::EINVAL),
        // Differs from Linux: MADV_FREE gives the pages back at once.
        DONTNEED | FREE => space.discard(&range)?,
        REMOVE => space.remove(&range)?,
        POPULATE_READ | POPULATE_WRITE => {
            space.check_mapped(&range)?;
            space.populate(&range);
        }
        // Access patterns, huge pages, merging, dumping, forking: hints that change nothing.
        0..=2 | WILLNEED | 10..=21 => space.check_mapped(&range)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(Outcome::Done(0))
}

/// Makes a hole in the huge file that is mapped, shared, at a range; false where none is.
fn remove_huge(kernel: &Kernel, request: &Request, range: &Range<u64>) -> Result<bool, Errno> {
    let space = kernel.task(request.tid).space.clone();
    let found = space.borrow().areas.find(range.start).map(|(start, area)| (start, area.clone()));
    let Some((start, Area { end, is_shared, may_write, backing, .. })) = found else {
        return Ok(false);
    };
    let Backing::Object { object, offset, .. } = backing else { return Ok(false) };
    if object.huge().is_none() {
        return Ok(false);
    }
    if !is_shared || !may_write || range.end > end {
        return Err(Errno::EINVAL);
    }
    let from = offset + (range.start - start);
    hugetlbfs::punch(kernel, &object, from..from + (range.end - range.start));
    Ok(true)
}

/// Nothing to write: files of the host are never changed, all other memory has no file.
pub(super) fn msync(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const ASYNC: u64 = 1;
    const SYNC: u64 = 4;
    let [start, len, flags, ..] = request.args;
    let range = page_range(start, len)?;
    if flags & !7 != 0 || flags & (ASYNC | SYNC) == ASYNC | SYNC {
        return Err(Errno::EINVAL);
    }
    kernel.task(request.tid).space.borrow().check_mapped(&range)?;
    Ok(Outcome::Done(0))
}

/// Pages that mincore looks at before it writes.
const PIECE_PAGES: u64 = 4096;

pub(super) fn mincore(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [start, len, vector_gva, ..] = request.args;
    let range = page_range(start, len)?;
    let space = kernel.task(request.tid).space.clone();
    space.borrow().check_mapped(&range)?;
    let user = kernel.user(request.tid);
    let mut gva = range.start;
    while gva < range.end {
        // A piece at a time, so that a huge range takes little heap.
        let end = range.end.min(gva + PIECE_PAGES * PAGE_SIZE);
        let piece: Vec<u8> = (gva / PAGE_SIZE..end / PAGE_SIZE)
            .map(|page| u8::from(is_resident(&space.borrow(), page * PAGE_SIZE)))
            .collect();
        user.write(vector_gva.wrapping_add((gva - range.start) / PAGE_SIZE), &piece)?;
        gva = end;
    }
    Ok(Outcome::Done(0))
}

/// Whether a page is in memory: used through these tables, or in its object.
fn is_resident(space: &Space, gva: u64) -> bool {
    if space.tables.huge_slot(gva).is_some() {
        return true;
    }
    let pte = space.tables.get(gva);
    if pte.is_present() && pte.is_accessed() {
        return true;
    }
    match space.areas.find(gva) {
        Some((start, Area { backing: Backing::Object { object, offset, .. }, .. })) => {
            object.cached((offset + (gva - start)) / PAGE_SIZE).is_some()
        }
        _ => false,
    }
}

fn lock_range(kernel: &Kernel, request: &Request, lock: Lock) -> Result<Outcome, Errno> {
    let [start, len, ..] = request.args;
    let end = page_ceil(start.checked_add(len).ok_or(Errno::EINVAL)?).ok_or(Errno::EINVAL)?;
    let range = page_floor(start)..end;
    let mut space = kernel.task(request.tid).space.borrow_mut();
    space.check_mapped(&range)?;
    space.set_locked(&range, lock);
    Ok(Outcome::Done(0))
}

pub(super) fn mlock(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    lock_range(kernel, request, Lock::Locked)
}

pub(super) fn munlock(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    lock_range(kernel, request, Lock::Free)
}

pub(super) fn mlockall(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const CURRENT: u64 = 1;
    const FUTURE: u64 = 2;
    const ON_FAULT: u64 = 4;
    let flags = request.args[0];
    if flags == 0 || flags & !(CURRENT | FUTURE | ON_FAULT) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut space = kernel.task(request.tid).space.borrow_mut();
    space.locks_future = flags & FUTURE != 0;
    if flags & CURRENT != 0 {
        lock_all(&mut space, Lock::Locked);
    }
    Ok(Outcome::Done(0))
}

pub(super) fn munlockall(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let mut space = kernel.task(request.tid).space.borrow_mut();
    space.locks_future = false;
    lock_all(&mut space, Lock::Free);
    Ok(Outcome::Done(0))
}

fn lock_all(space: &mut Space, lock: Lock) {
    let ranges: Vec<Range<u64>> = space.areas.iter().map(|(start, area)| start..area.end).collect();
    for range in ranges {
        space.set_locked(&range, lock);
    }
}
