//! Pairs of connected sockets: two ways, one each direction.

pub(crate) mod channel;

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::OpenFile;
use super::open_file::{Body, Readiness, Transfer};
use super::pipe::Dropped;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::frames::Frames;
use crate::syscall::request::WaitKey;
use channel::{Channel, Received, Side, Taking};

/// How what is sent is kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not at all: SOCK_STREAM.
    Stream,
    /// Into messages: SOCK_DGRAM.
    Datagram,
    /// Into messages, and their end is told: SOCK_SEQPACKET.
    Sequence,
}

/// One of a pair.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) kind: Kind,
    incoming: Rc<Channel>,
    outgoing: Rc<Channel>,
    dropped: Dropped,
}

/// A direction as shutdown() names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// What is read.
    Incoming,
    /// What is written.
    Outgoing,
}

/// Sockets that may lie in each other on their way, one in the other's (as in Linux).
const NESTED_MAX: usize = 4;

/// Makes a pair; each way has a wait id of its own.
pub(crate) fn pair(
    frames: &Frames,
    kind: Kind,
    wait_ids: [u64; 2],
    dropped: &Dropped,
) -> [Socket; 2] {
    let [there, back] = wait_ids.map(|wait_id| Channel::new(frames, wait_id, kind));
    let socket = |incoming, outgoing| Socket { kind, incoming, outgoing, dropped: dropped.clone() };
    [socket(back.clone(), there.clone()), socket(there, back)]
}

impl Socket {
    /// A number that no other socket has.
    pub(crate) fn id(&self) -> u64 {
        self.incoming.wait_id
    }

    /// Receives what the other one sent; `None` where there is nothing yet.
    pub(crate) fn receive(
        &self,
        kernel: &mut Kernel,
        into: &mut [u8],
        taking: Taking,
    ) -> Result<Option<Received>, Errno> {
        let received = self.incoming.receive(into, taking)?;
        if received.is_some() && taking == Taking::Take {
            kernel.wake(self.read_key());
        }
        Ok(received)
    }

    /// Sends bytes and open files; answers how many bytes it took, or `None` where it has to wait.
    ///
    /// Differs from Linux: ETOOMANYREFS where a socket would lie on the way to itself.
    pub(crate) fn send(
        &self,
        kernel: &mut Kernel,
        from: &[u8],
        files: &[Rc<OpenFile>],
    ) -> Result<Option<usize>, Errno> {
        for file in files {
            check_nesting(file, self.outgoing.wait_id, NESTED_MAX)?;
        }
        if self.kind == Kind::Sequence && self.incoming.is_reset.take() {
            return Err(Errno::ECONNRESET);
        }
        let sent = self.outgoing.send(from, files)?;
        if sent.is_some() {
            kernel.wake(self.write_key());
        }
        Ok(sent)
    }

    /// What a read waits for.
    pub(crate) fn read_key(&self) -> WaitKey {
        WaitKey::Object(self.incoming.wait_id)
    }

    /// What a write waits for.
    pub(crate) fn write_key(&self) -> WaitKey {
        WaitKey::Object(self.outgoing.wait_id)
    }

    /// read(): files that come along are closed.
    pub(crate) fn read(&self, kernel: &mut Kernel, into: &mut [u8]) -> Result<Transfer, Errno> {
        Ok(match self.receive(kernel, into, Taking::Take)? {
            Some(received) => Transfer::Done(received.len),
            None => Transfer::Wait(self.read_key()),
        })
    }

    /// write()
    pub(crate) fn write(&self, kernel: &mut Kernel, from: &[u8]) -> Result<Transfer, Errno> {
        Ok(match self.send(kernel, from, &[])? {
            Some(len) => Transfer::Done(len),
            None => Transfer::Wait(self.write_key()),
        })
    }

    /// Ends a direction for both. The caller wakes who waits for dropped ends.
    pub(crate) fn shut_down(&self, direction: Direction) {
        let (way, side) = match direction {
            Direction::Incoming => (&self.incoming, &self.incoming.reader),
            Direction::Outgoing => (&self.outgoing, &self.outgoing.writer),
        };
        side.set(Side::Shut);
        self.dropped.borrow_mut().push(way.wait_id);
    }

    /// Bytes that can be read without waiting.
    pub(crate) fn unread(&self) -> usize {
        self.incoming.len()
    }

    /// How often something was sent or received, either way.
    pub(crate) fn changes(&self) -> u64 {
        self.incoming.changes.get() + self.outgoing.changes.get()
    }

    /// What poll() says.
    pub(crate) fn readiness(&self) -> Readiness {
        let has_ended = self.incoming.has_ended();
        Readiness {
            // The end of what is sent can be read, too.
            can_read: has_ended || !self.incoming.is_empty(),
            can_write: self.outgoing.has_room(),
            is_hung_up: has_ended && self.outgoing.has_ended(),
            is_broken: self.incoming.is_reset.get(),
            is_half_closed: has_ended,
        }
    }

    /// Adds what a task waits for until the readiness changes.
    pub(crate) fn wait_keys(&self, keys: &mut Vec<WaitKey>) {
        keys.extend([self.read_key(), self.write_key()]);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let has_unread = !self.incoming.is_empty();
        self.incoming.reader.set(Side::Closed);
        self.incoming.clear();
        // The other one of a pair of SOCK_DGRAM may wait for somebody else.
        if self.kind != Kind::Datagram {
            self.outgoing.writer.set(Side::Closed);
            self.outgoing.is_reset.set(has_unread);
        }
        let mut dropped = self.dropped.borrow_mut();
        dropped.extend([self.incoming.wait_id, self.outgoing.wait_id]);
    }
}

/// ETOOMANYREFS where the socket of number `target` lies in a file or on the way to it: sent there,
/// the two would keep each other alive. Also where too many lie in each other.
fn check_nesting(file: &OpenFile, target: u64, depth: usize) -> Result<(), Errno> {
    let Body::Socket(socket) = &file.body else { return Ok(()) };
    if socket.id() == target || depth == 0 {
        return Err(Errno::ETOOMANYREFS);
    }
    let files = socket.incoming.files();
    files.iter().try_for_each(|file| check_nesting(file, target, depth - 1))
}
