//! System calls that make files of signals.

use alloc::rc::Rc;

use super::super::file::{file_of, install};
use super::super::request::{Outcome, Request};
use super::read_mask;
use crate::errno::Errno;
use crate::file::OpenFile;
use crate::file::open_file::Body;
use crate::file::signal::SignalFile;
use crate::file::uapi::open;
use crate::kernel::Kernel;
use crate::number::{low_i32, low_u32};

/// signalfd(fd, set, set size)
pub(super) fn signalfd(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    make(kernel, request, 0)
}

/// signalfd4(fd, set, set size, flags)
pub(super) fn signalfd4(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    make(kernel, request, low_u32(request.args[3]))
}

/// Makes a file for a set of signals, or changes the set of the one that is given.
fn make(kernel: &mut Kernel, request: &Request, flags: u32) -> Result<Outcome, Errno> {
    let [fd, set_gva, len, ..] = request.args;
    if flags & !(open::CLOSE_ON_EXEC | open::NON_BLOCKING) != 0 {
        return Err(Errno::EINVAL);
    }
    let set = read_mask(kernel, request, set_gva, len)?;
    if low_i32(fd) == -1 {
        let body = Body::Signal(SignalFile::new(kernel.new_wait_id(), set));
        let path = b"anon_inode:[signalfd]".to_vec();
        let file = Rc::new(OpenFile::new(body, open::READ_WRITE | flags, path));
        return install(kernel, request, file, flags).map(Outcome::Done);
    }
    match &file_of(kernel, request, fd)?.body {
        Body::Signal(signals) => signals.set(set),
        _ => return Err(Errno::EINVAL),
    }
    Ok(Outcome::Done(u64::from(low_u32(fd))))
}
