//! Directories: their entries, from all file systems that show there.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::device::{self, DeviceEntry};
use super::hugetlbfs::sysfs::{self, IsLeaf, SysEntry};
use super::lookup::{lookup, number_of};
use super::share::{ShareFile, ino_below};
use super::tmpfs::Walk;
use super::uapi::{Stat, entry_type, mode};
use super::{path, procfs};
use crate::errno::Errno;
use crate::heap;
use crate::host::{self, Follow};
use crate::kernel::Kernel;
use crate::number::{Tid, index};
use vmcg_abi::call::entry::HEADER_LEN;

/// Bytes of a `struct linux_dirent64` before the name.
const DIRENT_HEADER_LEN: usize = 19;
/// Entries begin at multiples of this.
const DIRENT_ALIGN: usize = 8;

/// An entry of a directory.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Inode number.
    pub(crate) ino: u64,
    /// `d_type`.
    pub(crate) kind: u8,
    /// The name.
    pub(crate) name: Vec<u8>,
}

/// An open directory. Its entries are gathered when the first is read, and again after a rewind.
#[derive(Debug)]
pub(crate) struct Directory {
    /// What fstat() says.
    pub(crate) stat: Stat,
    path: Vec<u8>,
    entries: RefCell<Vec<Entry>>,
}

/// Heap that a name of usual length takes while a directory is gathered: its entry, in two lists that
/// grow by doubling, and the name in each and in the set.
pub(super) const NAME_BYTES: usize = 384;

/// Entries as they are gathered: in the order of the file system, a name of a tmpfs before the same
/// name of the share below it.
#[derive(Debug, Default)]
struct Names {
    entries: Vec<Entry>,
    /// Names that are there or must not be there.
    settled: BTreeSet<Vec<u8>>,
}

impl Names {
    /// Adds an entry unless its name is settled; an inode number of 0 is made up later.
    fn add(&mut self, name: &[u8], ino: u64, kind: u8) {
        if self.settled.insert(name.to_vec()) {
            self.entries.push(Entry { ino, kind, name: name.to_vec() });
        }
    }

    /// Keeps a name from being added.
    fn hide(&mut self, name: &[u8]) {
        self.settled.insert(name.to_vec());
    }
}

impl Directory {
    /// A directory that was just opened, by its normalised absolute path.
    pub(crate) fn new(stat: Stat, path: &[u8]) -> Self {
        Self { stat, path: path.to_vec(), entries: RefCell::new(Vec::new()) }
    }

    /// Entries from number `start` on that fit into `room` bytes, packed as getdents64() gives
    /// them, and the number of the first that did not. EINVAL when not even one fits.
    pub(crate) fn pack(
        &self,
        kernel: &mut Kernel,
        tid: Tid,
        start: u64,
        room: usize,
    ) -> Result<(Vec<u8>, u64), Errno> {
        if start == 0 {
            *self.entries.borrow_mut() = gather(kernel, tid, &self.path)?;
        }
        let mut packed = Vec::new();
        let mut next = start;
        for entry in self.entries.borrow().iter().skip(index(start)) {
            let len = (DIRENT_HEADER_LEN + entry.name.len() + 1).next_multiple_of(DIRENT_ALIGN);
            if packed.len() + len > room {
                if packed.is_empty() {
                    return Err(Errno::EINVAL);
                }
                break;
            }
            next += 1;
            pack_entry(&mut packed, entry, next, len);
        }
        Ok((packed, next))
    }
}

fn pack_entry(packed: &mut Vec<u8>, entry: &Entry, next: u64, len: usize) {
    let end = packed.len() + len;
    packed.extend_from_slice(&entry.ino.to_le_bytes());
    packed.extend_from_slice(&next.to_le_bytes());
    packed.extend_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes());
    packed.push(entry.kind);
    packed.extend_from_slice(&entry.name);
    packed.resize(end, 0);
}

/// Everything that a directory shows, `.` and `..` first.
pub(crate) fn gather(kernel: &mut Kernel, tid: Tid, path: &[u8]) -> Result<Vec<Entry>, Errno> {
    let mut names = Names::default();
    if let Some(walk) = kernel.files.tmpfs.walk(path, Follow::Yes) {
        gather_overlay(walk?, path, &mut names)?;
    } else if let Some(rest) = path::below(path, b"/proc") {
        for (name, mode) in procfs::names(kernel, tid, rest)? {
            names.add(&name, 0, entry_type(mode));
        }
    } else if path::below(path, b"/dev").is_some() {
        gather_devices(&mut names);
    } else if let Some(rest) = path::below(path, sysfs::DIRECTORY) {
        let Some(SysEntry::Directory(found, is_leaf)) = sysfs::entry(kernel, rest) else {
            return Err(Errno::ENOENT);
        };
        let mode = if is_leaf == IsLeaf::Yes { mode::REGULAR } else { mode::DIRECTORY };
        found.iter().for_each(|name| names.add(name.as_bytes(), 0, entry_type(mode)));
    } else {
        gather_share(path, &mut names, |ino| ino)?;
    }
    let kind = entry_type(mode::DIRECTORY);
    let own = number_of(path);
    let dots = [b".".to_vec(), b"..".to_vec()].map(|name| Entry { ino: own, kind, name });
    let mut entries = dots.to_vec();
    entries.extend(names.entries.into_iter().map(|entry| match entry.ino {
        0 => Entry { ino: number_of(&path::join(path, &entry.name)), ..entry },
        _ => entry,
    }));
    Ok(entries)
}

fn gather_devices(names: &mut Names) {
    for (name, entry) in device::ENTRIES {
        let mode = match entry {
            DeviceEntry::Link(_) => mode::LINK,
            _ => mode::CHARACTER,
        };
        names.add(name, 0, entry_type(mode));
    }
    names.add(b"shm", 0, entry_type(mode::DIRECTORY));
    names.add(b"hugepages", 0, entry_type(mode::DIRECTORY));
}

/// A directory of a tmpfs, with what shows through from below.
fn gather_overlay(walk: Walk, path: &[u8], names: &mut Names) -> Result<(), Errno> {
    let node = match walk {
        Walk::Node(node) => node,
        Walk::Below => return gather_share(path, names, ino_below),
        // The path of an open directory has no links in it; one put there since leads nowhere.
        Walk::Link(_) => return Err(Errno::ENOENT),
    };
    let children = node.names().ok_or(Errno::ENOTDIR)?.borrow();
    if !heap::has_room(children.len() * NAME_BYTES) {
        return Err(Errno::ENOMEM);
    }
    for (name, child) in children.iter() {
        if child.is_gone() {
            names.hide(name);
        } else {
            let stat = child.stat();
            names.add(name, stat.ino, entry_type(stat.mode));
        }
    }
    if node.shows_below() {
        // Where the share has no such directory there is nothing to show through.
        match gather_share(path, names, ino_below) {
            Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A directory of the share, whose inode numbers are told as `ino_of` has them.
fn gather_share(path: &[u8], names: &mut Names, ino_of: fn(u64) -> u64) -> Result<(), Errno> {
    let Ok(file) = ShareFile::open(path, Follow::Yes)? else {
        return Err(Errno::ENOENT);
    };
    let mut cookie = 0;
    loop {
        if heap::is_short() {
            return Err(Errno::ENOMEM);
        }
        let packed = host::file_readdir(file.handle(), cookie)?;
        let mut rest = &packed[..];
        let before = cookie;
        while let Some((entry, next, after)) = unpack(rest) {
            if entry.name != b"." && entry.name != b".." {
                names.add(&entry.name, ino_of(entry.ino), entry.kind);
            }
            cookie = next;
            rest = after;
        }
        if cookie == before {
            return Ok(());
        }
    }
}

/// Takes one entry from what the host packed: the entry, the cookie after it, the rest.
fn unpack(packed: &[u8]) -> Option<(Entry, u64, &[u8])> {
    let (header, rest) = packed.split_first_chunk::<HEADER_LEN>()?;
    let word = |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| header[at + i]));
    let (name, rest) = rest.split_at_checked(usize::from(header[17]))?;
    Some((Entry { ino: word(0), kind: header[16], name: name.to_vec() }, word(8), rest))
}

/// Whether nothing but `.` and `..` shows in a directory.
pub(crate) fn is_empty(kernel: &mut Kernel, tid: Tid, path: &[u8]) -> Result<bool, Errno> {
    Ok(gather(kernel, tid, path)?.len() == 2)
}

/// Fails unless a path leads to a directory.
pub(crate) fn check(kernel: &mut Kernel, tid: Tid, path: &[u8]) -> Result<Vec<u8>, Errno> {
    let place = lookup(kernel, tid, path, Follow::Yes)?;
    if !place.stat().is_directory() {
        return Err(Errno::ENOTDIR);
    }
    Ok(place.directory().to_vec())
}
