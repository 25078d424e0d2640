//! Pipes: a buffer with reading and writing ends. A fifo is a pipe whose ends open() makes.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::node::Node;
use super::open_file::Readiness;
use crate::heap;
use crate::kmem::Shortage;
use crate::kmem::bytes::Bytes;
use crate::kmem::class::ByteClass;
use crate::memory::frames::Frames;

/// Bytes a pipe holds.
pub(crate) const CAPACITY: usize = 65536;
/// Writes up to this length are not mixed with others (PIPE_BUF).
pub(crate) const ATOMIC_LEN: usize = 4096;

/// Wait ids of pipes whose ends were dropped; their waiters must look again.
pub(crate) type Dropped = Rc<RefCell<Vec<u64>>>;

/// What all ends share.
#[derive(Debug)]
pub(crate) struct Pipe {
    wait_id: u64,
    frames: Frames,
    bytes: RefCell<Bytes>,
    readers: Cell<usize>,
    writers: Cell<usize>,
    /// How many reading and writing ends there have been.
    opened: [Cell<u64>; 2],
    /// How often bytes were put in or taken out.
    changes: Cell<u64>,
    dropped: Dropped,
}

/// Which end of a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Bytes come out.
    Reader,
    /// Bytes go in.
    Writer,
    /// Both: a fifo that was opened for reading and writing.
    Both,
}

impl Side {
    const fn reads(self) -> bool {
        !matches!(self, Self::Writer)
    }

    const fn writes(self) -> bool {
        !matches!(self, Self::Reader)
    }
}

/// One end of a pipe. An end that several descriptors share is still one end.
#[derive(Debug)]
pub(crate) struct PipeEnd {
    pipe: Rc<Pipe>,
    side: Side,
    /// The other side's ends so far when this one was made.
    met: u64,
    /// The name of a fifo.
    node: Option<Rc<Node>>,
}

/// What a read or a write of a pipe did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// So many bytes; 0 from a read means the end.
    Bytes(usize),
    /// Nothing: the buffer is empty, or too full.
    Nothing,
    /// Nothing: the other end is closed.
    Broken,
    /// Nothing: the kernel's memory is short.
    NoMemory,
}

/// Makes a pipe: its reading and its writing end.
pub(crate) fn new(
    frames: &Frames,
    wait_id: u64,
    dropped: Dropped,
) -> Result<(PipeEnd, PipeEnd), Shortage> {
    let pipe = frames.new_rc(Pipe::new(frames, wait_id, dropped))?;
    Ok((pipe.end(Side::Reader, None), pipe.end(Side::Writer, None)))
}

impl Pipe {
    /// A pipe without ends.
    pub(crate) fn new(frames: &Frames, wait_id: u64, dropped: Dropped) -> Self {
        Self {
            wait_id,
            frames: frames.clone(),
            bytes: RefCell::new(Bytes::default()),
            readers: Cell::new(0),
            writers: Cell::new(0),
            opened: [Cell::new(0), Cell::new(0)],
            changes: Cell::new(0),
            dropped,
        }
    }

    /// Makes one end more.
    pub(crate) fn end(self: &Rc<Self>, side: Side, node: Option<Rc<Node>>) -> PipeEnd {
        let [readers, writers] = &self.opened;
        let met = if side.reads() { writers.get() } else { readers.get() };
        if side.reads() {
            self.readers.set(self.readers.get() + 1);
            readers.set(readers.get() + 1);
        }
        if side.writes() {
            self.writers.set(self.writers.get() + 1);
            writers.set(writers.get() + 1);
        }
        PipeEnd { pipe: self.clone(), side, met, node }
    }

    /// Whether somebody could read now.
    pub(crate) fn has_readers(&self) -> bool {
        self.readers.get() > 0
    }
}

impl PipeEnd {
    /// Id of what waiters of either end wait for.
    pub(crate) fn wait_id(&self) -> u64 {
        self.pipe.wait_id
    }

    /// The name of a fifo.
    pub(crate) fn node(&self) -> Option<&Rc<Node>> {
        self.node.as_ref()
    }

    /// Whether an end of the other side is there, or was since this one was made.
    pub(crate) fn has_met(&self) -> bool {
        let [readers, writers] = &self.pipe.opened;
        match self.side {
            Side::Reader => self.pipe.writers.get() > 0 || writers.get() != self.met,
            Side::Writer => self.pipe.has_readers() || readers.get() != self.met,
            Side::Both => true,
        }
    }

    /// Bytes in the buffer.
    pub(crate) fn len(&self) -> usize {
        self.pipe.bytes.borrow().len()
    }

    /// How often bytes were put in or taken out.
    pub(crate) fn changes(&self) -> u64 {
        self.pipe.changes.get()
    }

    /// Takes bytes out.
    pub(crate) fn read(&self, into: &mut [u8]) -> Moved {
        let mut bytes = self.pipe.bytes.borrow_mut();
        if bytes.len() == 0 {
            let is_ended = self.pipe.writers.get() == 0;
            return if is_ended { Moved::Bytes(0) } else { Moved::Nothing };
        }
        self.pipe.changes.set(self.changes() + 1);
        let len = bytes.peek(into);
        bytes.drop_front(len);
        Moved::Bytes(len)
    }

    /// Puts bytes in: as many as there is room for, but short writes whole or not at all.
    pub(crate) fn write(&self, from: &[u8]) -> Moved {
        if self.pipe.readers.get() == 0 {
            return Moved::Broken;
        }
        let mut bytes = self.pipe.bytes.borrow_mut();
        if heap::is_short() {
            return Moved::NoMemory;
        }
        let room = CAPACITY - bytes.len();
        if room == 0 || from.len() <= ATOMIC_LEN && room < from.len() {
            return Moved::Nothing;
        }
        let before = bytes.len();
        // What a refusal leaves out stays to be written; a short write is one piece.
        for piece in from[..from.len().min(room)].chunks(ATOMIC_LEN) {
            if bytes.push(&self.pipe.frames, piece, ByteClass::B4096).is_err() {
                break;
            }
        }
        let len = bytes.len() - before;
        if len == 0 && !from.is_empty() {
            return Moved::NoMemory;
        }
        self.pipe.changes.set(self.changes() + 1);
        Moved::Bytes(len)
    }

    /// What poll() says.
    pub(crate) fn readiness(&self) -> Readiness {
        let len = self.len();
        Readiness {
            can_read: self.side.reads() && len > 0,
            can_write: self.side.writes() && CAPACITY - len >= ATOMIC_LEN,
            is_hung_up: self.side.reads() && self.pipe.writers.get() == 0 && self.has_met(),
            is_broken: self.side.writes() && self.pipe.readers.get() == 0,
            is_half_closed: false,
        }
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let Pipe { readers, writers, .. } = &*self.pipe;
        if self.side.reads() {
            readers.set(readers.get() - 1);
        }
        if self.side.writes() {
            writers.set(writers.get() - 1);
        }
        if readers.get() + writers.get() == 0 {
            // What nobody has read from a fifo goes with its last end.
            self.pipe.bytes.take();
        }
        self.pipe.dropped.borrow_mut().push(self.pipe.wait_id);
    }
}
