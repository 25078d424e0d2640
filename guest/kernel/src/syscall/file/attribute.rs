//! Changing what files are: length, permissions, owner, times. Only files in memory can be changed.

use alloc::rc::Rc;

use super::super::request::{Outcome, Request};
use super::super::time::{timespec_ns, timeval_ns};
use super::{AT_CWD, absolute, file_of, given_path};
use crate::errno::Errno;
use crate::file::lookup::{Found, lookup};
use crate::file::node::Node;
use crate::file::open::open;
use crate::file::open_file::Body;
use crate::file::uapi::{Owner, Stat, at, mode, open as flag};
use crate::file::{OpenFile, context_of, hugetlbfs};
use crate::host::Follow;
use crate::kernel::Kernel;
use crate::memory::object::Object;
use crate::memory::truncate;
use crate::number::low_u32;
use crate::time::SECOND_NS;

/// Longest file.
const SIZE_MAX: u64 = 1 << 46;

/// The node of a file that can be changed: EROFS where there is none.
fn node_at(
    kernel: &mut Kernel,
    request: &Request,
    fd: u64,
    path_gva: u64,
    follow: Follow,
) -> Result<Rc<Node>, Errno> {
    let absolute = absolute(kernel, request, fd, path_gva)?;
    named_node(kernel, request, &absolute, follow)
}

/// The node at a path.
fn named_node(
    kernel: &mut Kernel,
    request: &Request,
    path: &[u8],
    follow: Follow,
) -> Result<Rc<Node>, Errno> {
    match lookup(kernel, request.tid, path, follow)?.found {
        Found::Node(node) => Ok(node),
        Found::Open(file) => open_node(kernel, request, &file),
        Found::Share(_) => Err(Errno::EROFS),
        _ => Err(Errno::EPERM),
    }
}

/// The node of an open file.
fn node_of(kernel: &mut Kernel, request: &Request, fd: u64) -> Result<Rc<Node>, Errno> {
    let file = file_of(kernel, request, fd)?;
    if file.flags.get() & flag::PATH != 0 {
        return Err(Errno::EBADF);
    }
    open_node(kernel, request, &file)
}

fn open_node(kernel: &mut Kernel, request: &Request, file: &OpenFile) -> Result<Rc<Node>, Errno> {
    match &file.body {
        Body::Directory(_) => named_node(kernel, request, &file.path, Follow::Yes),
        Body::Cached(_) => Err(Errno::EROFS),
        _ => file.node().cloned().ok_or(Errno::EPERM),
    }
}

/// A length that a program asks for.
fn checked_size(size: u64) -> Result<u64, Errno> {
    match size {
        size if size.cast_signed() < 0 => Err(Errno::EINVAL),
        size if size > SIZE_MAX => Err(Errno::EFBIG),
        size => Ok(size),
    }
}

/// truncate(path, length)
pub(super) fn truncate(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, size, ..] = request.args;
    let size = checked_size(size)?;
    let absolute = absolute(kernel, request, AT_CWD, path_gva)?;
    let file = open(kernel, request.tid, &absolute, flag::WRITE_ONLY, 0)?;
    let Body::Memory(node, object) = &file.body else {
        return Err(Errno::EINVAL);
    };
    hugetlbfs::set_size(kernel, object, size)?;
    node.touch(kernel.clock.realtime());
    Ok(Outcome::Done(0))
}

/// The object of a file that was opened for writing.
fn writable_object(kernel: &Kernel, request: &Request, fd: u64) -> Result<Rc<Object>, Errno> {
    let file = file_of(kernel, request, fd)?;
    match &file.body {
        Body::Memory(node, object) if file.can_write() => {
            node.touch(kernel.clock.realtime());
            Ok(object.clone())
        }
        _ => Err(Errno::EINVAL),
    }
}

/// ftruncate(fd, length)
pub(super) fn ftruncate(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, size, ..] = request.args;
    let size = checked_size(size)?;
    hugetlbfs::set_size(kernel, &*writable_object(kernel, request, fd)?, size)?;
    Ok(Outcome::Done(0))
}

/// fallocate(fd, mode, offset, length). Pages are made when they are touched, not before.
pub(super) fn fallocate(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const KEEP_SIZE: u32 = 1;
    const PUNCH_HOLE: u32 = 2;
    const ZERO_RANGE: u32 = 16;
    let [fd, mode, offset, len, ..] = request.args;
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    let offset = checked_size(offset)?;
    let end = checked_size(offset.checked_add(checked_size(len)?).ok_or(Errno::EFBIG)?)?;
    let object = writable_object(kernel, request, fd)?;
    let mode = low_u32(mode);
    match mode & !KEEP_SIZE {
        0 => {
            if let Some(file) = object.huge() {
                hugetlbfs::allocate(file, &(offset..end))?;
            }
        }
        PUNCH_HOLE if mode & KEEP_SIZE != 0 => hugetlbfs::punch(kernel, &object, offset..end),
        ZERO_RANGE if object.huge().is_none() => truncate::punch(kernel, &object, offset..end),
        _ => return Err(Errno::EOPNOTSUPP),
    }
    if mode & KEEP_SIZE == 0 && end > object.size() {
        object.set_size(end);
    }
    Ok(Outcome::Done(0))
}

/// chmod(path, mode)
pub(super) fn chmod(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, mode, ..] = request.args;
    node_at(kernel, request, AT_CWD, path_gva, Follow::Yes)?.set_permissions(low_u32(mode));
    Ok(Outcome::Done(0))
}

/// fchmod(fd, mode)
pub(super) fn fchmod(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, mode, ..] = request.args;
    node_of(kernel, request, fd)?.set_permissions(low_u32(mode));
    Ok(Outcome::Done(0))
}

/// fchmodat(directory, path, mode)
pub(super) fn fchmodat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, mode, ..] = request.args;
    node_at(kernel, request, fd, path_gva, Follow::Yes)?.set_permissions(low_u32(mode));
    Ok(Outcome::Done(0))
}

/// Whether a symbolic link is followed, as flags of a call say.
const fn follow_of(flags: u64) -> Follow {
    if low_u32(flags) & at::SYMLINK_NOFOLLOW == 0 { Follow::Yes } else { Follow::No }
}

/// Gives a file to a user and a group; -1 leaves either as it is. Nobody but the new owner is to run
/// it as them (Linux v6.12 fs/open.c chown_common, fs/attr.c notify_change).
fn change_owner(node: &Node, user: u64, group: u64) -> Outcome {
    const AS_USER: u32 = 0o4000;
    const AS_GROUP: u32 = 0o2000;
    const GROUP_RUNS: u32 = 0o10;
    let Stat { mode, owner, .. } = node.stat();
    let chosen = |id: u64, old: u32| if low_u32(id) == u32::MAX { old } else { low_u32(id) };
    node.set_owner(Owner { user: chosen(user, owner.user), group: chosen(group, owner.group) });
    if mode & mode::TYPE == mode::REGULAR {
        let of_group = if mode & GROUP_RUNS == 0 { 0 } else { AS_GROUP };
        node.set_permissions(mode & !(AS_USER | of_group));
    }
    Outcome::Done(0)
}

/// lchown(path, user, group)
pub(super) fn lchown(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, user, group, ..] = request.args;
    let node = node_at(kernel, request, AT_CWD, path_gva, Follow::No)?;
    Ok(change_owner(&node, user, group))
}

/// chown(path, user, group)
pub(super) fn chown(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, user, group, ..] = request.args;
    let node = node_at(kernel, request, AT_CWD, path_gva, Follow::Yes)?;
    Ok(change_owner(&node, user, group))
}

/// fchown(fd, user, group)
pub(super) fn fchown(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, user, group, ..] = request.args;
    let node = node_of(kernel, request, fd)?;
    Ok(change_owner(&node, user, group))
}

/// fchownat(directory, path, user, group, flags)
pub(super) fn fchownat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, user, group, flags, _] = request.args;
    let is_empty = given_path(kernel, request, path_gva)?.is_empty();
    let node = if is_empty && low_u32(flags) & at::EMPTY_PATH != 0 {
        let file = file_of(kernel, request, fd)?;
        open_node(kernel, request, &file)?
    } else {
        node_at(kernel, request, fd, path_gva, follow_of(flags))?
    };
    Ok(change_owner(&node, user, group))
}

/// umask(mask)
pub(super) fn umask(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const PERMISSIONS: u32 = 0o777;
    let context = context_of(kernel, request.tid);
    let new = low_u32(request.args[0]) & PERMISSIONS;
    let old = core::mem::replace(&mut context.borrow_mut().umask, new);
    Ok(Outcome::Done(u64::from(old)))
}

/// utimensat(directory, path, times, flags). Only the time of the last change is kept.
pub(super) fn utimensat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const NOW: u64 = 0x3fff_ffff;
    const OMIT: u64 = 0x3fff_fffe;
    /// Bytes of the access time, which comes before the time of change.
    const TIMESPEC_LEN: u64 = 16;
    let [fd, path_gva, times_gva, flags, ..] = request.args;
    let user = kernel.user(request.tid);
    let gva = times_gva.wrapping_add(TIMESPEC_LEN);
    let time = match times_gva {
        0 => Some(kernel.clock.realtime()),
        _ => match user.read_word(gva.wrapping_add(8))? {
            NOW => Some(kernel.clock.realtime()),
            OMIT => None,
            _ => Some(timespec_ns(&user, gva)?),
        },
    };
    let node = if path_gva == 0 {
        node_of(kernel, request, fd)?
    } else {
        node_at(kernel, request, fd, path_gva, follow_of(flags))?
    };
    if let Some(time) = time {
        node.touch(time);
    }
    Ok(Outcome::Done(0))
}

/// utime(path, times), which are whole seconds.
pub(super) fn utime(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, times_gva, ..] = request.args;
    let time = match times_gva {
        0 => kernel.clock.realtime(),
        gva => kernel.user(request.tid).read_word(gva.wrapping_add(8))?.saturating_mul(SECOND_NS),
    };
    node_at(kernel, request, AT_CWD, path_gva, Follow::Yes)?.touch(time);
    Ok(Outcome::Done(0))
}

/// utimes(path, times)
pub(super) fn utimes(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, times_gva, ..] = request.args;
    set_times(kernel, request, AT_CWD, path_gva, times_gva)
}

/// futimesat(directory, path, times)
pub(super) fn futimesat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, times_gva, ..] = request.args;
    set_times(kernel, request, fd, path_gva, times_gva)
}

fn set_times(
    kernel: &mut Kernel,
    request: &Request,
    fd: u64,
    path_gva: u64,
    times_gva: u64,
) -> Result<Outcome, Errno> {
    /// Bytes of the access time, which comes before the time of change.
    const TIMEVAL_LEN: u64 = 16;
    let time = match times_gva {
        0 => kernel.clock.realtime(),
        gva => timeval_ns(&kernel.user(request.tid), gva.wrapping_add(TIMEVAL_LEN))?,
    };
    node_at(kernel, request, fd, path_gva, Follow::Yes)?.touch(time);
    Ok(Outcome::Done(0))
}
