//! Equality with a real kernel: replays what Linux 6.18 answered, line by line.
use std::fs;

use memcg::{Abi, Hierarchy};

use crate::host::FakeHost;
use crate::replay::{Line, NOT_UTF8, Outcome, Replay, transcript};

/// Cases that keep descriptors open from line to line, or that need privileges dropped; each has a
/// test of its own in `open_files.rs` and `events.rs`.
const ELSEWHERE: &[&str] = &[
    "io.read_sees_changes",
    "io.one_offset_for_read_and_write",
    "rename.keeps_open_files",
    "removed.open_files",
    "removed.cwd",
    "perm.nobody",
    "memory.events",
    "memory.event_on_removal",
];

/// Where this file system cannot, or does not want to, do as the kernel does: the case, a part of
/// the line, and why.
const DEVIATIONS: &[(&str, &str, &str)] = &[
    ("tasks.self", "", "0 is the writer, and the writer is not a task of the guest"),
    ("memory.children_cost_memory", "", "a group's own bookkeeping is not in the guest's memory"),
    ("vfs.misc_calls", "mmap shared", "mapping a file is unsafe code; FUSE answers ENODEV"),
    ("vfs.seek", "4611686018427387904", "FUSE lets a reader seek anywhere"),
    ("mkdir.names", NOT_UTF8, "names are UTF-8 here; this one is text by now"),
];

fn deviation(line: &Line) -> Option<&'static str> {
    let all = format!("{} {} {}", line.op, line.path, line.arg);
    let known = DEVIATIONS.iter().find(|(case, part, _)| line.case == *case && all.contains(part));
    known.map(|(_, _, reason)| *reason)
}

/// Replays one transcript; returns what came out differently.
fn differences(
    transcript: &[Line],
    base: &str,
    limit: &'static str,
    foreign: &[&str],
) -> Vec<String> {
    let mut differences = Vec::new();
    for case in transcript.chunk_by(|a, b| a.case == b.case) {
        if ELSEWHERE.contains(&case[0].case.as_str()) {
            continue;
        }
        fs::create_dir(base).unwrap();
        let mut replay = Replay { base: base.to_owned(), limit, step: 0 };
        for line in case.iter().filter(|line| deviation(line).is_none()) {
            let mut outcome = replay.perform(line);
            keep_own(&mut outcome, foreign);
            let mut expected = line.expected.clone();
            keep_own(&mut expected, foreign);
            if outcome != expected {
                let Line { case, op, path, arg, .. } = line;
                differences.push(format!(
                    "{case}: {op} {:.60} {:.60}\n  kernel {expected:.300?}\n  here   \
                     {outcome:.300?}",
                    path,
                    arg.to_string()
                ));
            }
        }
        replay.remove_below();
        fs::remove_dir(base).unwrap();
    }
    differences
}

/// Both controllers are on one mount here: each transcript is compared with its own files.
fn keep_own(outcome: &mut Outcome, foreign: &[&str]) {
    let is_foreign = |name: &str| foreign.iter().any(|foreign| name.starts_with(foreign));
    if let Some(names) = outcome.out.as_array_mut() {
        names.retain(|name| !name.as_str().is_some_and(is_foreign));
    }
}

/// Files that no memory hierarchy has, and the name we cannot have.
const FOREIGN_TO_MEMORY: [&str; 2] = ["hugetlb.", NOT_UTF8];
/// The same for hugetlb.
const FOREIGN_TO_HUGETLB: [&str; 3] = ["memory.", "cgroup.event_control", NOT_UTF8];

// One test for both transcripts: they set the umask, which belongs to the process.
#[test]
fn every_file_answers_as_linux_6_18_does() {
    let mount = FakeHost::new(Abi::Linux618, Hierarchy::Share).mount();
    let base = mount.at("case").to_str().unwrap().to_owned();
    let memory = transcript(include_str!("../golden/linux-6.18-memory.jsonl"));
    let hugetlb = transcript(include_str!("../golden/linux-6.18-hugetlb.jsonl"));
    let mut found = differences(&memory, &base, "memory.limit_in_bytes", &FOREIGN_TO_MEMORY);
    let limit = "hugetlb.2MB.limit_in_bytes";
    found.extend(differences(&hugetlb, &base, limit, &FOREIGN_TO_HUGETLB));
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
}
