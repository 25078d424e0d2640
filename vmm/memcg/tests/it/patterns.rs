//! Patterns in which programs touch memory, and how often a page is there when it is touched: with the
//! generations of reclaim, with an exact list of least recent use, and with random eviction.

use std::collections::{BTreeMap, BTreeSet};

use memcg::{
    Abi, Config, Effort, Gfn, GroupId, Hierarchy, Kind, Memcg, Offline, Pages, Payer, Policy,
    Resource,
};

use crate::swapper::Swapper;

/// A touch of a page.
pub(crate) type Touch = (u64, Kind);

/// Numbers that look random and are the same each time (a linear congruential generator).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A pattern: its name, how many pages fit, and what is touched.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) name: &'static str,
    pub(crate) room: u64,
    pub(crate) touches: Vec<Touch>,
}

const ROOM: u64 = 1024;
const TOUCHES: u64 = 120_000;

/// The four patterns.
pub(crate) fn all() -> [Pattern; 4] {
    [
        Pattern { name: "loop", room: ROOM, touches: looping() },
        Pattern { name: "zipf", room: ROOM, touches: zipf() },
        Pattern { name: "scan+hot set", room: ROOM, touches: scan_and_hot_set() },
        Pattern { name: "phase change", room: ROOM, touches: phase_change() },
    ]
}

/// Round and round over a quarter more than fits.
fn looping() -> Vec<Touch> {
    (0..TOUCHES).map(|n| (n % (ROOM + ROOM / 4), Kind::Anon)).collect()
}

/// The n-th of 8192 pages is touched in proportion to 1/n; which one that is, is shuffled.
fn zipf() -> Vec<Touch> {
    let mut dice = Dice::new(1);
    let pages = 8192;
    let mut sums = Vec::new();
    let mut sum = 0;
    for rank in 1..=pages {
        sum += (1 << 24) / rank;
        sums.push(sum);
    }
    (0..TOUCHES)
        .map(|_| {
            let at = dice.below(sum);
            let rank = sums.partition_point(|sum| *sum <= at) as u64;
            (rank * 5003 % pages, Kind::Anon)
        })
        .collect()
}

/// Half of what fits is in use all the time, while a file goes by that is touched once.
fn scan_and_hot_set() -> Vec<Touch> {
    let mut dice = Dice::new(2);
    let hot = ROOM / 2;
    let mut scanned = 0;
    (0..TOUCHES)
        .map(|n| {
            // Some of the hot pages are of a file as well.
            if n.is_multiple_of(2) {
                let page = dice.below(hot);
                return (page, if page.is_multiple_of(4) { Kind::File } else { Kind::Anon });
            }
            scanned += 1;
            (1_000_000 + scanned, Kind::File)
        })
        .collect()
}

/// What is in use changes from time to time, all of it.
fn phase_change() -> Vec<Touch> {
    let mut dice = Dice::new(3);
    let length = TOUCHES / 8;
    (0..TOUCHES)
        .map(|n| {
            let phase = n / length;
            let page = if dice.below(10) < 9 { dice.below(700) } else { 700 + dice.below(2000) };
            (phase * 10_000 + page, Kind::Anon)
        })
        .collect()
}

/// How many of the touches find their page there, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hits {
    pub(crate) generations: u64,
    pub(crate) lru: u64,
    pub(crate) random: u64,
    /// Of the touches, so many were noticed by the accounting without being misses.
    pub(crate) noticed: u64,
}

pub(crate) fn compare(pattern: &Pattern) -> Hits {
    let touches = pattern.touches.len() as u64;
    let share = |hits: u64| hits * 10_000 / touches;
    let mut cache = Cache::new(pattern.room);
    let hits = pattern.touches.iter().filter(|touch| cache.touch(**touch)).count() as u64;
    assert_eq!(cache.memcg.check(), []);
    Hits {
        generations: share(hits),
        lru: share(lru(pattern)),
        random: share(random(pattern)),
        noticed: share(cache.noticed),
    }
}

/// Hits with exact least recent use.
fn lru(pattern: &Pattern) -> u64 {
    let mut last = BTreeMap::new();
    let mut order = BTreeSet::new();
    let mut hits = 0;
    for (now, (page, _)) in pattern.touches.iter().enumerate() {
        if let Some(before) = last.insert(*page, now) {
            hits += 1;
            order.remove(&(before, *page));
        } else if order.len() as u64 == pattern.room {
            let (_, oldest) = order.pop_first().expect("a pattern stays within its machine");
            last.remove(&oldest);
        }
        order.insert((now, *page));
    }
    hits
}

/// Hits with random eviction.
fn random(pattern: &Pattern) -> u64 {
    let mut dice = Dice::new(4);
    let (mut there, mut places) = (Vec::new(), BTreeMap::new());
    let mut hits = 0;
    for (page, _) in &pattern.touches {
        if places.contains_key(page) {
            hits += 1;
            continue;
        }
        if there.len() as u64 == pattern.room {
            let place = usize::try_from(dice.below(pattern.room))
                .expect("a pattern stays within its machine");
            places.remove(&std::mem::replace(&mut there[place], *page));
            places.insert(*page, place);
        } else {
            places.insert(*page, there.len());
            there.push(*page);
        }
    }
    hits
}

/// A group at its limit, and a machine with enough swap.
pub(crate) struct Cache {
    memcg: Memcg,
    group: GroupId,
    machine: Swapper,
    /// Pages whose next touch is to be made known.
    aged: BTreeSet<Gfn>,
    /// Frames by page. A page keeps its frame when it is evicted.
    frames: BTreeMap<u64, Gfn>,
    /// Touches of aged pages.
    noticed: u64,
}

impl Cache {
    pub(crate) fn new(room: u64) -> Self {
        let config = Config {
            frames: 1 << 20,
            hierarchy: Hierarchy::Share,
            recharge: Policy::None,
            offline: Offline::Reparent,
            abi: Abi::Classic,
        };
        let mut memcg = Memcg::new(config).expect("a pattern stays within its machine");
        let group = memcg.create(memcg.root(), "a").expect("a pattern stays within its machine");
        memcg
            .set_limit(group, Resource::Memory, Pages::new(room))
            .expect("a pattern stays within its machine");
        let machine = Swapper { slots: 1 << 30, ..Swapper::default() };
        let (aged, frames) = (BTreeSet::new(), BTreeMap::new());
        Self { memcg, group, machine, aged, frames, noticed: 0 }
    }

    /// Touches a page; tells whether it was there.
    pub(crate) fn touch(&mut self, (page, kind): Touch) -> bool {
        let next = Gfn::new(self.frames.len() as u64);
        let gfn = *self.frames.entry(page).or_insert(next);
        if self.memcg.is_backed(gfn) {
            if self.aged.remove(&gfn) {
                self.noticed += 1;
                assert!(self.memcg.note_touched(gfn));
            }
            return true;
        }
        while self.charge(gfn, kind).is_err() {
            let effort = Effort::relieving(Resource::Memory);
            let goal = Pages::new(16);
            let done = self.memcg.reclaim(&mut self.machine, self.group, goal, effort);
            self.aged.extend(self.machine.aged.drain(..));
            for gfn in self.machine.evicted.drain(..) {
                self.aged.remove(&gfn);
            }
            assert!(!done.is_exhausted, "{done:?}");
        }
        false
    }

    fn charge(&mut self, gfn: Gfn, kind: Kind) -> Result<(), memcg::ChargeError> {
        if self.memcg.is_swapped(gfn) {
            return self.memcg.try_swap_in(gfn);
        }
        self.memcg.try_charge(Payer::Group(self.group), gfn, kind)
    }
}
