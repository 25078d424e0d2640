//! What `memory.stat` is made from: gauges of what is charged now, and counts of what happened.

use std::ops::AddAssign;

use crate::frames::Frame;
use crate::gauges::{Class, Gauges};
use crate::recharge::Reach;
use crate::walk::Chain;
use crate::{Error, GroupId, Kind, Memcg, Pages, Resource};

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
    /// Anonymous and shared pages that came back.
    pub workingset_anon: Workingset,
    /// Pages of files that came back.
    pub workingset_file: Workingset,
}

/// Pages that were evicted and came back (Linux v6.12 mm/workingset.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workingset {
    /// All of them.
    pub refault: u64,
    /// Of these, pages that were away for so short a time that they count as in use.
    pub activate: u64,
    /// Of those, pages that had been in use before they were evicted.
    pub restore: u64,
}

impl AddAssign for Workingset {
    fn add_assign(&mut self, other: Self) {
        self.refault += other.refault;
        self.activate += other.activate;
        self.restore += other.restore;
    }
}

impl AddAssign for Events {
    fn add_assign(&mut self, other: Self) {
        self.pgpgin += other.pgpgin;
        self.pgpgout += other.pgpgout;
        self.pgfault += other.pgfault;
        self.pgmajfault += other.pgmajfault;
        self.oom_kill += other.oom_kill;
        self.overshoot += other.overshoot;
        self.workingset_anon += other.workingset_anon;
        self.workingset_file += other.workingset_file;
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
    /// Anonymous and shared memory that was not used of late.
    pub inactive_anon: Pages,
    /// Anonymous and shared memory that was.
    pub active_anon: Pages,
    /// Page cache of files that was not used of late.
    pub inactive_file: Pages,
    /// Page cache of files that was.
    pub active_file: Pages,
    /// Pages found to be locked in memory.
    pub unevictable: Pages,
    /// Kernel memory without page tables.
    pub kernel: Pages,
    /// Page tables.
    pub page_table: Pages,
    /// Huge pages.
    pub huge: Pages,
    /// Swapped-out pages.
    pub swap: Pages,
    /// Pages charged here although their task moved on and they could not (policy `half`). Locally
    /// also, the other way round, pages that tasks here left charged to the group they came from.
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
    /// that pages wait to leave and of processes that left pages behind, not with the number of groups:
    /// hosts with many of them have read Linux's file in seconds.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn stat(&self, group: GroupId) -> Result<Stat, Error> {
        let index = self.groups.index(group)?;
        let this = self.groups.at(index);
        let local = Self::amounts(&this.gauges, this.events, self.pending(index));
        let foreign = self.foreign(index);
        let local = Amounts { foreign: foreign.local(), ..local };
        let below = Pages::new(foreign.owned_below);
        Ok(Stat {
            local,
            total: Amounts { foreign: below, ..self.total(index) },
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
            if let Some(sums) = &mut group.sums {
                change(&mut sums.gauges, &mut sums.events);
            }
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
            let (gauges, events) = self.transits.books_mut(transit);
            change(gauges, events);
        }
        self.book(holder.group(), change);
        holder.group()
    }

    fn total(&self, index: u32) -> Amounts {
        let is_below = |source: u32| self.chain(Chain::whole(source)).any(|above| above == index);
        let sources = self.debts.sources().filter_map(|source| self.groups.index(source).ok());
        let pending =
            sources.filter(|source| is_below(*source)).map(|source| self.pending(source)).sum();
        let group = self.groups.at(index);
        Self::amounts(group.sum_gauges(), *group.sum_events(), pending)
    }

    /// Pages that wait to leave a group, at most.
    fn pending(&self, index: u32) -> u64 {
        let group = self.groups.at(index);
        self.debts.pending(group.id).min(group.gauges.within(Reach::EVERYTHING).memsw)
    }

    fn amounts(gauges: &Gauges, events: Events, pending: u64) -> Amounts {
        let kind = |kind| Pages::new(gauges.kind(kind));
        let class = |kinds: &[Kind], class| {
            Pages::new(kinds.iter().map(|kind| gauges.user(*kind, class)).sum())
        };
        let anon = &[Kind::Anon, Kind::Shmem];
        let file = &[Kind::File];
        Amounts {
            cache: Pages::new(kind(Kind::File).get() + kind(Kind::Shmem).get()),
            rss: kind(Kind::Anon),
            shmem: kind(Kind::Shmem),
            inactive_anon: class(anon, Class::Inactive),
            active_anon: class(anon, Class::Active),
            inactive_file: class(file, Class::Inactive),
            active_file: class(file, Class::Active),
            unevictable: class(&[Kind::Anon, Kind::Shmem, Kind::File], Class::Unevictable),
            mapped_file: Pages::new(gauges.mapped()),
            kernel: kind(Kind::Kernel),
            page_table: kind(Kind::PageTable),
            huge: kind(Kind::Huge),
            swap: Pages::new(gauges.swapped()),
            foreign: Pages::ZERO,
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
