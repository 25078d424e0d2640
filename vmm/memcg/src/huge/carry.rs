//! Taking the charges of private mappings along when their process moves.
//!
//! The posting of 2012 moved what its counters held; the reservation counters and the pages charged
//! at the fault stay behind, as they do in Linux.

use crate::walk::Chain;
use crate::{ChargeError, HugeSize, HugeUse, Memcg, Resource, Tid};

/// Huge pages to be carried, in 4 KiB pages by size.
type Load = [(HugeSize, u64); HugeSize::ALL.len()];

impl Memcg {
    /// Makes group `to` pay for what group `from` pays for private mappings of `process`, all of it or
    /// nothing; returns how many 4 KiB pages that is.
    pub(crate) fn try_carry_huge(
        &mut self,
        process: Tid,
        from: u32,
        to: u32,
    ) -> Result<u64, ChargeError> {
        let load = self.huge_load(process, from);
        let above = self.line(Chain::whole(to)).collect::<Vec<_>>();
        let top = self.line(Chain::whole(from)).find(|index| above.contains(index));
        let (source, dest) = (Chain { start: from, top }, Chain { start: to, top });
        let loaded = load.into_iter().filter(|(_, pages)| *pages > 0);
        for (size, pages) in loaded.clone() {
            self.check_line(dest, &[Resource::Huge(size, HugeUse::Seed)], pages)?;
        }
        for (size, pages) in loaded {
            let what = [Resource::Huge(size, HugeUse::Seed)];
            self.charge_line(dest, &what, pages);
            self.uncharge_line(source, &what, pages);
        }
        self.change_seed_owner(process, from, to);
        Ok(load.iter().map(|(_, pages)| pages).sum())
    }

    /// What `from` pays for private mappings of `process`.
    fn huge_load(&self, process: Tid, from: u32) -> Load {
        HugeSize::ALL.map(|size| {
            let pieces = self
                .private_maps(process)
                .filter_map(|id| self.huge.maps.get(&id))
                .filter(|map| map.size == size)
                .flat_map(|map| map.ranges.iter());
            let own = |slot| self.owners.resolve(slot).1.group() == from;
            let count: u64 =
                pieces.filter(|(_, payers)| own(payers.seed)).map(|(count, _)| count).sum();
            (size, count * size.pages().get())
        })
    }

    fn private_maps(&self, process: Tid) -> impl Iterator<Item = u64> {
        self.huge.of_process.range((process, 0)..=(process, u64::MAX)).map(|(_, id)| *id)
    }

    fn change_seed_owner(&mut self, process: Tid, from: u32, to: u32) {
        let ids: Vec<u64> = self.private_maps(process).collect();
        let slot = self.groups.at(to).slot;
        let mut left = Vec::new();
        for id in ids {
            let Some(map) = self.huge.maps.get_mut(&id) else { continue };
            map.ranges.for_each_mut(&mut |_, payers| {
                if self.owners.resolve(payers.seed).1.group() == from {
                    left.push(std::mem::replace(&mut payers.seed, slot));
                }
            });
        }
        for old in left {
            self.owners.get(slot, 1);
            self.put_slot(old);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{GroupId, HugeMap, HugeSize, HugeUse, Memcg, Pages, Resource, Tid, fixture};

    const SEED: Resource = Resource::Huge(HugeSize::Mb2, HugeUse::Seed);
    const RSVD: Resource = Resource::Huge(HugeSize::Mb2, HugeUse::Rsvd);
    const ONE: Tid = Tid::new(2);

    fn huge_pages(m: &Memcg, group: GroupId, resource: Resource) -> u64 {
        m.counter(group, resource).unwrap().usage().get() / 512
    }

    #[test]
    fn private_ranges_move_with_their_process_and_shared_ones_and_reservations_stay() {
        let mut m = fixture::share(8);
        let top = m.create(m.root(), "top").unwrap();
        let [a, b] = ["a", "b"].map(|name| m.create(top, name).unwrap());
        m.task_new(ONE, ONE, a).unwrap();
        let private = HugeMap { id: 1, size: HugeSize::Mb2, process: Some(ONE) };
        let shared = HugeMap { id: 2, process: None, ..private };
        m.try_reserve_huge(ONE, private, 0..3).unwrap();
        m.try_reserve_huge(ONE, shared, 0..2).unwrap();
        m.set_limit(b, SEED, Pages::new(2 * 512)).unwrap();
        assert!(m.try_carry_huge(ONE, a.index(), b.index()).is_err());
        assert_eq!((huge_pages(&m, a, SEED), huge_pages(&m, b, SEED)), (5, 0));
        assert_eq!(m.counter(b, SEED).unwrap().failcnt(), 1);
        m.set_limit(b, SEED, Pages::new(3 * 512)).unwrap();
        assert_eq!(m.try_carry_huge(ONE, a.index(), b.index()), Ok(3 * 512));
        assert_eq!((huge_pages(&m, a, SEED), huge_pages(&m, b, SEED)), (2, 3));
        assert_eq!((huge_pages(&m, a, RSVD), huge_pages(&m, b, RSVD)), (5, 0));
        assert_eq!(m.counter(top, SEED).unwrap().watermark(), Pages::new(5 * 512));
        assert_eq!(m.check(), []);
        assert_eq!(m.release_huge(1, &(0..3)), 3);
        assert_eq!((huge_pages(&m, a, RSVD), huge_pages(&m, b, SEED)), (2, 0));
        m.release_huge(2, &(0..2));
        assert_eq!(m.check(), []);
    }
}
