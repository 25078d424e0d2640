//! Names: opening, making, removing, renaming, listing, and the working directory.

use super::super::request::{Outcome, Request, Wait, WaitKey};
use super::{AT_CWD, absolute, descriptor_limit, file_of, given_path};
use crate::errno::Errno;
use crate::file::change::{self, Removed, Replace};
use crate::file::lookup::lookup;
use crate::file::open_file::Body;
use crate::file::table::OnExec;
use crate::file::uapi::{at, open as flag};
use crate::file::{OpenFile, context_of, directory, open as opening, path, table_of};
use crate::heap;
use crate::host::Follow;
use crate::kernel::Kernel;
use crate::memory::huge::HugeSize;
use crate::memory::object::Object;
use crate::number::{index, low_u32};
use crate::signal::has_deliverable;
use alloc::rc::Rc;

/// Most bytes of directory entries one call gives.
const ENTRIES_LEN: u64 = 65536;

/// Gives a file the caller's lowest free descriptor. ENFILE when the kernel's memory is short.
pub(in crate::syscall) fn install(
    kernel: &Kernel,
    request: &Request,
    file: Rc<OpenFile>,
    flags: u32,
) -> Result<u64, Errno> {
    if heap::is_short() {
        return Err(Errno::ENFILE);
    }
    let on_exec = OnExec::close_if(flags & flag::CLOSE_ON_EXEC != 0);
    let limit = descriptor_limit(kernel, request);
    table_of(kernel, request.tid).borrow_mut().add(file, on_exec, 0, limit)
}

fn open_at(
    kernel: &mut Kernel,
    request: &Request,
    directory: u64,
    path_gva: u64,
    [flags, mode]: [u64; 2],
) -> Result<Outcome, Errno> {
    const BOTH_MODES: u32 = 3;
    if let Some(file) = kernel.files.opening.remove(&request.tid) {
        return finish_open(kernel, request, file, low_u32(flags));
    }
    let absolute = absolute(kernel, request, directory, path_gva)?;
    let flags = low_u32(flags) | flag::LARGE_FILE;
    if flags & flag::ACCESS_MODE == BOTH_MODES && flags & flag::PATH == 0 {
        return Err(Errno::EINVAL);
    }
    let file = opening::open(kernel, request.tid, &absolute, flags, low_u32(mode))?;
    finish_open(kernel, request, file, flags)
}

/// Gives a file its descriptor; an end of a fifo first waits for the other side.
fn finish_open(
    kernel: &mut Kernel,
    request: &Request,
    file: Rc<OpenFile>,
    flags: u32,
) -> Result<Outcome, Errno> {
    if let Body::Pipe(end) = &file.body
        && end.node().is_some()
        && flags & flag::NON_BLOCKING == 0
        && !end.has_met()
    {
        let wait = Wait::on(WaitKey::Object(end.wait_id()));
        // A signal ends the call without another look at it, and with it this end.
        if !has_deliverable(kernel, request.tid) {
            kernel.files.opening.insert(request.tid, file);
        }
        return Ok(Outcome::Block(wait));
    }
    install(kernel, request, file, flags).map(Outcome::Done)
}

/// open(path, flags, mode)
pub(super) fn open(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, flags, mode, ..] = request.args;
    open_at(kernel, request, AT_CWD, path_gva, [flags, mode])
}

/// creat(path, mode)
pub(super) fn creat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, mode, ..] = request.args;
    let flags = flag::CREATE | flag::WRITE_ONLY | flag::TRUNCATE;
    open_at(kernel, request, AT_CWD, path_gva, [u64::from(flags), mode])
}

/// openat(directory, path, flags, mode)
pub(super) fn openat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, flags, mode, ..] = request.args;
    open_at(kernel, request, fd, path_gva, [flags, mode])
}

/// memfd_create(name, flags)
pub(super) fn memfd_create(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const CLOEXEC: u32 = 1;
    const ALLOW_SEALING: u32 = 2;
    const NOEXEC_SEAL: u32 = 8;
    const EXEC: u32 = 16;
    const HUGE: u32 = 4;
    /// Where the flags hold the logarithm of a huge page's size.
    const HUGE_SHIFT: u32 = 26;
    /// Longest name, with its NUL.
    const NAME_MAX: usize = 250;
    let [name_gva, flags, ..] = request.args;
    let flags = low_u32(flags);
    let sized = if flags & HUGE == 0 { 0 } else { HUGE | 63 << HUGE_SHIFT };
    if flags & !(CLOEXEC | ALLOW_SEALING | NOEXEC_SEAL | EXEC | sized) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = kernel.user(request.tid).read_c_string(name_gva, NAME_MAX);
    let name =
        name.map_err(|errno| if errno == Errno::ENAMETOOLONG { Errno::EINVAL } else { errno })?;
    let path = [b"/memfd:", &name[..], b" (deleted)"].concat();
    let object = if flags & HUGE == 0 {
        Object::new_shmem(&kernel.frames, 0)
    } else {
        let size = HugeSize::from_shift(flags >> HUGE_SHIFT);
        let object = size.and_then(|size| kernel.huge.new_object(&kernel.frames, size, 0));
        object.ok_or(Errno::ENODEV)?
    };
    let status = flag::READ_WRITE | flag::LARGE_FILE;
    let file = opening::unnamed(kernel, (status, 0o777), &path, object)?;
    let on_exec = if flags & CLOEXEC != 0 { flag::CLOSE_ON_EXEC } else { 0 };
    install(kernel, request, file, on_exec).map(Outcome::Done)
}

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

fn make_directory(
    kernel: &mut Kernel,
    request: &Request,
    fd: u64,
    path_gva: u64,
    mode: u64,
) -> Result<Outcome, Errno> {
    let absolute = absolute(kernel, request, fd, path_gva)?;
    change::make_directory(kernel, request.tid, &absolute, low_u32(mode))?;
    Ok(Outcome::Done(0))
}

/// mkdir(path, mode)
pub(super) fn mkdir(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, mode, ..] = request.args;
    make_directory(kernel, request, AT_CWD, path_gva, mode)
}

/// mkdirat(directory, path, mode)
pub(super) fn mkdirat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, mode, ..] = request.args;
    make_directory(kernel, request, fd, path_gva, mode)
}

/// Makes a file that is not opened: a regular one or a fifo.
///
/// Differs from Linux: device files and sockets cannot be made.
fn make_node(
    kernel: &mut Kernel,
    request: &Request,
    fd: u64,
    path_gva: u64,
    mode: u64,
) -> Result<Outcome, Errno> {
    let absolute = absolute(kernel, request, fd, path_gva)?;
    change::make_node(kernel, request.tid, &absolute, low_u32(mode))?;
    Ok(Outcome::Done(0))
}

/// mknod(path, mode, device)
pub(super) fn mknod(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, mode, ..] = request.args;
    make_node(kernel, request, AT_CWD, path_gva, mode)
}

/// mknodat(directory, path, mode, device)
pub(super) fn mknodat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, mode, ..] = request.args;
    make_node(kernel, request, fd, path_gva, mode)
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
