//! What pages weigh: those in memory are charged to both counters, those on swap to memsw only.

use std::ops::{AddAssign, SubAssign};

use crate::frames::{Flag, Frame};
use crate::gauges::Gauges;
use crate::walk::Chain;
use crate::{ChargeError, Memcg, Resource};

/// Pages to be charged to each counter that user pages are charged to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) memory: u64,
    pub(crate) memsw: u64,
}

impl Load {
    pub(crate) const NOTHING: Self = Self { memory: 0, memsw: 0 };
    pub(crate) const ONE: Self = Self { memory: 1, memsw: 1 };

    /// What `pages` frames like this one weigh.
    #[inline]
    pub(crate) fn of(frame: Frame, pages: u64) -> Self {
        Self { memory: if frame.has(Flag::Swapped) { 0 } else { pages }, memsw: pages }
    }

    /// What everything that gauges count weighs.
    pub(crate) fn of_gauges(gauges: &Gauges) -> Self {
        Self { memory: gauges.memory(), memsw: gauges.memsw() }
    }

    /// How many frames like this one are in it.
    #[inline]
    pub(crate) fn holds(self, frame: Frame) -> u64 {
        if frame.has(Flag::Swapped) { self.memsw } else { self.memory.min(self.memsw) }
    }

    pub(crate) fn min(self, other: Self) -> Self {
        Self { memory: self.memory.min(other.memory), memsw: self.memsw.min(other.memsw) }
    }

    pub(crate) fn saturating_sub(self, other: Self) -> Self {
        Self {
            memory: self.memory.saturating_sub(other.memory),
            memsw: self.memsw.saturating_sub(other.memsw),
        }
    }

    pub(crate) fn saturating_add(self, other: Self) -> Self {
        Self {
            memory: self.memory.saturating_add(other.memory),
            memsw: self.memsw.saturating_add(other.memsw),
        }
    }

    pub(crate) const fn get(self, resource: Resource) -> u64 {
        match resource {
            Resource::Memory => self.memory,
            Resource::Memsw => self.memsw,
            _ => 0,
        }
    }

    /// What each counter is to be charged.
    pub(crate) const fn parts(self) -> [(Resource, u64); 2] {
        [(Resource::Memory, self.memory), (Resource::Memsw, self.memsw)]
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.memory += other.memory;
        self.memsw += other.memsw;
    }
}

impl SubAssign for Load {
    fn sub_assign(&mut self, other: Self) {
        let rest = |a: u64, b| a.checked_sub(b).expect("a load holds what was put into it");
        *self =
            Self { memory: rest(self.memory, other.memory), memsw: rest(self.memsw, other.memsw) };
    }
}

impl Memcg {
    /// Charges a load to every group of `chain`, or to none of them.
    pub(crate) fn try_charge_load(&mut self, chain: Chain, load: Load) -> Result<(), ChargeError> {
        for (resource, pages) in load.parts().into_iter().filter(|(_, pages)| *pages > 0) {
            if let Some((index, resource)) = self.first_refusal(chain, &[resource], pages) {
                let group = self.groups.at_mut(index);
                group.counter_mut(resource).refuse();
                return Err(ChargeError::Refused { group: group.id, resource });
            }
        }
        self.charge_load(chain, load);
        Ok(())
    }

    /// Charges a load whether it fits or not.
    pub(crate) fn charge_load(&mut self, chain: Chain, load: Load) {
        for (resource, pages) in load.parts().into_iter().filter(|(_, pages)| *pages > 0) {
            self.charge_chain(chain, &[resource], pages);
        }
    }

    /// Takes a load off every group of `chain`.
    pub(crate) fn uncharge_load(&mut self, chain: Chain, load: Load) {
        for (resource, pages) in load.parts().into_iter().filter(|(_, pages)| *pages > 0) {
            self.uncharge_chain(chain, &[resource], pages);
        }
    }

    /// What could still be added along `chain`.
    pub(crate) fn room_for_load(&self, chain: Chain) -> Load {
        let room = |resource| self.room_for(chain, &[resource]);
        Load { memory: room(Resource::Memory), memsw: room(Resource::Memsw) }
    }

    /// Tells whether the limits along `chain` are high enough for a load, were nothing charged there.
    pub(crate) fn could_ever_hold_load(&self, chain: Chain, load: Load) -> bool {
        self.chain(chain).all(|index| {
            let group = self.groups.at(index);
            load.parts()
                .iter()
                .all(|(resource, pages)| *pages <= group.counter(*resource).limit().get())
        })
    }
}
