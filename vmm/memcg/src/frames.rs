//! Who owns which frame, and what reclaim knows of it: sixteen bytes a frame.
//!
//! A frame names an owner *slot*, not a group (see [`crate::owners`]), so that a removed group, or a
//! move that is taken back, does not have to visit the frames.

mod rows;

use crate::owners::SlotId;
use crate::recharge::StrayId;
use crate::{ChargeError, Gfn};
pub(crate) use rows::Towards;

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

/// What the frame table says of one frame: kind in bits 0-2, flags in bits 3-8, its place among the
/// lists of reclaim in bits 9-11, who left it behind in bits 12-31, owner slot in bits 32-63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame(u64);

/// A property of a charged frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Flag {
    /// A user mapping of the (file) frame exists.
    Mapped = 1 << 3,
    /// The content is on swap: charged to memsw only.
    Swapped = 1 << 4,
    /// Charged to the kmem counter as well.
    Kmem = 1 << 5,
    /// A page of a file that cannot be read again: it has to go to swap like others.
    SwapBacked = 1 << 7,
    /// It has been among the active ones.
    Workingset = 1 << 8,
}

/// Where reclaim keeps a user frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this generation, 0 being the oldest.
    Generation(u8),
    /// Among those that cannot be evicted.
    Unevictable,
}

/// The two sorts of pages that reclaim keeps apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// What has to go to swap.
    Anon,
    /// What can be read again from a file.
    File,
}

/// Number of generations.
pub(crate) const GENERATIONS: usize = 4;

const KIND_MASK: u64 = 0b111;
const PLACE_SHIFT: u32 = 9;
const PLACE_MASK: u64 = 0b111 << PLACE_SHIFT;
const PLACE_UNEVICTABLE: u64 = 4;
const STRAY_SHIFT: u32 = 12;
const STRAY_MASK: u64 = 0xfffff << STRAY_SHIFT;
const SLOT_SHIFT: u32 = 32;

impl Place {
    /// Position in tables with an entry a place.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Generation(generation) => usize::from(generation),
            Self::Unevictable => GENERATIONS,
        }
    }
}

impl Frame {
    pub(crate) const FREE: Self = Self(0);

    /// Highest slot number an entry can name.
    pub(crate) const SLOT_MAX: u32 = u32::MAX;

    pub(crate) const fn new(kind: Kind, owner: SlotId) -> Self {
        Self(kind.code() as u64 | ((owner.get() as u64) << SLOT_SHIFT))
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
        SlotId::new((self.0 >> SLOT_SHIFT) as u32)
    }

    #[inline]
    pub(crate) fn with_owner(self, owner: SlotId) -> Self {
        Self((self.0 & ((1 << SLOT_SHIFT) - 1)) | (u64::from(owner.get()) << SLOT_SHIFT))
    }

    #[inline]
    pub(crate) const fn has(self, flag: Flag) -> bool {
        self.0 & flag as u64 != 0
    }

    pub(crate) const fn with(self, flag: Flag) -> Self {
        Self(self.0 | flag as u64)
    }

    pub(crate) const fn without(self, flag: Flag) -> Self {
        Self(self.0 & !(flag as u64))
    }

    /// Returns the place of a frame that is listed.
    #[inline]
    pub(crate) fn place(self) -> Place {
        match (self.0 & PLACE_MASK) >> PLACE_SHIFT {
            generation @ 0..=3 => Place::Generation(generation.to_le_bytes()[0]),
            _ => Place::Unevictable,
        }
    }

    #[inline]
    pub(crate) fn with_place(self, place: Place) -> Self {
        let code = match place {
            Place::Generation(generation) => u64::from(generation),
            Place::Unevictable => PLACE_UNEVICTABLE,
        };
        Self((self.0 & !PLACE_MASK) | (code << PLACE_SHIFT))
    }

    /// Returns what the frame names if its task has left and it could not follow.
    #[inline]
    pub(crate) fn stray(self) -> Option<StrayId> {
        let number = (self.0 & STRAY_MASK) >> STRAY_SHIFT;
        if number == 0 { None } else { StrayId::new(halves(number)[0]) }
    }

    #[inline]
    pub(crate) fn with_stray(self, stray: Option<StrayId>) -> Self {
        let number = stray.map_or(0, |stray| u64::from(stray.get()));
        Self((self.0 & !STRAY_MASK) | (number << STRAY_SHIFT))
    }

    /// Tells whether the memory counter counts the frame.
    #[inline]
    pub(crate) fn is_memory(self) -> bool {
        self.is_charged() && !self.has(Flag::Swapped) && self.kind() != Some(Kind::Huge)
    }

    /// Says which lists of reclaim the frame is in: those of its sort, or none.
    #[inline]
    pub(crate) fn sort(self) -> Option<Sort> {
        match self.kind()? {
            _ if self.has(Flag::Swapped) => None,
            Kind::File if !self.has(Flag::SwapBacked) => Some(Sort::File),
            Kind::Anon | Kind::File | Kind::Shmem => Some(Sort::Anon),
            Kind::Kernel | Kind::PageTable | Kind::Huge => None,
        }
    }
}

/// The neighbours of a listed frame: towards the young end, and towards the old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    pub(crate) younger: Option<Gfn>,
    pub(crate) older: Option<Gfn>,
}

/// The frame table: sixteen bytes a frame. The memory of untouched parts is never touched either: a
/// fresh table is zero. The first two words are the [`Frame`]; the others are the [`Links`] of a
/// frame that is listed, and a note on the last content of one that is not.
#[derive(Debug)]
pub(crate) struct Frames {
    entries: Vec<[u32; 4]>,
}

impl Frames {
    /// Frames of the largest machine: 16 TiB. A link is a frame number plus one in 32 bits.
    const MAX: u64 = 0xffff_ffff;

    /// Makes a table of `frames` free frames; `None` when no machine has so many.
    pub(crate) fn new(frames: u64) -> Option<Self> {
        let frames = Some(frames).filter(|frames| *frames <= Self::MAX)?;
        Some(Self { entries: vec![[0; 4]; usize::try_from(frames).ok()?] })
    }

    /// Returns the entry of `gfn`, or an error when guest memory ends before it.
    #[inline]
    pub(crate) fn get(&self, gfn: Gfn) -> Result<Frame, ChargeError> {
        let place = usize::try_from(gfn.get()).map_err(|_| ChargeError::NoSuchFrame(gfn))?;
        let entry = self.entries.get(place).ok_or(ChargeError::NoSuchFrame(gfn))?;
        Ok(frame_of(entry))
    }

    /// Replaces the entry of `gfn`.
    ///
    /// # Panics
    /// When the frame is outside guest memory; callers have read the entry before.
    #[inline]
    pub(crate) fn set(&mut self, gfn: Gfn, frame: Frame) {
        let [low, high] = halves(frame.0);
        let entry = self.entry_mut(gfn);
        (entry[0], entry[1]) = (low, high);
    }

    /// Returns the neighbours of a frame that is listed.
    #[inline]
    pub(crate) fn links(&self, gfn: Gfn) -> Links {
        let place = usize::try_from(gfn.get()).expect("frame was read before its links are");
        let [_, _, younger, older] = self.entries[place];
        Links { younger: target(younger), older: target(older) }
    }

    #[inline]
    pub(crate) fn set_younger(&mut self, gfn: Gfn, younger: Option<Gfn>) {
        self.entry_mut(gfn)[2] = link(younger);
    }

    #[inline]
    pub(crate) fn set_older(&mut self, gfn: Gfn, older: Option<Gfn>) {
        self.entry_mut(gfn)[3] = link(older);
    }

    /// Returns the note on a frame that is not listed; zeroes when there is none.
    #[inline]
    pub(crate) fn note(&self, gfn: Gfn) -> [u32; 2] {
        let place = usize::try_from(gfn.get()).expect("frame was read before its note is");
        let [_, _, first, second] = self.entries[place];
        [first, second]
    }

    /// Leaves a note on a frame that is not listed.
    #[inline]
    pub(crate) fn set_note(&mut self, gfn: Gfn, note: [u32; 2]) {
        let entry = self.entry_mut(gfn);
        (entry[2], entry[3]) = (note[0], note[1]);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Gfn, Frame)> {
        (0..).map(Gfn::new).zip(self.entries.iter().map(frame_of))
    }

    #[inline]
    fn entry_mut(&mut self, gfn: Gfn) -> &mut [u32; 4] {
        let place = usize::try_from(gfn.get()).expect("frame was read before it is written");
        &mut self.entries[place]
    }
}

#[inline]
fn frame_of(entry: &[u32; 4]) -> Frame {
    Frame(u64::from(entry[0]) | (u64::from(entry[1]) << 32))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
const fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// The name of a frame, or of none, in four bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link(u32);

impl Link {
    /// Names a frame.
    #[inline]
    pub(crate) fn to(gfn: Option<Gfn>) -> Self {
        Self(link(gfn))
    }

    /// Returns the frame it names.
    #[inline]
    pub(crate) fn target(self) -> Option<Gfn> {
        target(self.0)
    }
}

#[inline]
fn link(gfn: Option<Gfn>) -> u32 {
    gfn.map_or(0, |gfn| halves(gfn.get() + 1)[0])
}

#[inline]
fn target(link: u32) -> Option<Gfn> {
    link.checked_sub(1).map(|number| Gfn::new(u64::from(number)))
}

#[cfg(test)]
mod tests {
    use super::{Flag, Frame, Frames, Kind, Links, Place};
    use crate::Gfn;
    use crate::owners::SlotId;
    use crate::recharge::StrayId;

    #[test]
    fn an_entry_keeps_kind_owner_and_flags_apart() {
        for kind in Kind::ALL {
            let slot = SlotId::new(Frame::SLOT_MAX);
            let frame = Frame::new(kind, slot).with(Flag::Mapped).with(Flag::Workingset);
            assert_eq!((frame.kind(), frame.stray()), (Some(kind), None));
            let frame = frame.with_stray(StrayId::new(0xfffff));
            assert_eq!((frame.kind(), frame.owner()), (Some(kind), slot));
            assert_eq!(frame.stray(), StrayId::new(0xfffff));
            assert!(frame.has(Flag::Mapped) && frame.has(Flag::Workingset));
            assert!(!frame.has(Flag::Swapped) && !frame.has(Flag::Kmem));
            let moved = frame.with_owner(SlotId::new(3)).without(Flag::Mapped);
            assert_eq!((moved.kind(), moved.owner()), (Some(kind), SlotId::new(3)));
            assert!(!moved.has(Flag::Mapped) && moved.has(Flag::Workingset));
            assert_eq!(moved.stray(), frame.stray());
            for place in [0, 1, 2, 3].map(Place::Generation).into_iter().chain([Place::Unevictable])
            {
                let placed = frame.with_place(Place::Unevictable).with_place(place);
                assert_eq!((placed.place(), placed.kind()), (place, Some(kind)));
                assert_eq!(placed.owner(), slot);
            }
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
    fn links_and_frame_are_kept_apart() {
        let mut frames = Frames::new(4).unwrap();
        let [a, b] = [0, 3].map(Gfn::new);
        let frame = Frame::new(Kind::Anon, SlotId::new(Frame::SLOT_MAX));
        frames.set(a, frame);
        frames.set_older(a, Some(b));
        frames.set_younger(b, Some(a));
        assert_eq!(frames.links(a), Links { younger: None, older: Some(b) });
        assert_eq!(frames.links(b), Links { younger: Some(a), older: None });
        assert_eq!(frames.get(a).unwrap(), frame);
        frames.set_note(b, [7, u32::MAX]);
        assert_eq!((frames.note(b), frames.get(b).unwrap()), ([7, u32::MAX], Frame::FREE));
    }

    #[test]
    fn a_fresh_frame_is_free() {
        assert!(!Frame::FREE.is_charged());
        assert_eq!(Frame::FREE.kind(), None);
    }
}
