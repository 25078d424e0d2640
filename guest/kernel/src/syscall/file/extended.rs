//! Extended attributes: no file system here has any.

use super::super::request::{Outcome, Request};
use super::{AT_CWD, absolute, file_of};
use crate::errno::Errno;
use crate::file::lookup::lookup;
use crate::host::Follow;
use crate::kernel::Kernel;

/// getxattr(), setxattr(), listxattr(), removexattr(): by path
pub(super) fn by_path(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let absolute = absolute(kernel, request, AT_CWD, request.args[0])?;
    lookup(kernel, request.tid, &absolute, Follow::Yes)?;
    Err(Errno::EOPNOTSUPP)
}

/// lgetxattr() and so on: by path, of a symbolic link itself
pub(super) fn by_link(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let absolute = absolute(kernel, request, AT_CWD, request.args[0])?;
    lookup(kernel, request.tid, &absolute, Follow::No)?;
    Err(Errno::EOPNOTSUPP)
}

/// fgetxattr() and so on: by descriptor
pub(super) fn by_descriptor(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    file_of(kernel, request, request.args[0])?;
    Err(Errno::EOPNOTSUPP)
}
