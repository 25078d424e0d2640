//! Open files: what descriptors lead to.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::device::Device;
use super::directory::Directory;
use super::epoll::Epoll;
use super::event::EventCounter;
use super::lock::Ticket;
use super::node::Node;
use super::pipe::{Moved, PipeEnd};
use super::signal::SignalFile;
use super::socket::Socket;
use super::stream::Stream;
use super::timer::TimerFile;
use super::uapi::{Stat, mode, open, poll};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::object::Object;
use crate::syscall::request::WaitKey;

/// What a read or a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// So many bytes were moved.
    Done(usize),
    /// None can be moved before this key is woken.
    Wait(WaitKey),
}

/// What poll() can say about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Readiness {
    /// A read would not wait.
    pub(crate) can_read: bool,
    /// A write would not wait.
    pub(crate) can_write: bool,
    /// The other end of something read from is closed.
    pub(crate) is_hung_up: bool,
    /// The other end of something written to is closed.
    pub(crate) is_broken: bool,
    /// The other one of a pair of sockets sends no more.
    pub(crate) is_half_closed: bool,
}

impl Readiness {
    /// The same as events of poll().
    pub(crate) fn events(self) -> u16 {
        let rows = [
            (self.can_read, poll::IN | poll::READ_NORMAL),
            (self.can_write, poll::OUT | poll::WRITE_NORMAL),
            (self.is_hung_up, poll::HANG_UP),
            (self.is_broken, poll::ERROR),
            (self.is_half_closed, poll::HALF_CLOSED),
        ];
        rows.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, bits)| all | bits)
    }
}

/// A regular file of the share, or the text of a file in /proc.
#[derive(Debug)]
pub(crate) struct Cached {
    /// Its pages.
    pub(crate) object: Rc<Object>,
    /// What stat() says.
    pub(crate) stat: Stat,
}

/// What kind of file is open.
#[derive(Debug)]
pub(crate) enum Body {
    /// A device of /dev.
    Device(Device),
    /// A stream of a job.
    Stream(Stream),
    /// A file of the share.
    Cached(Cached),
    /// A file of a tmpfs; its object may grow and shrink.
    Memory(Rc<Node>, Rc<Object>),
    /// A text that was made when the file was opened.
    Text(Vec<u8>, Stat),
    /// A directory.
    Directory(Directory),
    /// An end of a pipe.
    Pipe(PipeEnd),
    /// One of a pair of sockets.
    Socket(Box<Socket>),
    /// An event counter.
    Event(EventCounter),
    /// A timer.
    Timer(TimerFile),
    /// Signals that are read.
    Signal(SignalFile),
    /// A set of files that are waited for together.
    Epoll(Epoll),
    /// A place in the file system that was opened with O_PATH.
    Path(Stat),
}

/// An open file, which several descriptors of several processes may share.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// What it is.
    pub(crate) body: Body,
    /// Access mode and status flags.
    pub(crate) flags: Cell<u32>,
    /// Where the next read or write is.
    pub(crate) offset: Cell<u64>,
    /// Absolute path, or what /proc/self/fd shows instead.
    pub(crate) path: Vec<u8>,
    /// The process group that owns it (F_SETOWN): remembered, nothing more.
    pub(crate) owner: RefCell<u64>,
    /// What it keeps for its locks.
    pub(crate) ticket: RefCell<Option<Ticket>>,
}

impl OpenFile {
    /// An open file at its start.
    pub(crate) fn new(body: Body, flags: u32, path: Vec<u8>) -> Self {
        let flags = Cell::new(flags & open::STATUS);
        Self {
            body,
            flags,
            offset: Cell::new(0),
            path,
            owner: RefCell::new(0),
            ticket: RefCell::new(None),
        }
    }

    /// A stream of a job.
    pub(crate) fn stream(stream: Stream) -> Self {
        let path: &[u8] = if stream.number() == 0 { b"/dev/stdin" } else { b"/dev/stdout" };
        Self::new(Body::Stream(stream), open::READ_WRITE, path.to_vec())
    }

    /// The file in memory that it is.
    pub(crate) fn node(&self) -> Option<&Rc<Node>> {
        match &self.body {
            Body::Memory(node, _) => Some(node),
            Body::Pipe(end) => end.node(),
            _ => None,
        }
    }

    /// Whether its path leads to it for as long as nobody changes names: not so for files in memory.
    pub(crate) fn is_named(&self) -> bool {
        match &self.body {
            Body::Cached(_) | Body::Directory(_) => true,
            Body::Path(stat) => !stat.is_link(),
            _ => false,
        }
    }

    /// Whether it may be read.
    pub(crate) fn can_read(&self) -> bool {
        let flags = self.flags.get();
        flags & open::PATH == 0 && flags & open::ACCESS_MODE != open::WRITE_ONLY
    }

    /// Whether it may be written.
    pub(crate) fn can_write(&self) -> bool {
        let flags = self.flags.get();
        flags & open::PATH == 0 && flags & open::ACCESS_MODE != open::READ_ONLY
    }

    /// Whether a call that would wait fails with EAGAIN instead.
    pub(crate) fn is_non_blocking(&self) -> bool {
        self.flags.get() & open::NON_BLOCKING != 0
    }

    /// Whether it has an offset that can be moved.
    pub(crate) fn is_seekable(&self) -> bool {
        match &self.body {
            Body::Cached(_) | Body::Memory(..) | Body::Text(..) | Body::Directory(_) => true,
            Body::Device(_) => true,
            Body::Stream(_) | Body::Pipe(_) | Body::Socket(_) => false,
            Body::Event(_) | Body::Timer(_) | Body::Signal(_) => false,
            Body::Epoll(_) | Body::Path(_) => false,
        }
    }

    /// Length in bytes, of a file that has one.
    pub(crate) fn size(&self) -> Option<u64> {
        match &self.body {
            Body::Cached(file) => Some(file.object.size()),
            Body::Memory(_, object) => Some(object.size()),
            Body::Text(text, _) => Some(text.len() as u64),
            _ => None,
        }
    }

    /// Reads at an offset; what has none reads what comes next.
    pub(crate) fn read(
        &self,
        kernel: &mut Kernel,
        into: &mut [u8],
        offset: u64,
    ) -> Result<Transfer, Errno> {
        let len = match &self.body {
            Body::Device(device) => device.read(into)?,
            Body::Stream(stream) => return stream.read(kernel, into),
            Body::Cached(file) => file.object.read(offset, into)?,
            Body::Memory(_, object) => object.read(offset, into)?,
            Body::Text(text, _) => read_text(text, offset, into),
            Body::Pipe(end) => return read_pipe(kernel, end, into),
            Body::Socket(socket) => return socket.read(kernel, into),
            Body::Event(counter) => return counter.read(kernel, into),
            Body::Timer(timer) => return timer.read(kernel, into),
            Body::Signal(signals) => return signals.read(kernel, into),
            Body::Directory(_) => return Err(Errno::EISDIR),
            Body::Epoll(_) => return Err(Errno::EINVAL),
            Body::Path(_) => return Err(Errno::EBADF),
        };
        Ok(Transfer::Done(len))
    }

    /// Writes at an offset; what has none takes it after all that was written before.
    pub(crate) fn write(
        &self,
        kernel: &mut Kernel,
        from: &[u8],
        offset: u64,
    ) -> Result<Transfer, Errno> {
        let len = match &self.body {
            Body::Device(device) => device.write(from.len())?,
            Body::Stream(stream) => return stream.write(kernel, from),
            // Linux v6.12 fs/hugetlbfs/inode.c: the files have no write operation.
            Body::Memory(_, object) if object.huge().is_some() => return Err(Errno::EINVAL),
            Body::Memory(node, object) => {
                node.touch(kernel.clock.realtime());
                object.write(offset, from)?
            }
            Body::Pipe(end) => return write_pipe(kernel, end, from),
            Body::Socket(socket) => return socket.write(kernel, from),
            Body::Event(counter) => return counter.write(kernel, from),
            Body::Epoll(_) | Body::Timer(_) | Body::Signal(_) => return Err(Errno::EINVAL),
            Body::Cached(_) | Body::Text(..) | Body::Directory(_) | Body::Path(_) => {
                return Err(Errno::EBADF);
            }
        };
        Ok(Transfer::Done(len))
    }

    /// What fstat() says.
    pub(crate) fn stat(&self) -> Stat {
        match &self.body {
            Body::Device(device) => device.stat(),
            Body::Stream(stream) => stream.stat(),
            Body::Cached(file) => file.stat,
            Body::Memory(node, _) => node.stat(),
            Body::Text(_, stat) | Body::Path(stat) => *stat,
            Body::Directory(directory) => directory.stat,
            Body::Pipe(end) => match end.node() {
                Some(node) => node.stat(),
                None => anonymous(end.wait_id(), mode::FIFO | 0o600),
            },
            Body::Socket(socket) => anonymous(socket.id(), mode::SOCKET | 0o777),
            Body::Event(_) | Body::Timer(_) | Body::Signal(_) | Body::Epoll(_) => {
                anonymous(1, 0o600)
            }
        }
    }

    /// What poll() says.
    pub(crate) fn readiness(&self, kernel: &mut Kernel) -> Readiness {
        match &self.body {
            Body::Stream(stream) => stream.readiness(kernel),
            Body::Pipe(end) => end.readiness(),
            Body::Socket(socket) => socket.readiness(),
            Body::Event(counter) => counter.readiness(),
            Body::Timer(timer) => timer.readiness(kernel),
            Body::Signal(signals) => signals.readiness(kernel),
            Body::Epoll(epoll) => epoll.readiness(kernel),
            _ => Readiness { can_read: true, can_write: true, ..Readiness::default() },
        }
    }

    /// Whether waiting for it makes sense; what is always ready cannot be put into an epoll set.
    pub(crate) fn can_be_polled(&self) -> bool {
        match &self.body {
            Body::Stream(stream) => !stream.is_file(),
            Body::Pipe(_) | Body::Socket(_) | Body::Event(_) => true,
            Body::Timer(_) | Body::Signal(_) | Body::Epoll(_) => true,
            _ => false,
        }
    }

    /// How often its readiness may have changed, where that is counted.
    pub(crate) fn changes(&self) -> u64 {
        match &self.body {
            Body::Pipe(end) => end.changes(),
            Body::Socket(socket) => socket.changes(),
            Body::Event(counter) => counter.changes(),
            Body::Timer(timer) => timer.changes(),
            _ => 0,
        }
    }

    /// Adds what a task waits for until the readiness changes; nothing where it never does.
    pub(crate) fn wait_keys(&self, keys: &mut Vec<WaitKey>) {
        match &self.body {
            Body::Stream(stream) => keys.push(stream.wait_key()),
            Body::Pipe(end) => keys.push(WaitKey::Object(end.wait_id())),
            Body::Socket(socket) => socket.wait_keys(keys),
            Body::Event(counter) => keys.push(WaitKey::Object(counter.wait_id())),
            Body::Timer(timer) => keys.push(WaitKey::Object(timer.wait_id())),
            Body::Signal(signals) => keys.push(WaitKey::Object(signals.wait_id())),
            Body::Epoll(epoll) => epoll.wait_keys(keys),
            _ => {}
        }
    }
}

/// What fstat() says of files that have no name.
fn anonymous(ino: u64, mode: u32) -> Stat {
    /// Device number of the file system that pipes are in.
    const PIPEFS: u64 = 14;
    Stat { dev: PIPEFS, ino, mode, nlink: 1, ..Stat::default() }
}

fn read_text(text: &[u8], offset: u64, into: &mut [u8]) -> usize {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    let len = into.len().min(text.len() - start);
    into[..len].copy_from_slice(&text[start..start + len]);
    len
}

fn read_pipe(kernel: &mut Kernel, end: &PipeEnd, into: &mut [u8]) -> Result<Transfer, Errno> {
    let key = WaitKey::Object(end.wait_id());
    match end.read(into) {
        Moved::Bytes(len) => {
            if len > 0 {
                kernel.wake(key);
            }
            Ok(Transfer::Done(len))
        }
        Moved::Nothing => Ok(Transfer::Wait(key)),
        Moved::Broken => Err(Errno::EPIPE),
        Moved::NoMemory => Err(Errno::ENOMEM),
    }
}

fn write_pipe(kernel: &mut Kernel, end: &PipeEnd, from: &[u8]) -> Result<Transfer, Errno> {
    let key = WaitKey::Object(end.wait_id());
    match end.write(from) {
        Moved::Bytes(len) => {
            kernel.wake(key);
            Ok(Transfer::Done(len))
        }
        Moved::Nothing => Ok(Transfer::Wait(key)),
        Moved::Broken => Err(Errno::EPIPE),
        Moved::NoMemory => Err(Errno::ENOMEM),
    }
}
