//! Descriptors: closing, duplicating, their flags and offsets.

use super::super::request::{Outcome, Request};
use super::{descriptor_limit, file_of, lock};
use crate::errno::Errno;
use crate::file::open_file::Body;
use crate::file::pipe;
use crate::file::table::OnExec;
use crate::file::uapi::open;
use crate::file::{OpenFile, table_of, wake_dropped};
use crate::kernel::Kernel;
use crate::number::low_u32;

/// close(fd)
pub(super) fn close(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let table = table_of(kernel, request.tid);
    let file = table.borrow_mut().remove(request.args[0])?;
    lock::closed(kernel, request.tid, &file);
    drop(file);
    wake_dropped(kernel);
    Ok(Outcome::Done(0))
}

/// close_range(first, last, flags)
pub(super) fn close_range(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    /// Only sets close-on-exec.
    const CLOEXEC: u32 = 4;
    let [first, last, flags, ..] = request.args;
    let [first, last, flags] = [first, last, flags].map(low_u32);
    if first > last || flags & !CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    let table = table_of(kernel, request.tid);
    let mut from = u64::from(first);
    loop {
        let used = table.borrow().next_used(from).filter(|fd| *fd <= u64::from(last));
        let Some(fd) = used else { break };
        from = fd + 1;
        if flags & CLOEXEC != 0 {
            table.borrow_mut().set_on_exec(fd, OnExec::Close)?;
        } else {
            let file = table.borrow_mut().remove(fd)?;
            lock::closed(kernel, request.tid, &file);
        }
    }
    wake_dropped(kernel);
    Ok(Outcome::Done(0))
}

/// dup(fd)
pub(super) fn dup(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    duplicate(kernel, request, 0, OnExec::Keep)
}

/// Gives the first argument's file one descriptor more, from `from` on.
fn duplicate(
    kernel: &mut Kernel,
    request: &Request,
    from: u64,
    on_exec: OnExec,
) -> Result<Outcome, Errno> {
    let file = file_of(kernel, request, request.args[0])?;
    let limit = descriptor_limit(kernel, request);
    let table = table_of(kernel, request.tid);
    let fd = table.borrow_mut().add(file, on_exec, from, limit)?;
    Ok(Outcome::Done(fd))
}

/// dup2(old, new)
pub(super) fn dup2(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [old, new, ..] = request.args;
    if low_u32(old) == low_u32(new) {
        file_of(kernel, request, old)?;
        return Ok(Outcome::Done(u64::from(low_u32(new))));
    }
    replace(kernel, request, OnExec::Keep)
}

/// dup3(old, new, flags)
pub(super) fn dup3(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [old, new, flags, ..] = request.args;
    let flags = low_u32(flags);
    if low_u32(old) == low_u32(new) || flags & !open::CLOSE_ON_EXEC != 0 {
        return Err(Errno::EINVAL);
    }
    replace(kernel, request, OnExec::close_if(flags != 0))
}

fn replace(kernel: &mut Kernel, request: &Request, on_exec: OnExec) -> Result<Outcome, Errno> {
    let [old, new, ..] = request.args;
    let file = file_of(kernel, request, old)?;
    let new = u64::from(low_u32(new));
    if new >= descriptor_limit(kernel, request) {
        return Err(Errno::EBADF);
    }
    let table = table_of(kernel, request.tid);
    let former = table.borrow_mut().remove(new);
    // A slot that had a file has a place for another.
    table.borrow_mut().put(new, file, on_exec)?;
    if let Ok(former) = former {
        lock::closed(kernel, request.tid, &former);
    }
    wake_dropped(kernel);
    Ok(Outcome::Done(new))
}

/// Commands of fcntl() (Linux v6.12 include/uapi/asm-generic/fcntl.h, include/uapi/linux/fcntl.h).
mod command {
    pub(super) const DUPFD: u32 = 0;
    pub(super) const GETFD: u32 = 1;
    pub(super) const SETFD: u32 = 2;
    pub(super) const GETFL: u32 = 3;
    pub(super) const SETFL: u32 = 4;
    pub(super) const SETOWN: u32 = 8;
    pub(super) const GETOWN: u32 = 9;
    pub(super) const DUPFD_CLOEXEC: u32 = 1030;
    pub(super) const SETPIPE_SZ: u32 = 1031;
    pub(super) const GETPIPE_SZ: u32 = 1032;
}

/// FD_CLOEXEC
const CLOEXEC: u64 = 1;

/// fcntl(fd, command, argument)
pub(super) fn fcntl(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, command, argument, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let table = table_of(kernel, request.tid);
    match lock::command(command) {
        Some((holder, Some(refused))) => return lock::set(kernel, request, &file, holder, refused),
        Some((holder, None)) => return lock::get(kernel, request, &file, holder),
        None => {}
    }
    let value = match low_u32(command) {
        command::DUPFD | command::DUPFD_CLOEXEC => {
            if u64::from(low_u32(argument)) >= descriptor_limit(kernel, request) {
                return Err(Errno::EINVAL);
            }
            let on_exec = OnExec::close_if(low_u32(command) == command::DUPFD_CLOEXEC);
            return duplicate(kernel, request, u64::from(low_u32(argument)), on_exec);
        }
        command::GETFD => u64::from(table.borrow().on_exec(fd)? == OnExec::Close),
        command::SETFD => {
            let on_exec = OnExec::close_if(argument & CLOEXEC != 0);
            table.borrow_mut().set_on_exec(fd, on_exec)?;
            0
        }
        command::GETFL => u64::from(file.flags.get()),
        command::SETFL => {
            let kept = file.flags.get() & !open::CHANGEABLE;
            file.flags.set(kept | low_u32(argument) & open::CHANGEABLE);
            0
        }
        command::SETOWN => {
            file.owner.replace(argument);
            0
        }
        command::GETOWN => *file.owner.borrow(),
        command::GETPIPE_SZ | command::SETPIPE_SZ => pipe_size(&file, argument, command)?,
        _ => return Err(Errno::EINVAL),
    };
    Ok(Outcome::Done(value))
}

/// The size of a pipe, which is always the same: what is asked for is granted up to that.
fn pipe_size(file: &OpenFile, wanted: u64, command: u64) -> Result<u64, Errno> {
    let capacity = pipe::CAPACITY as u64;
    match &file.body {
        Body::Pipe(_) if low_u32(command) == command::GETPIPE_SZ => Ok(capacity),
        Body::Pipe(_) if wanted <= capacity => Ok(capacity),
        Body::Pipe(_) => Err(Errno::EPERM),
        _ => Err(Errno::EBADF),
    }
}

/// lseek(fd, offset, whence)
pub(super) fn lseek(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const SEEK_SET: u32 = 0;
    const SEEK_CUR: u32 = 1;
    const SEEK_END: u32 = 2;
    const SEEK_DATA: u32 = 3;
    const SEEK_HOLE: u32 = 4;
    let [fd, offset, whence, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    if !file.is_seekable() {
        return Err(Errno::ESPIPE);
    }
    // Devices have no length and no place: every seek leads to the start.
    if matches!(file.body, Body::Device(_)) {
        return Ok(Outcome::Done(0));
    }
    let size = file.size().unwrap_or(0);
    let base = match low_u32(whence) {
        SEEK_SET => 0,
        SEEK_CUR => file.offset.get(),
        SEEK_END => size,
        // Files are told as one piece of data without holes.
        SEEK_DATA | SEEK_HOLE if offset >= size => return Err(Errno::ENXIO),
        SEEK_DATA => 0,
        SEEK_HOLE => {
            file.offset.set(size);
            return Ok(Outcome::Done(size));
        }
        _ => return Err(Errno::EINVAL),
    };
    let target = base.checked_add_signed(offset.cast_signed()).ok_or(Errno::EINVAL)?;
    if target > i64::MAX.cast_unsigned() {
        return Err(Errno::EINVAL);
    }
    file.offset.set(target);
    Ok(Outcome::Done(target))
}

/// fsync(fd) and the calls that only advise: nothing is ever written back later.
pub(super) fn fsync(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let file = file_of(kernel, request, request.args[0])?;
    match file.body {
        Body::Pipe(_) | Body::Stream(_) | Body::Socket(_) | Body::Event(_) => Err(Errno::EINVAL),
        _ => Ok(Outcome::Done(0)),
    }
}

/// sync()
pub(super) fn sync(_: &mut Kernel, _: &mut Request) -> Result<Outcome, Errno> {
    Ok(Outcome::Done(0))
}
