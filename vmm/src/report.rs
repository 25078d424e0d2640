//! What a running machine tells about itself: tasks, figures, broken invariants.

use std::sync::atomic::{AtomicU64, Ordering};

use memcg::{Gfn, Guest as _, HugeSize, Kind, Tid};
use serde::{Deserialize, Serialize};
use vmcg_abi::page::shared;

use crate::guest::RealGuest;
use crate::kvm_stats::KvmStats;
use crate::machine::{Accounting, Machine};
use crate::oom::OomRecord;
use crate::stats::EXIT_NAMES;
use crate::swap::Swap;

/// One task, for `vmcg ps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRow {
    /// Task id in the guest.
    pub tid: u32,
    /// Thread group.
    pub tgid: u32,
    /// Path of its group from the root of the hierarchy.
    pub cgroup: String,
    /// Pages its page tables have present and the host has backed.
    pub rss_pages: u64,
    /// Of these, pages its own group is charged for.
    pub charged_pages: u64,
    /// One word: `running` for the current task, `dying` after an out-of-memory kill, else `ready`.
    pub state: String,
    /// Program.
    pub command: String,
}

/// A removed group that is still there, for `vmcg ps --dead`. Amounts are in pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadRow {
    /// Its path when it was removed.
    pub path: String,
    /// Anonymous, file and shared pages it still owns.
    pub user: u64,
    /// Its kernel memory.
    pub kernel: u64,
    /// Its parts of huge pages.
    pub huge: u64,
    /// Its pages in swap.
    pub swapped: u64,
    /// Removed groups directly below it that are still there.
    pub below: usize,
}

/// Figures of the machine, for `vmcg stat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// `software`, `npt`, `ept`, or `shadow` for hardware without nested paging.
    pub host_kind: String,
    /// How programs enter the guest kernel: `direct` where `syscall` enters ring 0, else `stub`.
    pub syscall_way: String,
    /// KiB of guest memory that this process maps with huge host pages.
    pub host_huge_kib: u64,
    /// `share` or `wall`.
    pub hierarchy: String,
    /// Pages of memory.
    pub memory: u64,
    /// The most of them in use at once, those of huge pages apart.
    pub memory_peak: u64,
    /// Frames that the guest has for memory, swap and what was dropped.
    pub frames: u64,
    /// Pages for which the whole guest had no room at first.
    pub shortages: u64,
    /// Frames the host has a page for.
    pub frames_backed: u64,
    /// First touches answered.
    pub faults: u64,
    /// Charges that went over a limit because a fault must be answered.
    pub forced_charges: u64,
    /// Huge pages set aside and in use, by size: `2M` and `1G`.
    pub huge_pages: Vec<(String, u64, u64)>,
    /// What is behind huge pages of the guest: `hugetlb`, `transparent` or `plain`.
    pub huge_backing: String,
    /// Huge pages backed, each in one step.
    pub huge_faults: u64,
    /// Pages that left memory and came back, by name.
    pub reclaim: Vec<(String, u64)>,
    /// Pages of swap, and how many of them are in use.
    pub swap: (u64, u64),
    /// Accesses to swap, by name.
    pub swap_accesses: Vec<(String, u64)>,
    /// Why swap does not work at the moment.
    pub swap_failure: Option<String>,
    /// Removed groups that are still there, and pages that keep them.
    pub dead_groups: (u64, u64),
    /// Frames given back.
    pub frames_freed: u64,
    /// Things an honest guest would not have done.
    pub guest_lies: u64,
    /// Exits by name.
    pub exits: Vec<(String, u64)>,
    /// Calls of the guest kernel by name.
    pub calls: Vec<(String, u64)>,
    /// What KVM itself counts, as it names it; empty on kernels before 5.14.
    pub kvm: Vec<(String, u64)>,
    /// The guest's own count of page faults, system calls and task switches.
    pub guest: Vec<(String, u64)>,
    /// System calls that programs asked for and did not get: number, program, times.
    pub unknown_syscalls: Vec<(u64, String, u64)>,
}

impl Machine {
    /// Lists the guest's tasks. The guest stands still meanwhile.
    pub fn tasks(&self) -> Vec<TaskRow> {
        let _paused = self.pause();
        let mut accounting = self.lock();
        self.drain_free(&mut accounting);
        let Accounting { memcg, tasks, contents, .. } = &mut *accounting;
        let mut guest = RealGuest::new(self, tasks, contents);
        let current = self.current_tid();
        let mut rows = Vec::new();
        for (tid, task) in tasks.iter() {
            let Some(group) = memcg.task_group(tid) else { continue };
            let (mut resident, mut charged) = (0, 0);
            // An address space that cannot be walked to its end is shown as far as it goes.
            let walked = guest.scan(tid, memcg::Gva::ZERO, u64::MAX, &mut |run| {
                let first = run.gfn.get();
                for gfn in (first..first.saturating_add(run.pages.get())).map(Gfn::new) {
                    let is_resident = self.memory.is_backed(gfn);
                    // Huge pages are not part of a task's resident memory, as in Linux.
                    resident += u64::from(is_resident && run.kind != Kind::Huge);
                    charged += u64::from(is_resident && memcg.owner(gfn) == Some(group));
                }
            });
            log::debug!("task {tid} walked: {walked:?}");
            let state = match () {
                () if task.is_dying => "dying",
                () if current == Some(tid) => "running",
                () => "ready",
            };
            rows.push(TaskRow {
                tid: tid.get(),
                tgid: task.tgid.get(),
                cgroup: memcg.path(group).unwrap_or_default(),
                rss_pages: resident,
                charged_pages: charged,
                state: state.into(),
                command: task.name.clone(),
            });
        }
        rows
    }

    /// Lists the removed groups that are still there.
    pub fn dead(&self) -> Vec<DeadRow> {
        let mut accounting = self.lock();
        self.drain_free(&mut accounting);
        self.drain_kmem(&mut accounting);
        let dead = accounting.memcg.dead().into_iter();
        dead.map(|dead| DeadRow {
            path: dead.path,
            user: dead.user.get(),
            kernel: dead.kernel.get(),
            huge: dead.huge.get(),
            swapped: dead.swapped.get(),
            below: dead.below,
        })
        .collect()
    }

    /// Figures for `vmcg stat`.
    pub fn stat(&self) -> Stat {
        let dead = self.dead();
        let pinned = dead.iter().map(|row| row.user + row.kernel + row.huge + row.swapped).sum();
        let accounting = self.lock();
        let swap = accounting.contents.swap().map(Swap::figures).unwrap_or_default();
        let names = ["page_faults", "system_calls", "task_switches", "frames_in_use"];
        let words = [
            shared::PAGE_FAULTS,
            shared::SYSTEM_CALLS,
            shared::TASK_SWITCHES,
            shared::FRAMES_IN_USE,
        ];
        let is_laid_out = self.frame_table().is_some();
        let guest = names
            .iter()
            .zip(words)
            .map(|(name, word)| {
                ((*name).to_owned(), if is_laid_out { self.memory.shared(word) } else { 0 })
            })
            .collect();
        Stat {
            host_kind: self.host_kind.name().into(),
            syscall_way: if self.host_kind.runs_ring0() { "direct" } else { "stub" }.into(),
            host_huge_kib: self.memory.huge_kib(),
            hierarchy: format!("{:?}", accounting.memcg.config().hierarchy).to_lowercase(),
            memory: self.memory_pages,
            memory_peak: self.memory.small_peak(),
            frames: self.memory.frames(),
            shortages: load(&self.stats.shortages),
            frames_backed: self.memory.backed_count(),
            faults: load(&self.stats.faults),
            forced_charges: load(&self.stats.forced),
            huge_pages: [("2M", HugeSize::Mb2), ("1G", HugeSize::Gb1)]
                .map(|(name, size)| (name, self.huge_counts(size)))
                .into_iter()
                .filter(|(_, (total, _))| *total > 0)
                .map(|(name, (total, used))| (name.to_owned(), total, used))
                .collect(),
            huge_backing: self.memory.backing().name().to_owned(),
            huge_faults: load(&self.stats.huge_faults),
            reclaim: self.reclaim_figures(),
            swap: (swap.slots, swap.used),
            swap_accesses: named([
                ("written", swap.written),
                ("read", swap.read),
                ("failures", swap.failures),
            ]),
            swap_failure: swap.failure,
            dead_groups: (dead.len() as u64, pinned),
            frames_freed: load(&self.stats.frames_freed),
            guest_lies: load(&self.stats.guest_lies),
            exits: EXIT_NAMES.iter().map(|&name| name.to_owned()).zip(self.stats.exits()).collect(),
            calls: self.stats.calls(),
            kvm: self.kvm_stats.get().into_iter().flatten().flat_map(KvmStats::read).collect(),
            guest,
            unknown_syscalls: accounting.unknown_calls.list(),
        }
    }

    /// Pages that left memory and came back, by name.
    fn reclaim_figures(&self) -> Vec<(String, u64)> {
        let stats = &self.stats;
        named([
            ("evicted", load(&stats.evicted)),
            ("refaulted", load(&stats.refaults)),
            ("aged", load(&stats.aged)),
            ("touched_again", load(&stats.touches)),
            ("lost", load(&stats.lost)),
        ])
    }

    /// The last times that a group was out of memory, oldest first.
    pub fn ooms(&self) -> Vec<OomRecord> {
        self.lock().ooms.list()
    }

    /// Verifies the invariants of the running machine; each string names a broken one. The guest
    /// stands still meanwhile.
    pub fn check(&self) -> Vec<String> {
        let _paused = self.pause();
        let mut accounting = self.lock();
        self.drain_free(&mut accounting);
        let Accounting { memcg, tasks, contents, .. } = &*accounting;
        let mut broken: Vec<String> =
            memcg.check().into_iter().map(|violation| violation.to_string()).collect();
        if !self.is_accounting {
            return broken;
        }
        for gfn in (0..self.memory.frames()).map(Gfn::new) {
            match (self.memory.is_backed(gfn), memcg.is_backed(gfn)) {
                (true, false) => broken.push(format!("{gfn} is backed but charged to nobody")),
                (false, true) => broken.push(format!("{gfn} is charged but not backed")),
                _ => {}
            }
            match (contents.is_swapped(gfn), memcg.is_swapped(gfn)) {
                (true, false) => broken.push(format!("{gfn} is in swap but not charged for it")),
                (false, true) => broken.push(format!("{gfn} is charged for swap but not in it")),
                _ => {}
            }
        }
        let slots = contents.swap().map_or(0, |swap| swap.figures().used);
        if slots != contents.slots_named() {
            broken.push(format!("{slots} slots are used, {} are named", contents.slots_named()));
        }
        let resident = self.memory.resident_pages();
        match resident {
            Ok(pages) if pages != self.memory.backed_count() => broken.push(format!(
                "the host holds {pages} pages of guest memory, {} are recorded",
                self.memory.backed_count()
            )),
            Ok(_) => {}
            Err(why) => broken.push(format!("cannot ask how much memory the guest has: {why}")),
        }
        for (tid, _) in tasks.iter() {
            if memcg.task_group(tid).is_none() {
                broken.push(format!("task {tid} is in no group"));
            }
        }
        broken
    }

    /// The task on whose behalf the guest runs, as it says.
    fn current_tid(&self) -> Option<Tid> {
        self.frame_table()?;
        u32::try_from(self.memory.shared(shared::CURRENT_TID)).ok().map(Tid::new)
    }
}

fn named<const COUNT: usize>(figures: [(&str, u64); COUNT]) -> Vec<(String, u64)> {
    figures.map(|(name, figure)| (name.to_owned(), figure)).into()
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
