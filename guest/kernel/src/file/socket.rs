//! Unix sockets: two ways, one each direction, and where they are reached by name.

pub(crate) mod channel;
mod connect;
pub(crate) mod port;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::OpenFile;
use super::open_file::{Body, Readiness, Transfer};
use super::pipe::Dropped;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::frames::Frames;
use crate::number::Tid;
use crate::syscall::request::WaitKey;
use channel::{Channel, Luggage, Received, Side, Taking};
use port::{Name, Peer, Port};

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

/// A socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) kind: Kind,
    incoming: Rc<Channel>,
    /// Where what it sends goes, once it is connected.
    outgoing: RefCell<Option<Rc<Channel>>>,
    /// Where others reach it, once it has a name.
    port: RefCell<Option<Rc<Port>>>,
    /// Its name; that of an accepted connection is its listener's.
    name: RefCell<Option<Name>>,
    peer: RefCell<Peer>,
    /// It was shut down in the direction of sending; where it is not connected, that is kept here.
    is_mute: Cell<bool>,
    /// Who sent something is told with it (SO_PASSCRED).
    pub(crate) tells_sender: Cell<bool>,
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

/// Makes a pair for a process; each way has a wait id of its own.
pub(crate) fn pair(
    frames: &Frames,
    kind: Kind,
    wait_ids: [u64; 2],
    pid: Tid,
    dropped: &Dropped,
) -> [Socket; 2] {
    let pair = wait_ids.map(|wait_id| Socket::new(frames, kind, wait_id, dropped));
    let [there, back] = [&pair[0], &pair[1]].map(|socket| socket.incoming.clone());
    pair[0].outgoing.replace(Some(back));
    pair[1].outgoing.replace(Some(there));
    for socket in &pair {
        socket.peer.borrow_mut().pid = Some(pid);
    }
    pair
}

impl Socket {
    /// A socket that is neither connected nor has a name.
    pub(crate) fn new(frames: &Frames, kind: Kind, wait_id: u64, dropped: &Dropped) -> Self {
        Self {
            kind,
            incoming: Channel::new(frames, wait_id, kind),
            outgoing: RefCell::default(),
            port: RefCell::default(),
            name: RefCell::default(),
            peer: RefCell::default(),
            is_mute: Cell::new(false),
            tells_sender: Cell::new(false),
            dropped: dropped.clone(),
        }
    }

    /// A number that no other socket has.
    pub(crate) fn id(&self) -> u64 {
        self.incoming.wait_id
    }

    /// Its name.
    pub(crate) fn name(&self) -> Option<Name> {
        self.name.borrow().clone()
    }

    /// Who is at the other side.
    pub(crate) fn peer(&self) -> Peer {
        self.peer.borrow().clone()
    }

    /// Receives what was sent to it; `None` where there is nothing yet.
    pub(crate) fn receive(
        &self,
        kernel: &mut Kernel,
        into: &mut [u8],
        taking: Taking,
    ) -> Result<Option<Received>, Errno> {
        // Linux v6.12 net/unix/af_unix.c: unix_stream_read_generic, unix_seqpacket_recvmsg.
        match (self.kind, &*self.outgoing.borrow()) {
            (Kind::Stream, None) => return Err(Errno::EINVAL),
            (Kind::Sequence, None) => return Err(Errno::ENOTCONN),
            _ => {}
        }
        let received = self.incoming.receive(into, taking)?;
        if received.is_some() && taking == Taking::Take {
            kernel.wake(self.read_key());
        }
        Ok(received)
    }

    /// Sends bytes and open files, to where it is connected or to `port`; answers how many bytes it
    /// took, or what has to be waited for.
    ///
    /// Differs from Linux: ETOOMANYREFS where a socket would lie on the way to itself.
    pub(crate) fn send(
        &self,
        kernel: &mut Kernel,
        port: Option<&Port>,
        from: &[u8],
        files: &[Rc<OpenFile>],
    ) -> Result<Transfer, Errno> {
        if self.is_mute.get() {
            return Err(Errno::EPIPE);
        }
        let way = match port {
            Some(port) if port.kind != self.kind => return Err(Errno::EPROTOTYPE),
            Some(port) => port.channel.clone(),
            None => self.outgoing.borrow().clone().ok_or(Errno::ENOTCONN)?,
        };
        for file in files {
            check_nesting(file, way.wait_id, NESTED_MAX)?;
        }
        if self.kind == Kind::Sequence && self.incoming.is_reset.take() {
            return Err(Errno::ECONNRESET);
        }
        let pid = Some(kernel.task(kernel.current()).process);
        let sender = Peer { pid, name: self.name() };
        let key = WaitKey::Object(way.wait_id);
        match way.send(from, Luggage { files, sender })? {
            Some(len) => {
                kernel.wake(key);
                Ok(Transfer::Done(len))
            }
            None => Ok(Transfer::Wait(key)),
        }
    }

    /// What a read waits for.
    pub(crate) fn read_key(&self) -> WaitKey {
        WaitKey::Object(self.incoming.wait_id)
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
        self.send(kernel, None, from, &[])
    }

    /// Ends a direction for both. The caller wakes who waits for dropped ends.
    pub(crate) fn shut_down(&self, direction: Direction) {
        match (direction, &*self.outgoing.borrow()) {
            (Direction::Incoming, _) => self.incoming.reader.set(Side::Shut),
            (Direction::Outgoing, Some(way)) if self.kind != Kind::Datagram => {
                way.writer.set(Side::Shut);
                self.dropped.borrow_mut().push(way.wait_id);
            }
            (Direction::Outgoing, _) => self.is_mute.set(true),
        }
        self.dropped.borrow_mut().push(self.incoming.wait_id);
    }

    /// Bytes that can be read without waiting.
    pub(crate) fn unread(&self) -> usize {
        self.incoming.len()
    }

    /// How often something was sent or received, either way.
    pub(crate) fn changes(&self) -> u64 {
        let outgoing = self.outgoing.borrow();
        self.incoming.changes.get() + outgoing.as_ref().map_or(0, |way| way.changes.get())
    }

    /// What poll() says.
    pub(crate) fn readiness(&self) -> Readiness {
        if let Some(port) = self.listening() {
            let can_read = !port.backlog.borrow().is_empty();
            return Readiness { can_read, ..Readiness::default() };
        }
        let has_ended = self.incoming.has_ended();
        // The end of what is sent can be read, too.
        let can_read = has_ended || !self.incoming.is_empty();
        match &*self.outgoing.borrow() {
            None if self.kind == Kind::Datagram => {
                Readiness { can_read, can_write: true, ..Readiness::default() }
            }
            None => Readiness { can_write: true, is_hung_up: true, ..Readiness::default() },
            Some(way) => Readiness {
                can_read,
                can_write: way.has_room(),
                is_hung_up: has_ended && way.has_ended(),
                is_broken: self.incoming.is_reset.get(),
                is_half_closed: has_ended,
            },
        }
    }

    /// Adds what a task waits for until the readiness changes.
    pub(crate) fn wait_keys(&self, keys: &mut Vec<WaitKey>) {
        keys.push(self.read_key());
        keys.extend(self.outgoing.borrow().as_ref().map(|way| WaitKey::Object(way.wait_id)));
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let has_unread = !self.incoming.is_empty();
        self.incoming.reader.set(Side::Closed);
        self.incoming.clear();
        let mut dropped = alloc::vec![self.incoming.wait_id];
        if let Some(way) = self.outgoing.take() {
            // The other one of a pair of SOCK_DGRAM may wait for somebody else.
            if self.kind != Kind::Datagram {
                way.writer.set(Side::Closed);
                if has_unread {
                    way.is_reset.set(true);
                }
            }
            dropped.push(way.wait_id);
        }
        self.dropped.borrow_mut().extend(dropped);
        // Connections nobody accepted end here; they note themselves in `dropped`.
        if let Some(port) = self.port.take() {
            let waiting = port.backlog.take();
            for way in waiting.iter().filter_map(|socket| socket.outgoing.borrow().clone()) {
                way.is_reset.set(true);
            }
        }
    }
}

/// ETOOMANYREFS where the socket of number `target` lies in a file or on the way to it: sent there,
/// the two would keep each other alive. Also where too many lie in each other.
fn check_nesting(file: &OpenFile, target: u64, depth: usize) -> Result<(), Errno> {
    let Body::Socket(socket) = &file.body else { return Ok(()) };
    check_socket(socket, target, depth)
}

fn check_socket(socket: &Socket, target: u64, depth: usize) -> Result<(), Errno> {
    if socket.id() == target || depth == 0 {
        return Err(Errno::ETOOMANYREFS);
    }
    if let Some(port) = &*socket.port.borrow() {
        let waiting = port.backlog.borrow();
        waiting.iter().try_for_each(|socket| check_socket(socket, target, depth - 1))?;
    }
    let files = socket.incoming.files();
    files.iter().try_for_each(|file| check_nesting(file, target, depth - 1))
}
