//! System calls: mappings, their rights, the heap, advice.

mod advice;
mod map;

use vmcg_abi::layout::PAGE_SIZE;

use super::Entry;
use super::request::{Outcome, Request};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::area::Rights;
use crate::memory::map::page_range;
use crate::memory::remap::Move;
use crate::number::page_ceil;

/// The group's rows.
pub(crate) const CALLS: &[Entry] = &[
    (9, "mmap", map::mmap),
    (10, "mprotect", mprotect),
    (11, "munmap", munmap),
    (12, "brk", brk),
    (25, "mremap", mremap), // partial: no MREMAP_DONTUNMAP
    (26, "msync", advice::msync),
    (27, "mincore", advice::mincore),
    (28, "madvise", advice::madvise), // partial: MADV_FREE gives back at once
    (149, "mlock", advice::mlock),
    (150, "munlock", advice::munlock),
    (151, "mlockall", advice::mlockall),
    (152, "munlockall", advice::munlockall),
    (325, "mlock2", advice::mlock),
];

fn brk(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let space = &kernel.task(request.tid).space;
    let end = space.borrow_mut().set_heap_end(request.args[0]);
    Ok(Outcome::Done(end))
}

fn munmap(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [start, len, ..] = request.args;
    let range = page_range(start, len)?;
    if range.is_empty() {
        return Err(Errno::EINVAL);
    }
    let mut space = kernel.task(request.tid).space.borrow_mut();
    space.check_cut(&range)?;
    space.check_split(&range)?;
    space.unmap(&range);
    Ok(Outcome::Done(0))
}

fn mprotect(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    /// PROT_GROWSDOWN and PROT_GROWSUP: as in most programs, not used.
    const GROWS: u64 = 0x300_0000;
    let [start, len, prot, ..] = request.args;
    if prot & !7 & !GROWS != 0 || !start.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let range = page_range(start, len).map_err(|_| Errno::ENOMEM)?;
    let space = &kernel.task(request.tid).space;
    space.borrow_mut().protect(&range, Rights::from_prot(prot))?;
    Ok(Outcome::Done(0))
}

fn mremap(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const MAYMOVE: u64 = 1;
    const FIXED: u64 = 2;
    let [start, old_len, new_len, flags, target, _] = request.args;
    let to = match flags {
        0 => Move::Never,
        MAYMOVE => Move::IfNeeded,
        flags if flags == MAYMOVE | FIXED => Move::To(target),
        _ => return Err(Errno::EINVAL),
    };
    let range = page_range(start, old_len)?;
    let new_len = page_ceil(new_len).filter(|len| *len > 0).ok_or(Errno::EINVAL)?;
    let space = &kernel.task(request.tid).space;
    if range.is_empty() {
        let gva = space.borrow_mut().map_again(start, new_len, to)?;
        return Ok(Outcome::Done(gva));
    }
    let gva = space.borrow_mut().remap(&range, new_len, to)?;
    Ok(Outcome::Done(gva))
}
