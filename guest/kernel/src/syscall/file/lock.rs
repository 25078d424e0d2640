//! Locking files: flock() and the record locks of fcntl().

use alloc::rc::Rc;
use core::ops::Range;

use super::super::request::{OnSignal, Outcome, Request, Wait, WaitKey};
use super::file_of;
use crate::errno::Errno;
use crate::file::OpenFile;
use crate::file::lock::{FileId, Kind, Lock, Owner, Ticket};
use crate::file::uapi::open;
use crate::heap;
use crate::kernel::Kernel;
use crate::number::{Tid, low_i32, low_u32};
use crate::signal::has_deliverable;

/// Types of a `struct flock` (Linux v6.12 include/uapi/asm-generic/fcntl.h).
const READ_LOCK: u16 = 0;
const WRITE_LOCK: u16 = 1;
const UNLOCK: u16 = 2;
/// Bytes of a `struct flock`.
const FLOCK_LEN: usize = 32;
/// Every byte of a file.
const ALL: Range<u64> = 0..u64::MAX;

/// What a call that cannot have its lock does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It fails.
    Fail,
    /// It waits.
    Wait,
}

/// Whose a record lock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// The process's.
    Process,
    /// The open file's.
    OpenFile,
}

/// flock(fd, operation)
pub(super) fn flock(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const SHARED: i32 = 1;
    const EXCLUSIVE: i32 = 2;
    const NOT_WAITING: i32 = 4;
    const RELEASE: i32 = 8;
    let [fd, operation, ..] = request.args;
    let operation = low_i32(operation);
    let file = file_of(kernel, request, fd)?;
    if file.flags.get() & open::PATH != 0 {
        return Err(Errno::EBADF);
    }
    let refused = if operation & NOT_WAITING == 0 { Refused::Wait } else { Refused::Fail };
    let owner = Owner::Whole(ticket(kernel, &file));
    let kind = match operation & !NOT_WAITING {
        SHARED => Some(Kind::Shared),
        EXCLUSIVE => Some(Kind::Exclusive),
        RELEASE => None,
        _ => return Err(Errno::EINVAL),
    };
    let id = id_of(&file);
    if let Some(kind) = kind {
        // A lock that is changed is given up first: others may come in between.
        let has_other = kernel.files.locks.borrow().has(id, owner);
        if has_other && request.progress == 0 {
            release(kernel, id, owner, &ALL);
        }
        request.progress = 1;
        return acquire(kernel, request, id, Lock { owner, kind, range: ALL }, refused);
    }
    release(kernel, id, owner, &ALL);
    Ok(Outcome::Done(0))
}

/// fcntl(F_SETLK, F_SETLKW and their likes of open files)
pub(super) fn set(
    kernel: &mut Kernel,
    request: &mut Request,
    file: &Rc<OpenFile>,
    holder: Holder,
    refused: Refused,
) -> Result<Outcome, Errno> {
    let given = Given::read(kernel, request, file)?;
    let id = id_of(file);
    let owner = owner_of(kernel, request, file, holder, given.pid)?;
    let kind = match given.kind {
        READ_LOCK if !file.can_read() => return Err(Errno::EBADF),
        WRITE_LOCK if !file.can_write() => return Err(Errno::EBADF),
        READ_LOCK => Kind::Shared,
        WRITE_LOCK => Kind::Exclusive,
        _ => {
            release(kernel, id, owner, &given.range);
            return Ok(Outcome::Done(0));
        }
    };
    acquire(kernel, request, id, Lock { owner, kind, range: given.range }, refused)
}

/// fcntl(F_GETLK and F_OFD_GETLK): the first lock in the way, or none.
pub(super) fn get(
    kernel: &mut Kernel,
    request: &Request,
    file: &Rc<OpenFile>,
    holder: Holder,
) -> Result<Outcome, Errno> {
    let given = Given::read(kernel, request, file)?;
    let owner = owner_of(kernel, request, file, holder, given.pid)?;
    let kind = match given.kind {
        READ_LOCK => Kind::Shared,
        WRITE_LOCK => Kind::Exclusive,
        _ => return Err(Errno::EINVAL),
    };
    let locks = kernel.files.locks.borrow();
    let wanted = Lock { owner, kind, range: given.range };
    let user = kernel.user(request.tid);
    let gva = request.args[2];
    let Some(lock) = locks.obstacle(id_of(file), &wanted) else {
        user.write(gva, &UNLOCK.to_le_bytes())?;
        return Ok(Outcome::Done(0));
    };
    let mut bytes = [0; FLOCK_LEN];
    user.read(gva, &mut bytes)?;
    let kind = if lock.kind == Kind::Shared { READ_LOCK } else { WRITE_LOCK };
    let len = if lock.range.end == u64::MAX { 0 } else { lock.range.end - lock.range.start };
    let pid = match lock.owner {
        Owner::Process(pid) => pid.0,
        // As Linux tells of locks that are no process's: -1.
        Owner::File(_) | Owner::Whole(_) => u32::MAX,
    };
    bytes[..2].copy_from_slice(&kind.to_le_bytes());
    bytes[2..4].fill(0);
    bytes[8..16].copy_from_slice(&lock.range.start.to_le_bytes());
    bytes[16..24].copy_from_slice(&len.to_le_bytes());
    bytes[24..28].copy_from_slice(&pid.to_le_bytes());
    user.write(gva, &bytes)?;
    Ok(Outcome::Done(0))
}

/// A process has closed a descriptor of a file: all of its record locks there are gone.
pub(crate) fn closed(kernel: &mut Kernel, tid: Tid, file: &OpenFile) {
    let owner = Owner::Process(kernel.task(tid).process);
    let id = id_of(file);
    let has_any = kernel.files.locks.borrow().has(id, owner);
    if has_any {
        release(kernel, id, owner, &ALL);
    }
}

/// A process has ended.
pub(crate) fn release_process(kernel: &mut Kernel, pid: Tid) {
    let mut locks = kernel.files.locks.borrow_mut();
    locks.end_wait(pid);
    let (has_any, wait_id) = (locks.remove_all(Owner::Process(pid)), locks.wait_id);
    drop(locks);
    if has_any {
        kernel.wake(WaitKey::Object(wait_id));
    }
}

/// A `struct flock`.
struct Given {
    kind: u16,
    range: Range<u64>,
    pid: u32,
}

impl Given {
    fn read(kernel: &Kernel, request: &Request, file: &OpenFile) -> Result<Self, Errno> {
        const SEEK_SET: u16 = 0;
        const SEEK_CUR: u16 = 1;
        const SEEK_END: u16 = 2;
        let mut bytes = [0; FLOCK_LEN];
        kernel.user(request.tid).read(request.args[2], &mut bytes)?;
        let word = |at: usize| i64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| bytes[at + i]));
        let kind = u16::from_le_bytes([bytes[0], bytes[1]]);
        let base = match u16::from_le_bytes([bytes[2], bytes[3]]) {
            SEEK_SET => 0,
            SEEK_CUR => file.offset.get(),
            SEEK_END => file.size().unwrap_or(0),
            _ => return Err(Errno::EINVAL),
        };
        if kind > UNLOCK {
            return Err(Errno::EINVAL);
        }
        let (start, len) = (base.cast_signed().checked_add(word(8)), word(16));
        let start = start.ok_or(Errno::EOVERFLOW)?;
        // A negative length names the bytes before the start.
        let (first, end) = if len < 0 {
            (start.saturating_add(len), Some(start))
        } else {
            (start, (len > 0).then(|| start.saturating_add(len)))
        };
        let first = u64::try_from(first).map_err(|_| Errno::EINVAL)?;
        let end = end.map_or(u64::MAX, i64::cast_unsigned);
        let pid = u32::from_le_bytes([24, 25, 26, 27].map(|i| bytes[i]));
        Ok(Self { kind, range: first..end, pid })
    }
}

/// What identifies a file, whatever opened it.
fn id_of(file: &OpenFile) -> FileId {
    let stat = file.stat();
    (stat.dev, stat.ino)
}

/// The number of an open file among those that have locks.
fn ticket(kernel: &mut Kernel, file: &OpenFile) -> u64 {
    let (locks, dropped) = (kernel.files.locks.clone(), kernel.files.dropped());
    let mut ticket = file.ticket.borrow_mut();
    ticket.get_or_insert_with(|| Ticket::new(&locks, dropped)).number()
}

fn owner_of(
    kernel: &mut Kernel,
    request: &Request,
    file: &OpenFile,
    holder: Holder,
    pid: u32,
) -> Result<Owner, Errno> {
    match holder {
        Holder::Process => Ok(Owner::Process(kernel.task(request.tid).process)),
        Holder::OpenFile if pid != 0 => Err(Errno::EINVAL),
        Holder::OpenFile => Ok(Owner::File(ticket(kernel, file))),
    }
}

/// Takes a lock as soon as nothing is in its way.
fn acquire(
    kernel: &mut Kernel,
    request: &Request,
    id: FileId,
    lock: Lock,
    refused: Refused,
) -> Result<Outcome, Errno> {
    let process = kernel.task(request.tid).process;
    let is_interrupted = has_deliverable(kernel, request.tid);
    let mut locks = kernel.files.locks.borrow_mut();
    locks.end_wait(process);
    let holder = locks.obstacle(id, &lock).map(|lock| lock.owner);
    let key = WaitKey::Object(locks.wait_id);
    match (holder, refused) {
        (None, _) if heap::is_short() => Err(Errno::ENOLCK),
        (None, _) => {
            locks.add(id, lock);
            drop(locks);
            // A lock that became a weaker one may let others in.
            kernel.wake(key);
            Ok(Outcome::Done(0))
        }
        (Some(_), Refused::Fail) => Err(Errno::EAGAIN),
        (Some(holder), Refused::Wait) => {
            // A signal ends the call without another look at it.
            let is_noted = matches!(lock.owner, Owner::Process(_)) && !is_interrupted;
            if is_noted && !locks.wait(process, holder) {
                return Err(Errno::EDEADLK);
            }
            Ok(Outcome::Block(Wait::on(key).with_on_signal(OnSignal::Restart)))
        }
    }
}

fn release(kernel: &mut Kernel, id: FileId, owner: Owner, range: &Range<u64>) {
    let mut locks = kernel.files.locks.borrow_mut();
    locks.remove(id, owner, range);
    let key = WaitKey::Object(locks.wait_id);
    drop(locks);
    kernel.wake(key);
}

/// What a command of fcntl() asks for: whose lock, and what a refusal does; `None` = it only looks.
pub(super) fn command(command: u64) -> Option<(Holder, Option<Refused>)> {
    Some(match low_u32(command) {
        5 => (Holder::Process, None),
        6 => (Holder::Process, Some(Refused::Fail)),
        7 => (Holder::Process, Some(Refused::Wait)),
        36 => (Holder::OpenFile, None),
        37 => (Holder::OpenFile, Some(Refused::Fail)),
        38 => (Holder::OpenFile, Some(Refused::Wait)),
        _ => return None,
    })
}
