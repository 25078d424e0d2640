//! Files that live in memory: the tree of a tmpfs.
//!
//! A tmpfs here lies over a directory of the share: what the tree does not have is looked for there,
//! and [`NodeBody::Gone`] hides what was removed.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::pipe::Pipe;
use super::uapi::{SECTOR_LEN, Stat, mode};
use crate::memory::object::Object;
use vmcg_abi::layout::PAGE_SIZE;

/// Device number of every tmpfs.
const TMPFS_DEV: u64 = 0x20;

/// Names of a directory.
pub(crate) type Names = BTreeMap<Vec<u8>, Rc<Node>>;

/// Whether the share's directory below a tmpfs directory is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Below {
    /// Names that the tmpfs does not have are looked for there.
    Seen,
    /// The tmpfs has all there is.
    Hidden,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum NodeBody {
    /// A regular file.
    File(Rc<Object>),
    /// A directory, and whether the share's directory of that name shows through.
    Directory(RefCell<Names>, Below),
    /// A symbolic link to this path.
    Link(Vec<u8>),
    /// A fifo.
    Fifo(Rc<Pipe>),
    /// A file of the share below was removed.
    Gone,
}

/// A file that lives in memory.
#[derive(Debug)]
pub(crate) struct Node {
    ino: u64,
    mode: Cell<u32>,
    nlink: Cell<u64>,
    mtime_ns: Cell<u64>,
    pub(crate) body: NodeBody,
}

impl Node {
    /// A node with one name; `permissions` are the bits of its mode besides the type.
    pub(crate) fn new(ino: u64, permissions: u32, now_ns: u64, body: NodeBody) -> Rc<Self> {
        let (kind, nlink) = match body {
            NodeBody::File(_) | NodeBody::Gone => (mode::REGULAR, 1),
            NodeBody::Directory(..) => (mode::DIRECTORY, 2),
            NodeBody::Link(_) => (mode::LINK, 1),
            NodeBody::Fifo(_) => (mode::FIFO, 1),
        };
        let mode = Cell::new(kind | permissions & mode::PERMISSIONS);
        Rc::new(Self { ino, mode, nlink: Cell::new(nlink), mtime_ns: Cell::new(now_ns), body })
    }

    /// An empty directory.
    pub(crate) fn directory(ino: u64, permissions: u32, now_ns: u64, below: Below) -> Rc<Self> {
        let body = NodeBody::Directory(RefCell::new(Names::new()), below);
        Self::new(ino, permissions, now_ns, body)
    }

    /// The names of a directory; `None` for anything else.
    pub(crate) fn names(&self) -> Option<&RefCell<Names>> {
        match &self.body {
            NodeBody::Directory(names, _) => Some(names),
            _ => None,
        }
    }

    /// Whether the share's directory of that name shows through.
    pub(crate) const fn shows_below(&self) -> bool {
        matches!(self.body, NodeBody::Directory(_, Below::Seen))
    }

    /// What stat() says.
    pub(crate) fn stat(&self) -> Stat {
        /// What tmpfs counts for each name of a directory, the dots included.
        const NAME_SIZE: u64 = 20;
        let (size, pages) = match &self.body {
            NodeBody::File(object) => (object.size(), object.page_count()),
            NodeBody::Directory(names, _) => (NAME_SIZE * (names.borrow().len() as u64 + 2), 0),
            NodeBody::Link(target) => (target.len() as u64, 0),
            NodeBody::Fifo(_) | NodeBody::Gone => (0, 0),
        };
        Stat {
            dev: TMPFS_DEV,
            ino: self.ino,
            mode: self.mode.get(),
            nlink: self.nlink.get(),
            rdev: 0,
            size,
            blocks: pages * (PAGE_SIZE / SECTOR_LEN),
            mtime_ns: self.mtime_ns.get(),
        }
    }

    /// Notes that the content changed.
    pub(crate) fn touch(&self, now_ns: u64) {
        self.mtime_ns.set(now_ns);
    }

    /// Changes the permission bits.
    pub(crate) fn set_permissions(&self, permissions: u32) {
        let kind = self.mode.get() & mode::TYPE;
        self.mode.set(kind | permissions & mode::PERMISSIONS);
    }

    /// Notes that it has one name more.
    pub(crate) fn linked(&self) {
        self.nlink.set(self.nlink.get() + 1);
    }

    /// Notes that it has one name less.
    pub(crate) fn unlinked(&self) {
        self.nlink.set(self.nlink.get().saturating_sub(1));
    }

    /// Whether it hides a file of the share.
    pub(crate) const fn is_gone(&self) -> bool {
        matches!(self.body, NodeBody::Gone)
    }
}
