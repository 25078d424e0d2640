//! Pipes: a buffer with a reading and a writing end.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::open_file::Readiness;
use crate::heap;

/// Bytes a pipe holds.
pub(crate) const CAPACITY: usize = 65536;
/// Writes up to this length are not mixed with others (PIPE_BUF).
pub(crate) const ATOMIC_LEN: usize = 4096;

/// Wait ids of pipes whose ends were dropped; their waiters must look again.
pub(crate) type Dropped = Rc<RefCell<Vec<u64>>>;

/// What the two ends share.
#[derive(Debug)]
struct Pipe {
    wait_id: u64,
    bytes: RefCell<VecDeque<u8>>,
    readers: Cell<usize>,
    writers: Cell<usize>,
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
}

/// One end of a pipe. An end that several descriptors share is still one end.
#[derive(Debug)]
pub(crate) struct PipeEnd {
    pipe: Rc<Pipe>,
    side: Side,
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
pub(crate) fn new(wait_id: u64, dropped: Dropped) -> (PipeEnd, PipeEnd) {
    let pipe = Rc::new(Pipe {
        wait_id,
        bytes: RefCell::new(VecDeque::new()),
        readers: Cell::new(1),
        writers: Cell::new(1),
        changes: Cell::new(0),
        dropped,
    });
    (PipeEnd { pipe: pipe.clone(), side: Side::Reader }, PipeEnd { pipe, side: Side::Writer })
}

impl PipeEnd {
    /// Id of what waiters of either end wait for.
    pub(crate) fn wait_id(&self) -> u64 {
        self.pipe.wait_id
    }

    /// Which end this is.
    pub(crate) fn side(&self) -> Side {
        self.side
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
        if bytes.is_empty() {
            let is_ended = self.pipe.writers.get() == 0;
            return if is_ended { Moved::Bytes(0) } else { Moved::Nothing };
        }
        self.pipe.changes.set(self.changes() + 1);
        let len = into.len().min(bytes.len());
        let (front, back) = bytes.as_slices();
        let split = len.min(front.len());
        into[..split].copy_from_slice(&front[..split]);
        into[split..len].copy_from_slice(&back[..len - split]);
        bytes.drain(..len);
        if bytes.is_empty() {
            // An idle pipe costs no memory.
            *bytes = VecDeque::new();
        }
        Moved::Bytes(len)
    }

    /// Copies bytes without taking them out.
    pub(crate) fn peek(&self, into: &mut [u8]) -> Moved {
        let bytes = self.pipe.bytes.borrow();
        if bytes.is_empty() && self.pipe.writers.get() > 0 {
            return Moved::Nothing;
        }
        let len = into.len().min(bytes.len());
        for (place, byte) in into.iter_mut().zip(bytes.iter()) {
            *place = *byte;
        }
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
        self.pipe.changes.set(self.changes() + 1);
        let len = from.len().min(room);
        if bytes.try_reserve(len).is_err() {
            return Moved::NoMemory;
        }
        bytes.extend(&from[..len]);
        Moved::Bytes(len)
    }

    /// What poll() says.
    pub(crate) fn readiness(&self) -> Readiness {
        let len = self.len();
        match self.side {
            Side::Reader => Readiness {
                can_read: len > 0,
                is_hung_up: self.pipe.writers.get() == 0,
                ..Readiness::default()
            },
            Side::Writer => Readiness {
                can_write: CAPACITY - len >= ATOMIC_LEN,
                is_broken: self.pipe.readers.get() == 0,
                ..Readiness::default()
            },
        }
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let count = match self.side {
            Side::Reader => &self.pipe.readers,
            Side::Writer => &self.pipe.writers,
        };
        count.set(count.get() - 1);
        self.pipe.dropped.borrow_mut().push(self.pipe.wait_id);
    }
}
