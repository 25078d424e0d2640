//! System calls of sockets. There are those of AF_UNIX: no network.

mod address;
mod connect;
mod control;
mod many;
mod message;

use super::Entry;
use super::file::{file_of, install};
use super::request::{Outcome, Request};
use crate::errno::Errno;
use crate::file::open_file::Body;
use crate::file::socket::{self, Direction, Kind, Socket};
use crate::file::uapi::open;
use crate::file::{OpenFile, table_of, wake_dropped};
use crate::kernel::Kernel;
use crate::number::{Tid, index, low_u32};
use alloc::boxed::Box;
use alloc::rc::Rc;

/// The group's rows of the table.
pub(crate) const CALLS: &[Entry] = &[
    (41, "socket", socket), // partial: AF_UNIX only
    (42, "connect", connect::connect),
    (43, "accept", connect::accept),
    (44, "sendto", message::sendto),
    (45, "recvfrom", message::recvfrom),
    (46, "sendmsg", message::sendmsg), // partial: SCM_RIGHTS and SCM_CREDENTIALS only
    (47, "recvmsg", message::recvmsg), // partial: as sendmsg
    (48, "shutdown", shutdown),
    (49, "bind", connect::bind),
    (50, "listen", connect::listen),
    (51, "getsockname", connect::getsockname),
    (52, "getpeername", connect::getpeername),
    (53, "socketpair", socketpair), // partial: AF_UNIX only
    (54, "setsockopt", setsockopt), // partial: SO_PASSCRED; buffers, time limits, REUSEADDR, KEEPALIVE are accepted without effect
    (55, "getsockopt", getsockopt), // partial: TYPE, ERROR, DOMAIN, PROTOCOL, ACCEPTCONN, SNDBUF, RCVBUF, PASSCRED, PEERCRED
    (288, "accept4", connect::accept4),
    (299, "recvmmsg", many::recvmmsg), // partial: waits for the first message only
    (307, "sendmmsg", many::sendmmsg), // partial: as recvmmsg
];

/// The working directory, as a descriptor word.
const AT_CWD: u64 = crate::file::uapi::at::CWD.cast_unsigned() as u64;

/// The one address family (AF_UNIX).
const UNIX: u32 = 1;
/// Types and their numbers.
const TYPES: [(u32, Kind); 3] = [(1, Kind::Stream), (2, Kind::Datagram), (5, Kind::Sequence)];

/// Level and options of the options there are (Linux v6.12 include/uapi/asm-generic/socket.h).
const SOL_SOCKET: u32 = 1;
mod option {
    pub(super) const REUSE: u32 = 2;
    pub(super) const TYPE: u32 = 3;
    pub(super) const ERROR: u32 = 4;
    pub(super) const SEND_BUFFER: u32 = 7;
    pub(super) const RECEIVE_BUFFER: u32 = 8;
    pub(super) const KEEP_ALIVE: u32 = 9;
    pub(super) const PASS_CREDENTIALS: u32 = 16;
    pub(super) const PEER_CREDENTIALS: u32 = 17;
    pub(super) const RECEIVE_TIME: u32 = 20;
    pub(super) const SEND_TIME: u32 = 21;
    pub(super) const ACCEPTS: u32 = 30;
    pub(super) const PROTOCOL: u32 = 38;
    pub(super) const DOMAIN: u32 = 39;

    /// Those that can be set.
    pub(super) const ACCEPTED: [u32; 7] =
        [REUSE, SEND_BUFFER, RECEIVE_BUFFER, KEEP_ALIVE, PASS_CREDENTIALS, RECEIVE_TIME, SEND_TIME];
}

/// What SO_SNDBUF and SO_RCVBUF tell (net.core.wmem_default).
const BUFFER_LEN: u32 = 212_992;

/// The kind and the flags of descriptors that a family and a type stand for.
fn kind_of(family: u64, kind: u64) -> Result<(Kind, u32), Errno> {
    /// Bits of the type, and the first number that none has (SOCK_MAX).
    const TYPE_BITS: u32 = 0xf;
    const TYPES_END: u32 = 11;
    let kind = low_u32(kind);
    let (kind, flags) = (kind & TYPE_BITS, kind & !TYPE_BITS);
    if flags & !(open::CLOSE_ON_EXEC | open::NON_BLOCKING) != 0 || kind >= TYPES_END {
        return Err(Errno::EINVAL);
    }
    if low_u32(family) != UNIX {
        return Err(Errno::EAFNOSUPPORT);
    }
    let row = TYPES.iter().find(|(number, _)| *number == kind);
    row.map(|(_, kind)| (*kind, flags)).ok_or(Errno::ESOCKTNOSUPPORT)
}

/// An open file for a socket.
fn file(kernel: &Kernel, socket: Box<Socket>, flags: u32) -> Result<Rc<OpenFile>, Errno> {
    let path = alloc::format!("socket:[{}]", socket.id()).into_bytes();
    let body = Body::Socket(socket);
    Ok(kernel.frames.new_rc(OpenFile::new(body, open::READ_WRITE | flags, path))?)
}

/// socket(family, type, protocol)
fn socket(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [family, kind, protocol, ..] = request.args;
    let (kind, flags) = kind_of(family, kind)?;
    if !matches!(low_u32(protocol), 0 | UNIX) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let wait_id = kernel.new_wait_id();
    let socket = Socket::new(&kernel.frames, kind, wait_id, &kernel.files.dropped());
    let file = file(kernel, kernel.frames.new_box(socket)?, flags)?;
    install(kernel, request, file, flags).map(Outcome::Done)
}

/// socketpair(family, type, protocol, descriptors)
fn socketpair(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [family, kind, _, pair_gva, ..] = request.args;
    let (kind, flags) = kind_of(family, kind)?;
    let wait_ids = [kernel.new_wait_id(), kernel.new_wait_id()];
    let pid = kernel.task(request.tid).process;
    let [one, other] = socket::pair(&kernel.frames, kind, wait_ids, pid, &kernel.files.dropped());
    let (one, other) = (kernel.frames.new_box(one)?, kernel.frames.new_box(other)?);
    let (one, other) = (file(kernel, one, flags)?, file(kernel, other, flags)?);
    let table = table_of(kernel, request.tid);
    let one = install(kernel, request, one, flags)?;
    let second = install(kernel, request, other, flags);
    let made = second.and_then(|other| {
        let written = kernel.user(request.tid).write_word(pair_gva, one | other << 32);
        if written.is_err() {
            table.borrow_mut().remove(other)?;
        }
        written
    });
    if made.is_err() {
        table.borrow_mut().remove(one)?;
    }
    wake_dropped(kernel);
    made.map(|()| Outcome::Done(0))
}

/// The socket of a descriptor.
fn socket_of(file: &OpenFile) -> Result<&Socket, Errno> {
    match &file.body {
        Body::Socket(socket) => Ok(socket),
        _ => Err(Errno::ENOTSOCK),
    }
}

/// shutdown(fd, how)
fn shutdown(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const RECEPTIONS: u32 = 0;
    const TRANSMISSIONS: u32 = 1;
    const BOTH: u32 = 2;
    let [fd, how, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let socket = socket_of(&file)?;
    let how = low_u32(how);
    if how > BOTH {
        return Err(Errno::EINVAL);
    }
    if how != TRANSMISSIONS {
        socket.shut_down(Direction::Incoming);
    }
    if how != RECEPTIONS {
        socket.shut_down(Direction::Outgoing);
    }
    wake_dropped(kernel);
    Ok(Outcome::Done(0))
}

/// setsockopt(fd, level, option, value, length)
fn setsockopt(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, level, option, value_gva, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let socket = socket_of(&file)?;
    if low_u32(level) != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    let option = low_u32(option);
    if !option::ACCEPTED.contains(&option) {
        return Err(Errno::ENOPROTOOPT);
    }
    let value = kernel.user(request.tid).read_half(value_gva)?;
    if option == option::PASS_CREDENTIALS {
        socket.tells_sender.set(value != 0);
    }
    Ok(Outcome::Done(0))
}

/// getsockopt(fd, level, option, value, length)
fn getsockopt(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, level, option, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let socket = socket_of(&file)?;
    if low_u32(level) != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    let value = match low_u32(option) {
        option::TYPE => {
            let row = TYPES.iter().find(|(_, kind)| *kind == socket.kind);
            row.map_or(0, |(number, _)| *number)
        }
        option::PEER_CREDENTIALS => {
            let bytes = credentials(socket.peer().pid);
            return write_option(kernel, request, &bytes);
        }
        option::ERROR | option::PROTOCOL | option::REUSE | option::KEEP_ALIVE => 0,
        option::ACCEPTS => u32::from(socket.is_listening()),
        option::PASS_CREDENTIALS => u32::from(socket.tells_sender.get()),
        option::DOMAIN => UNIX,
        option::SEND_BUFFER | option::RECEIVE_BUFFER => BUFFER_LEN,
        _ => return Err(Errno::ENOPROTOOPT),
    };
    write_option(kernel, request, &value.to_le_bytes())
}

/// Writes the value of an option as far as there is room.
fn write_option(kernel: &Kernel, request: &Request, value: &[u8]) -> Result<Outcome, Errno> {
    let [_, _, _, value_gva, len_gva, _] = request.args;
    let user = kernel.user(request.tid);
    let room = index(u64::from(user.read_half(len_gva)?)).min(value.len());
    user.write(value_gva, &value[..room])?;
    user.write_half(len_gva, u32::try_from(room).unwrap_or(0))?;
    Ok(Outcome::Done(0))
}

/// Bytes of a `struct ucred`.
const CREDENTIALS_LEN: usize = 12;

/// The `struct ucred` of a process, or of none. User and group are 0, or -1.
fn credentials(pid: Option<Tid>) -> [u8; CREDENTIALS_LEN] {
    let mut bytes = [if pid.is_some() { 0 } else { 0xff }; CREDENTIALS_LEN];
    bytes[..4].copy_from_slice(&pid.map_or(0, |pid| pid.0).to_le_bytes());
    bytes
}
