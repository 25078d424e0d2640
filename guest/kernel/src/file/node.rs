//! Files that live in memory: the tree of a tmpfs.
//!
//! A tmpfs here lies over a directory of the share: what the tree does not have is looked for there,
//! and [`NodeBody::Gone`] hides what was removed.

use alloc::boxed::Box;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::device::Device;
use super::pipe::Pipe;
use super::socket::port::Port;
use super::uapi::{Owner, SECTOR_LEN, Stat, mode};
use crate::kmem::Shortage;
use crate::memory::frames::Frames;
use crate::memory::object::Object;
use vmcg_abi::layout::PAGE_SIZE;

/// Device number of every tmpfs.
pub(super) const TMPFS_DEV: u64 = 0x20;

/// Longest name that lies in its dentry itself.
const NAME_INLINE_MAX: usize = 39;

/// A name as it is kept.
#[derive(Debug)]
pub(crate) struct Name {
    /// One that is too long to lie here.
    long: Option<Box<[u8]>>,
    short: [u8; NAME_INLINE_MAX],
    short_len: u8,
}

impl Name {
    /// Keeps a name; a long one is charged to the current payer.
    pub(crate) fn new(frames: &Frames, name: &[u8]) -> Result<Self, Shortage> {
        let mut kept = Self { long: None, short: [0; NAME_INLINE_MAX], short_len: 0 };
        match (kept.short.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(short), Ok(len)) => {
                short.copy_from_slice(name);
                kept.short_len = len;
            }
            _ => kept.long = Some(frames.new_bytes(name)?),
        }
        Ok(kept)
    }

    /// The name.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.long.as_deref().unwrap_or(&self.short[..usize::from(self.short_len)])
    }
}

/// A name of a directory and what it leads to.
#[derive(Debug)]
pub(crate) struct Dentry {
    node: Rc<Node>,
    name: Name,
}

impl Dentry {
    /// A name for a node.
    pub(crate) fn new(frames: &Frames, name: &[u8], node: Rc<Node>) -> Result<Box<Self>, Shortage> {
        frames.new_box(Self { node, name: Name::new(frames, name)? })
    }

    fn name(&self) -> &[u8] {
        self.name.bytes()
    }
}

/// The names of a directory, in order.
#[derive(Debug, Default)]
pub(crate) struct Names {
    #[expect(clippy::vec_box, reason = "each lies in a slab by itself")]
    entries: Vec<Box<Dentry>>,
}

impl Names {
    fn position(&self, name: &[u8]) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.name().cmp(name))
    }

    /// What a name leads to.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Rc<Node>> {
        Some(&self.entries[self.position(name).ok()?].node)
    }

    /// Adds a name; what had it before loses it.
    pub(crate) fn insert(&mut self, dentry: Box<Dentry>) {
        match self.position(dentry.name()) {
            Ok(place) => self.entries[place] = dentry,
            Err(place) => self.entries.insert(place, dentry),
        }
    }

    /// Takes a name away.
    pub(crate) fn remove(&mut self, name: &[u8]) {
        if let Ok(place) = self.position(name) {
            self.entries.remove(place);
        }
    }

    /// Every name and what it leads to.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &Rc<Node>)> {
        self.entries.iter().map(|entry| (entry.name(), &entry.node))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

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
    Link(Box<[u8]>),
    /// A fifo.
    Fifo(Rc<Pipe>),
    /// The name of a socket, which may be gone.
    Socket(Weak<Port>),
    /// A device.
    Device(Device),
    /// A file of the share below was removed.
    Gone,
}

/// A file that lives in memory.
#[derive(Debug)]
pub(crate) struct Node {
    ino: u64,
    mode: Cell<u32>,
    nlink: Cell<u64>,
    owner: Cell<Owner>,
    mtime_ns: Cell<u64>,
    pub(crate) body: NodeBody,
}

impl Node {
    /// A node with one name; `permissions` are the bits of its mode besides the type.
    pub(crate) fn new(ino: u64, permissions: u32, now_ns: u64, body: NodeBody) -> Self {
        let (kind, nlink) = match body {
            NodeBody::File(_) | NodeBody::Gone => (mode::REGULAR, 1),
            NodeBody::Directory(..) => (mode::DIRECTORY, 2),
            NodeBody::Link(_) => (mode::LINK, 1),
            NodeBody::Fifo(_) => (mode::FIFO, 1),
            NodeBody::Socket(_) => (mode::SOCKET, 1),
            NodeBody::Device(_) => (mode::CHARACTER, 1),
        };
        let mode = Cell::new(kind | permissions & mode::PERMISSIONS);
        let (nlink, owner) = (Cell::new(nlink), Cell::default());
        Self { ino, mode, nlink, owner, mtime_ns: Cell::new(now_ns), body }
    }

    /// An empty directory.
    pub(crate) fn directory(ino: u64, permissions: u32, now_ns: u64, below: Below) -> Self {
        let body = NodeBody::Directory(RefCell::new(Names::default()), below);
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
            NodeBody::Fifo(_) | NodeBody::Socket(_) => (0, 0),
            NodeBody::Device(_) | NodeBody::Gone => (0, 0),
        };
        let block_len = match &self.body {
            NodeBody::File(object) => object.huge().map_or(0, |file| file.size().bytes()),
            _ => 0,
        };
        Stat {
            dev: TMPFS_DEV,
            ino: self.ino,
            mode: self.mode.get(),
            nlink: self.nlink.get(),
            owner: self.owner.get(),
            rdev: self.rdev(),
            size,
            blocks: pages * (PAGE_SIZE / SECTOR_LEN),
            block_len,
            mtime_ns: self.mtime_ns.get(),
        }
    }

    /// The device it is.
    fn rdev(&self) -> u64 {
        match self.body {
            NodeBody::Device(device) => device.stat().rdev,
            _ => 0,
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

    /// Gives it to somebody else.
    pub(crate) fn set_owner(&self, owner: Owner) {
        self.owner.set(owner);
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
