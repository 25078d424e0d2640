//! Out of memory: who is killed, and what is remembered of it. Killing is the machine's business.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

use crate::{Counter, Error, GroupId, Guest, Gva, Memcg, Pages, Resource, Tid};

/// What is to be done about a group that is out of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Kill this process.
    Kill(Tid),
    /// Let the task wait: see [`Memcg::oom_wait_begin`].
    Wait,
    /// There is nobody to kill.
    Nobody,
}

/// What one process was charged when its group ran out of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomTask {
    /// The thread that stands for the process.
    pub tid: Tid,
    /// Pages it maps that are in memory and charged to the group or below.
    pub resident: Pages,
    /// Pages it maps that are on swap and charged there.
    pub swapped: Pages,
    /// Its page tables.
    pub page_tables: Pages,
}

/// The report of one time that a group was out of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OomReport {
    /// How many reports there were before this one.
    pub number: u64,
    /// The group whose limit was in the way.
    pub group: GroupId,
    /// Its path at that time.
    pub path: String,
    /// Memory, memsw and kernel memory of the group.
    pub counters: [(Resource, Counter); 3],
    /// The biggest processes of the group and below, the biggest first.
    pub tasks: Vec<OomTask>,
    /// How many more there were.
    pub tasks_left_out: u64,
    /// Who was killed, if somebody was.
    pub victim: Option<Tid>,
}

/// The last reports.
#[derive(Debug, Default)]
pub(crate) struct OomReports {
    last: VecDeque<OomReport>,
    made: u64,
}

/// Reports that are kept.
const REPORTS_MAX: usize = 8;
/// Processes that a report names.
const TASKS_MAX: usize = 64;

impl OomTask {
    /// What the kill is decided by (Linux v6.12 mm/oom_kill.c `oom_badness`): memory, swap and page
    /// tables.
    #[must_use]
    pub const fn pages(&self) -> Pages {
        Pages::new(self.resident.get() + self.swapped.get() + self.page_tables.get())
    }
}

impl Memcg {
    /// Decides what happens when nothing can be reclaimed for `group`, and keeps a report. Who is in
    /// the group can have two processes killed at once: see to it that a victim is given the time to
    /// exit.
    pub fn out_of_memory(&mut self, guest: &mut dyn Guest, group: GroupId) -> Verdict {
        let Ok(index) = self.groups.index(group) else { return Verdict::Nobody };
        let waits = self.groups.at(index).settings.oom_kill_disable;
        self.decide(guest, index, Some(group), waits)
    }

    /// Decides the same for the whole guest: nobody is left out, and nobody may wait. The report is
    /// one of the root.
    pub fn out_of_memory_anywhere(&mut self, guest: &mut dyn Guest) -> Verdict {
        self.decide(guest, self.root.index(), None, false)
    }

    fn decide(
        &mut self,
        guest: &mut dyn Guest,
        index: u32,
        within: Option<GroupId>,
        waits: bool,
    ) -> Verdict {
        self.note_critical(index);
        let candidates = self.candidates(guest, index, within);
        let victim = candidates.first().map(|task| task.tid).filter(|_| !waits);
        self.report(index, candidates, victim);
        match victim {
            _ if waits => Verdict::Wait,
            Some(tid) => Verdict::Kill(tid),
            None => Verdict::Nobody,
        }
    }

    /// Returns the last reports, the oldest first.
    pub fn oom_reports(&self) -> impl Iterator<Item = &OomReport> {
        self.oom_reports.last.iter()
    }

    /// Picks the process to be killed when `group` is out of memory: of those in the group and below,
    /// the one with most pages charged there, the oldest of equals. The guest's first task is never
    /// picked.
    pub fn oom_victim(&self, group: GroupId, guest: &mut dyn Guest) -> Option<Tid> {
        let index = self.groups.index(group).ok()?;
        self.candidates(guest, index, Some(group)).first().map(|task| task.tid)
    }

    /// Counts a process of the group killed for lack of memory.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn note_oom_kill(&mut self, group: GroupId) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        self.book(index, |_, events| events.oom_kill += 1);
        Ok(())
    }

    /// Returns the processes below the group at `index`, the one with most pages that are charged
    /// `within` a group, or to anybody, first.
    fn candidates(
        &self,
        guest: &mut dyn Guest,
        index: u32,
        within: Option<GroupId>,
    ) -> Vec<OomTask> {
        let mut processes = BTreeSet::new();
        for index in self.subtree(index) {
            let tgids = self.groups.at(index).tasks.iter().filter_map(|tid| self.task_tgid(*tid));
            processes.extend(tgids);
        }
        let mut all: Vec<OomTask> = processes
            .into_iter()
            .filter(|tgid| *tgid != Tid::INIT)
            .filter_map(|tgid| self.tasks.mm_owner(tgid))
            .map(|tid| self.charged_pages(guest, within, tid))
            .collect();
        all.sort_by_key(|task| (Reverse(task.pages()), task.tid));
        all
    }

    /// Counts what a process maps of the pages that are charged `within` a group, or to anybody.
    fn charged_pages(&self, guest: &mut dyn Guest, within: Option<GroupId>, tid: Tid) -> OomTask {
        let counts = |gfn| match within {
            Some(group) => self.is_charged_to(gfn, group),
            None => self.owner(gfn).is_some(),
        };
        let (mut resident, mut swapped) = (0, 0);
        // A broken address space counts for what was seen of it: the number only ranks victims.
        let _ = guest.scan(tid, Gva::ZERO, u64::MAX, &mut |page| {
            if counts(page.gfn) {
                let count = if self.is_swapped(page.gfn) { &mut swapped } else { &mut resident };
                *count += 1;
            }
        });
        let page_tables = guest.page_tables(tid);
        OomTask { tid, resident: Pages::new(resident), swapped: Pages::new(swapped), page_tables }
    }

    fn report(&mut self, index: u32, mut tasks: Vec<OomTask>, victim: Option<Tid>) {
        let group = self.groups.at(index);
        let counters = [Resource::Memory, Resource::Memsw, Resource::Kmem]
            .map(|resource| (resource, *group.counter(resource)));
        let tasks_left_out = u64::try_from(tasks.len().saturating_sub(TASKS_MAX)).unwrap_or(0);
        tasks.truncate(TASKS_MAX);
        let group = group.id;
        let path = self.path(group).unwrap_or_default();
        let reports = &mut self.oom_reports;
        let number = reports.made;
        reports.made += 1;
        if reports.last.len() == REPORTS_MAX {
            reports.last.pop_front();
        }
        reports.last.push_back(OomReport {
            number,
            group,
            path,
            counters,
            tasks,
            tasks_left_out,
            victim,
        });
    }

    /// Returns a group and its living descendants, by index.
    fn subtree(&self, index: u32) -> Vec<u32> {
        let mut all = vec![index];
        let mut next = 0;
        while let Some(index) = all.get(next) {
            all.extend(self.groups.at(*index).children.values());
            next += 1;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{REPORTS_MAX, TASKS_MAX, Verdict};
    use crate::{
        Gfn, GroupId, Guest, Gva, Kind, Memcg, Pages, Payer, PressureLevel, Resource, ScanError,
        ScannedRun, Tid, fixture,
    };

    /// A guest whose task `n` maps the frames from `100 * n` on, as many as its number says.
    struct Sized;

    fn pages_of(tid: Tid) -> u64 {
        u64::from(tid.get()) % 10
    }

    impl Guest for Sized {
        fn scan(
            &mut self,
            tid: Tid,
            _from: Gva,
            _pages_max: u64,
            visit: &mut dyn FnMut(ScannedRun),
        ) -> Result<Option<Gva>, ScanError> {
            for page in 0..pages_of(tid) {
                let gfn = Gfn::new(u64::from(tid.get()) * 100 + page);
                let (gva, kind) = (Gva::new(page), Kind::Anon);
                let pages = Pages::ONE;
                visit(ScannedRun { gva, gfn, pages, kind, mapcount: 1, is_locked: false });
            }
            Ok(None)
        }

        fn kill(&mut self, _tid: Tid) {}
    }

    fn start(m: &mut Memcg, tid: u32, group: GroupId) {
        let tid = Tid::new(tid);
        m.task_new(tid, tid, group).unwrap();
        for page in 0..pages_of(tid) {
            let gfn = Gfn::new(u64::from(tid.get()) * 100 + page);
            m.try_charge(Payer::Task(tid), gfn, Kind::Anon).unwrap();
        }
    }

    #[test]
    fn the_biggest_process_below_the_full_group_is_picked_and_never_init() {
        let mut m = fixture::share(3000);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        for (tid, group) in [(1, b), (12, a), (14, b), (24, b), (19, m.root())] {
            start(&mut m, tid, group);
        }
        assert_eq!(m.oom_victim(a, &mut Sized), Some(Tid::new(14)));
        assert_eq!(m.oom_victim(m.root(), &mut Sized), Some(Tid::new(19)));
        m.task_exit(Tid::new(14));
        m.task_exit(Tid::new(24));
        assert_eq!(m.oom_victim(b, &mut Sized), None);
    }

    #[test]
    fn pages_charged_elsewhere_do_not_count_and_pages_on_swap_do() {
        let mut m = fixture::share(3000);
        let [a, b] = ["a", "b"].map(|name| m.create(m.root(), name).unwrap());
        m.set_recharge(b, crate::Policy::None).unwrap();
        start(&mut m, 19, a);
        m.attach(Tid::new(19), b.index());
        start(&mut m, 14, b);
        m.swap_out(Gfn::new(1400));
        assert_eq!(m.out_of_memory(&mut Sized, b), Verdict::Kill(Tid::new(14)));
        let report = m.oom_reports().next().unwrap();
        assert_eq!(report.tasks.iter().map(|task| task.tid.get()).collect::<Vec<_>>(), [14, 19]);
        let sizes = [report.tasks[0].resident, report.tasks[0].swapped, report.tasks[1].pages()];
        assert_eq!(sizes.map(Pages::get), [3, 1, 0]);
    }

    #[test]
    fn a_report_names_the_group_its_counters_its_tasks_and_the_victim() {
        let mut m = fixture::share(30_000);
        let a = m.create(m.root(), "a").unwrap();
        m.set_limit(a, Resource::Memory, Pages::new(700)).unwrap();
        for tid in 100..200 {
            start(&mut m, tid, a);
        }
        assert_eq!(m.out_of_memory(&mut Sized, a), Verdict::Kill(Tid::new(109)));
        assert_eq!(m.take_pressure(), [(a, PressureLevel::Critical)]);
        let report = m.oom_reports().next().unwrap();
        assert_eq!((report.path.as_str(), report.victim), ("/a", Some(Tid::new(109))));
        let (resource, counter) = report.counters[0];
        assert_eq!(resource, Resource::Memory);
        assert_eq!((counter.usage().get(), counter.limit().get()), (450, 700));
        assert_eq!((report.tasks.len(), report.tasks_left_out), (TASKS_MAX, 36));
        assert_eq!(report.tasks[0].pages().get(), 9);
    }

    #[test]
    fn a_guest_without_memory_picks_the_biggest_of_all_whomever_it_charges_and_nobody_waits() {
        let mut m = fixture::share(3000);
        m.set_use_hierarchy(m.root(), 0).unwrap();
        let [a, b] = ["a", "b"].map(|name| m.create(m.root(), name).unwrap());
        m.set_oom_kill_disable(b, 1).unwrap();
        for (tid, group) in [(12, m.root()), (14, a), (18, b)] {
            start(&mut m, tid, group);
        }
        assert_eq!(m.out_of_memory(&mut Sized, m.root()), Verdict::Kill(Tid::new(12)));
        assert_eq!(m.out_of_memory_anywhere(&mut Sized), Verdict::Kill(Tid::new(18)));
        let report = m.oom_reports().last().unwrap();
        let sizes: Vec<u64> = report.tasks.iter().map(|task| task.pages().get()).collect();
        assert_eq!((report.path.as_str(), sizes), ("/", vec![8, 4, 2]));
    }

    #[test]
    fn the_last_few_reports_are_kept() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        for _ in 0..20 {
            assert_eq!(m.out_of_memory(&mut Sized, a), Verdict::Nobody);
        }
        assert_eq!(m.oom_reports().count(), REPORTS_MAX);
        assert_eq!(m.oom_reports().last().unwrap().number, 19);
    }
}
