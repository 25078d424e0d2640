//! The real guest as the accounting sees it.

use memcg::{Evicted, Gfn, Guest, Gva, Kind, Pages, ScanError, ScannedRun, Tid};
use vmcg_abi::frame::FrameEntry;
use vmcg_abi::layout::PAGE_SIZE;

use crate::contents::Contents;
use crate::evict;
use crate::fault::kind_of;
use crate::machine::Machine;
use crate::memory::{FrameTable, GuestMemory};
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

/// How many frames from `gfn` on, at most `max` and at least one, have content in memory or on swap, or
/// have none, as the first does.
fn together(memory: &GuestMemory, contents: &Contents, gfn: Gfn, max: u64) -> (bool, u64) {
    let at = |frames| Gfn::new(gfn.get().saturating_add(frames));
    let mut frames = 0;
    while frames < max {
        let backed = memory.backed_run(at(frames), max - frames);
        if backed == 0 && !contents.is_swapped(at(frames)) {
            break;
        }
        frames += backed.max(1);
    }
    (frames > 0, frames.max(1))
}

impl Guest for RealGuest<'_> {
    fn scan(
        &mut self,
        tid: Tid,
        from: Gva,
        pages_max: u64,
        visit: &mut dyn FnMut(ScannedRun),
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
            let mut done = 0;
            while done < leaf.frames {
                let gfn = Gfn::new(leaf.gfn.get().saturating_add(done));
                let gva = Gva::new(leaf.gva.get().saturating_add(done * PAGE_SIZE));
                let alike = entries.as_ref().and_then(|all| all.alike(gfn, leaf.frames - done));
                let Some((entry, alike)) = alike else {
                    done += 1;
                    continue;
                };
                let (is_there, frames) = together(memory, contents, gfn, alike);
                done += frames;
                let kind = entry.kind().and_then(kind_of).filter(|_| is_there);
                let Some(kind) = kind else { continue };
                let is_locked = entry.flags() & FrameEntry::LOCKED != 0;
                let (pages, mapcount) = (Pages::new(frames), entry.mapcount());
                visit(ScannedRun { gva, gfn, pages, kind, mapcount, is_locked });
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
