//! Opening files.

use alloc::rc::Rc;

use super::super::request::{Outcome, Request, Wait, WaitKey};
use super::{AT_CWD, absolute, descriptor_limit};
use crate::errno::Errno;
use crate::file::open_file::Body;
use crate::file::table::OnExec;
use crate::file::uapi::open as flag;
use crate::file::{OpenFile, open as opening, table_of};
use crate::heap;
use crate::kernel::Kernel;
use crate::memory::huge::HugeSize;
use crate::memory::object::Object;
use crate::number::low_u32;
use crate::signal::has_deliverable;

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
