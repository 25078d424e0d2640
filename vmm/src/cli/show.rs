//! `vmcg ps`, `top`, `stat` and `check`: what a machine tells about itself, as text.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use vmm::control::protocol::{GroupRow, Reply, Request};
use vmm::moves::MoveRecord;
use vmm::report::{Stat, TaskRow};

use super::error::Error;
use super::output::{print, table};
use super::size::kib;
use super::{TopArgs, client};

mod ooms;

/// Clears a terminal and goes to its first line: ECMA-48 ED and CUP.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// `vmcg ps`.
///
/// # Errors
/// When there is no such machine.
pub(super) fn tasks(name: &str) -> Result<ExitCode, Error> {
    print(&task_table(&ask_tasks(name)?))?;
    Ok(ExitCode::SUCCESS)
}

/// `vmcg ps --moves`.
///
/// # Errors
/// When there is no such machine.
pub(super) fn moves(name: &str) -> Result<ExitCode, Error> {
    let Reply::Moves(moves) = client::ask(name, &Request::Moves)? else {
        return Err(Error::Unexpected(name.to_owned()));
    };
    print(&move_table(&moves))?;
    Ok(ExitCode::SUCCESS)
}

/// `vmcg ps --dead`.
///
/// # Errors
/// When there is no such machine.
pub(super) fn dead(name: &str) -> Result<ExitCode, Error> {
    let Reply::Dead(dead) = client::ask(name, &Request::Dead)? else {
        return Err(Error::Unexpected(name.to_owned()));
    };
    let mut rows = vec![heading(&["CGROUP", "USER", "KERNEL", "HUGE", "SWAPPED", "BELOW"])];
    rows.extend(dead.into_iter().map(|row| {
        let [user, kernel, huge, swapped] = [row.user, row.kernel, row.huge, row.swapped].map(kib);
        vec![row.path, user, kernel, huge, swapped, row.below.to_string()]
    }));
    print(&table(&rows, &[false, true, true, true, true, true]))?;
    Ok(ExitCode::SUCCESS)
}

/// `vmcg check`: status 1 when an invariant is broken.
///
/// # Errors
/// When there is no such machine.
pub(super) fn check(name: &str) -> Result<ExitCode, Error> {
    let Reply::Violations(broken) = client::ask(name, &Request::Check)? else {
        return Err(Error::Unexpected(name.to_owned()));
    };
    if broken.is_empty() {
        print(&format_args!("{name}: every invariant holds\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&format_args!("{name}: {} invariants are broken\n", broken.len()))?;
    for line in broken {
        print(&format_args!("  {line}\n"))?;
    }
    Ok(ExitCode::from(1))
}

/// `vmcg stat`.
///
/// # Errors
/// When there is no such machine.
pub(super) fn stat(name: &str) -> Result<ExitCode, Error> {
    let Reply::Figures { mount_point, stat } = client::ask(name, &Request::Stat)? else {
        return Err(Error::Unexpected(name.to_owned()));
    };
    let point = mount_point.map_or_else(|| "-".to_owned(), |point| point.display().to_string());
    print(&stat_text(&point, &stat))?;
    Ok(ExitCode::SUCCESS)
}

/// `vmcg stat --oom`.
///
/// # Errors
/// When there is no such machine.
pub(super) fn ooms(name: &str) -> Result<ExitCode, Error> {
    let Reply::Ooms(records) = client::ask(name, &Request::Ooms)? else {
        return Err(Error::Unexpected(name.to_owned()));
    };
    if records.is_empty() {
        print(&format_args!("{name}: no group was out of memory\n"))?;
    }
    for record in &records {
        print(&ooms::text(record))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `vmcg top`: groups and tasks, until the machine ends or Ctrl-C.
///
/// # Errors
/// When there is no such machine, or it goes away.
pub(super) fn top(args: &TopArgs) -> Result<ExitCode, Error> {
    let name = &args.named.name;
    let is_terminal = std::io::stdout().is_terminal();
    let mut looks = 0;
    loop {
        let Reply::Groups(groups) = client::ask(name, &Request::Groups)? else {
            return Err(Error::Unexpected(name.clone()));
        };
        let tasks = ask_tasks(name)?;
        let clear = if is_terminal { CLEAR } else { "" };
        print(&format_args!("{clear}{}\n{}", group_table(&groups), task_table(&tasks)))?;
        looks += 1;
        if args.count.is_some_and(|count| looks >= count) {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(Duration::from_secs(args.interval));
    }
}

fn ask_tasks(name: &str) -> Result<Vec<TaskRow>, Error> {
    match client::ask(name, &Request::Tasks)? {
        Reply::Tasks(tasks) => Ok(tasks),
        _ => Err(Error::Unexpected(name.to_owned())),
    }
}

fn heading(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn task_table(tasks: &[TaskRow]) -> String {
    let mut rows = vec![heading(&["TID", "TGID", "CGROUP", "RSS", "CHARGED", "STATE", "COMMAND"])];
    rows.extend(tasks.iter().map(|task| {
        vec![
            task.tid.to_string(),
            task.tgid.to_string(),
            task.cgroup.clone(),
            kib(task.rss_pages),
            kib(task.charged_pages),
            task.state.clone(),
            task.command.clone(),
        ]
    }));
    table(&rows, &[true, true, false, true, true, false, false])
}

fn group_table(groups: &[GroupRow]) -> String {
    let mut rows = vec![heading(&["CGROUP", "TASKS", "USAGE", "LIMIT", "MAX", "FAILCNT"])];
    rows.extend(groups.iter().map(|group| {
        vec![
            group.path.clone(),
            group.tasks.to_string(),
            kib(group.usage_pages),
            group.limit_pages.map_or_else(|| "-".to_owned(), kib),
            kib(group.watermark_pages),
            group.failcnt.to_string(),
        ]
    }));
    table(&rows, &[false, true, true, true, true, true])
}

fn move_table(moves: &[MoveRecord]) -> String {
    let names = [
        "TID", "FROM", "TO", "POLICY", "MOVED", "SKIPPED", "FAILED", "PAUSED", "LONGEST", "OUTCOME",
    ];
    let mut rows = vec![heading(&names)];
    rows.extend(moves.iter().map(|record| {
        vec![
            record.tid.to_string(),
            record.from.clone(),
            record.to.clone(),
            record.policy.clone(),
            kib(record.moved),
            kib(record.skipped.iter().sum()),
            kib(record.failed),
            format!("{} us", record.paused_us),
            format!("{} us", record.longest_pause_us),
            record.outcome.clone(),
        ]
    }));
    table(&rows, &[true, false, false, false, true, true, true, true, true, false])
}

fn stat_text(mount_point: &str, stat: &Stat) -> String {
    let mut rows = vec![
        vec!["host".to_owned(), stat.host_kind.clone()],
        vec!["syscall_way".to_owned(), stat.syscall_way.clone()],
        vec!["hierarchy".to_owned(), stat.hierarchy.clone()],
        vec!["control_files".to_owned(), mount_point.to_owned()],
    ];
    let counted = [
        ("memory", kib(stat.memory)),
        ("memory_backed", kib(stat.frames_backed)),
        ("memory_backed_most", kib(stat.memory_peak)),
        ("memory_shortages", stat.shortages.to_string()),
        ("frames", kib(stat.frames)),
        ("memory_in_huge_host_pages", format!("{}K", stat.host_huge_kib)),
        ("swap", kib(stat.swap.0)),
        ("swap_used", kib(stat.swap.1)),
        ("first_touches", stat.faults.to_string()),
        ("forced_charges", stat.forced_charges.to_string()),
        ("dead_groups", stat.dead_groups.0.to_string()),
        ("dead_groups_pinned_by", kib(stat.dead_groups.1)),
        ("frames_freed", stat.frames_freed.to_string()),
        ("guest_lies", stat.guest_lies.to_string()),
    ];
    rows.extend(counted.map(|(name, value)| vec![name.to_owned(), value]));
    for (size, total, used) in &stat.huge_pages {
        rows.push(vec![format!("huge_pages_{size}"), format!("{used} of {total} in use")]);
    }
    if !stat.huge_pages.is_empty() {
        rows.push(vec!["hugepages_backing".to_owned(), stat.huge_backing.clone()]);
        rows.push(vec!["huge_faults".to_owned(), stat.huge_faults.to_string()]);
    }
    let counted = [
        ("reclaim", &stat.reclaim),
        ("swap", &stat.swap_accesses),
        ("exit", &stat.exits),
        ("call", &stat.calls),
        ("kvm", &stat.kvm),
        ("guest", &stat.guest),
    ];
    for (prefix, counts) in counted {
        let row =
            |(name, count): &(String, u64)| vec![format!("{prefix}_{name}"), count.to_string()];
        rows.extend(counts.iter().map(row));
    }
    let mut text = table(&rows, &[]);
    if let Some(failure) = &stat.swap_failure {
        text.push_str(&format!("\nswap does not take pages now, and none is lost: {failure}\n"));
    }
    if stat.unknown_syscalls.is_empty() {
        return text;
    }
    let mut rows = vec![heading(&["SYSCALL", "TIMES", "PROGRAM"])];
    rows.extend(stat.unknown_syscalls.iter().map(|(number, program, times)| {
        let number = if *number == u64::MAX { "others".to_owned() } else { number.to_string() };
        vec![number, times.to_string(), program.clone()]
    }));
    text.push_str("\nsystem calls that the guest does not have:\n");
    text.push_str(&table(&rows, &[true, true, false]));
    text
}
