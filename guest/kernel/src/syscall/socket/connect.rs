//! System calls that give sockets names and connect them.

use alloc::format;
use alloc::rc::Rc;

use super::super::file::{file_of, install, wait_for};
use super::super::request::{Outcome, Request};
use super::address::{self, Address};
use super::{AT_CWD, file, socket_of};
use crate::errno::Errno;
use crate::file::node::NodeBody;
use crate::file::socket::port::Name;
use crate::file::uapi::open;
use crate::file::{change, context_of, lookup};
use crate::kernel::Kernel;
use crate::number::{Tid, index, low_i32, low_u32};

/// Connections that may wait at most (Linux: net.core.somaxconn).
const BACKLOG_MAX: i32 = 4096;

/// bind(fd, address, length)
pub(super) fn bind(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let socket = socket_of(&file)?;
    match address::read(&kernel.user(request.tid), gva, len)? {
        Address::None => return Err(Errno::EINVAL),
        Address::Any if socket.name().is_some() => {}
        Address::Any => {
            // Linux makes up names of five digits.
            let made_up = Name::from(format!("\0{:05x}", kernel.new_wait_id()).into_bytes());
            kernel.files.sockets.add(&socket.bind(made_up)?);
        }
        Address::Abstract(name) => {
            if kernel.files.sockets.find(&name).is_some() {
                return Err(Errno::EADDRINUSE);
            }
            kernel.files.sockets.add(&socket.bind(Name::from(name))?);
        }
        Address::Path(path) => {
            let port = socket.bind(Name::from([&path[..], b"\0"].concat()))?;
            let made =
                make_file(kernel, request.tid, &path, NodeBody::Socket(Rc::downgrade(&port)));
            if let Err(errno) = made {
                socket.unbind();
                return Err(if errno == Errno::EEXIST { Errno::EADDRINUSE } else { errno });
            }
        }
    }
    Ok(Outcome::Done(0))
}

/// Makes the file that is a socket's name.
fn make_file(kernel: &mut Kernel, tid: Tid, path: &[u8], body: NodeBody) -> Result<(), Errno> {
    const PERMISSIONS: u32 = 0o777;
    let absolute = lookup::absolute(kernel, tid, AT_CWD, path)?;
    change::check_free(kernel, tid, &absolute)?;
    let permissions = PERMISSIONS & !context_of(kernel, tid).borrow().umask;
    change::add(kernel, tid, &absolute, permissions, body).map(drop)
}

/// listen(fd, backlog)
pub(super) fn listen(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, backlog, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let backlog = match low_i32(backlog) {
        count if (0..=BACKLOG_MAX).contains(&count) => count,
        _ => BACKLOG_MAX,
    };
    let pid = kernel.task(request.tid).process;
    socket_of(&file)?.listen(pid, index(u64::from(backlog.cast_unsigned())))?;
    Ok(Outcome::Done(0))
}

/// connect(fd, address, length)
pub(super) fn connect(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let socket = socket_of(&file)?;
    if address::read(&kernel.user(request.tid), gva, len)? == Address::None {
        socket.disconnect()?;
        return Ok(Outcome::Done(0));
    }
    let port = address::find(kernel, request, gva, len)?;
    let pid = kernel.task(request.tid).process;
    match socket.connect(kernel, &port, pid)? {
        Some(key) => wait_for(request, &file, key, 0),
        None => Ok(Outcome::Done(0)),
    }
}

/// accept4(fd, address, length, flags)
pub(super) fn accept4(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let flags = low_u32(request.args[3]);
    accept_with(kernel, request, flags)
}

/// accept(fd, address, length)
pub(super) fn accept(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    accept_with(kernel, request, 0)
}

fn accept_with(kernel: &mut Kernel, request: &mut Request, flags: u32) -> Result<Outcome, Errno> {
    let [fd, gva, len_gva, ..] = request.args;
    if flags & !(open::CLOSE_ON_EXEC | open::NON_BLOCKING) != 0 {
        return Err(Errno::EINVAL);
    }
    let listening = file_of(kernel, request, fd)?;
    let socket = socket_of(&listening)?;
    let Some(accepted) = socket.accept(kernel)? else {
        return wait_for(request, &listening, socket.read_key(), 0);
    };
    let name = accepted.peer().name;
    let accepted = file(kernel, accepted, flags)?;
    if gva != 0 {
        address::write(&kernel.user(request.tid), name.as_deref(), gva, len_gva)?;
    }
    install(kernel, request, accepted, flags).map(Outcome::Done)
}

/// getsockname(fd, address, length)
pub(super) fn getsockname(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len_gva, ..] = request.args;
    let name = socket_of(&*file_of(kernel, request, fd)?)?.name();
    address::write(&kernel.user(request.tid), name.as_deref(), gva, len_gva)?;
    Ok(Outcome::Done(0))
}

/// getpeername(fd, address, length)
pub(super) fn getpeername(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len_gva, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let socket = socket_of(&file)?;
    if !socket.is_connected() {
        return Err(Errno::ENOTCONN);
    }
    let name = socket.peer().name;
    address::write(&kernel.user(request.tid), name.as_deref(), gva, len_gva)?;
    Ok(Outcome::Done(0))
}
