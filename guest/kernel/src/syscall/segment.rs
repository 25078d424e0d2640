//! System calls: System V shared memory.
//!
//! Source: Linux v6.12 ipc/shm.c, include/uapi/linux/shm.h and ipcbuf.h.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::rc::Rc;
use core::ptr::from_ref;

use vmcg_abi::layout::PAGE_SIZE;

use super::Entry;
use super::request::{Outcome, Request};
use crate::errno::Errno;
use crate::heap;
use crate::kernel::Kernel;
use crate::memory::area::{Area, Backing, Rights, Role};
use crate::memory::huge::HugeSize;
use crate::memory::huge::map::Reserve;
use crate::memory::map::Placement;
use crate::memory::object::Object;
use crate::memory::segment::{SEGMENTS_MAX, Segment};
use crate::number::{low_u32, page_ceil};
use crate::time::SECOND_NS;

/// The group's rows.
pub(crate) const CALLS: &[Entry] =
    &[(29, "shmget", shmget), (30, "shmat", shmat), (31, "shmctl", shmctl), (67, "shmdt", shmdt)];

/// Permission bits of a mode.
const PERMISSIONS: u32 = 0o777;

/// shmget(key, size, flags)
fn shmget(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const CREATE: u32 = 0o1000;
    const EXCLUSIVE: u32 = 0o2000;
    const HUGE: u32 = 0o4000;
    let [key, size, flags, ..] = request.args;
    let (key, flags) = (low_u32(key), low_u32(flags));
    if key != 0 {
        match kernel.segments.find(key) {
            Some(_) if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE => {
                return Err(Errno::EEXIST);
            }
            Some(id) => {
                let is_long = kernel.segments.get(id).is_some_and(|segment| size > segment.size);
                return if is_long { Err(Errno::EINVAL) } else { Ok(Outcome::Done(id.into())) };
            }
            None if flags & CREATE == 0 => return Err(Errno::ENOENT),
            None => {}
        }
    }
    let len = page_ceil(size).filter(|len| *len > 0).ok_or(Errno::EINVAL)?;
    if heap::is_short() {
        return Err(Errno::ENOMEM);
    }
    let object = if flags & HUGE == 0 {
        Object::new_shmem(&kernel.frames, len)
    } else {
        huge_memory(kernel, len, flags)?
    };
    let mut segment = Segment::new(key, size, Rc::new(object));
    segment.mode = flags & PERMISSIONS;
    segment.creator = kernel.task(request.tid).process.0;
    segment.changed_s = kernel.clock.realtime() / SECOND_NS;
    let id = kernel.segments.add(segment).ok_or(Errno::ENOSPC)?;
    Ok(Outcome::Done(id.into()))
}

/// Memory of huge pages for a segment, paid for now unless the flags say otherwise.
fn huge_memory(kernel: &Kernel, len: u64, flags: u32) -> Result<Object, Errno> {
    const NO_RESERVE: u32 = 0o10000;
    /// Where the flags hold the logarithm of the size.
    const SHIFT: u32 = 26;
    let size = HugeSize::from_shift(flags >> SHIFT & 63).ok_or(Errno::EINVAL)?;
    let len = len.checked_next_multiple_of(size.bytes()).ok_or(Errno::EINVAL)?;
    let object = kernel.huge.new_object(&kernel.frames, size, len).ok_or(Errno::EINVAL)?;
    if let Some(file) = object.huge().filter(|_| flags & NO_RESERVE == 0) {
        file.reserve(&(0..len / size.bytes()))?;
    }
    Ok(object)
}

/// shmat(id, address, flags)
fn shmat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const READ_ONLY: u64 = 0o10000;
    const ROUND: u64 = 0o20000;
    const REMAP: u64 = 0o40000;
    const EXECUTE: u64 = 0o100_000;
    let [id, address, flags, ..] = request.args;
    let segment = kernel.segments.get(low_u32(id)).ok_or(Errno::EINVAL)?;
    let object = segment.object().ok_or(Errno::EINVAL)?;
    let path = format!("/SYSV{:08x} (deleted)", segment.key);
    let start = if flags & ROUND == 0 { address } else { address & !(PAGE_SIZE - 1) };
    let placement = match start {
        0 if flags & REMAP != 0 => return Err(Errno::EINVAL),
        0 => Placement::Hint(0),
        start if flags & REMAP != 0 => Placement::Fixed(start),
        start => Placement::FixedIfFree(start),
    };
    let can_write = flags & READ_ONLY == 0;
    let rights = Rights { can_read: true, can_write, can_execute: flags & EXECUTE != 0 };
    let len = object.size();
    let space = kernel.task(request.tid).space.clone();
    let mut space = space.borrow_mut();
    let align = object.huge().map_or(PAGE_SIZE, |file| file.size().bytes());
    let start = space.place(placement, len, align).map_err(|errno| match errno {
        Errno::ENOMEM => Errno::ENOMEM,
        _ => Errno::EINVAL,
    })?;
    let mut area = Area::anon(start + len, rights, Role::Plain);
    area.is_shared = true;
    area.is_locked = space.locks_future;
    area.backing = Backing::Object { object, offset: 0, path: path.into_bytes().into() };
    if align > PAGE_SIZE {
        space.map_huge_at(start, area, Reserve::Now)?;
    } else {
        space.map_at(start, area)?;
    }
    Ok(Outcome::Done(start))
}

/// shmdt(address)
fn shmdt(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let start = request.args[0];
    let space = kernel.task(request.tid).space.clone();
    let mut space = space.borrow_mut();
    let (id, len) = match space.areas.find(start) {
        Some((_, Area { backing: Backing::Object { object, path, .. }, .. }))
            if path.starts_with(b"/SYSV") && start.is_multiple_of(PAGE_SIZE) =>
        {
            (object.id(), object.size())
        }
        _ => return Err(Errno::EINVAL),
    };
    // The mapping may have been cut, or its rights changed in part: what is left of it goes.
    let parts: alloc::vec::Vec<_> = space
        .areas_in(&(start..start.saturating_add(len)))
        .filter(|(begin, area)| match &area.backing {
            Backing::Object { object, offset, .. } => {
                object.id() == id && start.checked_add(*offset) == Some(*begin)
            }
            Backing::Anon => false,
        })
        .map(|(begin, area)| begin..area.end)
        .collect();
    if parts.is_empty() {
        return Err(Errno::EINVAL);
    }
    for part in parts {
        space.unmap(&part);
    }
    Ok(Outcome::Done(0))
}

/// shmctl(id, command, buffer)
fn shmctl(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const REMOVE: u32 = 0;
    const SET: u32 = 1;
    const STAT: u32 = 2;
    const LIMITS: u32 = 3;
    const STAT_BY_PLACE: u32 = 13;
    const USE: u32 = 14;
    const STAT_OF_ANY: u32 = 15;
    const LOCK: u32 = 11;
    const UNLOCK: u32 = 12;
    /// Offset of the mode in a `struct shmid_ds`.
    const MODE: u64 = 20;
    let [id, command, gva, ..] = request.args;
    let id = low_u32(id);
    let user = kernel.user(request.tid);
    match low_u32(command) {
        REMOVE if kernel.segments.remove(id) => {}
        STAT => {
            let words = described(kernel, id)?;
            user.write_words(gva, &words)?;
        }
        // The place of a segment in the kernel's table is its number here.
        STAT_BY_PLACE | STAT_OF_ANY => {
            let words = described(kernel, id)?;
            user.write_words(gva, &words)?;
            return Ok(Outcome::Done(id.into()));
        }
        LIMITS => {
            user.write_words(gva, &LIMIT_WORDS)?;
            return Ok(Outcome::Done(last_id(kernel)));
        }
        USE => {
            user.write_words(gva, &in_use(kernel))?;
            return Ok(Outcome::Done(last_id(kernel)));
        }
        SET => {
            let mode = user.read_half(gva.wrapping_add(MODE))? & PERMISSIONS;
            let now = kernel.clock.realtime() / SECOND_NS;
            let segment = kernel.segments.get_mut(id).ok_or(Errno::EINVAL)?;
            (segment.mode, segment.changed_s) = (mode, now);
        }
        // Nothing is swapped, so that every page is as good as locked.
        LOCK | UNLOCK if kernel.segments.get(id).is_some() => {}
        _ => return Err(Errno::EINVAL),
    }
    Ok(Outcome::Done(0))
}

/// A `struct shminfo`: bytes of a segment, most and least; segments of the system and of a process;
/// pages of all; four spare words. As Linux has them by default.
const LIMIT_WORDS: [u64; 9] = {
    const NO_LIMIT: u64 = u64::MAX - (1 << 24);
    [NO_LIMIT, 1, SEGMENTS_MAX as u64, SEGMENTS_MAX as u64, NO_LIMIT, 0, 0, 0, 0]
};

/// The highest number of a segment.
fn last_id(kernel: &Kernel) -> u64 {
    kernel.segments.iter().last().map_or(0, |(id, _)| id.into())
}

/// A `struct shm_info`: segments, their pages, those in memory, and three words about swap.
fn in_use(kernel: &Kernel) -> [u64; 6] {
    let mut words = [0; 6];
    for (_, segment) in kernel.segments.iter() {
        words[0] += 1;
        words[1] += segment.size.div_ceil(PAGE_SIZE);
        words[2] += segment.object().map_or(0, |object| object.page_count());
    }
    words
}

/// A `struct shmid_ds`: owner and mode, size, three times, two processes, mappings, two spare words.
fn described(kernel: &Kernel, id: u32) -> Result<[u64; 14], Errno> {
    const DESTROYED: u32 = 0o1000;
    let segment = kernel.segments.get(id).ok_or(Errno::EINVAL)?;
    let object = segment.object().ok_or(Errno::EINVAL)?;
    let gone = if segment.is_removed() { DESTROYED } else { 0 };
    let mut words = [0; 14];
    words[0] = segment.key.into();
    words[2] = u64::from(segment.mode | gone) << 32;
    words[6] = segment.size;
    words[9] = segment.changed_s;
    words[10] = segment.creator.into();
    words[11] = mappings(kernel, &object);
    Ok(words)
}

/// How many address spaces' areas begin with an object's first byte.
fn mappings(kernel: &Kernel, object: &Object) -> u64 {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for task in kernel.tasks.values() {
        if !seen.insert(from_ref(&*task.space).addr()) {
            continue;
        }
        let space = task.space.borrow();
        let begins = |area: &Area| match &area.backing {
            Backing::Object { object: mapped, offset: 0, .. } => mapped.id() == object.id(),
            _ => false,
        };
        count += space.areas.iter().filter(|(_, area)| begins(area)).count() as u64;
    }
    count
}
