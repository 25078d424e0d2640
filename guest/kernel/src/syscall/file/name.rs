//! Names: making, removing, renaming, listing, and the working directory.

use super::super::request::{Outcome, Request};
use super::{AT_CWD, absolute, file_of, given_path};
use crate::errno::Errno;
use crate::file::change::{self, Removed, Replace};
use crate::file::lookup::lookup;
use crate::file::open_file::Body;
use crate::file::uapi::{at, mode};
use crate::file::{context_of, directory, path};
use crate::host::Follow;
use crate::kernel::Kernel;
use crate::number::{index, low_u32};

/// Most bytes of directory entries one call gives.
const ENTRIES_LEN: u64 = 65536;

/// getcwd(buffer, length)
pub(super) fn getcwd(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [gva, len, ..] = request.args;
    let mut path = context_of(kernel, request.tid).borrow().directory.clone();
    path.push(0);
    if (path.len() as u64) > len {
        return Err(Errno::ERANGE);
    }
    kernel.user(request.tid).write(gva, &path)?;
    Ok(Outcome::Done(path.len() as u64))
}

/// chdir(path)
pub(super) fn chdir(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let absolute = absolute(kernel, request, AT_CWD, request.args[0])?;
    let directory = directory::check(kernel, request.tid, &absolute)?;
    context_of(kernel, request.tid).borrow_mut().directory = directory;
    Ok(Outcome::Done(0))
}

/// fchdir(fd)
pub(super) fn fchdir(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let file = file_of(kernel, request, request.args[0])?;
    if !file.stat().is_directory() {
        return Err(Errno::ENOTDIR);
    }
    context_of(kernel, request.tid).borrow_mut().directory = file.path.clone();
    Ok(Outcome::Done(0))
}

/// Makes a file that is not opened; the type is in the mode.
///
/// Differs from Linux: of devices only those that /dev has.
fn make_node(
    kernel: &mut Kernel,
    request: &Request,
    [fd, path_gva]: [u64; 2],
    mode: u32,
    device: u64,
) -> Result<Outcome, Errno> {
    let absolute = absolute(kernel, request, fd, path_gva)?;
    change::make_node(kernel, request.tid, &absolute, mode, device)?;
    Ok(Outcome::Done(0))
}

/// The mode of a directory that a program asks for.
const fn directory_mode(mode: u64) -> u32 {
    mode::DIRECTORY | low_u32(mode) & mode::PERMISSIONS
}

/// mkdir(path, mode)
pub(super) fn mkdir(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, mode, ..] = request.args;
    make_node(kernel, request, [AT_CWD, path_gva], directory_mode(mode), 0)
}

/// mkdirat(directory, path, mode)
pub(super) fn mkdirat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, mode, ..] = request.args;
    make_node(kernel, request, [fd, path_gva], directory_mode(mode), 0)
}

/// The mode of another file; mknod() makes no directories.
fn node_mode(mode: u64) -> Result<u32, Errno> {
    let mode = low_u32(mode);
    if mode & mode::TYPE == mode::DIRECTORY { Err(Errno::EPERM) } else { Ok(mode) }
}

/// mknod(path, mode, device)
pub(super) fn mknod(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, mode, device, ..] = request.args;
    make_node(kernel, request, [AT_CWD, path_gva], node_mode(mode)?, device)
}

/// mknodat(directory, path, mode, device)
pub(super) fn mknodat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, mode, device, ..] = request.args;
    make_node(kernel, request, [fd, path_gva], node_mode(mode)?, device)
}

fn remove(
    kernel: &mut Kernel,
    request: &Request,
    fd: u64,
    path_gva: u64,
    what: Removed,
) -> Result<Outcome, Errno> {
    let absolute = absolute(kernel, request, fd, path_gva)?;
    change::remove(kernel, request.tid, &absolute, what)?;
    Ok(Outcome::Done(0))
}

/// rmdir(path)
pub(super) fn rmdir(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    remove(kernel, request, AT_CWD, request.args[0], Removed::Directory)
}

/// unlink(path)
pub(super) fn unlink(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    remove(kernel, request, AT_CWD, request.args[0], Removed::File)
}

/// unlinkat(directory, path, flags)
pub(super) fn unlinkat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, flags, ..] = request.args;
    let what = match low_u32(flags) {
        0 => Removed::File,
        at::REMOVEDIR => Removed::Directory,
        _ => return Err(Errno::EINVAL),
    };
    remove(kernel, request, fd, path_gva, what)
}

fn rename_at(
    kernel: &mut Kernel,
    request: &Request,
    old: [u64; 2],
    new: [u64; 2],
    replace: Replace,
) -> Result<Outcome, Errno> {
    let old = absolute(kernel, request, old[0], old[1])?;
    let new = absolute(kernel, request, new[0], new[1])?;
    change::rename(kernel, request.tid, &old, &new, replace)?;
    Ok(Outcome::Done(0))
}

/// rename(old, new)
pub(super) fn rename(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [old, new, ..] = request.args;
    rename_at(kernel, request, [AT_CWD, old], [AT_CWD, new], Replace::Yes)
}

/// renameat(old directory, old, new directory, new)
pub(super) fn renameat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [old_fd, old, new_fd, new, ..] = request.args;
    rename_at(kernel, request, [old_fd, old], [new_fd, new], Replace::Yes)
}

/// renameat2(old directory, old, new directory, new, flags)
pub(super) fn renameat2(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const NOREPLACE: u32 = 1;
    let [old_fd, old, new_fd, new, flags, ..] = request.args;
    let replace = match low_u32(flags) {
        0 => Replace::Yes,
        NOREPLACE => Replace::No,
        _ => return Err(Errno::EINVAL),
    };
    rename_at(kernel, request, [old_fd, old], [new_fd, new], replace)
}

fn link_at(
    kernel: &mut Kernel,
    request: &Request,
    old: [u64; 2],
    new: [u64; 2],
    follow: Follow,
) -> Result<Outcome, Errno> {
    let old = absolute(kernel, request, old[0], old[1])?;
    let new = absolute(kernel, request, new[0], new[1])?;
    change::link(kernel, request.tid, &old, &new, follow)?;
    Ok(Outcome::Done(0))
}

/// link(old, new)
pub(super) fn link(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [old, new, ..] = request.args;
    link_at(kernel, request, [AT_CWD, old], [AT_CWD, new], Follow::No)
}

/// linkat(old directory, old, new directory, new, flags)
pub(super) fn linkat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const SYMLINK_FOLLOW: u32 = 0x400;
    let [old_fd, old, new_fd, new, flags, ..] = request.args;
    let follow = match low_u32(flags) {
        0 => Follow::No,
        SYMLINK_FOLLOW => Follow::Yes,
        _ => return Err(Errno::EINVAL),
    };
    link_at(kernel, request, [old_fd, old], [new_fd, new], follow)
}

fn symlink_at(
    kernel: &mut Kernel,
    request: &Request,
    target_gva: u64,
    fd: u64,
    path_gva: u64,
) -> Result<Outcome, Errno> {
    let target = given_path(kernel, request, target_gva)?;
    path::check(&target)?;
    let absolute = absolute(kernel, request, fd, path_gva)?;
    change::make_link(kernel, request.tid, &absolute, &target)?;
    Ok(Outcome::Done(0))
}

/// symlink(target, path)
pub(super) fn symlink(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [target_gva, path_gva, ..] = request.args;
    symlink_at(kernel, request, target_gva, AT_CWD, path_gva)
}

/// symlinkat(target, directory, path)
pub(super) fn symlinkat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [target_gva, fd, path_gva, ..] = request.args;
    symlink_at(kernel, request, target_gva, fd, path_gva)
}

fn read_link(
    kernel: &mut Kernel,
    request: &Request,
    fd: u64,
    path_gva: u64,
    [gva, len]: [u64; 2],
) -> Result<Outcome, Errno> {
    if len.cast_signed() <= 0 {
        return Err(Errno::EINVAL);
    }
    let absolute = absolute(kernel, request, fd, path_gva)?;
    let place = lookup(kernel, request.tid, &absolute, Follow::No)?;
    let target = place.link_target()?.ok_or(Errno::EINVAL)?;
    let taken = target.len().min(index(len));
    kernel.user(request.tid).write(gva, &target[..taken])?;
    Ok(Outcome::Done(taken as u64))
}

/// readlink(path, buffer, length)
pub(super) fn readlink(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, gva, len, ..] = request.args;
    read_link(kernel, request, AT_CWD, path_gva, [gva, len])
}

/// readlinkat(directory, path, buffer, length)
pub(super) fn readlinkat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, gva, len, ..] = request.args;
    read_link(kernel, request, fd, path_gva, [gva, len])
}

/// getdents64(fd, buffer, length)
pub(super) fn getdents64(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let Body::Directory(directory) = &file.body else {
        return Err(Errno::ENOTDIR);
    };
    let room = index(u64::from(low_u32(len)).min(ENTRIES_LEN));
    let start = file.offset.get();
    let (packed, next) = directory.pack(kernel, request.tid, start, room)?;
    kernel.user(request.tid).write(gva, &packed)?;
    file.offset.set(next);
    Ok(Outcome::Done(packed.len() as u64))
}
