//! Pairs of connected stream sockets: two pipes, one each way.

use core::cell::RefCell;

use alloc::vec::Vec;

use super::open_file::{Readiness, Transfer};
use super::pipe::{self, Dropped, Moved, PipeEnd};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::syscall::request::WaitKey;

/// One of a pair. A direction that was shut down has no end any more.
#[derive(Debug)]
pub(crate) struct Socket {
    id: u64,
    incoming: RefCell<Option<PipeEnd>>,
    outgoing: RefCell<Option<PipeEnd>>,
}

/// A direction as shutdown() names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// What is read.
    Incoming,
    /// What is written.
    Outgoing,
}

/// Makes a pair; each way has a wait id of its own.
pub(crate) fn pair(wait_ids: [u64; 2], dropped: &Dropped) -> [Socket; 2] {
    let [there, back] = wait_ids.map(|wait_id| pipe::new(wait_id, dropped.clone()));
    let socket = |incoming: PipeEnd, outgoing| Socket {
        id: incoming.wait_id(),
        incoming: RefCell::new(Some(incoming)),
        outgoing: RefCell::new(Some(outgoing)),
    };
    [socket(back.0, there.1), socket(there.0, back.1)]
}

impl Socket {
    /// A number that no other socket has.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Takes bytes that the other one sent; 0 at the end.
    pub(crate) fn read(&self, kernel: &mut Kernel, into: &mut [u8]) -> Result<Transfer, Errno> {
        match &*self.incoming.borrow() {
            Some(end) => moved(kernel, end, end.read(into)),
            None => Ok(Transfer::Done(0)),
        }
    }

    /// Copies bytes that the other one sent without taking them (MSG_PEEK).
    pub(crate) fn peek(&self, into: &mut [u8]) -> Result<Transfer, Errno> {
        match &*self.incoming.borrow() {
            Some(end) => match end.peek(into) {
                Moved::Bytes(len) => Ok(Transfer::Done(len)),
                _ => Ok(Transfer::Wait(WaitKey::Object(end.wait_id()))),
            },
            None => Ok(Transfer::Done(0)),
        }
    }

    /// Sends bytes to the other one; EPIPE where it does not read any more.
    pub(crate) fn write(&self, kernel: &mut Kernel, from: &[u8]) -> Result<Transfer, Errno> {
        match &*self.outgoing.borrow() {
            Some(end) => moved(kernel, end, end.write(from)),
            None => Err(Errno::EPIPE),
        }
    }

    /// Ends a direction for both. The caller wakes who waits for dropped ends.
    pub(crate) fn shut_down(&self, direction: Direction) {
        match direction {
            Direction::Incoming => self.incoming.take(),
            Direction::Outgoing => self.outgoing.take(),
        };
    }

    /// Bytes that can be read without waiting.
    pub(crate) fn unread(&self) -> usize {
        self.incoming.borrow().as_ref().map_or(0, PipeEnd::len)
    }

    /// How often bytes were sent or taken, either way.
    pub(crate) fn changes(&self) -> u64 {
        self.ends(PipeEnd::changes).into_iter().sum()
    }

    /// What poll() says.
    pub(crate) fn readiness(&self) -> Readiness {
        let incoming = self.incoming.borrow().as_ref().map(PipeEnd::readiness);
        let outgoing = self.outgoing.borrow().as_ref().map(PipeEnd::readiness);
        let has_ended = incoming.is_none_or(|ready| ready.is_hung_up);
        let is_broken = outgoing.is_none_or(|ready| ready.is_broken);
        Readiness {
            // The end of what is sent can be read, too.
            can_read: has_ended || incoming.is_some_and(|ready| ready.can_read),
            can_write: is_broken || outgoing.is_some_and(|ready| ready.can_write),
            is_hung_up: has_ended && is_broken,
            is_broken: false,
        }
    }

    /// Adds what a task waits for until the readiness changes.
    pub(crate) fn wait_keys(&self, keys: &mut Vec<WaitKey>) {
        keys.extend(self.ends(PipeEnd::wait_id).into_iter().map(WaitKey::Object));
    }

    /// Something of each end that is still there.
    fn ends(&self, of: fn(&PipeEnd) -> u64) -> Vec<u64> {
        let both = [self.incoming.borrow(), self.outgoing.borrow()];
        both.iter().filter_map(|end| end.as_ref().map(of)).collect()
    }
}

/// Wakes the other side where something was moved.
fn moved(kernel: &mut Kernel, end: &PipeEnd, moved: Moved) -> Result<Transfer, Errno> {
    let key = WaitKey::Object(end.wait_id());
    match moved {
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
