//! What the tests of reclaim do with a machine that is short of memory.

use memcg::{Effort, Gfn, GroupId, Kind, Memcg, Pages, Payer, Reclaimed, Resource};

use crate::swapper::Swapper;

pub(crate) const FRAMES: u64 = 64;
pub(crate) const MEMORY: Resource = Resource::Memory;

pub(crate) fn swapper(slots: u64) -> Swapper {
    Swapper { slots, ..Swapper::default() }
}

pub(crate) fn machine() -> Memcg {
    crate::machine::Machine::new(FRAMES, memcg::Policy::Rollback).memcg
}

pub(crate) fn charge(m: &mut Memcg, group: GroupId, gfns: std::ops::Range<u64>, kind: Kind) {
    for gfn in gfns {
        m.try_charge(Payer::Group(group), Gfn::new(gfn), kind).unwrap();
    }
}

pub(crate) fn usage(m: &Memcg, group: GroupId, resource: Resource) -> u64 {
    m.counter(group, resource).unwrap().usage().get()
}

/// Reclaims until `goal` pages are had or nothing is left; returns the sum.
pub(crate) fn reclaim(
    m: &mut Memcg,
    machine: &mut Swapper,
    group: GroupId,
    (goal, relieves): (u64, Resource),
) -> Reclaimed {
    let mut sum = Reclaimed::default();
    while sum.reclaimed < goal && !sum.is_exhausted {
        let goal = Pages::new(goal - sum.reclaimed);
        let done = m.reclaim(machine, group, goal, Effort::relieving(relieves));
        sum.scanned += done.scanned;
        sum.reclaimed += done.reclaimed;
        sum.swapped += done.swapped;
        sum.is_exhausted = done.is_exhausted;
        assert_eq!(m.check(), []);
    }
    sum
}
