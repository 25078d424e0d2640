//! Sending and receiving, with open files as passengers (SCM_RIGHTS), and who the sender is.
//!
//! Source: Linux v6.12 include/linux/socket.h, net/unix/af_unix.c, net/core/scm.c.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

use super::super::file::{Spans, broken_pipe, file_of, wait_for};
use super::super::request::{OnSignal, Outcome, Request, Wait};
use super::control::{Seats, passengers, seat};
use super::{address, socket_of};
use crate::errno::Errno;
use crate::file::OpenFile;
use crate::file::open_file::Transfer;
use crate::file::socket::channel::{Received, Taking};
use crate::file::socket::port::Port;
use crate::file::socket::{Kind, Socket};
use crate::file::uapi::open;
use crate::kernel::Kernel;
use crate::memory::user::UserMemory;
use crate::number::{index, low_u32};

/// Flags of the calls, and of what was received.
pub(super) mod flag {
    pub(super) const OUT_OF_BAND: u32 = 1;
    pub(super) const PEEK: u32 = 2;
    pub(super) const CUT_CONTROL: u32 = 8;
    pub(super) const CUT: u32 = 0x20;
    pub(in super::super) const NOT_WAITING: u32 = 0x40;
    pub(super) const WAIT_FOR_ALL: u32 = 0x100;
    pub(super) const NO_SIGNAL: u32 = 0x4000;
    pub(in super::super) const WAIT_FOR_ONE: u32 = 0x1_0000;
    pub(super) const CLOSE_ON_EXEC: u32 = 0x4000_0000;
}

/// Bytes moved at a time.
const PIECE_LEN: usize = 65536;
/// Longest message.
const MESSAGE_MAX: usize = 212_992;
/// Words of a `struct msghdr`.
const MESSAGE_WORDS: usize = 7;
const CONTROL: usize = 4;
const CONTROL_LEN: usize = 5;
/// Offsets of the lengths and flags that a receiver is told.
const NAME_LEN_AT: u64 = 8;
const CONTROL_LEN_AT: u64 = 40;
const FLAGS_AT: u64 = 48;

/// sendto(fd, buffer, length, flags, address, address length)
pub(super) fn sendto(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len, flags, address_gva, address_len] = request.args;
    let file = file_of(kernel, request, fd)?;
    let port = receiver(kernel, request, socket_of(&file)?, [address_gva, address_len])?;
    let spans = Spans::one(kernel.user(request.tid), gva, len)?;
    let sending = Sending { port, spans, files: Vec::new(), flags: low_u32(flags) };
    send(kernel, request, &file, sending)
}

/// sendmsg(fd, message, flags)
pub(super) fn sendmsg(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, message_gva, flags, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let socket = socket_of(&file)?;
    let user = kernel.user(request.tid);
    let message = words::<MESSAGE_WORDS>(&user, message_gva)?;
    let [name_gva, name_len, spans_gva, count, control_gva, control_len, _] = message;
    let name_len = u64::from(low_u32(name_len));
    let name_gva = if name_len == 0 { 0 } else { name_gva };
    let port = receiver(kernel, request, socket, [name_gva, name_len])?;
    let spans = Spans::many(kernel.user(request.tid), spans_gva, count)?;
    // What has been sent in part has taken its files along.
    let files = match request.progress {
        0 => passengers(kernel, request, control_gva, control_len)?,
        _ => Vec::new(),
    };
    send(kernel, request, &file, Sending { port, spans, files, flags: low_u32(flags) })
}

/// Where a message with an address goes; `None` = where the socket is connected.
fn receiver(
    kernel: &mut Kernel,
    request: &Request,
    socket: &Socket,
    [gva, len]: [u64; 2],
) -> Result<Option<Rc<Port>>, Errno> {
    if gva == 0 {
        return Ok(None);
    }
    match socket.kind {
        Kind::Datagram => address::find(kernel, request, gva, len).map(Some),
        // Linux v6.12 net/unix/af_unix.c: only a stream minds, and a sequence ignores it.
        Kind::Stream if socket.peer().pid.is_some() => Err(Errno::EISCONN),
        Kind::Stream => Err(Errno::EOPNOTSUPP),
        Kind::Sequence => Ok(None),
    }
}

fn words<const COUNT: usize>(user: &UserMemory, gva: u64) -> Result<[u64; COUNT], Errno> {
    let bytes = user.read_vec(gva, COUNT * 8)?;
    let mut words = [0; COUNT];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Ok(words)
}

/// What is to be sent.
struct Sending {
    /// To whom, where it is not connected.
    port: Option<Rc<Port>>,
    spans: Spans,
    files: Vec<Rc<OpenFile>>,
    flags: u32,
}

fn send(
    kernel: &mut Kernel,
    request: &mut Request,
    file: &OpenFile,
    sending: Sending,
) -> Result<Outcome, Errno> {
    let Sending { port, spans, mut files, flags } = sending;
    if flags & flag::OUT_OF_BAND != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let socket = socket_of(file)?;
    let piece_max = if socket.kind == Kind::Stream { PIECE_LEN } else { MESSAGE_MAX };
    if socket.kind != Kind::Stream && spans.total > MESSAGE_MAX {
        return Err(Errno::EMSGSIZE);
    }
    let mut buffer = vec![0; spans.total.min(piece_max)];
    let mut done = index(request.progress);
    loop {
        let want = (spans.total - done).min(piece_max);
        let copied = spans.copy_in(done, &mut buffer[..want]);
        let passengers = core::mem::take(&mut files);
        let sent = copied
            .and_then(|()| socket.send(kernel, port.as_deref(), &buffer[..want], &passengers));
        match sent {
            Ok(Transfer::Done(len)) => done += len,
            Ok(Transfer::Wait(_)) if flags & flag::NOT_WAITING != 0 => {
                return if done > 0 { Ok(Outcome::Done(done as u64)) } else { Err(Errno::EAGAIN) };
            }
            Ok(Transfer::Wait(key)) => return wait_for(request, file, key, done),
            Err(errno) => {
                if errno == Errno::EPIPE && flags & flag::NO_SIGNAL == 0 && done == 0 {
                    broken_pipe(kernel, request.tid);
                }
                return if done > 0 { Ok(Outcome::Done(done as u64)) } else { Err(errno) };
            }
        }
        if done >= spans.total || socket.kind != Kind::Stream {
            return Ok(Outcome::Done(done as u64));
        }
    }
}

/// recvfrom(fd, buffer, length, flags, address, address length)
pub(super) fn recvfrom(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len, flags, address_gva, address_len_gva] = request.args;
    let file = file_of(kernel, request, fd)?;
    let spans = Spans::one(kernel.user(request.tid), gva, len)?;
    let flags = low_u32(flags);
    let received = match receive(kernel, request, &file, &spans, flags)? {
        Answer::Received(received) => received,
        Answer::Outcome(outcome) => return Ok(outcome),
    };
    if address_gva != 0 {
        let user = kernel.user(request.tid);
        tell_sender(&user, socket_of(&file)?, &received, [address_gva, address_len_gva])?;
    }
    Ok(Outcome::Done(told_len(&file, &received, flags)? as u64))
}

/// recvmsg(fd, message, flags)
pub(super) fn recvmsg(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, message_gva, flags, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let socket = socket_of(&file)?;
    let user = kernel.user(request.tid);
    let message = words::<MESSAGE_WORDS>(&user, message_gva)?;
    let spans = Spans::many(kernel.user(request.tid), message[2], message[3])?;
    let flags = low_u32(flags);
    let mut received = match receive(kernel, request, &file, &spans, flags)? {
        Answer::Received(received) => received,
        Answer::Outcome(outcome) => return Ok(outcome),
    };
    let files = core::mem::take(&mut received.files);
    let room = if message[CONTROL] == 0 { 0 } else { index(message[CONTROL_LEN]) };
    let on_exec = if flags & flag::CLOSE_ON_EXEC == 0 { 0 } else { open::CLOSE_ON_EXEC };
    let sender = socket.tells_sender.get().then_some(received.sender.pid).flatten();
    let seats = Seats { gva: message[CONTROL], room, on_exec, sender };
    let (control_len, is_cut) = seat(kernel, request, files, &seats)?;
    let mut told = if is_cut { flag::CUT_CONTROL } else { 0 };
    if socket.kind != Kind::Stream && received.message_len > received.len {
        told |= flag::CUT;
    }
    told |= flags & flag::CLOSE_ON_EXEC;
    let name_len_gva = message_gva.wrapping_add(NAME_LEN_AT);
    tell_sender(&user, socket, &received, [message[0], name_len_gva])?;
    user.write_word(message_gva.wrapping_add(CONTROL_LEN_AT), control_len as u64)?;
    user.write_half(message_gva.wrapping_add(FLAGS_AT), told)?;
    Ok(Outcome::Done(told_len(&file, &received, flags)? as u64))
}

/// Tells a receiver the name of the sender: whose message it is, but not whose connection.
fn tell_sender(
    user: &UserMemory,
    socket: &Socket,
    received: &Received,
    [gva, len_gva]: [u64; 2],
) -> Result<(), Errno> {
    match &received.sender.name {
        Some(name) if gva != 0 && socket.kind == Kind::Datagram => {
            address::write(user, Some(name), gva, len_gva)
        }
        _ => user.write_half(len_gva, 0),
    }
}

/// The length a call answers: with MSG_TRUNC that of the whole message.
fn told_len(file: &OpenFile, received: &Received, flags: u32) -> Result<usize, Errno> {
    let is_message = socket_of(file)?.kind != Kind::Stream;
    let is_whole = is_message && flags & flag::CUT != 0;
    Ok(if is_whole { received.message_len } else { received.len })
}

/// What a reception came to.
enum Answer {
    Received(Received),
    Outcome(Outcome),
}

fn receive(
    kernel: &mut Kernel,
    request: &mut Request,
    file: &OpenFile,
    spans: &Spans,
    flags: u32,
) -> Result<Answer, Errno> {
    let socket = socket_of(file)?;
    if flags & flag::OUT_OF_BAND != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let waits_for_all = flags & flag::WAIT_FOR_ALL != 0 && flags & flag::PEEK == 0;
    let done = index(request.progress);
    let taking = if flags & flag::PEEK == 0 { Taking::Take } else { Taking::Peek };
    let mut buffer = vec![0; (spans.total - done).min(MESSAGE_MAX)];
    let received = socket.receive(kernel, &mut buffer, taking)?;
    let Some(mut received) = received else {
        if flags & flag::NOT_WAITING != 0 {
            return if done > 0 { Ok(finished(done)) } else { Err(Errno::EAGAIN) };
        }
        return wait_for(request, file, socket.read_key(), done).map(Answer::Outcome);
    };
    spans.copy_out(done, &buffer[..received.len])?;
    let is_end = received.len == 0;
    received.len += done;
    let is_short = received.len < spans.total && !is_end && received.files.is_empty();
    if waits_for_all && is_short && socket.kind == Kind::Stream && !file.is_non_blocking() {
        return Ok(Answer::Outcome(wait_for_rest(request, socket, received.len)));
    }
    Ok(Answer::Received(received))
}

fn finished(done: usize) -> Answer {
    Answer::Outcome(Outcome::Done(done as u64))
}

/// MSG_WAITALL: what came is kept, and the rest is waited for.
fn wait_for_rest(request: &mut Request, socket: &Socket, done: usize) -> Outcome {
    request.progress = done as u64;
    let wait = Wait::on(socket.read_key());
    Outcome::Block(wait.with_on_signal(OnSignal::Return(done as u64)))
}
