//! Names, connections, and those who wait to be accepted.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};

use super::channel::Channel;
use super::port::{Name, Peer, Port};
use super::{Kind, Socket};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::Tid;
use crate::syscall::request::WaitKey;

impl Socket {
    /// Gives it a name; EINVAL where it has one. Whoever makes the name known gets the port.
    pub(crate) fn bind(&self, name: Name) -> Result<Rc<Port>, Errno> {
        if self.name.borrow().is_some() {
            return Err(Errno::EINVAL);
        }
        let port = Rc::new(Port {
            kind: self.kind,
            name: name.clone(),
            channel: self.incoming.clone(),
            backlog: RefCell::new(VecDeque::new()),
            backlog_max: Cell::new(None),
            listener: Cell::new(None),
        });
        self.name.replace(Some(name));
        self.port.replace(Some(port.clone()));
        Ok(port)
    }

    /// Takes the name back that could not be made known.
    pub(crate) fn unbind(&self) {
        self.name.replace(None);
        self.port.replace(None);
    }

    /// Lets a process accept connections; up to `backlog_max` and one may wait for that.
    pub(crate) fn listen(&self, pid: Tid, backlog_max: usize) -> Result<(), Errno> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let port = self.port.borrow();
        match (&*port, &*self.outgoing.borrow()) {
            (Some(port), None) => {
                port.backlog_max.set(Some(backlog_max));
                port.listener.set(Some(pid));
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// The port it listens at.
    pub(super) fn listening(&self) -> Option<Rc<Port>> {
        self.port.borrow().clone().filter(|port| port.backlog_max.get().is_some())
    }

    /// Whether it listens.
    pub(crate) fn is_listening(&self) -> bool {
        self.listening().is_some()
    }

    /// The connection that has waited longest to be accepted; `None` where none waits.
    pub(crate) fn accept(&self, kernel: &mut Kernel) -> Result<Option<Box<Self>>, Errno> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let port = self.listening().ok_or(Errno::EINVAL)?;
        let accepted = port.backlog.borrow_mut().pop_front();
        if accepted.is_some() {
            kernel.wake(WaitKey::Object(port.channel.wait_id));
        }
        Ok(accepted)
    }

    /// Connects it for a process; answers what has to be waited for where too many wait already.
    pub(crate) fn connect(
        &self,
        kernel: &mut Kernel,
        port: &Port,
        pid: Tid,
    ) -> Result<Option<WaitKey>, Errno> {
        if port.kind != self.kind {
            return Err(Errno::EPROTOTYPE);
        }
        if self.kind == Kind::Datagram {
            self.outgoing.replace(Some(port.channel.clone()));
            self.peer.replace(Peer { pid: None, name: Some(port.name.clone()) });
            return Ok(None);
        }
        let key = WaitKey::Object(port.channel.wait_id);
        if !port.has_room().ok_or(Errno::ECONNREFUSED)? {
            return Ok(Some(key));
        }
        if self.is_listening() {
            return Err(Errno::EINVAL);
        }
        if self.outgoing.borrow().is_some() {
            return Err(Errno::EISCONN);
        }
        let wait_id = kernel.new_wait_id();
        let other = Self::new(&kernel.frames, self.kind, wait_id, &self.dropped);
        let other = kernel.frames.new_box(other)?;
        let there: Rc<Channel> = other.incoming.clone();
        other.outgoing.replace(Some(self.incoming.clone()));
        other.name.replace(Some(port.name.clone()));
        other.peer.replace(Peer { pid: Some(pid), name: self.name() });
        port.backlog.borrow_mut().push_back(other);
        port.channel.changes.set(port.channel.changes.get() + 1);
        self.outgoing.replace(Some(there));
        self.peer.replace(Peer { pid: port.listener.get(), name: Some(port.name.clone()) });
        kernel.wake(key);
        Ok(None)
    }

    /// Forgets where messages go (connect() to no address).
    pub(crate) fn disconnect(&self) -> Result<(), Errno> {
        if self.kind != Kind::Datagram {
            return Err(Errno::EINVAL);
        }
        self.outgoing.replace(None);
        self.peer.replace(Peer::default());
        Ok(())
    }

    /// Whether it is connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.outgoing.borrow().is_some()
    }
}
