//! Empty frames of kernel memory that the guest keeps backed and charged, to use them again.
//!
//! They are taken back whenever somebody looks, and before a charge is refused. The guest need not
//! stand still: a word of the shared page says whose a frame is, and only then may either side touch
//! it (`vmcg_abi::page::shared::KMEM_KEPT`).

use memcg::Gfn;
use vmcg_abi::page::shared;

use crate::machine::{Accounting, Machine};
use crate::stats::Stats;

impl Machine {
    /// Takes back the frames the guest keeps; returns how many those are.
    pub(crate) fn drain_kept(&self, accounting: &mut Accounting) -> u64 {
        if self.frame_table().is_none() || accounting.kmem.accounts.is_empty() {
            return 0;
        }
        let slots = shared::KMEM_KEPT..shared::KMEM_KEPT + shared::KMEM_KEPT_SLOTS;
        let taken: Vec<(usize, u64)> =
            slots.filter_map(|slot| Some((slot, self.take_kept(slot)?))).collect();
        if taken.is_empty() {
            return 0;
        }
        let frames = taken.iter().map(|(_, gfn)| *gfn);
        let frames = frames.filter(|&gfn| {
            let may_be = self.is_handed_out(Gfn::new(gfn));
            if !may_be {
                Stats::count(&self.stats.guest_lies, 1);
            }
            may_be
        });
        let count = self.take_back(accounting, frames.collect());
        // Only now may the guest hand them out again.
        for (slot, _) in taken {
            self.memory.set_shared(slot, 0);
        }
        count
    }

    /// Takes the frame in a slot, if there is one.
    fn take_kept(&self, slot: usize) -> Option<u64> {
        let gfn = self.memory.shared(slot);
        let is_free = gfn == 0 || gfn & shared::KMEM_KEPT_TAKING != 0;
        let taking = gfn | shared::KMEM_KEPT_TAKING;
        (!is_free && self.memory.replace_shared(slot, gfn, taking)).then_some(gfn)
    }
}
