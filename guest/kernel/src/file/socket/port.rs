//! Where others reach a socket that has a name: for connections, and for messages.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::channel::Channel;
use super::{Kind, Socket};
use crate::number::Tid;

/// A socket's name as programs give and get it: the bytes of `sun_path` that count. A path ends in a
/// NUL, and an abstract name begins with one.
pub(crate) type Name = Rc<[u8]>;

/// What is known of the process at the other side of a connection, or of a message's sender.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    /// The process; `None` where there is no connection.
    pub(crate) pid: Option<Tid>,
    /// The name of its socket.
    pub(crate) name: Option<Name>,
}

/// Where others reach a socket.
#[derive(Debug)]
pub(crate) struct Port {
    pub(super) kind: Kind,
    pub(super) name: Name,
    /// What the socket reads.
    pub(super) channel: Rc<Channel>,
    /// Connections that wait to be accepted, once listen() has said how many there may be.
    pub(super) backlog: RefCell<VecDeque<Box<Socket>>>,
    pub(super) backlog_max: Cell<Option<usize>>,
    /// The process that called listen().
    pub(super) listener: Cell<Option<Tid>>,
}

impl Port {
    /// Whether one connection more may wait to be accepted, as Linux counts; `None` = nobody listens.
    pub(super) fn has_room(&self) -> Option<bool> {
        self.backlog_max.get().map(|max| self.backlog.borrow().len() <= max)
    }
}

/// Names without a file (abstract ones).
#[derive(Debug, Default)]
pub(crate) struct AbstractNames {
    ports: BTreeMap<Vec<u8>, Weak<Port>>,
}

impl AbstractNames {
    /// The socket that has a name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Rc<Port>> {
        self.ports.get(name)?.upgrade()
    }

    /// Enters a socket by its name, which is free.
    pub(crate) fn add(&mut self, port: &Rc<Port>) {
        self.ports.retain(|_, port| port.strong_count() > 0);
        self.ports.insert(port.name.to_vec(), Rc::downgrade(port));
    }
}
