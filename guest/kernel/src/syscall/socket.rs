//! System calls of sockets. There are connected pairs and nothing else: no network and no names.

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
use crate::number::{index, low_u32};

/// The group's rows of the table.
pub(crate) const CALLS: &[Entry] = &[
    (41, "socket", socket),              // partial: no sockets with addresses
    (44, "sendto", message::sendto),     // partial: no addresses
    (45, "recvfrom", message::recvfrom), // partial: no addresses
    (46, "sendmsg", message::sendmsg),   // partial: no addresses; SCM_RIGHTS only
    (47, "recvmsg", message::recvmsg),   // partial: as sendmsg
    (48, "shutdown", shutdown),
    (51, "getsockname", getsockname),
    (52, "getpeername", getsockname),
    (53, "socketpair", socketpair), // partial: AF_UNIX only
    (54, "setsockopt", setsockopt), // partial: buffer sizes and time limits are accepted without effect
    (55, "getsockopt", getsockopt), // partial: SO_TYPE, SO_ERROR, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN, SO_SNDBUF, SO_RCVBUF
];

/// The one address family (AF_UNIX).
const UNIX: u32 = 1;
/// Types and their numbers.
const TYPES: [(u32, Kind); 3] = [(1, Kind::Stream), (2, Kind::Datagram), (5, Kind::Sequence)];

/// Level and options of the options there are (Linux v6.12 include/uapi/asm-generic/socket.h).
const SOL_SOCKET: u32 = 1;
mod option {
    pub(super) const TYPE: u32 = 3;
    pub(super) const ERROR: u32 = 4;
    pub(super) const SEND_BUFFER: u32 = 7;
    pub(super) const RECEIVE_BUFFER: u32 = 8;
    pub(super) const RECEIVE_TIME: u32 = 20;
    pub(super) const SEND_TIME: u32 = 21;
    pub(super) const ACCEPTS: u32 = 30;
    pub(super) const PROTOCOL: u32 = 38;
    pub(super) const DOMAIN: u32 = 39;
}

/// What SO_SNDBUF and SO_RCVBUF tell (net.core.wmem_default).
const BUFFER_LEN: u32 = 212_992;

/// socket(family, type, protocol): a socket that would have to be given a name or connected.
fn socket(_: &mut Kernel, _: &mut Request) -> Result<Outcome, Errno> {
    Err(Errno::EAFNOSUPPORT)
}

/// socketpair(family, type, protocol, descriptors)
fn socketpair(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [family, kind, _, pair_gva, ..] = request.args;
    let kind = low_u32(kind);
    let flags = kind & (open::CLOSE_ON_EXEC | open::NON_BLOCKING);
    if low_u32(family) != UNIX {
        return Err(Errno::EAFNOSUPPORT);
    }
    let row = TYPES.iter().find(|(number, _)| *number == kind & !flags);
    let (_, kind) = *row.ok_or(Errno::ESOCKTNOSUPPORT)?;
    let wait_ids = [kernel.new_wait_id(), kernel.new_wait_id()];
    let file = |kernel: &Kernel, socket: Socket| -> Result<_, Errno> {
        let path = alloc::format!("socket:[{}]", socket.id()).into_bytes();
        let body = Body::Socket(kernel.frames.new_box(socket)?);
        Ok(kernel.frames.new_rc(OpenFile::new(body, open::READ_WRITE | flags, path))?)
    };
    let [one, other] = socket::pair(&kernel.frames, kind, wait_ids, &kernel.files.dropped());
    let (one, other) = (file(kernel, one)?, file(kernel, other)?);
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

/// getsockname(fd, address, length) and getpeername(): the family is all there is to tell.
fn getsockname(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const LEN: u32 = 2;
    let [fd, address_gva, len_gva, ..] = request.args;
    socket_of(&*file_of(kernel, request, fd)?)?;
    let user = kernel.user(request.tid);
    let room = user.read_half(len_gva)?;
    if room.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    let family = UNIX.to_le_bytes();
    user.write(address_gva, &family[..index(u64::from(room.min(LEN)))])?;
    user.write_half(len_gva, LEN)?;
    Ok(Outcome::Done(0))
}

/// setsockopt(fd, level, option, value, length)
fn setsockopt(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, level, option, value_gva, ..] = request.args;
    socket_of(&*file_of(kernel, request, fd)?)?;
    match (low_u32(level), low_u32(option)) {
        (
            SOL_SOCKET,
            option::SEND_BUFFER | option::RECEIVE_BUFFER | option::RECEIVE_TIME | option::SEND_TIME,
        ) => {
            kernel.user(request.tid).read_half(value_gva)?;
            Ok(Outcome::Done(0))
        }
        (SOL_SOCKET, _) => Err(Errno::ENOPROTOOPT),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// getsockopt(fd, level, option, value, length)
fn getsockopt(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, level, option, value_gva, len_gva, ..] = request.args;
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
        option::ERROR | option::PROTOCOL | option::ACCEPTS => 0,
        option::DOMAIN => UNIX,
        option::SEND_BUFFER | option::RECEIVE_BUFFER => BUFFER_LEN,
        _ => return Err(Errno::ENOPROTOOPT),
    };
    let user = kernel.user(request.tid);
    let room = index(u64::from(user.read_half(len_gva)?)).min(size_of::<u32>());
    user.write(value_gva, &value.to_le_bytes()[..room])?;
    user.write_half(len_gva, u32::try_from(room).unwrap_or(0))?;
    Ok(Outcome::Done(0))
}
