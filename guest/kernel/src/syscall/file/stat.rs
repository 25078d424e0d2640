//! Asking about files.

use super::super::request::{Outcome, Request};
use super::{AT_CWD, absolute, file_of, given_path};
use crate::errno::Errno;
use crate::file::lookup::{self, lookup};
use crate::file::open_file::Body;
use crate::file::uapi::{Stat, at, statfs_bytes};
use crate::file::{context_of, hugetlbfs, path};
use crate::host::Follow;
use crate::kernel::Kernel;
use crate::number::{low_i32, low_u32};
use vmcg_abi::layout::PAGE_SIZE;

/// The link rule of a *at call's flags.
pub(super) fn follow_of(flags: u32) -> Follow {
    if flags & at::SYMLINK_NOFOLLOW == 0 { Follow::Yes } else { Follow::No }
}

/// What is known of the file that a descriptor and a path name.
fn stat_at(
    kernel: &mut Kernel,
    request: &Request,
    fd: u64,
    path_gva: u64,
    flags: u32,
) -> Result<Stat, Errno> {
    let is_descriptor = flags & at::EMPTY_PATH != 0;
    let given = if path_gva == 0 && is_descriptor {
        alloc::vec::Vec::new()
    } else {
        given_path(kernel, request, path_gva)?
    };
    if given.is_empty() && is_descriptor {
        if low_i32(fd) != at::CWD {
            return Ok(file_of(kernel, request, fd)?.stat());
        }
        let directory = context_of(kernel, request.tid).borrow().directory.clone();
        return Ok(lookup(kernel, request.tid, &directory, Follow::Yes)?.stat());
    }
    let absolute = lookup::absolute(kernel, request.tid, fd, &given)?;
    Ok(lookup(kernel, request.tid, &absolute, follow_of(flags))?.stat())
}

fn write_stat(kernel: &Kernel, request: &Request, gva: u64, stat: Stat) -> Result<Outcome, Errno> {
    kernel.user(request.tid).write(gva, &stat.to_bytes())?;
    Ok(Outcome::Done(0))
}

/// stat(path, stat)
pub(super) fn stat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, stat_gva, ..] = request.args;
    let stat = stat_at(kernel, request, AT_CWD, path_gva, 0)?;
    write_stat(kernel, request, stat_gva, stat)
}

/// lstat(path, stat)
pub(super) fn lstat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, stat_gva, ..] = request.args;
    let stat = stat_at(kernel, request, AT_CWD, path_gva, at::SYMLINK_NOFOLLOW)?;
    write_stat(kernel, request, stat_gva, stat)
}

/// fstat(fd, stat)
pub(super) fn fstat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, stat_gva, ..] = request.args;
    let stat = file_of(kernel, request, fd)?.stat();
    write_stat(kernel, request, stat_gva, stat)
}

/// newfstatat(directory, path, stat, flags)
pub(super) fn newfstatat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, stat_gva, flags, ..] = request.args;
    let stat = stat_at(kernel, request, fd, path_gva, low_u32(flags))?;
    write_stat(kernel, request, stat_gva, stat)
}

/// statx(directory, path, flags, mask, statx)
pub(super) fn statx(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, flags, _, statx_gva, ..] = request.args;
    let stat = stat_at(kernel, request, fd, path_gva, low_u32(flags))?;
    kernel.user(request.tid).write(statx_gva, &stat.to_statx_bytes())?;
    Ok(Outcome::Done(0))
}

/// Whether the superuser may do to a file what `wanted` asks for (R_OK, W_OK, X_OK).
fn check_access(kernel: &Kernel, place: &lookup::Place, wanted: u32) -> Result<(), Errno> {
    const EXECUTE: u32 = 1;
    const WRITE: u32 = 2;
    const ANY_EXECUTE: u32 = 0o111;
    let stat = place.stat();
    if wanted & EXECUTE != 0 && !stat.is_directory() && stat.mode & ANY_EXECUTE == 0 {
        return Err(Errno::EACCES);
    }
    let is_on_share = matches!(place.found, lookup::Found::Share(_));
    if wanted & WRITE != 0 && is_on_share && !kernel.files.is_writable(&place.path) {
        return Err(Errno::EROFS);
    }
    Ok(())
}

fn access_at(
    kernel: &mut Kernel,
    request: &Request,
    fd: u64,
    path_gva: u64,
    [mode, flags]: [u32; 2],
) -> Result<Outcome, Errno> {
    const ANY: u32 = 7;
    if mode & !ANY != 0 {
        return Err(Errno::EINVAL);
    }
    let absolute = absolute(kernel, request, fd, path_gva)?;
    let place = lookup(kernel, request.tid, &absolute, follow_of(flags))?;
    check_access(kernel, &place, mode)?;
    Ok(Outcome::Done(0))
}

/// access(path, mode)
pub(super) fn access(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, mode, ..] = request.args;
    access_at(kernel, request, AT_CWD, path_gva, [low_u32(mode), 0])
}

/// faccessat(directory, path, mode)
pub(super) fn faccessat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, mode, ..] = request.args;
    access_at(kernel, request, fd, path_gva, [low_u32(mode), 0])
}

/// faccessat2(directory, path, mode, flags)
pub(super) fn faccessat2(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, mode, flags, ..] = request.args;
    access_at(kernel, request, fd, path_gva, [low_u32(mode), low_u32(flags)])
}

/// Numbers of file systems (Linux v6.12 include/uapi/linux/magic.h).
const TMPFS: u64 = 0x0102_1994;
const PROC: u64 = 0x9fa0;
const PIPEFS: u64 = 0x5049_5045;
const FUSE: u64 = 0x6573_5546;

/// Describes the file system that a path lies in.
fn write_statfs(
    kernel: &Kernel,
    request: &Request,
    gva: u64,
    at_path: &[u8],
) -> Result<Outcome, Errno> {
    let bytes = if at_path.is_empty() {
        statfs_bytes((PIPEFS, PAGE_SIZE), 0, 0)
    } else if let Some(quota) = kernel.files.huge_quota(at_path) {
        // Linux v6.12 hugetlbfs_statfs: without size= the numbers of blocks stay 0.
        let (max, free) = (quota.max.unwrap_or(0), quota.free().unwrap_or(0));
        statfs_bytes((hugetlbfs::MAGIC, quota.size.bytes()), max, free)
    } else if kernel.files.is_writable(at_path) {
        let frames = &kernel.frames;
        statfs_bytes((TMPFS, PAGE_SIZE), frames.file_room_max(), frames.file_room())
    } else if path::below(at_path, b"/proc").is_some() {
        statfs_bytes((PROC, PAGE_SIZE), 0, 0)
    } else if path::below(at_path, b"/dev").is_some() {
        statfs_bytes((TMPFS, PAGE_SIZE), 0, 0)
    } else {
        statfs_bytes((FUSE, PAGE_SIZE), 0, 0)
    };
    kernel.user(request.tid).write(gva, &bytes)?;
    Ok(Outcome::Done(0))
}

/// statfs(path, statfs)
pub(super) fn statfs(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, statfs_gva, ..] = request.args;
    let absolute = absolute(kernel, request, AT_CWD, path_gva)?;
    let place = lookup(kernel, request.tid, &absolute, Follow::Yes)?;
    write_statfs(kernel, request, statfs_gva, &place.path)
}

/// fstatfs(fd, statfs)
pub(super) fn fstatfs(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, statfs_gva, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let path = if matches!(file.body, Body::Pipe(_)) { &[][..] } else { &file.path };
    write_statfs(kernel, request, statfs_gva, path)
}
