//! Names of the share that were looked up: dentries and inodes that nobody uses, kept as long as there
//! is room for them.
//!
//! The share is the host's and may change, so that a name is asked for again each time it is used; what
//! is kept says what it led to the last time. It is charged to whom it was first looked up for, lies on
//! that group's list, and is given up from the list's end, when the group or one above it is at a limit;
//! one that was used since it came there goes round once more (as in Linux v6.12 fs/dcache.c). A name
//! that leads nowhere is kept as well.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use super::class::{Charged, Class};
use super::list::{Lists, Place};
use super::{KmemId, Shortage};
use crate::file::node::Name;
use crate::host::HostStat;
use crate::memory::frames::Frames;

/// What is kept of a name.
#[derive(Debug)]
pub(crate) struct KnownDentry {
    /// Hash of its path and of how it was asked for.
    key: u64,
    name: Name,
    /// It was used since it was put on its list, or last came to the end of it.
    is_referenced: bool,
    inode: Option<Box<KnownInode>>,
}

/// What is kept of a file.
#[derive(Debug)]
pub(crate) struct KnownInode {
    stat: HostStat,
}

impl Charged for KnownDentry {
    const CLASS: Class = Class::Dentry;
}

impl Charged for KnownInode {
    const CLASS: Class = Class::Inode;
}

/// Every name that is kept.
#[derive(Debug)]
pub(crate) struct Known {
    names: Lists<Box<KnownDentry>>,
    by_key: BTreeMap<u64, Place>,
    lists: BTreeMap<KmemId, Place>,
}

impl Known {
    /// None.
    pub(crate) const fn new() -> Self {
        Self { names: Lists::new(), by_key: BTreeMap::new(), lists: BTreeMap::new() }
    }

    /// Notes that a name is used; false when it is not kept, or leads elsewhere by now.
    pub(crate) fn touch(&mut self, key: u64, name: &[u8], stat: Option<HostStat>) -> bool {
        let Some(place) = self.by_key.get(&key).copied() else { return false };
        let known = self.names.get_mut(place);
        let is_same = match (&mut known.inode, stat) {
            (Some(inode), Some(stat)) => {
                inode.stat = stat;
                true
            }
            (inode, stat) => inode.is_none() && stat.is_none(),
        };
        known.is_referenced = true;
        if !is_same || known.name.bytes() != name {
            self.by_key.remove(&key);
            self.names.remove(place);
            return false;
        }
        true
    }

    /// Keeps a name.
    pub(crate) fn add(&mut self, payer: KmemId, dentry: Box<KnownDentry>) {
        let key = dentry.key;
        let list = *self.lists.entry(payer).or_insert_with(|| self.names.new_list());
        let place = self.names.insert(dentry);
        self.names.push_front(list, place);
        if let Some(old) = self.by_key.insert(key, place) {
            self.names.remove(old);
        }
    }

    /// Gives up to `count` names of a group up; answers how many it were.
    pub(crate) fn shrink(&mut self, id: KmemId, count: u64) -> u64 {
        let Some(list) = self.lists.get(&id).copied() else { return 0 };
        let mut dropped = 0;
        while dropped < count
            && let Some(last) = self.names.last(list)
        {
            if core::mem::take(&mut self.names.get_mut(last).is_referenced) {
                self.names.unlink(last);
                self.names.push_front(list, last);
                continue;
            }
            if let Some(dentry) = self.names.remove(last) {
                self.by_key.remove(&dentry.key);
            }
            dropped += 1;
        }
        if self.names.last(list).is_none() {
            self.lists.remove(&id);
            self.names.remove(list);
        }
        dropped
    }

    /// Whether names of a group are kept.
    pub(crate) fn has_names(&self, id: KmemId) -> bool {
        self.lists.contains_key(&id)
    }

    /// Puts the names of a group behind those of another.
    pub(crate) fn inherit(&mut self, id: KmemId, heir: KmemId) {
        let Some(from) = self.lists.remove(&id) else { return };
        let to = *self.lists.entry(heir).or_insert_with(|| self.names.new_list());
        self.names.splice(from, to);
        self.names.remove(from);
    }
}

/// Makes what is kept of a name, charged to the current payer.
pub(crate) fn dentry(
    frames: &Frames,
    key: u64,
    name: &[u8],
    stat: Option<HostStat>,
) -> Result<Box<KnownDentry>, Shortage> {
    let inode = stat.map(|stat| frames.new_box(KnownInode { stat })).transpose()?;
    let name = Name::new(frames, name)?;
    frames.new_box(KnownDentry { key, name, is_referenced: false, inode })
}
