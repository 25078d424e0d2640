//! Who owns which frame: four bytes a frame.
//!
//! A frame names an owner *slot*, not a group (see [`crate::owners`]), so that a removed group, or a
//! move that is taken back, does not have to visit the frames.

use crate::owners::SlotId;
use crate::{ChargeError, Gfn};

/// What a frame is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Anonymous memory of a process.
    Anon,
    /// Page cache of a file.
    File,
    /// tmpfs and shared anonymous memory.
    Shmem,
    /// Kernel memory: stacks, slabs.
    Kernel,
    /// A page table.
    PageTable,
    /// Part of a huge page. Counted by the hugetlb counters, never by the memory counter.
    Huge,
}

impl Kind {
    /// Number of kinds.
    pub(crate) const COUNT: usize = 6;

    /// Every kind.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Anon, Self::File, Self::Shmem, Self::Kernel, Self::PageTable, Self::Huge];

    /// Position in tables with an entry a kind.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Anon => 0,
            Self::File => 1,
            Self::Shmem => 2,
            Self::Kernel => 3,
            Self::PageTable => 4,
            Self::Huge => 5,
        }
    }

    /// The frame-table encoding: zero is kept for "not charged".
    const fn code(self) -> u32 {
        match self {
            Self::Anon => 1,
            Self::File => 2,
            Self::Shmem => 3,
            Self::Kernel => 4,
            Self::PageTable => 5,
            Self::Huge => 6,
        }
    }

    /// Tells whether the guest kernel uses the frame for itself.
    pub(crate) const fn is_kernel(self) -> bool {
        matches!(self, Self::Kernel | Self::PageTable)
    }
}

/// One entry of the frame table: kind in bits 0-2, flags in bits 3-6, owner slot in bits 7-31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame(u32);

/// A property of a charged frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Flag {
    /// A user mapping of the (file) frame exists.
    Mapped = 1 << 3,
    /// The content is on swap: charged to memsw only.
    Swapped = 1 << 4,
    /// Charged to the kmem counter as well.
    Kmem = 1 << 5,
    /// The owner's task has left, and the frame could not follow it.
    Foreign = 1 << 6,
}

const KIND_MASK: u32 = 0b111;
const SLOT_SHIFT: u32 = 7;

impl Frame {
    pub(crate) const FREE: Self = Self(0);

    /// Highest slot number an entry can name.
    pub(crate) const SLOT_MAX: u32 = u32::MAX >> SLOT_SHIFT;

    pub(crate) fn new(kind: Kind, owner: SlotId) -> Self {
        debug_assert!(owner.get() <= Self::SLOT_MAX, "owner slots fit the frame table");
        Self(kind.code() | (owner.get() << SLOT_SHIFT))
    }

    #[inline]
    pub(crate) const fn is_charged(self) -> bool {
        self.0 & KIND_MASK != 0
    }

    #[inline]
    pub(crate) const fn kind(self) -> Option<Kind> {
        match self.0 & KIND_MASK {
            1 => Some(Kind::Anon),
            2 => Some(Kind::File),
            3 => Some(Kind::Shmem),
            4 => Some(Kind::Kernel),
            5 => Some(Kind::PageTable),
            6 => Some(Kind::Huge),
            _ => None,
        }
    }

    #[inline]
    pub(crate) const fn owner(self) -> SlotId {
        SlotId::new(self.0 >> SLOT_SHIFT)
    }

    #[inline]
    pub(crate) const fn with_owner(self, owner: SlotId) -> Self {
        Self((self.0 & ((1 << SLOT_SHIFT) - 1)) | (owner.get() << SLOT_SHIFT))
    }

    #[inline]
    pub(crate) const fn has(self, flag: Flag) -> bool {
        self.0 & flag as u32 != 0
    }

    pub(crate) const fn with(self, flag: Flag) -> Self {
        Self(self.0 | flag as u32)
    }

    pub(crate) const fn without(self, flag: Flag) -> Self {
        Self(self.0 & !(flag as u32))
    }

    /// Tells whether the memory counter counts the frame.
    #[inline]
    pub(crate) fn is_memory(self) -> bool {
        self.is_charged() && !self.has(Flag::Swapped) && self.kind() != Some(Kind::Huge)
    }
}

/// The frame table. The memory of untouched parts is never touched either: a fresh table is zero.
#[derive(Debug)]
pub(crate) struct Frames {
    entries: Vec<u32>,
}

impl Frames {
    /// Frames of the largest machine: 52 bits of guest-physical address (SDM 3A 4.1.4).
    const MAX: u64 = 1 << 40;

    /// Makes a table of `frames` free frames; `None` when no machine has so many.
    pub(crate) fn new(frames: u64) -> Option<Self> {
        let frames = Some(frames).filter(|frames| *frames <= Self::MAX)?;
        Some(Self { entries: vec![0; usize::try_from(frames).ok()?] })
    }

    /// Returns the entry of `gfn`, or an error when guest memory ends before it.
    #[inline]
    pub(crate) fn get(&self, gfn: Gfn) -> Result<Frame, ChargeError> {
        let place = usize::try_from(gfn.get()).map_err(|_| ChargeError::NoSuchFrame(gfn))?;
        let entry = self.entries.get(place).ok_or(ChargeError::NoSuchFrame(gfn))?;
        Ok(Frame(*entry))
    }

    /// Replaces the entry of `gfn`.
    ///
    /// # Panics
    /// When the frame is outside guest memory; callers have read the entry before.
    #[inline]
    pub(crate) fn set(&mut self, gfn: Gfn, frame: Frame) {
        let place = usize::try_from(gfn.get()).expect("frame was read before it is written");
        self.entries[place] = frame.0;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Gfn, Frame)> {
        (0..).map(Gfn::new).zip(self.entries.iter().copied().map(Frame))
    }
}

#[cfg(test)]
mod tests {
    use super::{Flag, Frame, Frames, Kind};
    use crate::Gfn;
    use crate::owners::SlotId;

    #[test]
    fn an_entry_keeps_kind_owner_and_flags_apart() {
        for kind in Kind::ALL {
            let slot = SlotId::new(Frame::SLOT_MAX);
            let frame = Frame::new(kind, slot).with(Flag::Mapped).with(Flag::Foreign);
            assert_eq!(frame.kind(), Some(kind));
            assert_eq!(frame.owner(), slot);
            assert!(frame.has(Flag::Mapped) && frame.has(Flag::Foreign));
            assert!(!frame.has(Flag::Swapped) && !frame.has(Flag::Kmem));
            let moved = frame.with_owner(SlotId::new(3)).without(Flag::Mapped);
            assert_eq!((moved.kind(), moved.owner()), (Some(kind), SlotId::new(3)));
            assert!(!moved.has(Flag::Mapped) && moved.has(Flag::Foreign));
        }
    }

    #[test]
    fn a_frame_outside_guest_memory_is_an_error_and_not_a_panic() {
        let frames = Frames::new(4).unwrap();
        assert!(frames.get(Gfn::new(3)).is_ok());
        assert!(frames.get(Gfn::new(4)).is_err());
        assert!(frames.get(Gfn::new(u64::MAX)).is_err());
    }

    #[test]
    fn a_fresh_frame_is_free() {
        assert!(!Frame::FREE.is_charged());
        assert_eq!(Frame::FREE.kind(), None);
    }
}
