//! A time that a group was out of memory, as text like the kernel's own report.

use std::fmt::Write as _;

use vmm::oom::{OomOutcome, OomRecord};

use crate::cli::output::table;
use crate::cli::size::kib;

/// Tells what the group could use, who used it, and what was done.
pub(super) fn text(record: &OomRecord) -> String {
    let OomRecord { number, seconds, group, counters, tasks, tasks_left_out, outcome } = record;
    let mut text = format!("#{number} after {seconds} s: {group} was out of memory\n");
    for counter in counters {
        let limit = counter.limit.map_or_else(|| "none".to_owned(), kib);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  {}: usage {}, limit {limit}, failcnt {}",
            counter.name,
            kib(counter.usage),
            counter.failcnt
        );
    }
    let names = ["  TID", "MEMORY", "SWAP", "PAGE_TABLES", "COMMAND"].map(str::to_owned);
    let mut rows = vec![Vec::from(names)];
    rows.extend(tasks.iter().map(|task| {
        let [memory, swap, page_tables] = task.pages.map(kib);
        vec![task.tid.to_string(), memory, swap, page_tables, task.command.clone()]
    }));
    if !tasks.is_empty() {
        text.push_str(&table(&rows, &[true, true, true, true, false]));
    }
    if *tasks_left_out > 0 {
        // As above.
        let _ = writeln!(text, "  and {tasks_left_out} smaller ones");
    }
    text.push_str(&match outcome {
        OomOutcome::Killed(tid) => {
            let row = tasks.iter().find(|task| task.tid == *tid);
            let name = row.map_or("", |task| task.command.as_str());
            format!("  killed: task {tid} {name}\n")
        }
        OomOutcome::Waits => "  nobody was killed: oom_kill_disable is set\n".to_owned(),
        OomOutcome::Nobody => "  nobody was killed: there was nobody to kill\n".to_owned(),
    });
    text
}
