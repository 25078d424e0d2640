//! Out of memory: a page had to be charged over a limit, because its fault must be answered. Somebody
//! is killed, or the task waits, or its system call fails.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use memcg::{Counter, GroupId, OomReport, Pages, Payer, Resource, Tid, Verdict};
use serde::{Deserialize, Serialize};
use vmcg_abi::event::{Event, EventKind};
use vmcg_abi::page::shared;

use crate::guest::RealGuest;
use crate::machine::{Accounting, Machine};
use crate::news::News;
use crate::swap::Swap;
use crate::tasks::Tasks;

/// Records that are kept.
const RECORDS_MAX: usize = 8;

/// One time that a group was out of memory, for `vmcg stat --oom`. Amounts are in pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomRecord {
    /// How many there were before.
    pub number: u64,
    /// Seconds since the machine was made.
    pub seconds: u64,
    /// Path of the group whose limit was in the way; or that it was the whole guest.
    pub group: String,
    /// Memory, memory and swap, and kernel memory of the group; memory and swap of the guest.
    pub counters: Vec<OomCounter>,
    /// The biggest processes of the group and below, the biggest first.
    pub tasks: Vec<OomTaskRow>,
    /// How many more there were.
    pub tasks_left_out: u64,
    /// What was done about it.
    pub outcome: OomOutcome,
}

/// What a group may use of something, and uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomCounter {
    /// `memory`, `memsw`, `kmem` or `swap`.
    pub name: String,
    /// Pages charged.
    pub usage: u64,
    /// `None` is no limit.
    pub limit: Option<u64>,
    /// Charges refused.
    pub failcnt: u64,
}

/// A process that could be killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomTaskRow {
    /// Task id in the guest.
    pub tid: u32,
    /// Program.
    pub command: String,
    /// Pages in memory, pages in swap and page tables, as far as the group is charged for them.
    pub pages: [u64; 3],
}

/// What becomes of a group that is out of memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OomOutcome {
    /// This task is killed.
    Killed(u32),
    /// Whoever needs memory waits (`oom_kill_disable`).
    Waits,
    /// There is nobody to kill.
    Nobody,
}

/// The last records, oldest first.
#[derive(Debug, Default)]
pub(crate) struct OomLog(VecDeque<OomRecord>);

impl OomLog {
    /// The records, oldest first.
    pub(crate) fn list(&self) -> Vec<OomRecord> {
        self.0.iter().cloned().collect()
    }

    fn add(&mut self, record: OomRecord) {
        if self.0.len() == RECORDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(record);
    }
}

/// Acts when a page that `payer` touched found no room in `group`.
pub(crate) fn strike(machine: &Machine, accounting: &mut Accounting, group: GroupId, payer: Payer) {
    if let Payer::Task(tid) = payer
        && accounting.waiting.hold(&accounting.memcg, group, tid)
    {
        return send(machine, EventKind::Wait, tid);
    }
    if is_somebody_dying(accounting, group) {
        return spare_the_dying(machine, accounting, payer);
    }
    accounting.news.push(News::OutOfMemory(group));
    let Accounting { memcg, tasks, contents, .. } = accounting;
    let verdict = memcg.out_of_memory(&mut RealGuest::new(machine, tasks, contents), group);
    if let Some(record) = describe_last(machine, accounting, verdict) {
        accounting.ooms.add(record);
    }
    match verdict {
        Verdict::Kill(victim) => {
            kill(machine, accounting, group, victim);
            spare_the_dying(machine, accounting, payer);
        }
        Verdict::Wait => wait(machine, accounting, group, payer),
        Verdict::Nobody => {}
    }
}

/// Pages that a system call may take beyond all memory while somebody else is being killed.
const CALL_BEYOND_PAGES: u64 = 64;

/// Acts when the whole guest has no page left for what `payer` touched.
pub(crate) fn strike_guest(machine: &Machine, accounting: &mut Accounting, payer: Payer) {
    let root = accounting.memcg.root();
    if !is_somebody_dying(accounting, root) {
        accounting.news.push(News::OutOfMemory(root));
        let Accounting { memcg, tasks, contents, .. } = &mut *accounting;
        let verdict = memcg.out_of_memory_anywhere(&mut RealGuest::new(machine, tasks, contents));
        if let Some(record) = describe_last(machine, accounting, verdict) {
            let counters = guest_counters(machine, accounting);
            accounting.ooms.add(OomRecord { group: "the guest".to_owned(), counters, ..record });
        }
        if let Verdict::Kill(victim) = verdict {
            kill(machine, accounting, root, victim);
        }
    }
    let beyond = machine.memory.small_count().saturating_sub(machine.memory_pages());
    if beyond > CALL_BEYOND_PAGES {
        refuse_call(machine);
    }
    spare_the_dying(machine, accounting, payer);
}

/// A victim's system call need not come to its end: it touches no more pages.
fn spare_the_dying(machine: &Machine, accounting: &Accounting, payer: Payer) {
    if let Payer::Task(tid) = payer
        && is_dying(accounting, tid)
    {
        refuse_call(machine);
    }
}

/// Makes the system call under way fail before it touches another page, if there is one.
fn refuse_call(machine: &Machine) -> bool {
    let is_call = machine.memory.shared(shared::IN_SYSTEM_CALL) != 0;
    if is_call {
        machine.memory.set_shared(shared::MEMORY_REFUSED, 1);
    }
    is_call
}

/// Whether the process of a task has been told to die.
fn is_dying(accounting: &Accounting, tid: Tid) -> bool {
    let tgid = |tid| accounting.tasks.get(tid).map(|task| task.tgid);
    let mine = tgid(tid);
    accounting.tasks.iter().any(|(_, task)| task.is_dying && Some(task.tgid) == mine)
}

/// Whether a victim of the group has been told already and is on its way out: nobody else dies
/// meanwhile.
fn is_somebody_dying(accounting: &Accounting, group: GroupId) -> bool {
    let Accounting { memcg, tasks, .. } = accounting;
    let is_below = |tid| {
        let mut above = std::iter::successors(memcg.task_group(tid), |&at| memcg.parent(at));
        above.any(|at| at == group)
    };
    tasks.iter().any(|(tid, task)| task.is_dying && is_below(tid))
}

/// Tells the guest to kill the victim.
fn kill(machine: &Machine, accounting: &mut Accounting, group: GroupId, victim: Tid) {
    let Accounting { memcg, tasks, .. } = accounting;
    let path = memcg.path(group).unwrap_or_default();
    log::info!("{path} is out of memory: killing task {victim}");
    let counted = memcg.task_group(victim).map(|at| memcg.note_oom_kill(at));
    log::debug!("kill counted: {counted:?}");
    send_kill(machine, victim);
    tasks.set_dying(victim);
}

/// Holds the task that touched the page, until there is room for it. What a system call touches is
/// refused instead, if it can still be: the kernel looks before the next page.
fn wait(machine: &Machine, accounting: &mut Accounting, group: GroupId, payer: Payer) {
    let Payer::Task(tid) = payer else { return };
    if refuse_call(machine) {
        return;
    }
    match accounting.memcg.oom_wait_begin(group, tid) {
        Ok(()) => send(machine, EventKind::Wait, tid),
        // The page is charged to a group of somebody else, who left it in swap: he pays, it runs.
        Err(why) => log::debug!("task {tid} does not wait: {why}"),
    }
}

/// Tells the guest to kill a task, as if by SIGKILL.
pub(crate) fn send_kill(machine: &Machine, tid: Tid) {
    send(machine, EventKind::Kill, tid);
}

fn send(machine: &Machine, kind: EventKind, tid: Tid) {
    machine.gate.send(Event { kind, argument: 0, id: tid.get() });
}

/// The last report of the accounting, with names.
fn describe_last(
    machine: &Machine,
    accounting: &Accounting,
    verdict: Verdict,
) -> Option<OomRecord> {
    let seconds = machine.nanoseconds() / 1_000_000_000;
    let report = accounting.memcg.oom_reports().last()?;
    Some(describe(report, seconds, verdict, &accounting.tasks))
}

/// What the whole guest uses, and may.
fn guest_counters(machine: &Machine, accounting: &Accounting) -> Vec<OomCounter> {
    let swap = accounting.contents.swap().map(Swap::figures).unwrap_or_default();
    let counter = |name: &str, usage, limit, failcnt| OomCounter {
        name: name.to_owned(),
        usage,
        limit: Some(limit),
        failcnt,
    };
    let shortages = machine.stats.shortages.load(Ordering::Relaxed);
    vec![
        counter("memory", machine.memory.small_count(), machine.memory_pages(), shortages),
        counter("swap", swap.used, swap.slots, swap.failures),
    ]
}

fn describe(report: &OomReport, seconds: u64, verdict: Verdict, tasks: &Tasks) -> OomRecord {
    let counters =
        report.counters.iter().map(|(resource, counter)| describe_counter(*resource, counter));
    let name = |tid| tasks.get(tid).map_or_else(String::new, |task| task.name.clone());
    let rows = report.tasks.iter().map(|task| OomTaskRow {
        tid: task.tid.get(),
        command: name(task.tid),
        pages: [task.resident, task.swapped, task.page_tables].map(Pages::get),
    });
    OomRecord {
        number: report.number,
        seconds,
        group: report.path.clone(),
        counters: counters.collect(),
        tasks: rows.collect(),
        tasks_left_out: report.tasks_left_out,
        outcome: match verdict {
            Verdict::Kill(tid) => OomOutcome::Killed(tid.get()),
            Verdict::Wait => OomOutcome::Waits,
            Verdict::Nobody => OomOutcome::Nobody,
        },
    }
}

fn describe_counter(resource: Resource, counter: &Counter) -> OomCounter {
    let name = match resource {
        Resource::Memory => "memory",
        Resource::Memsw => "memsw",
        Resource::Kmem => "kmem",
        Resource::Tcp => "kmem.tcp",
        Resource::Huge(..) => "hugetlb",
    };
    let limit = counter.limit();
    OomCounter {
        name: name.to_owned(),
        usage: counter.usage().get(),
        limit: (!limit.is_unlimited()).then_some(limit.get()),
        failcnt: counter.failcnt(),
    }
}
