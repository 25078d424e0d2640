//! The real guest as the accounting sees it.

use memcg::{Evicted, Gfn, Guest, Gva, Kind, Pages, ScanError, ScannedPage, Tid};
use vmcg_abi::frame::FrameEntry;

use crate::contents::Contents;
use crate::evict;
use crate::fault::kind_of;
use crate::machine::Machine;
use crate::memory::FrameTable;
use crate::oom::send_kill;
use crate::swap::SwapFigures;
use crate::tasks::Tasks;
use crate::walk::{Budget, count_tables, walk};

/// A view of the guest for one piece of accounting work. The guest stands still, or waits for the
/// answer to a fault, while it is used.
pub(crate) struct RealGuest<'a> {
    machine: &'a Machine,
    tasks: &'a Tasks,
    contents: &'a mut Contents,
    budget: Budget,
}

impl<'a> RealGuest<'a> {
    /// A view with a fresh budget for page-table walks.
    pub(crate) fn new(machine: &'a Machine, tasks: &'a Tasks, contents: &'a mut Contents) -> Self {
        Self { machine, tasks, contents, budget: Budget::new(machine.memory.frames()) }
    }

    /// The same view, going on with the budget an earlier one left.
    pub(crate) fn with_budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// What is left of the budget.
    pub(crate) fn budget(&self) -> Budget {
        self.budget
    }

    fn root(&self, tid: Tid) -> Option<Gfn> {
        self.tasks.get(tid)?.root
    }
}

impl Guest for RealGuest<'_> {
    fn scan(
        &mut self,
        tid: Tid,
        from: Gva,
        pages_max: u64,
        visit: &mut dyn FnMut(ScannedPage),
    ) -> Result<Option<Gva>, ScanError> {
        let root = self.root(tid).ok_or(ScanError::NoSuchTask(tid))?;
        if from == Gva::ZERO {
            self.budget = Budget::new(self.machine.memory.frames());
        }
        let (memory, contents) = (&self.machine.memory, &*self.contents);
        let table = self.machine.frame_table().and_then(|gpa| memory.frame_table(gpa));
        let entries = table.as_ref().and_then(FrameTable::entries);
        let range = (from, pages_max);
        walk(memory, root, range, &mut self.budget, &mut |leaf| {
            for offset in 0..leaf.frames {
                let gfn = Gfn::new(leaf.gfn.get().saturating_add(offset));
                let entry = entries.as_ref().and_then(|entries| entries.get(gfn));
                let kind = entry.and_then(|entry| entry.kind()).and_then(kind_of);
                if let (Some(entry), Some(kind)) = (entry, kind)
                    && (memory.is_backed(gfn) || contents.is_swapped(gfn))
                {
                    let is_locked = entry.flags() & FrameEntry::LOCKED != 0;
                    let (gva, mapcount) = (leaf.gva, entry.mapcount());
                    visit(ScannedPage { gva, gfn, kind, mapcount, is_locked });
                }
            }
        })
        .map_err(|_| ScanError::Broken(tid))
    }

    fn page_tables(&mut self, tid: Tid) -> Pages {
        let memory = &self.machine.memory;
        let mut budget = Budget::new(memory.frames());
        Pages::new(self.root(tid).map_or(0, |root| count_tables(memory, root, &mut budget)))
    }

    fn kill(&mut self, tid: Tid) {
        send_kill(self.machine, tid);
    }

    fn evict(&mut self, pages: &[(Gfn, Kind)]) -> Vec<Evicted> {
        evict::evict(self.machine, self.contents, pages)
    }

    fn age(&mut self, gfns: &[Gfn]) {
        evict::age(self.machine, gfns);
    }

    fn swap_free(&self) -> Pages {
        let free = |figures: SwapFigures| figures.slots - figures.used;
        self.contents.swap().map_or(Pages::ZERO, |swap| Pages::new(free(swap.figures())))
    }
}
