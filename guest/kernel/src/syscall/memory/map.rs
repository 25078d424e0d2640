//! mmap.

use alloc::rc::Rc;

use vmcg_abi::layout::PAGE_SIZE;

use crate::errno::Errno;
use crate::file;
use crate::kernel::Kernel;
use crate::memory::area::{Area, Backing, Rights, Role};
use crate::memory::huge::HugeSize;
use crate::memory::huge::map::Reserve;
use crate::memory::map::Placement;
use crate::memory::object::Object;
use crate::number::{Tid, low_u32, page_ceil};
use crate::syscall::request::{Outcome, Request};

/// Flags (Linux v6.12 include/uapi/asm-generic/mman-common.h).
const SHARED: u64 = 1;
const PRIVATE: u64 = 2;
const SHARED_VALIDATE: u64 = 3;
const TYPE: u64 = 0xf;
const FIXED: u64 = 0x10;
const ANONYMOUS: u64 = 0x20;
const LOCKED: u64 = 0x2000;
const NO_RESERVE: u64 = 0x4000;
const POPULATE: u64 = 0x8000;
const HUGE: u64 = 0x4_0000;
const FIXED_NOREPLACE: u64 = 0x10_0000;

pub(super) fn mmap(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [hint, len, prot, flags, fd, offset] = request.args;
    let tid = request.tid;
    let mut len = page_ceil(len).ok_or(Errno::ENOMEM)?;
    let is_shared = match flags & TYPE {
        SHARED | SHARED_VALIDATE => true,
        PRIVATE => false,
        _ => return Err(Errno::EINVAL),
    };
    if len == 0 || offset % PAGE_SIZE != 0 || offset.checked_add(len).is_none() {
        return Err(Errno::EINVAL);
    }
    let rights = Rights::from_prot(prot);
    let mut area = Area::anon(0, rights, Role::Plain);
    area.is_shared = is_shared;
    if flags & ANONYMOUS == 0 {
        (area.backing, area.may_write) = map_file(kernel, tid, fd, offset, is_shared)?;
        if is_shared && rights.can_write && !area.may_write {
            return Err(Errno::EACCES);
        }
        check_huge_file(&area, flags, offset)?;
    } else if flags & HUGE != 0 {
        area.backing = huge_memory(kernel, len, flags)?;
    } else if is_shared {
        let object = Rc::new(Object::new_shmem(&kernel.frames, len));
        let path = Rc::from(b"/dev/zero (deleted)".as_slice());
        area.backing = Backing::Object { object, offset: 0, path };
    }
    let placement = match flags {
        flags if flags & FIXED_NOREPLACE != 0 => Placement::FixedIfFree(hint),
        flags if flags & FIXED != 0 => Placement::Fixed(hint),
        _ => Placement::Hint(hint),
    };
    let space = kernel.task(tid).space.clone();
    let mut space = space.borrow_mut();
    let align = area.page_bytes();
    len = len.checked_next_multiple_of(align).ok_or(Errno::ENOMEM)?;
    let start = space.place(placement, len, align)?;
    area.end = start + len;
    area.is_locked = flags & LOCKED != 0 || space.locks_future;
    let populates = area.is_locked || flags & POPULATE != 0;
    if align > PAGE_SIZE {
        let reserve = if flags & NO_RESERVE == 0 { Reserve::Now } else { Reserve::Later };
        space.map_huge_at(start, area, reserve)?;
    } else {
        space.map_at(start, area)?;
    }
    if populates {
        space.populate(&(start..start + len));
    }
    Ok(Outcome::Done(start))
}

/// Memory of huge pages, of the size in the flags.
fn huge_memory(kernel: &Kernel, len: u64, flags: u64) -> Result<Backing, Errno> {
    /// Where the flags hold the logarithm of the size (MAP_HUGE_SHIFT).
    const SHIFT: u32 = 26;
    let size = HugeSize::from_shift(low_u32(flags >> SHIFT) & 63).ok_or(Errno::EINVAL)?;
    let len = len.checked_next_multiple_of(size.bytes()).ok_or(Errno::ENOMEM)?;
    let object = kernel.huge.new_object(&kernel.frames, size, len).ok_or(Errno::EINVAL)?;
    let path = Rc::from(b"/anon_hugepage (deleted)".as_slice());
    Ok(Backing::Object { object: Rc::new(object), offset: 0, path })
}

/// EINVAL for huge pages of a file that has none, and for an offset between two of them.
fn check_huge_file(area: &Area, flags: u64, offset: u64) -> Result<(), Errno> {
    match area.huge_size() {
        None if flags & HUGE != 0 => Err(Errno::EINVAL),
        Some(size) if !offset.is_multiple_of(size.bytes()) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// The backing that a descriptor gives, and whether the file may be written through it.
fn map_file(
    kernel: &mut Kernel,
    tid: Tid,
    fd: u64,
    offset: u64,
    is_shared: bool,
) -> Result<(Backing, bool), Errno> {
    let file = file::mappable(kernel, tid, fd)?;
    if !file.can_read {
        return Err(Errno::EACCES);
    }
    let may_write = file.can_write || !is_shared;
    Ok((Backing::Object { object: file.object, offset, path: file.path }, may_write))
}
