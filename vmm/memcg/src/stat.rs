//! What `memory.stat` is made from: gauges of what is charged now, and counts of what happened.

use std::ops::AddAssign;

use crate::frames::{Flag, Frame};
use crate::recharge::Reach;
use crate::walk::Chain;
use crate::{Error, GroupId, Kind, Memcg, Pages, Resource};

/// What a group (or a move in progress) owns now, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    /// Frames with a page behind them, by kind.
    kinds: [u64; Kind::COUNT],
    mapped: u64,
    swapped: u64,
    kmem: u64,
    foreign: u64,
    /// Kernel pages charged ahead: no frame stands for them yet.
    ahead: u64,
}

impl Gauges {
    /// Counts a frame in.
    #[inline]
    pub(crate) fn add(&mut self, frame: Frame) {
        self.for_each(frame, |gauge| *gauge += 1);
    }

    /// Counts a frame out.
    #[inline]
    pub(crate) fn sub(&mut self, frame: Frame) {
        self.for_each(frame, |gauge| {
            *gauge = gauge.checked_sub(1).expect("gauges hold what frames count in");
        });
    }

    /// Counts `pages` frames like this one in.
    pub(crate) fn add_many(&mut self, frame: Frame, pages: u64) {
        self.for_each(frame, |gauge| *gauge += pages);
    }

    /// Counts `pages` frames like this one out.
    pub(crate) fn sub_many(&mut self, frame: Frame, pages: u64) {
        self.for_each(frame, |gauge| {
            *gauge = gauge.checked_sub(pages).expect("gauges hold what frames count in");
        });
    }

    /// Adds everything `other` holds.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.zip(other, |a, b| *a += b);
    }

    /// Takes away everything `other` holds.
    pub(crate) fn unmerge(&mut self, other: &Self) {
        self.zip(other, |a, b| {
            *a = a.checked_sub(b).expect("gauges of a whole hold those of its part");
        });
    }

    /// Pages the memory counter counts.
    pub(crate) fn memory(&self) -> u64 {
        self.kinds.iter().sum::<u64>() - self.kinds[Kind::Huge.index()] + self.ahead
    }

    /// Pages the memsw counter counts.
    pub(crate) fn memsw(&self) -> u64 {
        self.memory() + self.swapped
    }

    /// Pages that are of a kind `reach` takes along.
    pub(crate) fn within(&self, reach: Reach) -> u64 {
        let of = |kind: Kind| self.kinds[kind.index()];
        let anon = if reach.anon { of(Kind::Anon) } else { 0 };
        anon + if reach.file { of(Kind::File) + of(Kind::Shmem) } else { 0 }
    }

    /// Pages the kmem counter counts.
    pub(crate) const fn kmem(&self) -> u64 {
        self.kmem + self.ahead
    }

    /// Counts kernel pages that are charged ahead.
    pub(crate) const fn add_ahead(&mut self, pages: u64) {
        self.ahead += pages;
    }

    /// Counts them out: given back, or now a frame's.
    pub(crate) fn sub_ahead(&mut self, pages: u64) {
        self.ahead = self.ahead.checked_sub(pages).expect("gauges hold what is charged ahead");
    }

    /// The same frames, once their tasks have come to their owner.
    pub(crate) const fn at_home(self) -> Self {
        Self { foreign: 0, ..self }
    }

    /// Frames of any sort.
    pub(crate) fn frames(&self) -> u64 {
        self.kinds.iter().sum::<u64>() + self.swapped
    }

    fn for_each(&mut self, frame: Frame, change: impl Fn(&mut u64)) {
        let Some(kind) = frame.kind() else { return };
        if frame.has(Flag::Foreign) {
            change(&mut self.foreign);
        }
        if frame.has(Flag::Swapped) {
            change(&mut self.swapped);
            return;
        }
        change(&mut self.kinds[kind.index()]);
        if frame.has(Flag::Mapped) {
            change(&mut self.mapped);
        }
        if frame.has(Flag::Kmem) {
            change(&mut self.kmem);
        }
    }

    fn zip(&mut self, other: &Self, change: impl Fn(&mut u64, u64)) {
        for (a, b) in self.kinds.iter_mut().zip(other.kinds) {
            change(a, b);
        }
        change(&mut self.mapped, other.mapped);
        change(&mut self.swapped, other.swapped);
        change(&mut self.kmem, other.kmem);
        change(&mut self.foreign, other.foreign);
        change(&mut self.ahead, other.ahead);
    }
}

/// What happened in a group since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Pages charged.
    pub pgpgin: u64,
    /// Pages uncharged.
    pub pgpgout: u64,
    /// Page faults, major ones included.
    pub pgfault: u64,
    /// Page faults that had to read something in.
    pub pgmajfault: u64,
    /// Processes killed because the group was out of memory.
    pub oom_kill: u64,
    /// Pages charged over a limit because the fault could not be refused any more.
    pub overshoot: u64,
}

impl AddAssign for Events {
    fn add_assign(&mut self, other: Self) {
        self.pgpgin += other.pgpgin;
        self.pgpgout += other.pgpgout;
        self.pgfault += other.pgfault;
        self.pgmajfault += other.pgmajfault;
        self.oom_kill += other.oom_kill;
        self.overshoot += other.overshoot;
    }
}

/// What a group and those that charge to it own, and what has happened there: removed groups
/// included, in what they still own and in what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) gauges: Gauges,
    pub(crate) events: Events,
}

/// Statistics of one group, or of a group and its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Page cache, shmem included.
    pub cache: Pages,
    /// Anonymous memory.
    pub rss: Pages,
    /// tmpfs and shared anonymous memory.
    pub shmem: Pages,
    /// Page cache that a task maps.
    pub mapped_file: Pages,
    /// Kernel memory without page tables.
    pub kernel: Pages,
    /// Page tables.
    pub page_table: Pages,
    /// Huge pages.
    pub huge: Pages,
    /// Swapped-out pages.
    pub swap: Pages,
    /// Pages charged here although their task moved on and they could not (policy `half`). Locally
    /// also, the other way round, pages that tasks here left charged to the group they came from:
    /// of these an upper bound, since who frees such a page may be another of its tasks.
    pub foreign: Pages,
    /// Pages charged here that wait to follow their task (policy `lazy`). An upper bound: what the
    /// group had of such pages when the task left, less what has settled, and never more than it has.
    pub lazy_pending: Pages,
    /// What happened.
    pub events: Events,
}

/// Everything `memory.stat` of one group shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The group alone.
    pub local: Amounts,
    /// The group and those descendants that charge to it.
    pub total: Amounts,
    /// The lowest memory limit from here up.
    pub memory_limit: Pages,
    /// The lowest memsw limit from here up.
    pub memsw_limit: Pages,
}

/// How a page fault was resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Without reading anything in.
    Minor,
    /// By reading a file or swap.
    Major,
}

impl Memcg {
    /// Returns the statistics of `group`. The cost grows with its depth and with the number of groups
    /// that pages wait to leave, not with the number of groups: hosts with many of them have read
    /// Linux's file in seconds.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn stat(&self, group: GroupId) -> Result<Stat, Error> {
        let index = self.groups.index(group)?;
        let this = self.groups.at(index);
        let local = Self::amounts(&this.gauges, this.events, self.pending(index));
        let foreign = Pages::new(local.foreign.get() + self.left_elsewhere(group));
        let local = Amounts { foreign, ..local };
        Ok(Stat {
            local,
            total: self.total(index),
            memory_limit: self.lowest_limit(index, Resource::Memory),
            memsw_limit: self.lowest_limit(index, Resource::Memsw),
        })
    }

    /// Counts a page fault of `task` in its group; nothing happens when there is no such task.
    pub fn note_fault(&mut self, task: crate::Tid, fault: Fault) {
        let Some(group) = self.tasks.get(task).map(|task| task.group) else { return };
        self.book(group, |_, events| {
            events.pgfault += 1;
            events.pgmajfault += u64::from(fault == Fault::Major);
        });
    }

    /// Changes the books of a group: its own, and the sums of everyone it charges to.
    #[inline]
    pub(crate) fn book(&mut self, index: u32, change: impl Fn(&mut Gauges, &mut Events)) {
        let own = self.groups.at_mut(index);
        change(&mut own.gauges, &mut own.events);
        self.book_sums(index, change);
    }

    /// Changes the sums of a group and of everyone it charges to.
    #[inline]
    pub(crate) fn book_sums(&mut self, index: u32, change: impl Fn(&mut Gauges, &mut Events)) {
        let mut next = Some(index);
        while let Some(index) = next {
            let group = self.groups.at_mut(index);
            change(&mut group.sums.gauges, &mut group.sums.events);
            next = group.feeds;
        }
    }

    /// Counts a frame into its owner's gauges; returns the owner's index.
    pub(crate) fn count_in(&mut self, frame: Frame) -> u32 {
        self.count(frame, |gauges, _| gauges.add(frame))
    }

    /// Counts a frame out of its owner's gauges; returns the owner's index.
    pub(crate) fn count_out(&mut self, frame: Frame) -> u32 {
        self.count(frame, |gauges, _| gauges.sub(frame))
    }

    /// Changes the books of a frame's owner; returns the owner's index.
    #[inline]
    pub(crate) fn count(&mut self, frame: Frame, change: impl Fn(&mut Gauges, &mut Events)) -> u32 {
        let (_, holder) = self.owners.resolve_mut(frame.owner());
        if let crate::owners::Holder::Transit { transit, .. } = holder {
            // What happens is the group's alone.
            change(self.transits.gauges_mut(transit), &mut Events::default());
        }
        self.book(holder.group(), change);
        holder.group()
    }

    fn total(&self, index: u32) -> Amounts {
        let is_below = |source: u32| self.chain(Chain::whole(source)).any(|above| above == index);
        let sources = self.debts.sources().filter_map(|source| self.groups.index(source).ok());
        let pending =
            sources.filter(|source| is_below(*source)).map(|source| self.pending(source)).sum();
        let sums = &self.groups.at(index).sums;
        Self::amounts(&sums.gauges, sums.events, pending)
    }

    /// Pages that wait to leave a group, at most.
    fn pending(&self, index: u32) -> u64 {
        let group = self.groups.at(index);
        self.debts.pending(group.id).min(group.gauges.within(Reach::EVERYTHING))
    }

    /// Pages that tasks of `group` left charged to others, at most.
    fn left_elsewhere(&self, group: GroupId) -> u64 {
        let foreign_of =
            |from| self.groups.index(from).map_or(0, |at| self.groups.at(at).gauges.foreign);
        self.strays.of(group).map(|(from, pages)| pages.min(foreign_of(from))).sum()
    }

    fn amounts(gauges: &Gauges, events: Events, pending: u64) -> Amounts {
        let kind = |kind: Kind| Pages::new(gauges.kinds[kind.index()]);
        Amounts {
            cache: Pages::new(kind(Kind::File).get() + kind(Kind::Shmem).get()),
            rss: kind(Kind::Anon),
            shmem: kind(Kind::Shmem),
            mapped_file: Pages::new(gauges.mapped),
            kernel: kind(Kind::Kernel),
            page_table: kind(Kind::PageTable),
            huge: kind(Kind::Huge),
            swap: Pages::new(gauges.swapped),
            foreign: Pages::new(gauges.foreign),
            lazy_pending: Pages::new(pending),
            events,
        }
    }

    fn lowest_limit(&self, index: u32, resource: Resource) -> Pages {
        self.chain(Chain::whole(index))
            .map(|index| self.groups.at(index).counter(resource).limit())
            .min()
            .unwrap_or(Pages::UNLIMITED)
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;
    use crate::{Config, Gfn, Kind, Mapped, Memcg, Offline, Pages, Payer, Resource, Tid, fixture};

    #[test]
    fn totals_include_what_removed_groups_still_own_and_what_happened_in_them() {
        for offline in [Offline::Reparent, Offline::Zombie] {
            let mut m = Memcg::new(Config { offline, ..fixture::config(8) }).unwrap();
            let a = m.create(m.root(), "a").unwrap();
            let b = m.create(a, "b").unwrap();
            m.try_charge(Payer::Group(b), Gfn::new(0), Kind::Anon).unwrap();
            m.remove(b).unwrap();
            let total = m.stat(a).unwrap().total;
            assert_eq!((total.rss, total.events.pgpgin), (Pages::ONE, 1));
            m.uncharge(Gfn::new(0));
            m.remove(a).unwrap();
            let total = m.stat(m.root()).unwrap().total;
            assert_eq!((total.rss, total.events.pgpgout), (Pages::ZERO, 1));
            assert_eq!(m.check(), []);
        }
    }

    #[test]
    fn totals_include_those_below_and_local_values_do_not() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        m.set_limit(a, Resource::Memory, Pages::new(5)).unwrap();
        for (gfn, (group, kind)) in
            [(a, Kind::Anon), (b, Kind::File), (b, Kind::Shmem)].into_iter().enumerate()
        {
            m.try_charge(Payer::Group(group), Gfn::new(gfn as u64), kind).unwrap();
        }
        assert!(m.set_mapped(Gfn::new(1), Mapped::Yes));
        assert!(!m.set_mapped(Gfn::new(0), Mapped::Yes));
        m.task_new(Tid::new(2), Tid::new(2), b).unwrap();
        m.note_fault(Tid::new(2), Fault::Major);
        let stat = m.stat(a).unwrap();
        assert_eq!((stat.local.rss, stat.local.cache), (Pages::ONE, Pages::ZERO));
        assert_eq!((stat.total.cache, stat.total.shmem), (Pages::new(2), Pages::ONE));
        assert_eq!((stat.total.mapped_file, stat.total.events.pgpgin), (Pages::ONE, 3));
        assert_eq!((stat.total.events.pgfault, stat.total.events.pgmajfault), (1, 1));
        assert_eq!(m.stat(b).unwrap().memory_limit, Pages::new(5));
        assert!(m.set_mapped(Gfn::new(1), Mapped::No));
        assert_eq!(m.stat(a).unwrap().total.mapped_file, Pages::ZERO);
        assert_eq!(m.check(), []);
    }
}
