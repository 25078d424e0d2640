//! Reading and writing.

use alloc::vec;
use alloc::vec::Vec;

use vmcg_abi::layout::TASK_END;

use super::super::request::{OnSignal, Outcome, Request, Wait, WaitKey};
use super::file_of;
use crate::errno::Errno;
use crate::file::open_file::{Body, Transfer};
use crate::file::uapi::open;
use crate::file::{OpenFile, terminal};
use crate::kernel::Kernel;
use crate::memory::user::UserMemory;
use crate::number::{Tid, index};
use crate::signal::{Signal, SignalInfo, code, send_task};

/// Bytes moved at a time.
pub(super) const CHUNK_LEN: usize = 65536;
/// Most bytes one call moves (Linux: MAX_RW_COUNT).
const CALL_MAX: u64 = 0x7fff_f000;
/// Most ranges one call names (UIO_MAXIOV).
const SPANS_MAX: u64 = 1024;

/// A range of a program's memory.
#[derive(Debug, Clone, Copy)]
struct Span {
    gva: u64,
    len: u64,
}

/// The memory a call reads from or writes to.
pub(in crate::syscall) struct Spans {
    user: UserMemory,
    spans: Vec<Span>,
    pub(in crate::syscall) total: usize,
}

impl Spans {
    /// One range.
    pub(in crate::syscall) fn one(user: UserMemory, gva: u64, len: u64) -> Result<Self, Errno> {
        check_span(gva, len)?;
        let len = len.min(CALL_MAX);
        Ok(Self { user, spans: vec![Span { gva, len }], total: index(len) })
    }

    /// The ranges of an array of `struct iovec`.
    pub(in crate::syscall) fn many(user: UserMemory, gva: u64, count: u64) -> Result<Self, Errno> {
        if count > SPANS_MAX {
            return Err(Errno::EINVAL);
        }
        let words = user.read_vec(gva, index(count) * 16)?;
        let mut spans = Vec::new();
        let mut total = 0;
        for pair in words.as_chunks::<8>().0.chunks_exact(2) {
            let [gva, len] = [pair[0], pair[1]].map(u64::from_le_bytes);
            if len > i64::MAX.cast_unsigned() {
                return Err(Errno::EINVAL);
            }
            check_span(gva, len)?;
            let len = len.min(CALL_MAX - total);
            total += len;
            spans.push(Span { gva, len });
        }
        Ok(Self { user, spans, total: index(total) })
    }

    /// Calls `each` with the address of every piece of the `len` bytes from `skip` on.
    fn pieces(
        &self,
        skip: usize,
        len: usize,
        mut each: impl FnMut(&UserMemory, u64, usize, usize) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (mut skip, mut done) = (skip, 0);
        for span in &self.spans {
            let span_len = index(span.len);
            if skip >= span_len {
                skip -= span_len;
                continue;
            }
            let piece = (span_len - skip).min(len - done);
            if piece > 0 {
                let gva = span.gva.checked_add(skip as u64).ok_or(Errno::EFAULT)?;
                each(&self.user, gva, done, piece)?;
            }
            done += piece;
            skip = 0;
        }
        Ok(())
    }

    pub(in crate::syscall) fn copy_in(&self, skip: usize, into: &mut [u8]) -> Result<(), Errno> {
        self.pieces(skip, into.len(), |user, gva, at, len| user.read(gva, &mut into[at..at + len]))
    }

    pub(in crate::syscall) fn copy_out(&self, skip: usize, from: &[u8]) -> Result<(), Errno> {
        self.pieces(skip, from.len(), |user, gva, at, len| user.write(gva, &from[at..at + len]))
    }
}

/// EFAULT for a range that reaches beyond what a program can have.
fn check_span(gva: u64, len: u64) -> Result<(), Errno> {
    gva.checked_add(len).filter(|end| *end <= TASK_END).map(drop).ok_or(Errno::EFAULT)
}

/// Where in a file a call reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Where the file's offset stands, which moves on.
    Current,
    /// At this offset.
    At(u64),
}

impl Position {
    /// The position of a call that names one.
    fn named(file: &OpenFile, offset: u64) -> Result<Self, Errno> {
        if offset > i64::MAX.cast_unsigned() {
            return Err(Errno::EINVAL);
        }
        if file.is_seekable() { Ok(Self::At(offset)) } else { Err(Errno::ESPIPE) }
    }

    fn start(self, file: &OpenFile) -> u64 {
        match self {
            Self::Current => file.offset.get(),
            Self::At(offset) => offset,
        }
    }

    /// Moves the file's offset behind what was read or written.
    fn finish(self, file: &OpenFile, end: u64) {
        if self == Self::Current && file.is_seekable() {
            file.offset.set(end);
        }
    }
}

/// Waits for `key`, or says that the call would have to. What was `done` before is not lost.
pub(in crate::syscall) fn wait_for(
    request: &mut Request,
    file: &OpenFile,
    key: WaitKey,
    done: usize,
) -> Result<Outcome, Errno> {
    match (file.is_non_blocking(), done as u64) {
        (true, 0) => Err(Errno::EAGAIN),
        (true, done) => Ok(Outcome::Done(done)),
        (false, done) => {
            request.progress = done;
            let on_signal = if done > 0 { OnSignal::Return(done) } else { OnSignal::Restart };
            let wait = Wait::on(key).with_deadline(request.deadline);
            Ok(Outcome::Block(wait.with_on_signal(on_signal)))
        }
    }
}

fn do_read(
    kernel: &mut Kernel,
    request: &mut Request,
    file: &OpenFile,
    spans: &Spans,
    position: Position,
) -> Result<Outcome, Errno> {
    if !file.can_read() {
        return Err(Errno::EBADF);
    }
    if let Body::Stream(stream) = &file.body
        && !terminal::may_read(kernel, request.tid, stream.job())?
    {
        // The signal that has just been sent stops the caller; then it tries again.
        return Ok(Outcome::Block(Wait::forever()));
    }
    if let Body::Stream(stream) = &file.body {
        request.deadline = stream.start_read(kernel, request.deadline);
    }
    let start = position.start(file);
    let mut buffer = vec![0; spans.total.min(CHUNK_LEN)];
    let mut done = 0;
    while done < spans.total {
        let want = (spans.total - done).min(CHUNK_LEN);
        let answer = file.read(kernel, &mut buffer[..want], start + done as u64);
        let len = match answer {
            Ok(Transfer::Done(len)) => len,
            Ok(Transfer::Wait(_)) | Err(_) if done > 0 => break,
            Ok(Transfer::Wait(key)) => return wait_for(request, file, key, 0),
            Err(errno) => return Err(errno),
        };
        match spans.copy_out(done, &buffer[..len]) {
            Ok(()) => done += len,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
        // What has no end gives what it has; a file is read on until it ends.
        if len < want || !file.is_seekable() {
            break;
        }
    }
    position.finish(file, start + done as u64);
    Ok(Outcome::Done(done as u64))
}

fn do_write(
    kernel: &mut Kernel,
    request: &mut Request,
    file: &OpenFile,
    spans: &Spans,
    position: Position,
) -> Result<Outcome, Errno> {
    if !file.can_write() {
        return Err(Errno::EBADF);
    }
    let is_appending = file.flags.get() & open::APPEND != 0;
    let start = match file.size() {
        Some(size) if is_appending => size,
        _ => position.start(file),
    };
    let mut buffer = vec![0; spans.total.min(CHUNK_LEN)];
    let mut done = index(request.progress);
    while done < spans.total {
        let want = (spans.total - done).min(CHUNK_LEN);
        let copied = spans.copy_in(done, &mut buffer[..want]);
        let answer = copied.and_then(|()| file.write(kernel, &buffer[..want], start + done as u64));
        match answer {
            Ok(Transfer::Done(len)) => done += len,
            Ok(Transfer::Wait(key)) => return wait_for(request, file, key, done),
            Err(Errno::EPIPE) => {
                broken_pipe(kernel, request.tid);
                return if done > 0 { Ok(Outcome::Done(done as u64)) } else { Err(Errno::EPIPE) };
            }
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
        if matches!(file.body, Body::Event(_)) {
            break;
        }
    }
    position.finish(file, start + done as u64);
    Ok(Outcome::Done(done as u64))
}

/// Sends SIGPIPE to the task that wrote where nobody reads.
pub(in crate::syscall) fn broken_pipe(kernel: &mut Kernel, tid: Tid) {
    let pid = kernel.task(tid).process;
    // SIGPIPE is not queued, so it is never refused.
    send_task(kernel, tid, SignalInfo::task(Signal::PIPE, code::USER, pid));
}

/// read(fd, buffer, length)
pub(super) fn read(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let spans = Spans::one(kernel.user(request.tid), gva, len)?;
    do_read(kernel, request, &file, &spans, Position::Current)
}

/// write(fd, buffer, length)
pub(super) fn write(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let spans = Spans::one(kernel.user(request.tid), gva, len)?;
    do_write(kernel, request, &file, &spans, Position::Current)
}

/// pread64(fd, buffer, length, offset)
pub(super) fn pread64(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len, offset, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let position = Position::named(&file, offset)?;
    let spans = Spans::one(kernel.user(request.tid), gva, len)?;
    do_read(kernel, request, &file, &spans, position)
}

/// pwrite64(fd, buffer, length, offset)
pub(super) fn pwrite64(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, len, offset, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let position = Position::named(&file, offset)?;
    let spans = Spans::one(kernel.user(request.tid), gva, len)?;
    do_write(kernel, request, &file, &spans, position)
}

/// readv(fd, ranges, count)
pub(super) fn readv(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, count, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let spans = Spans::many(kernel.user(request.tid), gva, count)?;
    do_read(kernel, request, &file, &spans, Position::Current)
}

/// writev(fd, ranges, count)
pub(super) fn writev(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, count, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let spans = Spans::many(kernel.user(request.tid), gva, count)?;
    do_write(kernel, request, &file, &spans, Position::Current)
}

/// preadv(fd, ranges, count, offset)
pub(super) fn preadv(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, count, offset, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let position = Position::named(&file, offset)?;
    let spans = Spans::many(kernel.user(request.tid), gva, count)?;
    do_read(kernel, request, &file, &spans, position)
}

/// pwritev(fd, ranges, count, offset)
pub(super) fn pwritev(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, gva, count, offset, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    let position = Position::named(&file, offset)?;
    let spans = Spans::many(kernel.user(request.tid), gva, count)?;
    do_write(kernel, request, &file, &spans, position)
}

/// Checks the flags of preadv2() and pwritev2(): hints, and when data is to be on a device.
fn check_flags(flags: u64) -> Result<(), Errno> {
    /// RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT.
    const HINTS: u64 = 0xf;
    if flags & !HINTS == 0 { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

/// The offset that stands for the file's own.
const OWN_OFFSET: u64 = u64::MAX;

/// preadv2(fd, ranges, count, offset, high half of the offset, flags)
pub(super) fn preadv2(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    check_flags(request.args[5])?;
    if request.args[3] == OWN_OFFSET { readv(kernel, request) } else { preadv(kernel, request) }
}

/// pwritev2(fd, ranges, count, offset, high half of the offset, flags)
pub(super) fn pwritev2(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    check_flags(request.args[5])?;
    if request.args[3] == OWN_OFFSET { writev(kernel, request) } else { pwritev(kernel, request) }
}
