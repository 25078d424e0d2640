//! What the files with more than one number in them show.

use std::fmt::Write as _;

use memcg::{
    Amounts, Error, GroupId, HugeSize, HugeUse, Memcg, Pages, Policy, Resource, Stat, Tid,
};

use crate::errno;
use crate::service::Service;
use crate::values::bytes;

type Result = std::result::Result<(), Error>;

/// One line of a statistics file.
type Line = (&'static str, fn(&Amounts) -> u64);

/// `memory.stat` of Linux v3.19, mm/memcontrol.c `memcg_stat_show`, with swap accounting.
const CLASSIC: &[Line] = &[
    ("cache", |a| bytes(a.cache)),
    ("rss", |a| bytes(a.rss)),
    ("rss_huge", none),
    ("mapped_file", |a| bytes(a.mapped_file)),
    ("writeback", none),
    ("swap", |a| bytes(a.swap)),
    ("pgpgin", |a| a.events.pgpgin),
    ("pgpgout", |a| a.events.pgpgout),
    ("pgfault", |a| a.events.pgfault),
    ("pgmajfault", |a| a.events.pgmajfault),
    ("inactive_anon", |a| bytes(a.inactive_anon)),
    ("active_anon", |a| bytes(a.active_anon)),
    ("inactive_file", |a| bytes(a.inactive_file)),
    ("active_file", |a| bytes(a.active_file)),
    ("unevictable", |a| bytes(a.unevictable)),
];

/// What vmcg tells besides; after everything that Linux has, so that no line of it moves.
const OWN: &[Line] = &[
    ("shmem", |a| bytes(a.shmem)),
    ("kernel", |a| bytes(a.kernel)),
    ("page_table", |a| bytes(a.page_table)),
    ("foreign", |a| bytes(a.foreign)),
    ("lazy_pending", |a| bytes(a.lazy_pending)),
    ("overshoot", |a| a.events.overshoot),
    ("workingset_refault_anon", |a| a.events.workingset_anon.refault),
    ("workingset_refault_file", |a| a.events.workingset_file.refault),
    ("workingset_activate_anon", |a| a.events.workingset_anon.activate),
    ("workingset_activate_file", |a| a.events.workingset_file.activate),
    ("workingset_restore_anon", |a| a.events.workingset_anon.restore),
    ("workingset_restore_file", |a| a.events.workingset_file.restore),
];

/// `memory.stat` of Linux v6.18, mm/memcontrol-v1.c `memcg1_stat_format`.
const LINUX_6_18: &[Line] = &[
    ("cache", |a| bytes(a.cache)),
    ("rss", |a| bytes(a.rss)),
    ("rss_huge", none),
    ("shmem", |a| bytes(a.shmem)),
    ("mapped_file", |a| bytes(a.mapped_file)),
    ("dirty", none),
    ("writeback", none),
    ("workingset_refault_anon", |a| a.events.workingset_anon.refault),
    ("workingset_refault_file", |a| a.events.workingset_file.refault),
    ("swap", |a| bytes(a.swap)),
    ("swapcached", none),
    ("pgpgin", |a| a.events.pgpgin),
    ("pgpgout", |a| a.events.pgpgout),
    ("pgfault", |a| a.events.pgfault),
    ("pgmajfault", |a| a.events.pgmajfault),
    ("inactive_anon", |a| bytes(a.inactive_anon)),
    ("active_anon", |a| bytes(a.active_anon)),
    ("inactive_file", |a| bytes(a.inactive_file)),
    ("active_file", |a| bytes(a.active_file)),
    ("unevictable", |a| bytes(a.unevictable)),
];

/// For what the guest does not have: transparent huge pages, dirty pages.
fn none(_amounts: &Amounts) -> u64 {
    0
}

/// Writes `memory.stat` of the classic file contract.
pub(crate) fn stat_classic(memcg: &Memcg, group: GroupId, text: &mut String) -> Result {
    let stat = memcg.stat(group)?;
    linux_lines(CLASSIC, &stat, text);
    lines("", OWN, &stat.local, text);
    lines("total_", OWN, &stat.total, text);
    Ok(())
}

/// Writes `memory.stat` of today's file contract.
pub(crate) fn stat_linux_6_18(memcg: &Memcg, group: GroupId, text: &mut String) -> Result {
    linux_lines(LINUX_6_18, &memcg.stat(group)?, text);
    Ok(())
}

fn linux_lines(which: &[Line], stat: &Stat, text: &mut String) {
    /// Longer than the file ever is, so that the text is made in place.
    const SIZE: usize = 4096;
    text.reserve(SIZE);
    lines("", which, &stat.local, text);
    line(text, "hierarchical_memory_limit", bytes(stat.memory_limit));
    line(text, "hierarchical_memsw_limit", bytes(stat.memsw_limit));
    lines("total_", which, &stat.total, text);
}

fn lines(prefix: &str, which: &[Line], amounts: &Amounts, text: &mut String) {
    for (name, value) in which {
        text.push_str(prefix);
        line(text, name, value(amounts));
    }
}

fn line(text: &mut String, name: &str, value: u64) {
    text.push_str(name);
    text.push(' ');
    number(text, value);
}

/// Writes one number and a newline: the whole of most files.
pub(crate) fn number(text: &mut String, value: u64) {
    text.push_str(itoa::Buffer::new().format(value));
    text.push('\n');
}

/// Writes `memory.numa_stat`: in pages, and there is only one node.
pub(crate) fn numa_stat(memcg: &Memcg, group: GroupId, text: &mut String) -> Result {
    let stat = memcg.stat(group)?;
    for (prefix, amounts) in [("", stat.local), ("hierarchical_", stat.total)] {
        let file = amounts.inactive_file.get() + amounts.active_file.get();
        let anon = amounts.inactive_anon.get() + amounts.active_anon.get();
        let locked = amounts.unevictable.get();
        let total = file + anon + locked;
        let rows = [("total", total), ("file", file), ("anon", anon), ("unevictable", locked)];
        for (name, pages) in rows {
            node_line(text, prefix, name, pages);
        }
    }
    Ok(())
}

/// Writes `hugetlb.<size>.numa_stat`: in bytes, faulted pages only. A group's own pages are what its
/// children do not have.
pub(crate) fn huge_numa_stat(
    memcg: &Memcg,
    group: GroupId,
    size: HugeSize,
    text: &mut String,
) -> Result {
    let resource = Resource::Huge(size, HugeUse::Fault);
    let total = memcg.counter(group, resource)?.usage().get();
    let mut below = 0;
    for child in memcg.children(group)? {
        below += memcg.counter(child, resource)?.usage().get();
    }
    node_line(text, "", "total", bytes(Pages::new(total.saturating_sub(below))));
    node_line(text, "hierarchical_", "total", bytes(Pages::new(total)));
    Ok(())
}

fn node_line(text: &mut String, prefix: &str, name: &str, value: u64) {
    writeln!(text, "{prefix}{name}={value} N0={value}").expect("a String takes every text");
}

/// Writes `tasks`: one thread id a line, ascending.
pub(crate) fn tasks(memcg: &Memcg, group: GroupId, text: &mut String) -> Result {
    ids(&memcg.tasks(group)?, text);
    Ok(())
}

/// Writes `cgroup.procs`: one process id a line, ascending.
pub(crate) fn processes(memcg: &Memcg, group: GroupId, text: &mut String) -> Result {
    ids(&memcg.processes(group)?, text);
    Ok(())
}

fn ids(ids: &[Tid], text: &mut String) {
    for id in ids {
        writeln!(text, "{id}").expect("a String takes every text");
    }
}

/// Writes `memory.recharge_policy`: every policy, the chosen one in brackets.
pub(crate) fn recharge_policy(memcg: &Memcg, group: GroupId, text: &mut String) -> Result {
    let chosen = memcg.settings(group)?.recharge;
    let names: Vec<String> = Policy::all()
        .map(|policy| {
            if policy == chosen { format!("[{}]", policy.name()) } else { policy.name().to_owned() }
        })
        .collect();
    writeln!(text, "{}", names.join(" ")).expect("a String takes every text");
    Ok(())
}

/// Writes `memory.pressure`, as Linux v6.12 kernel/sched/psi.c `psi_show` does.
pub(crate) fn pressure(service: &Service, group: GroupId, text: &mut String) -> errno::Result<()> {
    let stall = service.host.stall(group).ok_or(fuser::Errno::ENODEV)?;
    for (name, share) in [("some", stall.some), ("full", stall.full)] {
        text.push_str(name);
        for (seconds, average) in [10, 60, 300].into_iter().zip(share.averages) {
            // Writing to a string does not fail.
            let _ = write!(text, " avg{seconds}={}.{:02}", average / 100, average % 100);
        }
        // As above.
        let _ = writeln!(text, " total={}", share.total_us);
    }
    Ok(())
}

/// Writes `memory.recharge_last`: what the last move of a task out of the group did; nothing when
/// there was none.
pub(crate) fn recharge_last(
    service: &Service,
    group: GroupId,
    text: &mut String,
) -> errno::Result<()> {
    service.settings(group)?;
    let Some(last) = service.host.last_recharge(group) else { return Ok(()) };
    let words = [("to", &last.to), ("policy", &last.policy), ("outcome", &last.outcome)];
    line(text, "tid", u64::from(last.tid.get()));
    for (name, word) in words {
        writeln!(text, "{name} {word}").expect("a String takes every text");
    }
    line(text, "moved", bytes(last.moved));
    line(text, "moved_swap", bytes(last.swapped));
    line(text, "skipped_shared", bytes(last.skipped.shared));
    line(text, "skipped_foreign_owner", bytes(last.skipped.foreign_owner));
    line(text, "skipped_kind", bytes(last.skipped.kind));
    line(text, "skipped_not_backed", bytes(last.skipped.not_backed));
    line(text, "failed", bytes(last.failed));
    line(text, "paused_us", last.paused_us);
    line(text, "longest_pause_us", last.longest_pause_us);
    Ok(())
}

/// Writes `memory.oom_control`.
pub(crate) fn oom_control(memcg: &Memcg, group: GroupId, text: &mut String) -> Result {
    line(text, "oom_kill_disable", u64::from(memcg.settings(group)?.oom_kill_disable));
    line(text, "under_oom", u64::from(memcg.is_under_oom(group)?));
    line(text, "oom_kill", memcg.stat(group)?.local.events.oom_kill);
    Ok(())
}

/// Writes `memory.borrow_in_bytes`: what the parent lent.
pub(crate) fn borrow(memcg: &Memcg, group: GroupId, text: &mut String) -> Result {
    number(text, bytes(memcg.borrow(group)?));
    Ok(())
}

/// Writes `memory.security_in_bytes`: what the children were lent.
pub(crate) fn security(memcg: &Memcg, group: GroupId, text: &mut String) -> Result {
    number(text, bytes(memcg.security(group)?));
    Ok(())
}

/// Writes `cgroup.sane_behavior`, which says no.
pub(crate) fn sane_behavior(
    _service: &Service,
    _root: GroupId,
    text: &mut String,
) -> errno::Result<()> {
    text.push_str("0\n");
    Ok(())
}

/// Writes `memory.kmem.slabinfo` as it is since Linux 5.9: empty.
pub(crate) fn nothing(memcg: &Memcg, group: GroupId, _text: &mut String) -> Result {
    memcg.settings(group).map(drop)
}
