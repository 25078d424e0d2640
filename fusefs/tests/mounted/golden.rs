//! Equality with a real kernel: replays what Linux 6.18 answered, line by line.
use std::fs;
use std::os::unix::fs::chown;

use memcg::{Abi, Hierarchy};
use rustix::thread::{Gid, Uid, set_thread_res_gid, set_thread_res_uid};
use serde_json::Value;

use crate::host::FakeHost;
use crate::replay::{Line, NOT_UTF8, Outcome, Replay, transcript};

/// Cases that keep descriptors open from line to line; each has a test of its own in `open_files.rs`
/// and `events.rs`.
const ELSEWHERE: &[&str] = &[
    "io.read_sees_changes",
    "io.one_offset_for_read_and_write",
    "rename.keeps_open_files",
    "removed.open_files",
    "removed.cwd",
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

/// A line of a transcript that came out differently.
struct Difference {
    /// The case, and what was done.
    what: String,
    /// With what.
    arg: String,
    /// What the kernel answered, and what came here.
    contrast: String,
}

/// Replays one transcript; returns what came out differently.
fn differences(
    transcript: &[Line],
    base: &str,
    limit: &'static str,
    foreign: &[&str],
) -> Vec<Difference> {
    let mut differences = Vec::new();
    for case in transcript.chunk_by(|a, b| a.case == b.case) {
        if ELSEWHERE.contains(&case[0].case.as_str()) {
            continue;
        }
        fs::create_dir(base).unwrap();
        let mut replay = Replay { base: base.to_owned(), limit, step: 0 };
        for line in case.iter().filter(|line| deviation(line).is_none()) {
            let mut outcome = if line.case == "perm.nobody" {
                without_privilege(&mut replay, line)
            } else {
                replay.perform(line)
            };
            keep_own(&mut outcome, foreign);
            let mut expected = line.expected.clone();
            keep_own(&mut expected, foreign);
            if outcome != expected {
                let Line { case, op, path, arg, .. } = line;
                let arg = if arg.is_null() { String::new() } else { format!("{arg}") };
                let what = format!("{case}: {op} {path:.60}");
                let contrast = contrast(&expected, &outcome);
                differences.push(Difference { what, arg: format!("{arg:.40}"), contrast });
            }
        }
        replay.remove_below();
        fs::remove_dir(base).unwrap();
    }
    differences
}

/// Performs a line of the case that makes a directory, gives it and two of its files away, and does all
/// else as their new owner.
fn without_privilege(replay: &mut Replay, line: &Line) -> Outcome {
    const NOBODY: u32 = 65_534;
    if line.op == "mkdir" && line.path == "mine" {
        let outcome = replay.perform(line);
        for name in ["mine".to_owned(), "mine/tasks".to_owned(), format!("mine/{}", replay.limit)] {
            chown(replay.at(&name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        return outcome;
    }
    // System calls change the identity of a thread, not of the process.
    let as_nobody = || {
        set_thread_res_gid(None, Gid::from_raw(NOBODY), None).unwrap();
        set_thread_res_uid(None, Uid::from_raw(NOBODY), None).unwrap();
        replay.perform(line)
    };
    std::thread::scope(|scope| scope.spawn(as_nobody).join()).unwrap()
}

/// Says what one outcome has and the other has not.
fn contrast(kernel: &Outcome, here: &Outcome) -> String {
    let (kernel, here) = (items(kernel), items(here));
    let only_in = |one: &[String], other: &[String]| {
        let own = one.iter().filter(|item| !other.contains(item));
        own.cloned().collect::<Vec<_>>().join(", ")
    };
    let [theirs, ours] = [only_in(&kernel, &here), only_in(&here, &kernel)];
    if theirs.is_empty() && ours.is_empty() {
        return format!("{} -> {}", kernel.join(", "), here.join(", "));
    }
    format!("{theirs} -> {ours}")
}

/// Takes an outcome apart.
fn items(outcome: &Outcome) -> Vec<String> {
    let mut items: Vec<String> = outcome.errno.iter().cloned().collect();
    match &outcome.out {
        Value::Array(all) => items.extend(all.iter().map(Value::to_string)),
        Value::Object(all) => {
            for (key, value) in all {
                let lines = value.as_str().map(str::lines).into_iter().flatten();
                items.extend(lines.map(|line| format!("{key} {line}")));
                items.extend((!value.is_string()).then(|| format!("{key} {value}")));
            }
        }
        Value::String(text) => items.extend(text.lines().map(str::to_owned)),
        Value::Null => {}
        other => items.push(other.to_string()),
    }
    items
}

/// Lists differences, what differs in the same way on one line.
fn listed(differences: &[Difference]) -> String {
    let is_alike =
        |a: &Difference, b: &Difference| (&a.what, &a.contrast) == (&b.what, &b.contrast);
    let mut text = String::new();
    for alike in differences.chunk_by(is_alike) {
        let args: Vec<&str> = alike.iter().map(|one| one.arg.as_str()).collect();
        let Difference { what, contrast, .. } = &alike[0];
        text += &format!("{what} {}: {contrast}\n", args.join(" "));
    }
    text
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

/// Replays both transcripts on a mount of this sort; returns what came out differently.
fn replayed(abi: Abi) -> String {
    let mount = FakeHost::new(abi, Hierarchy::Share).mount();
    let base = mount.at("case").to_str().unwrap().to_owned();
    let memory = transcript(include_str!("../golden/linux-6.18-memory.jsonl"));
    let hugetlb = transcript(include_str!("../golden/linux-6.18-hugetlb.jsonl"));
    let mut found = differences(&memory, &base, "memory.limit_in_bytes", &FOREIGN_TO_MEMORY);
    let limit = "hugetlb.2MB.limit_in_bytes";
    found.extend(differences(&hugetlb, &base, limit, &FOREIGN_TO_HUGETLB));
    listed(&found)
}

// One test for all transcripts: they set the umask, which belongs to the process.
#[test]
fn every_file_answers_as_linux_6_18_does_and_in_classic_as_was_reviewed() {
    let found = replayed(Abi::Linux618);
    assert_eq!(found, "", "no difference is left");
    let found = replayed(Abi::Classic);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(CLASSIC, &found).unwrap();
    }
    let reviewed = fs::read_to_string(CLASSIC).unwrap();
    let is_new = |line: &&str| !reviewed.lines().any(|known| known == *line);
    let new: Vec<&str> = found.lines().filter(is_new).collect();
    assert_eq!(found, reviewed, "UPDATE_GOLDEN=1 writes {CLASSIC}; new in it: {new:#?}");
}

/// What differs in `classic` from the transcripts of Linux 6.18, for a reader to check. Reasons:
/// charges move (until 6.12), 1 from the start so that a policy acts; kernel memory is limited (until
/// 5.16), not after the first child (until 4.4), and slabinfo shows its caches (until 5.8);
/// swappiness ends at 100 (until 5.7); `memory.stat` has the lines of 3.19, then those of vmcg; older
/// modes of `cgroup.event_control` and `memory.pressure_level`; the files of the seeds.
const CLASSIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/classic.diff");
