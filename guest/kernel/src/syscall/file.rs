//! System calls of files.

mod attribute;
mod copy;
mod descriptor;
mod extended;
mod ioctl;
mod lock;
mod name;
mod open;
mod stat;
mod transfer;

pub(crate) use lock::{closed, release_process};
pub(super) use open::install;
pub(super) use transfer::{Spans, broken_pipe, wait_for};

use super::Entry;
use super::request::Request;
use crate::errno::Errno;
use crate::file::{OpenFile, lookup, path, table_of};
use crate::kernel::Kernel;
use alloc::rc::Rc;
use alloc::vec::Vec;

/// The group's rows of the table.
pub(crate) const CALLS: &[Entry] = &[
    (0, "read", transfer::read),
    (1, "write", transfer::write),
    (2, "open", open::open),
    (3, "close", descriptor::close),
    (4, "stat", stat::stat),
    (5, "fstat", stat::fstat),
    (6, "lstat", stat::lstat),
    (8, "lseek", descriptor::lseek),
    (16, "ioctl", ioctl::ioctl), // partial: terminals, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX
    (17, "pread64", transfer::pread64),
    (18, "pwrite64", transfer::pwrite64),
    (19, "readv", transfer::readv),
    (20, "writev", transfer::writev),
    (21, "access", stat::access),
    (32, "dup", descriptor::dup),
    (33, "dup2", descriptor::dup2),
    (40, "sendfile", copy::sendfile),
    (72, "fcntl", descriptor::fcntl), // partial: no leases, seals or F_NOTIFY
    (73, "flock", lock::flock),
    (74, "fsync", descriptor::fsync),
    (75, "fdatasync", descriptor::fsync),
    (76, "truncate", attribute::truncate),
    (77, "ftruncate", attribute::ftruncate),
    (79, "getcwd", name::getcwd),
    (80, "chdir", name::chdir),
    (81, "fchdir", name::fchdir),
    (82, "rename", name::rename),
    (83, "mkdir", name::mkdir),
    (84, "rmdir", name::rmdir),
    (85, "creat", open::creat),
    (86, "link", name::link),
    (87, "unlink", name::unlink),
    (88, "symlink", name::symlink),
    (89, "readlink", name::readlink),
    (90, "chmod", attribute::chmod),
    (91, "fchmod", attribute::fchmod),
    (92, "chown", attribute::chown),
    (93, "fchown", attribute::fchown),
    (94, "lchown", attribute::lchown),
    (95, "umask", attribute::umask),
    (132, "utime", attribute::utime),
    (133, "mknod", name::mknod), // partial: no block devices, and of the others those of /dev
    (137, "statfs", stat::statfs),
    (138, "fstatfs", stat::fstatfs),
    (153, "vhangup", ioctl::vhangup),
    (162, "sync", descriptor::sync),
    (187, "readahead", descriptor::fsync),
    (188, "setxattr", extended::by_path), // partial: no file system has attributes
    (189, "lsetxattr", extended::by_link), // partial: as setxattr
    (190, "fsetxattr", extended::by_descriptor), // partial: as setxattr
    (191, "getxattr", extended::by_path), // partial: as setxattr
    (192, "lgetxattr", extended::by_link), // partial: as setxattr
    (193, "fgetxattr", extended::by_descriptor), // partial: as setxattr
    (194, "listxattr", extended::by_path), // partial: as setxattr
    (195, "llistxattr", extended::by_link), // partial: as setxattr
    (196, "flistxattr", extended::by_descriptor), // partial: as setxattr
    (197, "removexattr", extended::by_path), // partial: as setxattr
    (198, "lremovexattr", extended::by_link), // partial: as setxattr
    (199, "fremovexattr", extended::by_descriptor), // partial: as setxattr
    (217, "getdents64", name::getdents64),
    (221, "fadvise64", descriptor::fsync),
    (235, "utimes", attribute::utimes),
    (257, "openat", open::openat),
    (258, "mkdirat", name::mkdirat),
    (259, "mknodat", name::mknodat), // partial: as mknod
    (260, "fchownat", attribute::fchownat),
    (261, "futimesat", attribute::futimesat),
    (262, "newfstatat", stat::newfstatat),
    (263, "unlinkat", name::unlinkat),
    (264, "renameat", name::renameat),
    (265, "linkat", name::linkat),
    (266, "symlinkat", name::symlinkat),
    (267, "readlinkat", name::readlinkat),
    (268, "fchmodat", attribute::fchmodat),
    (269, "faccessat", stat::faccessat),
    (280, "utimensat", attribute::utimensat),
    (285, "fallocate", attribute::fallocate),
    (292, "dup3", descriptor::dup3),
    (295, "preadv", transfer::preadv),
    (296, "pwritev", transfer::pwritev),
    (306, "syncfs", descriptor::fsync),
    (316, "renameat2", name::renameat2),
    (319, "memfd_create", open::memfd_create),
    (326, "copy_file_range", copy::copy_file_range),
    (327, "preadv2", transfer::preadv2), // partial: no RWF_APPEND or RWF_NOAPPEND
    (328, "pwritev2", transfer::pwritev2), // partial: as preadv2
    (332, "statx", stat::statx),
    (436, "close_range", descriptor::close_range),
    (439, "faccessat2", stat::faccessat2),
];

/// The working directory, as a descriptor word of the calls without one.
const AT_CWD: u64 = crate::file::uapi::at::CWD.cast_unsigned() as u64;

/// The open file of a descriptor of the caller.
pub(super) fn file_of(kernel: &Kernel, request: &Request, fd: u64) -> Result<Rc<OpenFile>, Errno> {
    table_of(kernel, request.tid).borrow().get(fd)
}

/// How many descriptors the caller may have (RLIMIT_NOFILE).
pub(super) fn descriptor_limit(kernel: &Kernel, request: &Request) -> u64 {
    kernel.process_of(request.tid).limits[crate::task::process::LIMIT_FILES].0
}

/// The path at an address, as given.
pub(super) fn given_path(kernel: &Kernel, request: &Request, gva: u64) -> Result<Vec<u8>, Errno> {
    kernel.user(request.tid).read_c_string(gva, path::PATH_MAX)
}

/// The absolute path that a descriptor and an address of a path stand for.
fn absolute(kernel: &Kernel, request: &Request, fd: u64, gva: u64) -> Result<Vec<u8>, Errno> {
    let given = given_path(kernel, request, gva)?;
    lookup::absolute(kernel, request.tid, fd, &given)
}
