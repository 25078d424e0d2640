//! Charging huge pages: from a group up along the tree, whatever memory does.

use crate::walk::Chain;
use crate::{ChargeError, Memcg, Resource};

impl Memcg {
    /// Visits the groups of `chain` from the bottom up by their parents, removed ones included.
    pub(crate) fn line(&self, chain: Chain) -> impl Iterator<Item = u32> {
        let within = move |index: &u32| Some(*index) != chain.top;
        std::iter::successors(Some(chain.start).filter(within), move |&index| {
            self.groups.at(index).parent.filter(within)
        })
    }

    /// Charges `pages` to each of `what` in every group of the line, or to none of them.
    pub(super) fn try_charge_line(
        &mut self,
        chain: Chain,
        what: &[Resource],
        pages: u64,
    ) -> Result<(), ChargeError> {
        self.check_line(chain, what, pages)?;
        self.charge_line(chain, what, pages);
        Ok(())
    }

    /// Refuses, and counts that, when `pages` more do not fit everywhere.
    pub(super) fn check_line(
        &mut self,
        chain: Chain,
        what: &[Resource],
        pages: u64,
    ) -> Result<(), ChargeError> {
        let refusal = self.line(chain).find_map(|index| {
            let group = self.groups.at(index);
            let full = what.iter().find(|resource| !group.counter(**resource).fits(pages))?;
            Some((index, *full))
        });
        let Some((index, resource)) = refusal else { return Ok(()) };
        let group = self.groups.at_mut(index);
        group.counter_mut(resource).refuse();
        Err(ChargeError::Refused { group: group.id, resource })
    }

    /// Charges `pages` whether they fit or not; returns the largest overshoot of any counter.
    pub(super) fn charge_line(&mut self, chain: Chain, what: &[Resource], pages: u64) -> u64 {
        let mut over = 0;
        let mut next = Some(chain.start);
        while let Some(index) = next.filter(|index| Some(*index) != chain.top) {
            let group = self.groups.at_mut(index);
            for resource in what {
                over = over.max(group.counter_mut(*resource).charge(pages));
            }
            next = group.parent;
        }
        over
    }

    /// Takes `pages` off each of `what` in every group of the line.
    pub(crate) fn uncharge_line(&mut self, chain: Chain, what: &[Resource], pages: u64) {
        let mut next = Some(chain.start);
        while let Some(index) = next.filter(|index| Some(*index) != chain.top) {
            let group = self.groups.at_mut(index);
            for resource in what {
                group.counter_mut(*resource).uncharge(pages);
            }
            next = group.parent;
        }
    }
}
