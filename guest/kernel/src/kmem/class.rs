//! What kernel objects there are that a group is charged for.

use alloc::boxed::Box;
use alloc::rc::Rc;

use crate::file::OpenFile;
use crate::file::node::{Dentry, Node};
use crate::file::pipe::Pipe;
use crate::file::socket::Socket;
use crate::file::socket::channel::Packet;
use crate::heap;
use crate::kmem::known::{KnownDentry, KnownInode};
use crate::kmem::{KmemId, Shortage};
use crate::memory::area::Area;
use crate::memory::frames::Frames;
use crate::number::PAGE_LEN;
use crate::task::Task;

/// A kind of object; each group has a cache of its own for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Class {
    Task,
    Stack,
    Area,
    File,
    Pipe,
    Socket,
    Dentry,
    Inode,
    Packet,
    Bytes64,
    Bytes256,
    Bytes1024,
    Bytes4096,
}

/// Number of classes.
pub(crate) const CLASSES: usize = 13;

/// Every class: its name, as Linux calls its cache, and the bytes an object takes.
const TABLE: [(Class, &str, usize); CLASSES] = [
    (Class::Task, "task_struct", boxed::<Task>()),
    (Class::Stack, "thread_stack", PAGE_LEN),
    (Class::Area, "vm_area_struct", boxed::<Area>()),
    (Class::File, "filp", counted::<OpenFile>()),
    (Class::Pipe, "pipe_inode_info", counted::<Pipe>()),
    (Class::Socket, "sock_inode_cache", boxed::<Socket>()),
    (Class::Dentry, "dentry", larger(boxed::<Dentry>(), boxed::<KnownDentry>())),
    (Class::Inode, "inode_cache", larger(counted::<Node>(), boxed::<KnownInode>())),
    (Class::Packet, "skbuff_head_cache", boxed::<Packet>()),
    (Class::Bytes64, "kmalloc-64", 64),
    (Class::Bytes256, "kmalloc-256", 256),
    (Class::Bytes1024, "kmalloc-1024", 1024),
    (Class::Bytes4096, "kmalloc-4096", PAGE_LEN),
];

/// A class of plain bytes, by how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ByteClass {
    B64,
    B256,
    B1024,
    B4096,
}

impl ByteClass {
    /// The smallest class that has room for so many bytes; for more than a page, a page.
    pub(crate) const fn fitting(len: usize) -> Self {
        match len {
            0..=64 => Self::B64,
            65..=256 => Self::B256,
            257..=1024 => Self::B1024,
            _ => Self::B4096,
        }
    }
}

impl From<ByteClass> for Class {
    fn from(sized: ByteClass) -> Self {
        match sized {
            ByteClass::B64 => Self::Bytes64,
            ByteClass::B256 => Self::Bytes256,
            ByteClass::B1024 => Self::Bytes1024,
            ByteClass::B4096 => Self::Bytes4096,
        }
    }
}

/// Smallest object: a slab keeps account of its objects in one word.
const OBJECT_MIN: usize = PAGE_LEN / 64;
/// Objects lie at multiples of this.
const ALIGN: usize = 16;

/// Bytes of a `Box` of `T`.
const fn boxed<T>() -> usize {
    let len = size_of::<T>().next_multiple_of(ALIGN);
    assert!(align_of::<T>() <= ALIGN && len <= PAGE_LEN, "an object fits a slab");
    larger(len, OBJECT_MIN)
}

/// Bytes of an `Rc` of `T`: two counts more.
const fn counted<T>() -> usize {
    boxed::<(usize, usize, T)>()
}

const fn larger(one: usize, other: usize) -> usize {
    if one > other { one } else { other }
}

impl Class {
    /// Every class, in order.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(class, _, _)| *class)
    }

    /// Position in tables with an entry for each class.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        TABLE[self.index()].1
    }

    /// Bytes an object takes.
    pub(crate) const fn size(self) -> usize {
        TABLE[self.index()].2
    }

    /// Objects a slab, which is a page, has room for.
    pub(crate) const fn per_slab(self) -> usize {
        PAGE_LEN / self.size()
    }
}

/// An object that is charged to whom it is made for.
pub(crate) trait Charged {
    /// What it is.
    const CLASS: Class;
}

impl Charged for Task {
    const CLASS: Class = Class::Task;
}

impl Charged for Area {
    const CLASS: Class = Class::Area;
}

impl Charged for OpenFile {
    const CLASS: Class = Class::File;
}

impl Charged for Pipe {
    const CLASS: Class = Class::Pipe;
}

impl Charged for Socket {
    const CLASS: Class = Class::Socket;
}

impl Charged for Packet {
    const CLASS: Class = Class::Packet;
}

impl Charged for Dentry {
    const CLASS: Class = Class::Dentry;
}

impl Charged for Node {
    const CLASS: Class = Class::Inode;
}

impl Frames {
    /// A `Box` that the current payer is charged for.
    pub(crate) fn new_box<T: Charged>(&self, value: T) -> Result<Box<T>, Shortage> {
        self.charged(T::CLASS, || Box::new(value))
    }

    /// An `Rc` that the current payer is charged for.
    pub(crate) fn new_rc<T: Charged>(&self, value: T) -> Result<Rc<T>, Shortage> {
        self.charged(T::CLASS, || Rc::new(value))
    }

    /// Bytes that are kept for a name, charged to the current payer.
    pub(crate) fn new_bytes(&self, bytes: &[u8]) -> Result<Box<[u8]>, Shortage> {
        if bytes.is_empty() {
            return Ok(Box::default());
        }
        self.charged(ByteClass::fitting(bytes.len()).into(), || bytes.into())
    }

    /// Open files that go along with a message, charged to the current payer.
    pub(crate) fn new_files(
        &self,
        files: &[Rc<OpenFile>],
    ) -> Result<Box<[Rc<OpenFile>]>, Shortage> {
        if files.is_empty() {
            return Ok(Box::default());
        }
        self.charged(ByteClass::fitting(size_of_val(files)).into(), || files.into())
    }

    /// What `make` makes with one allocation of an object of `class`, which the current payer is
    /// charged for.
    pub(crate) fn charged<T>(&self, class: Class, make: impl FnOnce() -> T) -> Result<T, Shortage> {
        let payer = self.kmem().payer();
        if payer == KmemId::NOBODY {
            return Ok(make());
        }
        let gpa = self.kmem().take_object(self, payer, class)?;
        Ok(heap::place(gpa, class.size(), make))
    }
}
