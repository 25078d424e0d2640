//! Charging up the hierarchy: from a group along `feeds` to where the walk stops.
//!
//! Linux adds, checks, and undoes on refusal, because its counters have no common lock. Here all
//! accounting is under one lock, so that a charge first looks, then adds: a refused charge changes
//! nothing but the failure count of the counter that refused, not even a watermark on the way.

use crate::{ChargeError, Memcg, Resource};

/// The part of the hierarchy that a charge concerns: `start` and its ancestors, below `top`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Index of the lowest group.
    pub(crate) start: u32,
    /// Index of the group the walk stops short of; none to walk to the end.
    pub(crate) top: Option<u32>,
}

impl Chain {
    /// The whole way up from `start`.
    pub(crate) const fn whole(start: u32) -> Self {
        Self { start, top: None }
    }
}

/// What a user page is charged to.
pub(crate) const USER: &[Resource] = &[Resource::Memory, Resource::Memsw];
/// What an accounted kernel page is charged to.
pub(crate) const KERNEL: &[Resource] = &[Resource::Kmem, Resource::Memory, Resource::Memsw];

impl Memcg {
    /// Visits the groups of `chain` from the bottom up, by index.
    pub(crate) fn chain(&self, chain: Chain) -> impl Iterator<Item = u32> {
        let within = move |index: &u32| Some(*index) != chain.top;
        std::iter::successors(Some(chain.start).filter(within), move |&index| {
            self.groups.at(index).feeds.filter(within)
        })
    }

    /// Charges `pages` to each of `what` in every group of `chain`, or to none of them.
    pub(crate) fn try_charge_chain(
        &mut self,
        chain: Chain,
        what: &[Resource],
        pages: u64,
    ) -> Result<(), ChargeError> {
        if let Some((index, resource)) = self.first_refusal(chain, what, pages) {
            let group = self.groups.at_mut(index);
            group.counter_mut(resource).refuse();
            return Err(ChargeError::Refused { group: group.id, resource });
        }
        self.charge_chain(chain, what, pages);
        Ok(())
    }

    /// Returns the first counter on the way up that `pages` more do not fit into.
    pub(crate) fn first_refusal(
        &self,
        chain: Chain,
        what: &[Resource],
        pages: u64,
    ) -> Option<(u32, Resource)> {
        self.chain(chain).find_map(|index| {
            let group = self.groups.at(index);
            let full = what.iter().find(|resource| !group.counter(**resource).fits(pages))?;
            Some((index, *full))
        })
    }

    /// Charges `pages` whether they fit or not; returns the largest overshoot of any counter.
    pub(crate) fn charge_chain(&mut self, chain: Chain, what: &[Resource], pages: u64) -> u64 {
        let mut over = 0;
        let mut next = Some(chain.start);
        while let Some(index) = next.filter(|index| Some(*index) != chain.top) {
            let group = self.groups.at_mut(index);
            for resource in what {
                let counter = group.counter_mut(*resource);
                over = over.max(counter.charge(pages));
                if counter.is_at_ceiling() {
                    self.thresholds.cross(group, *resource);
                }
            }
            next = group.feeds;
        }
        over
    }

    /// Takes `pages` off each of `what` in every group of `chain`.
    pub(crate) fn uncharge_chain(&mut self, chain: Chain, what: &[Resource], pages: u64) {
        let mut next = Some(chain.start);
        while let Some(index) = next.filter(|index| Some(*index) != chain.top) {
            let group = self.groups.at_mut(index);
            for resource in what {
                let counter = group.counter_mut(*resource);
                counter.uncharge(pages);
                if counter.is_below_floor() {
                    self.thresholds.cross(group, *resource);
                }
            }
            next = group.feeds;
        }
    }

    /// Pages that could still be added to each of `what` along `chain`.
    pub(crate) fn room_for(&self, chain: Chain, what: &[Resource]) -> u64 {
        self.chain(chain)
            .flat_map(|index| {
                let group = self.groups.at(index);
                what.iter().map(|resource| group.counter(*resource).room())
            })
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Returns the lowest group that charges to `a` and charges to `b` both visit.
    pub(crate) fn common_ancestor(&self, a: u32, b: u32) -> Option<u32> {
        self.chain(Chain::whole(a)).find(|one| self.chain(Chain::whole(b)).any(|two| two == *one))
    }
}
