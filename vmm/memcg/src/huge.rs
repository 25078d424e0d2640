//! Huge pages: what is charged for them, when, and to whom.
//!
//! Three counters a size stand for three moments. At mmap, a range of a file or of a private mapping
//! is charged twice under one decision: to the counters of the posting of 2012 (`Seed`) and to the
//! reservation counters of Linux 5.7 (`Rsvd`). Here that is one list of ranges a file or mapping: who
//! maps a range first pays, and the charge stays until the range goes, whoever lives then. At the
//! fault, a page is charged to the task that touched it (`Fault`); its frames name the owner.
//!
//! Huge pages nest by the tree, whatever `use_hierarchy` and `--hierarchy` say, as Linux's hugetlb
//! controller always has.

mod carry;
mod line;
mod pages;
mod ranges;

pub use pages::HugePage;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::owners::SlotId;
use crate::walk::Chain;
use crate::{Abi, ChargeError, HugeSize, HugeUse, Memcg, Offline, Resource, Tid};
use ranges::{Change, Payers, Ranges, Taken};

/// Most pieces of charge lists: what bounds the host's memory against a guest that charges crumbs.
const PIECES_MAX: usize = 1 << 20;
/// Huge pages that an offset in a file can be away from its start.
const INDEX_MAX: u64 = 1 << 40;

/// What a range belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HugeMap {
    /// The guest's number for the file or the mapping, never used for two at a time.
    pub id: u64,
    /// Size of its pages.
    pub size: HugeSize,
    /// The process whose private mapping it is; none for what can be shared.
    pub process: Option<Tid>,
}

/// Why a range was not charged. Nothing changed but a failure count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HugeError {
    /// The range is empty or too far out, the map is known with another size or process, or there is
    /// no such task.
    #[error("no such range of huge pages")]
    Invalid,
    /// A limit stands in the way, or there are too many ranges.
    #[error("huge pages refused: {0:?}")]
    Refused(Option<ChargeError>),
}

#[derive(Debug)]
struct Map {
    size: HugeSize,
    process: Option<Tid>,
    ranges: Ranges,
}

/// Charge lists and pools of one machine.
#[derive(Debug, Default)]
pub(crate) struct Huge {
    maps: BTreeMap<u64, Map>,
    /// Private maps by their process.
    of_process: BTreeSet<(Tid, u64)>,
    /// Pieces in all lists.
    pieces: usize,
    /// Frames set aside, by size.
    pools: [Range<u64>; HugeSize::ALL.len()],
}

impl Huge {
    /// Every owner slot that a piece names, once for each time it does.
    pub(crate) fn named_slots(&self) -> impl Iterator<Item = SlotId> {
        let pieces = self.maps.values().flat_map(|map| map.ranges.iter());
        pieces.flat_map(|(_, payers)| [payers.seed, payers.rsvd])
    }

    /// Every charge of the lists: slot, counter, 4 KiB pages.
    pub(crate) fn charges(&self) -> impl Iterator<Item = (SlotId, Resource, u64)> {
        self.maps.values().flat_map(|map| {
            map.ranges.iter().flat_map(move |(count, payers)| {
                let pages = count * map.size.pages().get();
                [
                    (payers.seed, Resource::Huge(map.size, HugeUse::Seed), pages),
                    (payers.rsvd, Resource::Huge(map.size, HugeUse::Rsvd), pages),
                ]
            })
        })
    }
}

impl Memcg {
    /// Charges those huge pages of `range` that nobody is charged for yet to the group of `payer`;
    /// returns how many they were.
    ///
    /// # Errors
    /// As [`HugeError`] says.
    pub fn try_reserve_huge(
        &mut self,
        payer: Tid,
        map: HugeMap,
        range: Range<u64>,
    ) -> Result<u64, HugeError> {
        let group = self.tasks.get(payer).ok_or(HugeError::Invalid)?.group;
        if range.is_empty() || range.end > INDEX_MAX || !self.knows_map(map) {
            return Err(HugeError::Invalid);
        }
        let known = self.huge.maps.get(&map.id);
        let gaps = known.map_or_else(|| vec![range.clone()], |known| known.ranges.gaps(&range));
        let count: u64 = gaps.iter().map(|gap| gap.end - gap.start).sum();
        if count == 0 {
            return Ok(0);
        }
        // Each gap makes one piece at most.
        if self.huge.pieces + gaps.len() > PIECES_MAX {
            return Err(HugeError::Refused(None));
        }
        let what = [HugeUse::Seed, HugeUse::Rsvd].map(|moment| Resource::Huge(map.size, moment));
        self.try_charge_line(Chain::whole(group), &what, count * map.size.pages().get())
            .map_err(|why| HugeError::Refused(Some(why)))?;
        let slot = self.groups.at(group).slot;
        let payers = Payers { seed: slot, rsvd: slot };
        let HugeMap { size, process, .. } = map;
        let make = || Map { size, process, ranges: Ranges::default() };
        let entry = self.huge.maps.entry(map.id).or_insert_with(make);
        let before = entry.ranges.len();
        let mut pieces = Vec::new();
        for gap in gaps {
            entry.ranges.insert(gap, payers, &mut |payers, change| pieces.push((payers, change)));
        }
        self.huge.pieces = self.huge.pieces - before + entry.ranges.len();
        if let Some(process) = process {
            self.huge.of_process.insert((process, map.id));
        }
        self.count_pieces(&pieces);
        Ok(count)
    }

    /// Gives back what was charged for the huge pages of `range`, to whoever owns that by now; returns
    /// how many pages were charged.
    pub fn release_huge(&mut self, id: u64, range: &Range<u64>) -> u64 {
        let Some(map) = self.huge.maps.get_mut(&id) else { return 0 };
        if self.huge.pieces >= PIECES_MAX && map.ranges.would_split(range) {
            // Only a guest that makes holes for their own sake gets here: it stays charged.
            return 0;
        }
        let before = map.ranges.len();
        let mut pieces = Vec::new();
        let taken = map.ranges.remove(range, &mut |payers, change| pieces.push((payers, change)));
        self.huge.pieces = self.huge.pieces - before + map.ranges.len();
        let (size, process) = (map.size, map.process);
        if map.ranges.is_empty() {
            self.huge.maps.remove(&id);
            if let Some(process) = process {
                self.huge.of_process.remove(&(process, id));
            }
        }
        self.count_pieces(&pieces);
        taken.iter().for_each(|taken| self.give_back(size, taken));
        taken.iter().map(|taken| taken.pages).sum()
    }

    /// Whether removing a group is refused for the sake of huge pages, and for how many 4 KiB pages.
    pub(crate) fn huge_in_the_way(&self, index: u32) -> u64 {
        let uses: &[HugeUse] = match (self.config.offline, self.config.abi) {
            (Offline::Reparent, _) => &[],
            (Offline::Drain, _) => &[HugeUse::Seed, HugeUse::Rsvd],
            // As posted: "we take the easy route and prevent a cgroup removal".
            (Offline::Zombie, Abi::Classic) => &[HugeUse::Seed],
            // Linux v6.18 mm/hugetlb_cgroup.c: reservations keep an offline group.
            (Offline::Zombie, Abi::Linux618) => &[],
        };
        let usage = |size, moment| {
            self.groups.at(index).counter(Resource::Huge(size, moment)).usage().get()
        };
        uses.iter().flat_map(|moment| HugeSize::ALL.map(|size| usage(size, *moment))).sum()
    }

    /// Whether a map is new, or known with the same size and process.
    fn knows_map(&self, map: HugeMap) -> bool {
        self.huge
            .maps
            .get(&map.id)
            .is_none_or(|known| known.size == map.size && known.process == map.process)
    }

    /// Keeps the references of owner slots in step with the pieces that name them.
    fn count_pieces(&mut self, pieces: &[(Payers, Change)]) {
        for (payers, change) in pieces {
            for slot in [payers.seed, payers.rsvd] {
                match change {
                    Change::More => self.owners.get(slot, 1),
                    Change::Less => self.put_slot(slot),
                }
            }
        }
    }

    /// Uncharges a piece that was taken out of its list, and drops its references.
    fn give_back(&mut self, size: HugeSize, taken: &Taken) {
        let pages = taken.pages * size.pages().get();
        for (slot, moment) in
            [(taken.payers.seed, HugeUse::Seed), (taken.payers.rsvd, HugeUse::Rsvd)]
        {
            let (_, holder) = self.owners.resolve_mut(slot);
            self.uncharge_line(
                Chain::whole(holder.group()),
                &[Resource::Huge(size, moment)],
                pages,
            );
            self.put_slot(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HugeError, HugeMap};
    use crate::{
        Abi, Config, Error, GroupId, Hierarchy, HugeSize, HugeUse, Memcg, Offline, Pages, Resource,
        Tid, fixture,
    };

    const SEED: Resource = Resource::Huge(HugeSize::Mb2, HugeUse::Seed);
    const RSVD: Resource = Resource::Huge(HugeSize::Mb2, HugeUse::Rsvd);
    const FILE: HugeMap = HugeMap { id: 1, size: HugeSize::Mb2, process: None };
    const ONE: Tid = Tid::new(2);
    const TWO: Tid = Tid::new(3);

    /// A machine with groups `a` and `a/b`, a task in each.
    fn machine(config: Config) -> (Memcg, GroupId, GroupId) {
        let mut m = Memcg::new(config).unwrap();
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        m.task_new(ONE, ONE, a).unwrap();
        m.task_new(TWO, TWO, b).unwrap();
        (m, a, b)
    }

    fn huge_pages(m: &Memcg, group: GroupId, resource: Resource) -> u64 {
        m.counter(group, resource).unwrap().usage().get() / 512
    }

    #[test]
    fn who_maps_a_range_first_pays_for_it_and_a_second_mapping_is_free() {
        let (mut m, a, b) = machine(fixture::config(8));
        assert_eq!(m.try_reserve_huge(TWO, FILE, 0..4), Ok(4));
        assert_eq!(m.try_reserve_huge(ONE, FILE, 2..6), Ok(2));
        assert_eq!(m.try_reserve_huge(ONE, FILE, 0..6), Ok(0));
        for resource in [SEED, RSVD] {
            assert_eq!((huge_pages(&m, a, resource), huge_pages(&m, b, resource)), (6, 4));
        }
        m.task_exit(TWO);
        assert_eq!(m.release_huge(1, &(3..5)), 2);
        assert_eq!((huge_pages(&m, a, SEED), huge_pages(&m, b, SEED)), (4, 3));
        assert_eq!(m.check(), []);
        assert_eq!(m.release_huge(1, &(0..u64::MAX)), 4);
        assert_eq!(huge_pages(&m, m.root(), RSVD), 0);
        assert_eq!(m.check(), []);
    }

    #[test]
    fn over_either_limit_at_any_level_nothing_is_charged_to_either() {
        for refusing in [SEED, RSVD] {
            let (mut m, a, b) = machine(fixture::config(8));
            m.set_limit(a, refusing, Pages::new(3 * 512)).unwrap();
            assert_eq!(m.try_reserve_huge(TWO, FILE, 0..3), Ok(3));
            let refused = m.try_reserve_huge(TWO, FILE, 2..4);
            assert!(matches!(refused, Err(HugeError::Refused(Some(_)))), "{refused:?}");
            assert_eq!(m.counter(a, refusing).unwrap().failcnt(), 1);
            assert_eq!((huge_pages(&m, b, SEED), huge_pages(&m, b, RSVD)), (3, 3));
            assert_eq!(m.counter(b, SEED).unwrap().watermark(), Pages::new(3 * 512));
            assert_eq!(m.check(), []);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let (mut m, _, _) = machine(fixture::config(8));
        m.try_reserve_huge(ONE, FILE, 0..1).unwrap();
        let other = HugeMap { size: HugeSize::Gb1, ..FILE };
        let private = HugeMap { process: Some(ONE), ..FILE };
        for (task, map, range) in [
            (Tid::new(9), FILE, 0..1),
            (ONE, FILE, 1..1),
            (ONE, FILE, 0..u64::MAX),
            (ONE, other, 1..2),
            (ONE, private, 1..2),
        ] {
            assert_eq!(m.try_reserve_huge(task, map, range), Err(HugeError::Invalid));
        }
        assert_eq!(m.release_huge(7, &(0..9)), 0);
        assert_eq!(m.check(), []);
    }

    #[test]
    fn huge_pages_nest_where_memory_does_not() {
        let (mut m, a, _) = machine(Config { hierarchy: Hierarchy::Wall, ..fixture::config(8) });
        m.set_limit(a, SEED, Pages::new(512)).unwrap();
        assert_eq!(m.try_reserve_huge(TWO, FILE, 0..1), Ok(1));
        assert!(m.try_reserve_huge(TWO, FILE, 1..2).is_err());
        assert_eq!((huge_pages(&m, a, SEED), huge_pages(&m, m.root(), SEED)), (1, 1));
        assert_eq!(m.check(), []);
    }

    #[test]
    fn a_removed_group_hands_its_ranges_to_its_parent_where_it_may_go() {
        for (offline, abi, goes) in [
            (Offline::Reparent, Abi::Classic, true),
            (Offline::Zombie, Abi::Classic, false),
            (Offline::Drain, Abi::Classic, false),
            (Offline::Zombie, Abi::Linux618, true),
        ] {
            let (mut m, a, b) = machine(Config { offline, abi, ..fixture::config(8) });
            m.try_reserve_huge(TWO, FILE, 0..3).unwrap();
            m.task_exit(TWO);
            let removed = m.remove(b);
            let expected = if goes { Ok(()) } else { Err(Error::Charged(Pages::new(3 * 512))) };
            let first = removed.map_err(|why| match why {
                // Seed and reservation both stand in the way of a drained group.
                Error::Charged(pages) => Error::Charged(Pages::new(pages.get().min(3 * 512))),
                other => other,
            });
            assert_eq!(first, expected, "{offline:?} {abi:?}");
            assert_eq!(huge_pages(&m, a, SEED), 3);
            assert_eq!(m.check(), []);
            m.release_huge(1, &(0..3));
            assert_eq!((huge_pages(&m, a, RSVD), m.zombies()), (0, 0));
            assert_eq!(m.remove(b), if goes { Err(Error::Dead) } else { Ok(()) });
            assert_eq!(m.check(), []);
        }
    }

    #[test]
    fn ranges_of_a_group_outside_the_hierarchy_go_to_the_root() {
        let mut m = fixture::share(8);
        m.set_use_hierarchy(m.root(), 0).unwrap();
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        m.task_new(TWO, TWO, b).unwrap();
        m.try_reserve_huge(TWO, FILE, 0..3).unwrap();
        assert_eq!(huge_pages(&m, a, SEED), 3);
        m.task_exit(TWO);
        m.remove(b).unwrap();
        assert_eq!((huge_pages(&m, a, SEED), huge_pages(&m, m.root(), SEED)), (0, 3));
        assert_eq!(m.check(), []);
        m.release_huge(1, &(0..3));
        assert_eq!(huge_pages(&m, m.root(), SEED), 0);
        assert_eq!(m.check(), []);
    }
}
