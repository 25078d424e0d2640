//! The page-table walker: what a task has mapped, read from guest memory by the host.
//!
//! Every entry is the guest's claim. Tables are read only where the host has mapped them, so a
//! walk never faults; an address outside guest memory is skipped; and a walk enters at most as
//! many tables as the guest has frames, so tables that point at each other end it.

use memcg::{Gfn, Gva};
use vm_memory::{VolatileArrayRef, VolatileMemory};
use vmcg_abi::layout::PAGE_SIZE;

use crate::memory::GuestMemory;

const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;
/// Tables have this many entries; a task's half of the top table has half as many.
const ENTRIES: u64 = 512;

/// Tables that a walk may still enter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget(u64);

impl Budget {
    /// Enough for any honest address space of a guest with `frames` frames.
    pub(crate) fn new(frames: u64) -> Self {
        Self(frames)
    }
}

/// Leaves of the walk, next to each other and mapping frames that are: a large page, or entries of one
/// page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Where the first is mapped.
    pub(crate) gva: Gva,
    /// The first frame mapped there.
    pub(crate) gfn: Gfn,
    /// Frames mapped.
    pub(crate) frames: u64,
}

/// The guest's tables are not those of an honest kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// A walk from one address on.
struct Walk<'a> {
    memory: &'a GuestMemory,
    budget: &'a mut Budget,
    from: u64,
    pages_left: u64,
    visit: &'a mut dyn FnMut(Leaf),
}

/// Visits the present leaves at and after `from` in address order until `pages_max` frames have
/// been seen; returns where to go on, or `None` at the end.
///
/// # Errors
/// [`Broken`] when the budget is used up; leaves may have been visited by then.
pub(crate) fn walk(
    memory: &GuestMemory,
    root: Gfn,
    (from, pages_max): (Gva, u64),
    budget: &mut Budget,
    visit: &mut dyn FnMut(Leaf),
) -> Result<Option<Gva>, Broken> {
    let mut walk = Walk { memory, budget, from: from.get(), pages_left: pages_max, visit };
    walk.table(root, 3, 0)
}

/// Counts the tables below `root`, itself included, without looking into the lowest ones; at most as
/// many as the budget has.
pub(crate) fn count_tables(memory: &GuestMemory, root: Gfn, budget: &mut Budget) -> u64 {
    fn count(memory: &GuestMemory, table: Gfn, level: u32, budget: &mut Budget) -> u64 {
        let Some(left) = budget.0.checked_sub(1).filter(|_| memory.is_mapped(table)) else {
            return 0;
        };
        budget.0 = left;
        if level == 0 {
            return 1;
        }
        let Ok(slice) = memory.slice(table.get() * PAGE_SIZE, PAGE_SIZE) else { return 0 };
        let Ok(entries) = slice.get_array_ref::<u64>(0, 512) else { return 0 };
        let end = if level == 3 { 256 } else { 512 };
        let entries = (0..end).map(|index| entries.load(index));
        let below = entries.filter(|entry| entry & PRESENT != 0 && entry & LARGE == 0);
        let tables = below.map(|entry| Gfn::new((entry & ADDRESS_MASK) / PAGE_SIZE));
        1 + tables.map(|table| count(memory, table, level - 1, budget)).sum::<u64>()
    }
    count(memory, root, 3, budget)
}

impl Walk<'_> {
    /// Walks the table in `gfn`, which maps addresses from `base` on at `level` (0 = leaves).
    fn table(&mut self, gfn: Gfn, level: u32, base: u64) -> Result<Option<Gva>, Broken> {
        if !self.memory.is_mapped(gfn) {
            return Ok(None);
        }
        let shift = 12 + 9 * level;
        let is_resumed = base < self.from;
        if !is_resumed {
            self.budget.0 = self.budget.0.checked_sub(1).ok_or(Broken)?;
        }
        let Ok(slice) = self.memory.slice(gfn.get() * PAGE_SIZE, PAGE_SIZE) else {
            return Ok(None);
        };
        let Ok(entries) = slice.get_array_ref::<u64>(0, 512) else { return Ok(None) };
        let end = if level == 3 { ENTRIES / 2 } else { ENTRIES };
        let start = self.from.saturating_sub(base) >> shift;
        if level == 0 {
            return Ok(self.leaves(&entries, start, base));
        }
        for index in start..end {
            let entry = entries.load(index_of(index));
            if entry & PRESENT == 0 {
                continue;
            }
            let gva = base + (index << shift);
            let target = Gfn::new((entry & ADDRESS_MASK) / PAGE_SIZE);
            if level == 3 || entry & LARGE == 0 {
                if let Some(next) = self.table(target, level - 1, gva)? {
                    return Ok(Some(next));
                }
                continue;
            }
            if self.pages_left == 0 {
                return Ok(Some(Gva::new(gva)));
            }
            let frames = 1 << (shift - 12);
            (self.visit)(Leaf { gva: Gva::new(gva), gfn: target, frames });
            self.pages_left = self.pages_left.saturating_sub(frames);
        }
        Ok(None)
    }

    /// Visits the leaves of a page table that maps addresses from `base` on, from entry `start` on.
    fn leaves(
        &mut self,
        entries: &VolatileArrayRef<'_, u64>,
        start: u64,
        base: u64,
    ) -> Option<Gva> {
        let mut index = start;
        while index < ENTRIES {
            let entry = entries.load(index_of(index));
            if entry & PRESENT == 0 {
                index += 1;
                continue;
            }
            let gva = Gva::new(base + index * PAGE_SIZE);
            if self.pages_left == 0 {
                return Some(gva);
            }
            let frames = run_len(entries, index, self.pages_left.min(ENTRIES - index));
            self.pages_left -= frames;
            index += frames;
            (self.visit)(Leaf { gva, gfn: Gfn::new((entry & ADDRESS_MASK) / PAGE_SIZE), frames });
        }
        None
    }
}

/// How many entries from `start` on, at most `max`, map one frame after the other; the first is present.
fn run_len(entries: &VolatileArrayRef<'_, u64>, start: u64, max: u64) -> u64 {
    const WANTED: u64 = ADDRESS_MASK | PRESENT;
    let (first, last) = (index_of(start), index_of(start + max).min(entries.len()));
    let mut next = entries.load(first) & WANTED;
    let follows = |index: &usize| {
        next += PAGE_SIZE;
        entries.load(*index) & WANTED == next
    };
    (first + 1..last).take_while(follows).count() as u64 + 1
}

fn index_of(entry: u64) -> usize {
    usize::try_from(entry).expect("no index is above 512")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory in which every frame counts as backed, with a root table in frame 1.
    fn memory() -> GuestMemory {
        let memory = GuestMemory::new(1 << 20).unwrap();
        for gfn in 0..memory.frames() {
            memory.set_backed(Gfn::new(gfn));
        }
        memory
    }

    fn put(memory: &GuestMemory, table: u64, index: usize, target: u64, flags: u64) {
        memory.set_word(table * PAGE_SIZE, index, (target * PAGE_SIZE) | flags);
    }

    fn leaves(memory: &GuestMemory, from: u64, max: u64) -> (Vec<Leaf>, Option<Gva>) {
        let mut seen = Vec::new();
        let mut budget = Budget::new(memory.frames());
        let range = (Gva::new(from), max);
        let next = walk(memory, Gfn::new(1), range, &mut budget, &mut |leaf| seen.push(leaf));
        (seen, next.unwrap())
    }

    /// Two pages at 0x1000 and 0x3000, one at 1 GiB.
    fn three_pages(memory: &GuestMemory) {
        put(memory, 1, 0, 2, 7);
        put(memory, 2, 0, 3, 7);
        put(memory, 3, 0, 4, 7);
        put(memory, 4, 1, 20, 7);
        put(memory, 4, 3, 21, 5);
        put(memory, 2, 1, 5, 7);
        put(memory, 5, 0, 6, 7);
        put(memory, 6, 0, 22, 7);
    }

    #[test]
    fn a_walk_visits_present_pages_in_address_order() {
        let memory = memory();
        three_pages(&memory);
        let (seen, next) = leaves(&memory, 0, 100);
        let found: Vec<_> = seen.iter().map(|leaf| (leaf.gva.get(), leaf.gfn.get())).collect();
        assert_eq!(found, [(0x1000, 20), (0x3000, 21), (1 << 30, 22)]);
        assert_eq!(next, None);
    }

    #[test]
    fn neighbours_that_map_neighbours_are_visited_together() {
        let memory = memory();
        three_pages(&memory);
        for (index, target) in [(4, 22), (5, 23), (6, 25), (7, 24), (8, 25)] {
            put(&memory, 4, index, target, 7);
        }
        let of = |(seen, next): (Vec<Leaf>, Option<Gva>)| {
            let runs = seen.iter().map(|leaf| (leaf.gva.get() >> 12, leaf.gfn.get(), leaf.frames));
            (runs.take(5).collect::<Vec<_>>(), next.map(Gva::get))
        };
        let runs = vec![(1, 20, 1), (3, 21, 3), (6, 25, 1), (7, 24, 2), (1 << 18, 22, 1)];
        assert_eq!(of(leaves(&memory, 0, 100)), (runs, None));
        assert_eq!(of(leaves(&memory, 0, 3)), (vec![(1, 20, 1), (3, 21, 2)], Some(0x5000)));
        assert_eq!(of(leaves(&memory, 0x5000, 1)), (vec![(5, 23, 1)], Some(0x6000)));
    }

    #[test]
    fn a_walk_goes_on_where_it_stopped() {
        let memory = memory();
        three_pages(&memory);
        let (first, next) = leaves(&memory, 0, 2);
        assert_eq!(first.len(), 2);
        let (rest, end) = leaves(&memory, next.unwrap().get(), 2);
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].gva.get(), 1 << 30);
        assert_eq!(end, None);
    }

    #[test]
    fn tables_are_counted_once_each_and_no_more_than_there_can_be() {
        let memory = memory();
        three_pages(&memory);
        let count = |budget| count_tables(&memory, Gfn::new(1), &mut Budget::new(budget));
        assert_eq!(count(memory.frames()), 6);
        for index in 0..512 {
            put(&memory, 1, index, 1, 7);
        }
        assert_eq!(count(memory.frames()), memory.frames());
    }

    #[test]
    fn tables_that_point_at_themselves_end_the_walk() {
        let memory = memory();
        for index in 0..512 {
            put(&memory, 1, index, 1, 7);
        }
        let mut budget = Budget::new(memory.frames());
        let mut count = 0_u64;
        let range = (Gva::ZERO, u64::MAX);
        let end = walk(&memory, Gfn::new(1), range, &mut budget, &mut |_| count += 1);
        assert_eq!(end, Err(Broken));
        assert!(count <= memory.frames() * 512);
    }

    #[test]
    fn tables_outside_memory_or_without_a_page_are_skipped() {
        let memory = memory();
        put(&memory, 1, 0, 1 << 30, 7);
        put(&memory, 1, 1, 9, 7);
        memory.punch(9..10).unwrap();
        assert_eq!(leaves(&memory, 0, 100), (Vec::new(), None));
    }
}
