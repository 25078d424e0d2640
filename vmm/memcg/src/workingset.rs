//! Pages that come back: Linux v6.12 mm/workingset.c.
//!
//! An evicted page leaves a note in its frame's entry: for whom it was evicted, and what the clock of
//! that group said. The clock counts evictions and activations, so that when the page comes back, the
//! difference is how much more room it would have taken to keep it. If those in use are more than
//! that, it belongs with them, and enters active.

use crate::frames::{Flag, Frame, Place, Sort};
use crate::gauges::Class;
use crate::generations::{OLD, YOUNG};
use crate::{Gfn, Kind, Memcg, Workingset};

/// What an evicted page leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    clock: u32,
    /// Index of the group whose clock that is.
    group: u32,
    /// Part of what tells the group from a later one in its place.
    generation: u32,
    was_active: bool,
}

/// Groups are no more than 65,535.
const GROUP_BITS: u32 = 16;
const GENERATION_BITS: u32 = 14;
const ACTIVE: u32 = 1 << 30;
const VALID: u32 = 1 << 31;

impl Note {
    fn encode(self) -> [u32; 2] {
        let generation = self.generation & ((1 << GENERATION_BITS) - 1);
        let active = if self.was_active { ACTIVE } else { 0 };
        [self.clock, VALID | active | (generation << GROUP_BITS) | self.group]
    }

    fn decode([clock, rest]: [u32; 2]) -> Option<Self> {
        (rest & VALID != 0).then_some(Self {
            clock,
            group: rest & ((1 << GROUP_BITS) - 1),
            generation: (rest >> GROUP_BITS) & ((1 << GENERATION_BITS) - 1),
            was_active: rest & ACTIVE != 0,
        })
    }
}

/// What the return of a page costs, as against having looked at one in vain.
const COST: u64 = 32;

impl Memcg {
    /// Leaves a note in the entry of a frame that has just been evicted for the group at `top`.
    pub(crate) fn leave_note(&mut self, gfn: Gfn, evicted: Frame, top: u32) {
        let group = self.groups.at(top);
        let note = Note {
            clock: group.clock,
            group: top,
            generation: group.id.generation(),
            was_active: evicted.has(Flag::Workingset),
        };
        self.frames.set_note(gfn, note.encode());
    }

    /// Says where a page begins that is charged again, and counts its return if it was evicted.
    pub(crate) fn welcome(&mut self, gfn: Gfn, frame: Frame, group: u32) -> Frame {
        let note = Note::decode(self.frames.note(gfn));
        let (Some(note), Some(sort)) = (note, frame.sort()) else { return frame };
        let is_recent = self.is_recent(note, sort);
        let restored = is_recent && note.was_active;
        let came =
            Workingset { refault: 1, activate: u64::from(is_recent), restore: u64::from(restored) };
        let is_anon = matches!(frame.kind(), Some(Kind::Anon | Kind::Shmem));
        self.book(group, |_, events| match is_anon {
            true => events.workingset_anon += came,
            false => events.workingset_file += came,
        });
        let (_, holder) = self.owners.resolve_mut(frame.owner());
        self.note_cost(holder, sort, COST);
        if is_recent {
            self.tick(group);
        }
        let frame = if restored { frame.with(Flag::Workingset) } else { frame };
        frame.with_place(Place::Generation(if is_recent { YOUNG } else { OLD }))
    }

    /// Lets the clocks of a group and of those above go on.
    pub(crate) fn tick(&mut self, group: u32) {
        let mut next = Some(group);
        while let Some(index) = next {
            let group = self.groups.at_mut(index);
            group.clock = group.clock.wrapping_add(1);
            next = group.feeds;
        }
    }

    /// Adds to what evicting pages of a sort has cost an owner, and lets what was long ago count less
    /// (Linux v6.12 mm/swap.c `lru_note_cost`).
    pub(crate) fn note_cost(&mut self, holder: crate::owners::Holder, sort: Sort, cost: u64) {
        let lru = self.lru_mut(holder);
        lru.cost[sort.index()] += cost;
        let pages: u64 = Sort::ALL.iter().map(|sort| lru.evictable(*sort)).sum();
        if lru.cost.iter().sum::<u64>() > (pages / 4).max(COST) {
            lru.cost = lru.cost.map(|cost| cost / 2);
        }
    }

    /// Linux `workingset_test_recent`.
    fn is_recent(&self, note: Note, sort: Sort) -> bool {
        let Some(top) = self.groups.existing(note.group) else { return false };
        if top.id.generation() & ((1 << GENERATION_BITS) - 1) != note.generation {
            return false;
        }
        let distance = u64::from(top.clock.wrapping_sub(note.clock));
        let gauges = top.sum_gauges();
        let anon = |class| gauges.user(Kind::Anon, class) + gauges.user(Kind::Shmem, class);
        let file = |class| gauges.user(Kind::File, class);
        let mut room = file(Class::Active);
        if sort == Sort::Anon {
            room += file(Class::Inactive);
        }
        if self.has_swap {
            room += anon(Class::Active);
            if sort == Sort::File {
                room += anon(Class::Inactive);
            }
        }
        distance <= room
    }
}

#[cfg(test)]
mod tests {
    use super::Note;

    #[test]
    fn a_note_is_read_as_it_was_written_and_an_empty_entry_is_none() {
        let note = Note { clock: u32::MAX, group: 65_534, generation: 16_383, was_active: true };
        assert_eq!(Note::decode(note.encode()), Some(note));
        let plain = Note { was_active: false, ..note };
        assert_eq!(Note::decode(plain.encode()), Some(plain));
        assert_eq!(Note::decode([7, 0]), None);
    }
}
