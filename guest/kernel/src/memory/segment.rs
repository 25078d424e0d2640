//! System V shared memory: segments that have a number, and perhaps a key.

use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};

use super::object::Object;

/// Most segments there are (SHMMNI).
pub(crate) const SEGMENTS_MAX: usize = 4096;

/// The memory of a segment.
#[derive(Debug)]
enum Memory {
    /// It lives whether it is mapped or not.
    Kept(Rc<Object>),
    /// It was removed and goes with its last mapping.
    Removed(Weak<Object>),
}

/// A segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// What programs found it by; 0 = it is private.
    pub(crate) key: u32,
    /// Length in bytes, as it was asked for.
    pub(crate) size: u64,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Process that made it.
    pub(crate) creator: u32,
    /// When it was made or changed, in seconds since 1970.
    pub(crate) changed_s: u64,
    memory: Memory,
}

impl Segment {
    /// A segment that has a key or is private.
    pub(crate) fn new(key: u32, size: u64, object: Rc<Object>) -> Self {
        let memory = Memory::Kept(object);
        Self { key, size, mode: 0, creator: 0, changed_s: 0, memory }
    }

    /// Its memory; `None` once it was removed and nobody maps it.
    pub(crate) fn object(&self) -> Option<Rc<Object>> {
        match &self.memory {
            Memory::Kept(object) => Some(object.clone()),
            Memory::Removed(object) => object.upgrade(),
        }
    }

    /// Whether it goes with its last mapping.
    pub(crate) fn is_removed(&self) -> bool {
        matches!(self.memory, Memory::Removed(_))
    }
}

/// Every segment, by number.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    by_id: BTreeMap<u32, Segment>,
    last: u32,
}

impl Segments {
    /// A segment that lives.
    pub(crate) fn get(&self, id: u32) -> Option<&Segment> {
        self.by_id.get(&id).filter(|segment| segment.object().is_some())
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Segment> {
        self.by_id.get_mut(&id).filter(|segment| segment.object().is_some())
    }

    /// Every segment that lives, with its number, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Segment)> {
        let living = self.by_id.iter().filter(|(_, segment)| segment.object().is_some());
        living.map(|(id, segment)| (*id, segment))
    }

    /// The number of the segment with this key.
    pub(crate) fn find(&self, key: u32) -> Option<u32> {
        let found = self.by_id.iter().find(|(_, segment)| segment.key == key);
        found.map(|(id, _)| *id)
    }

    /// Adds a segment; `None` where there are too many.
    pub(crate) fn add(&mut self, segment: Segment) -> Option<u32> {
        self.by_id.retain(|_, segment| segment.object().is_some());
        if self.by_id.len() >= SEGMENTS_MAX {
            return None;
        }
        loop {
            self.last = (self.last + 1) & 0x7fff_ffff;
            if !self.by_id.contains_key(&self.last) {
                self.by_id.insert(self.last, segment);
                return Some(self.last);
            }
        }
    }

    /// Lets a segment go with its last mapping; false where there is none.
    pub(crate) fn remove(&mut self, id: u32) -> bool {
        let Some(segment) = self.get_mut(id) else { return false };
        if let Memory::Kept(object) = &segment.memory {
            segment.memory = Memory::Removed(Rc::downgrade(object));
            segment.key = 0;
        }
        true
    }
}
