//! One way between two sockets: what was sent and not yet received, bytes and open files.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::Kind;
use super::port::Peer;
use crate::errno::Errno;
use crate::file::OpenFile;
use crate::heap;
use crate::kmem::bytes::Bytes;
use crate::kmem::class::ByteClass;
use crate::memory::frames::Frames;

/// Bytes a way holds (Linux: net.core.wmem_default).
pub(super) const CAPACITY: usize = 212_992;
/// Messages a way holds (Linux: net.unix.max_dgram_qlen, and one).
const MESSAGES_MAX: usize = 11;
/// A stream's piece that is longer than this is not added to.
const PIECE_MAX: usize = 65536;

/// What was sent at a time.
#[derive(Debug, Default)]
pub(crate) struct Packet {
    /// Those that have not been received.
    bytes: Bytes,
    files: Box<[Rc<OpenFile>]>,
    sender: Peer,
}

/// What goes along with bytes.
#[derive(Debug)]
pub(super) struct Luggage<'files> {
    /// Open files.
    pub(super) files: &'files [Rc<OpenFile>],
    /// Who sends it.
    pub(super) sender: Peer,
}

/// What has become of the socket at one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Open,
    /// It was shut down in this direction.
    Shut,
    /// It is gone.
    Closed,
}

/// Whether what is received stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    /// It is taken out.
    Take,
    /// It stays (MSG_PEEK).
    Peek,
}

/// What was received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Bytes copied.
    pub(crate) len: usize,
    /// Bytes of the whole message.
    pub(crate) message_len: usize,
    /// Open files that came along.
    pub(crate) files: Vec<Rc<OpenFile>>,
    /// Who sent it.
    pub(crate) sender: Peer,
}

/// One way between two sockets.
#[derive(Debug)]
pub(super) struct Channel {
    /// What waits for it waits for this; also the number of the socket that reads.
    pub(super) wait_id: u64,
    kind: Kind,
    frames: Frames,
    packets: RefCell<VecDeque<Box<Packet>>>,
    len: Cell<usize>,
    pub(super) reader: Cell<Side>,
    pub(super) writer: Cell<Side>,
    /// The writer closed without having read what was sent to it: told once.
    pub(super) is_reset: Cell<bool>,
    /// How often something was sent or received.
    pub(super) changes: Cell<u64>,
}

impl Channel {
    /// An empty way with both sides open.
    pub(super) fn new(frames: &Frames, wait_id: u64, kind: Kind) -> Rc<Self> {
        Rc::new(Self {
            wait_id,
            kind,
            frames: frames.clone(),
            packets: RefCell::new(VecDeque::new()),
            len: Cell::new(0),
            reader: Cell::new(Side::Open),
            writer: Cell::new(Side::Open),
            is_reset: Cell::new(false),
            changes: Cell::new(0),
        })
    }

    /// Bytes that can be received.
    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    /// Whether there is nothing to receive, not even an empty message.
    pub(super) fn is_empty(&self) -> bool {
        self.packets.borrow().is_empty()
    }

    /// Whether nothing more will come.
    pub(super) fn has_ended(&self) -> bool {
        self.reader.get() != Side::Open || self.writer.get() != Side::Open
    }

    /// Whether something can be sent.
    pub(super) fn has_room(&self) -> bool {
        let has_place = self.kind == Kind::Stream || self.packets.borrow().len() < MESSAGES_MAX;
        self.len() * 4 <= CAPACITY && has_place || self.has_ended()
    }

    /// The open files on their way.
    pub(super) fn files(&self) -> Vec<Rc<OpenFile>> {
        self.packets.borrow().iter().flat_map(|packet| packet.files.iter().cloned()).collect()
    }

    /// Sends bytes and what goes along; answers how many bytes it took, or `None` where there is no
    /// room. ENOBUFS where there is no memory, as in Linux.
    pub(super) fn send(&self, from: &[u8], luggage: Luggage<'_>) -> Result<Option<usize>, Errno> {
        match (self.kind, self.writer.get(), self.reader.get()) {
            (_, Side::Open, Side::Open) => {}
            (Kind::Datagram, Side::Open, Side::Closed) => return Err(Errno::ECONNREFUSED),
            _ => return Err(Errno::EPIPE),
        }
        let room = CAPACITY.saturating_sub(self.len());
        let mut packets = self.packets.borrow_mut();
        let len = match self.kind {
            Kind::Stream if from.is_empty() => return Ok(Some(0)),
            Kind::Stream if room == 0 => return Ok(None),
            Kind::Stream => from.len().min(room),
            _ if from.len() > CAPACITY => return Err(Errno::EMSGSIZE),
            _ if from.len() > room || packets.len() >= MESSAGES_MAX => return Ok(None),
            _ => from.len(),
        };
        if heap::is_short() {
            return Err(Errno::ENOBUFS);
        }
        let joins = self.kind == Kind::Stream && luggage.files.is_empty();
        let last = packets
            .back_mut()
            .filter(|last| joins && last.files.is_empty() && last.bytes.len() < PIECE_MAX);
        let no_room = |_| Errno::ENOBUFS;
        match last {
            Some(last) => {
                last.bytes.push(&self.frames, &from[..len], ByteClass::B64).map_err(no_room)?;
            }
            None => {
                let files = self.frames.new_files(luggage.files).map_err(no_room)?;
                let packet = Packet { bytes: Bytes::default(), files, sender: luggage.sender };
                let mut packet = self.frames.new_box(packet).map_err(no_room)?;
                packet.bytes.push(&self.frames, &from[..len], ByteClass::B64).map_err(no_room)?;
                packets.push_back(packet);
            }
        }
        self.len.set(self.len() + len);
        self.changes.set(self.changes.get() + 1);
        Ok(Some(len))
    }

    /// Receives; `None` where there is nothing yet. At the end nothing is received.
    pub(super) fn receive(
        &self,
        into: &mut [u8],
        taking: Taking,
    ) -> Result<Option<Received>, Errno> {
        if self.is_empty() {
            if self.is_reset.take() {
                return Err(Errno::ECONNRESET);
            }
            return Ok(self.has_ended().then(Received::default));
        }
        let mut received = Received::default();
        let mut at = 0;
        let mut packets = self.packets.borrow_mut();
        while let Some(packet) = packets.get_mut(at) {
            let rest = packet.bytes.len();
            let len = packet.bytes.peek(&mut into[received.len..]);
            received.len += len;
            received.message_len += rest;
            let is_whole = len == rest || self.kind != Kind::Stream;
            let has_files = !packet.files.is_empty();
            received.sender.clone_from(&packet.sender);
            if taking == Taking::Peek {
                received.files.extend(packet.files.iter().cloned());
                at += 1;
            } else {
                received.files.extend(core::mem::take(&mut packet.files));
                packet.bytes.drop_front(len);
                self.len.set(self.len() - if is_whole { rest } else { len });
                if is_whole {
                    packets.pop_front();
                }
            }
            let is_full = received.len == into.len();
            if self.kind != Kind::Stream || has_files || !is_whole || is_full {
                break;
            }
        }
        self.changes.set(self.changes.get() + 1);
        Ok(Some(received))
    }

    /// Throws away what nobody will receive.
    pub(super) fn clear(&self) {
        self.len.set(0);
        // The files may close further sockets, so that nothing is borrowed meanwhile.
        drop(self.packets.take());
    }
}
