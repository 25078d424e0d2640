//! System calls of sockets. There are connected pairs of stream sockets and nothing else: no network
//! and no names.

use alloc::rc::Rc;
use alloc::vec;

use super::Entry;
use super::file::{broken_pipe, file_of, install, wait_for};
use super::request::{Outcome, Request};
use crate::errno::Errno;
use crate::file::open_file::{Body, Transfer};
use crate::file::socket::{self, Direction, Socket};
use crate::file::uapi::open;
use crate::file::{OpenFile, table_of, wake_dropped};
use crate::kernel::Kernel;
use crate::number::{index, low_u32};

/// The group's rows of the table.
pub(crate) const CALLS: &[Entry] = &[
    (41, "socket", socket),     // partial: no sockets with addresses
    (44, "sendto", sendto),     // partial: MSG_DONTWAIT, MSG_NOSIGNAL
    (45, "recvfrom", recvfrom), // partial: MSG_PEEK, MSG_DONTWAIT
    (48, "shutdown", shutdown),
    (53, "socketpair", socketpair), // partial: AF_UNIX streams only
    (54, "setsockopt", setsockopt), // partial: see getsockopt
    (55, "getsockopt", getsockopt), // partial: SO_TYPE, SO_ERROR, SO_DOMAIN
];

/// The one address family (AF_UNIX) and the one type (SOCK_STREAM) there is.
const UNIX: u32 = 1;
const STREAM: u32 = 1;
/// Flags of sendto() and recvfrom() (Linux v6.12 include/linux/socket.h).
const MSG_PEEK: u32 = 2;
const MSG_DONTWAIT: u32 = 0x40;
const MSG_NOSIGNAL: u32 = 0x4000;
/// Most bytes one call moves.
const MESSAGE_MAX: u64 = 65536;

/// Level and options of the options there are (Linux v6.12 include/uapi/asm-generic/socket.h).
const SOL_SOCKET: u32 = 1;
const SO_TYPE: u32 = 3;
const SO_ERROR: u32 = 4;
const SO_DOMAIN: u32 = 39;

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
    if kind & !flags != STREAM {
        return Err(Errno::EOPNOTSUPP);
    }
    let wait_ids = [kernel.new_wait_id(), kernel.new_wait_id()];
    let [one, other] = socket::pair(wait_ids, &kernel.files.dropped()).map(|socket| {
        let path = alloc::format!("socket:[{}]", wait_ids[0]).into_bytes();
        Rc::new(OpenFile::new(Body::Socket(socket), open::READ_WRITE | flags, path))
    });
    let table = table_of(kernel, request.tid);
    let one = install(kernel, request, one, flags)?;
    let made = install(kernel, request, other, flags).and_then(|other| {
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

/// sendto(fd, buffer, length, flags, address, address length); the address is that of the peer
fn sendto(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len, flags, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let socket = socket_of(&file)?;
    let len = index(len.min(MESSAGE_MAX));
    let mut done = index(request.progress);
    let bytes = kernel.user(request.tid).read_vec(gva, len)?;
    let flags = low_u32(flags);
    while done < len {
        match socket.write(kernel, &bytes[done..]) {
            Ok(Transfer::Done(moved)) => done += moved,
            Ok(Transfer::Wait(_)) if flags & MSG_DONTWAIT != 0 && done == 0 => {
                return Err(Errno::EAGAIN);
            }
            Ok(Transfer::Wait(_)) if flags & MSG_DONTWAIT != 0 => break,
            Ok(Transfer::Wait(key)) => return wait_for(request, &file, key, done),
            Err(errno) => {
                if errno == Errno::EPIPE && flags & MSG_NOSIGNAL == 0 {
                    broken_pipe(kernel, request.tid);
                }
                return if done > 0 { Ok(Outcome::Done(done as u64)) } else { Err(errno) };
            }
        }
    }
    Ok(Outcome::Done(done as u64))
}

/// recvfrom(fd, buffer, length, flags, address, address length); no address is told
fn recvfrom(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len, flags, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let socket = socket_of(&file)?;
    let flags = low_u32(flags);
    let mut buffer = vec![0; index(len.min(MESSAGE_MAX))];
    let answer = if flags & MSG_PEEK == 0 {
        socket.read(kernel, &mut buffer)?
    } else {
        socket.peek(&mut buffer)?
    };
    match answer {
        Transfer::Done(len) => {
            kernel.user(request.tid).write(gva, &buffer[..len])?;
            Ok(Outcome::Done(len as u64))
        }
        Transfer::Wait(_) if flags & MSG_DONTWAIT != 0 => Err(Errno::EAGAIN),
        Transfer::Wait(key) => wait_for(request, &file, key, 0),
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

/// setsockopt(fd, level, option, value, length): there is none to set
fn setsockopt(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    socket_of(&*file_of(kernel, request, request.args[0])?)?;
    Err(Errno::EOPNOTSUPP)
}

/// getsockopt(fd, level, option, value, length)
fn getsockopt(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, level, option, value_gva, len_gva, ..] = request.args;
    socket_of(&*file_of(kernel, request, fd)?)?;
    let value = match (low_u32(level), low_u32(option)) {
        (SOL_SOCKET, SO_TYPE) => STREAM,
        (SOL_SOCKET, SO_ERROR) => 0,
        (SOL_SOCKET, SO_DOMAIN) => UNIX,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let user = kernel.user(request.tid);
    let room = index(u64::from(user.read_half(len_gva)?)).min(size_of::<u32>());
    user.write(value_gva, &value.to_le_bytes()[..room])?;
    user.write_half(len_gva, u32::try_from(room).unwrap_or(0))?;
    Ok(Outcome::Done(0))
}
