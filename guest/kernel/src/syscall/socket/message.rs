//! Sending and receiving, with open files as passengers (SCM_RIGHTS).
//!
//! Source: Linux v6.12 include/linux/socket.h, net/unix/af_unix.c, net/core/scm.c.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

use super::super::file::{Spans, broken_pipe, file_of, install, wait_for};
use super::super::request::{OnSignal, Outcome, Request, Wait};
use super::socket_of;
use crate::errno::Errno;
use crate::file::OpenFile;
use crate::file::socket::channel::{Received, Taking};
use crate::file::socket::{Kind, Socket};
use crate::file::uapi::open;
use crate::kernel::Kernel;
use crate::memory::user::UserMemory;
use crate::number::{index, low_u32};

/// Flags of the calls, and of what was received.
mod flag {
    pub(super) const OUT_OF_BAND: u32 = 1;
    pub(super) const PEEK: u32 = 2;
    pub(super) const CUT_CONTROL: u32 = 8;
    pub(super) const CUT: u32 = 0x20;
    pub(super) const NOT_WAITING: u32 = 0x40;
    pub(super) const WAIT_FOR_ALL: u32 = 0x100;
    pub(super) const NO_SIGNAL: u32 = 0x4000;
    pub(super) const CLOSE_ON_EXEC: u32 = 0x4000_0000;
}

/// Bytes moved at a time.
const PIECE_LEN: usize = 65536;
/// Longest message.
const MESSAGE_MAX: usize = 212_992;
/// Open files one message takes along (SCM_MAX_FD).
const FILES_MAX: usize = 253;
/// Bytes of a `struct cmsghdr`.
const HEADER_LEN: usize = 16;
/// The level and type of a control message with descriptors, in its header's second word.
const SOL_SOCKET_RIGHTS: u64 = 1 | 1 << 32;
/// Words of a `struct msghdr`.
const MESSAGE_WORDS: usize = 7;
const CONTROL: usize = 4;
const CONTROL_LEN: usize = 5;
/// Offsets of the lengths and flags that a receiver is told.
const NAME_LEN_AT: u64 = 8;
const CONTROL_LEN_AT: u64 = 40;
const FLAGS_AT: u64 = 48;

/// sendto(fd, buffer, length, flags, address, address length): connected sockets have no address.
pub(super) fn sendto(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len, flags, address_gva, _] = request.args;
    let file = file_of(kernel, request, fd)?;
    let socket = socket_of(&file)?;
    if address_gva != 0 {
        let is_stream = socket.kind == Kind::Stream;
        return Err(if is_stream { Errno::EISCONN } else { Errno::EINVAL });
    }
    let spans = Spans::one(kernel.user(request.tid), gva, len)?;
    send(kernel, request, &file, Sending { spans, files: Vec::new(), flags: low_u32(flags) })
}

/// sendmsg(fd, message, flags)
pub(super) fn sendmsg(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, message_gva, flags, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    socket_of(&file)?;
    let user = kernel.user(request.tid);
    let message = words::<MESSAGE_WORDS>(&user, message_gva)?;
    let [name_gva, name_len, spans_gva, count, control_gva, control_len, _] = message;
    if name_gva != 0 && low_u32(name_len) != 0 {
        return Err(Errno::EISCONN);
    }
    let spans = Spans::many(kernel.user(request.tid), spans_gva, count)?;
    // What has been sent in part has taken its files along.
    let files = match request.progress {
        0 => passengers(kernel, request, control_gva, control_len)?,
        _ => Vec::new(),
    };
    send(kernel, request, &file, Sending { spans, files, flags: low_u32(flags) })
}

fn words<const COUNT: usize>(user: &UserMemory, gva: u64) -> Result<[u64; COUNT], Errno> {
    let bytes = user.read_vec(gva, COUNT * 8)?;
    let mut words = [0; COUNT];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Ok(words)
}

/// The open files that control messages name.
fn passengers(
    kernel: &Kernel,
    request: &Request,
    control_gva: u64,
    control_len: u64,
) -> Result<Vec<Rc<OpenFile>>, Errno> {
    /// Linux: net.core.optmem_max.
    const CONTROL_MAX: u64 = 131_072;
    if control_gva == 0 || control_len == 0 {
        return Ok(Vec::new());
    }
    if control_len > CONTROL_MAX {
        return Err(Errno::ENOBUFS);
    }
    let bytes = kernel.user(request.tid).read_vec(control_gva, index(control_len))?;
    let mut files = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((header, _)) = rest.split_first_chunk::<HEADER_LEN>() {
        let word = |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| header[at + i]));
        let len = index(word(0));
        let data = rest.get(HEADER_LEN..len).ok_or(Errno::EINVAL)?;
        if word(8) != SOL_SOCKET_RIGHTS {
            return Err(Errno::EINVAL);
        }
        for fd in data.as_chunks::<4>().0 {
            files.push(file_of(kernel, request, u64::from(u32::from_le_bytes(*fd)))?);
        }
        rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    if files.len() > FILES_MAX {
        return Err(Errno::EINVAL);
    }
    Ok(files)
}

/// What is to be sent.
struct Sending {
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
    let Sending { spans, mut files, flags } = sending;
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
        let sent = copied.and_then(|()| socket.send(kernel, &buffer[..want], &passengers));
        match sent {
            Ok(Some(len)) => done += len,
            Ok(None) if flags & flag::NOT_WAITING != 0 => {
                return if done > 0 { Ok(Outcome::Done(done as u64)) } else { Err(Errno::EAGAIN) };
            }
            Ok(None) => return wait_for(request, file, socket.write_key(), done),
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

/// recvfrom(fd, buffer, length, flags, address, address length); no address is told
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
        kernel.user(request.tid).write_half(address_len_gva, 0)?;
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
    let seats = Seats { gva: message[CONTROL], room, on_exec };
    let (control_len, is_cut) = seat(kernel, request, files, &seats)?;
    let mut told = if is_cut { flag::CUT_CONTROL } else { 0 };
    if socket.kind != Kind::Stream && received.message_len > received.len {
        told |= flag::CUT;
    }
    told |= flags & flag::CLOSE_ON_EXEC;
    user.write_half(message_gva.wrapping_add(NAME_LEN_AT), 0)?;
    user.write_word(message_gva.wrapping_add(CONTROL_LEN_AT), control_len as u64)?;
    user.write_half(message_gva.wrapping_add(FLAGS_AT), told)?;
    Ok(Outcome::Done(told_len(&file, &received, flags)? as u64))
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

/// Where the descriptors of files that came along go.
struct Seats {
    gva: u64,
    /// Bytes there.
    room: usize,
    /// O_CLOEXEC, or nothing.
    on_exec: u32,
}

/// Gives files that came along their descriptors; answers the bytes of control messages written,
/// and whether there was no room for all. What finds no place is closed.
fn seat(
    kernel: &mut Kernel,
    request: &Request,
    files: Vec<Rc<OpenFile>>,
    seats: &Seats,
) -> Result<(usize, bool), Errno> {
    let count = seats.room.saturating_sub(HEADER_LEN) / size_of::<u32>();
    let is_cut = files.len() > count;
    let mut descriptors = Vec::new();
    for file in files.into_iter().take(count) {
        let Ok(fd) = install(kernel, request, file, seats.on_exec) else { break };
        descriptors.extend_from_slice(&low_u32(fd).to_le_bytes());
    }
    crate::file::wake_dropped(kernel);
    if descriptors.is_empty() {
        return Ok((0, is_cut));
    }
    let len = HEADER_LEN + descriptors.len();
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&(len as u64).to_le_bytes());
    bytes.extend_from_slice(&SOL_SOCKET_RIGHTS.to_le_bytes());
    bytes.append(&mut descriptors);
    kernel.user(request.tid).write(seats.gva, &bytes)?;
    Ok((len.next_multiple_of(8).min(seats.room), is_cut))
}
