//! What an operation costs that uses kernel memory: where nobody ever set a limit, where it is counted
//! only, and where there is a limit.

use vmcg_tests::PAGE;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

use super::{LIMIT, nest, nest_folder};
use crate::operations::{emulated, instructions, ns};
use crate::table::Row;

const SAMPLES: usize = 5;
/// Pages that a call of the host may at least give leave for.
const BATCH: f64 = 32.0;

/// What is done, and the names of its rows.
struct Kind {
    name: &'static str,
    /// How many make a sample.
    count: u32,
    /// Time where it is counted, and where it is limited, over where it is not counted.
    times: [&'static str; 2],
    /// Instructions of ring 0 in each of the three groups.
    instructions: [&'static str; 3],
    /// Calls of the host for leave, where counted and where limited.
    calls: [&'static str; 2],
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "fork",
        count: 200,
        times: ["fork and exit, kmem active / inactive", "fork and exit, kmem limited / inactive"],
        instructions: [
            "emulated instructions, fork and exit, kmem inactive",
            "emulated instructions, fork and exit, kmem active",
            "emulated instructions, fork and exit, kmem limited",
        ],
        calls: [
            "calls for leave, a fork and exit, kmem active",
            "calls for leave, a fork and exit, kmem limited",
        ],
    },
    Kind {
        name: "mkdir",
        count: 5000,
        times: [
            "mkdir and rmdir, kmem active / inactive",
            "mkdir and rmdir, kmem limited / inactive",
        ],
        instructions: [
            "emulated instructions, mkdir and rmdir, kmem inactive",
            "emulated instructions, mkdir and rmdir, kmem active",
            "emulated instructions, mkdir and rmdir, kmem limited",
        ],
        calls: [
            "calls for leave, a mkdir and rmdir, kmem active",
            "calls for leave, a mkdir and rmdir, kmem limited",
        ],
    },
];

/// Every row, on one machine.
pub(super) fn rows() -> Vec<Row> {
    let machine = Machine::up();
    let groups = ["inactive", "active", "limited"].map(|name| machine.group(name));
    groups[1].write(LIMIT, "-1").expect("a limit");
    groups[2].write(LIMIT, "16M").expect("a limit");
    // A directory is an inode and a dentry: a page of each.
    let pages = [pages_of_a_child(&machine, &groups[1]), 2.0];
    let rows = |(kind, pages)| kind_rows(&machine, &groups, kind, pages);
    let mut rows: Vec<Row> = KINDS.iter().zip(pages).flat_map(rows).collect();
    let names = [
        "calls for leave, for each 32 pages of 10,000 files, kmem active",
        "calls for leave, for each 32 pages of 10,000 files, kmem limited",
    ];
    for (name, group) in names.into_iter().zip(&groups[1..]) {
        let samples = (0..3).map(|_| calls_of_files(&machine, group));
        rows.push(Row { name, unit: "", goal: 1.0, samples: samples.collect() });
    }
    rows
}

/// Calls of the host for leave over the batches that were charged at the most.
fn calls_of_files(machine: &Machine, group: &Group) -> f64 {
    const PEAK: &str = "memory.kmem.max_usage_in_bytes";
    let folder = "/dev/shm/files";
    nest_folder(machine, folder);
    group.write(PEAK, "0").expect("any write resets the watermark");
    let before = calls_so_far(machine);
    nest(machine, group, &["-m", "10000", folder]);
    let calls = calls_so_far(machine) - before;
    let pages = u32::try_from(group.number(PEAK) / PAGE).expect("files are small");
    let removed = machine.exec_file(&machine.root(), "/bin/rm".as_ref(), &["-r", folder]).finish();
    assert_eq!(removed.status, 0, "{}", removed.stderr);
    calls / (f64::from(pages) / BATCH).ceil()
}

fn kind_rows(machine: &Machine, groups: &[Group; 3], kind: &Kind, pages: f64) -> Vec<Row> {
    let count = kind.count.to_string();
    let time = |group: &Group| {
        let run = machine.run(group, "operations", &[kind.name, &count]);
        assert_eq!(run.status, 0, "{}", run.stdout);
        ns(&run.stdout)
    };
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..SAMPLES {
        let [inactive, active, limited] = groups.each_ref().map(time);
        times[0].push(active / inactive);
        times[1].push(limited / inactive);
    }
    let row = |name, goal, samples| Row { name, unit: "", goal, samples };
    let mut rows: Vec<Row> = kind
        .times
        .into_iter()
        .zip(times)
        .map(|(name, times)| row(name, f64::INFINITY, times))
        .collect();
    if emulated(machine).is_some() {
        for (name, group) in kind.instructions.into_iter().zip(groups) {
            let samples = (0..SAMPLES).map(|_| instructions(machine, group, kind.name, kind.count));
            rows.push(row(name, f64::INFINITY, samples.collect()));
        }
    }
    for (name, group) in kind.calls.into_iter().zip(&groups[1..]) {
        let samples = (0..SAMPLES).map(|_| calls(machine, group, kind));
        rows.push(row(name, pages / BATCH, samples.collect()));
    }
    rows
}

/// Calls of the host for leave that an operation takes: those of many less those of the program itself.
fn calls(machine: &Machine, group: &Group, kind: &Kind) -> f64 {
    let during = |count: u32| {
        let before = calls_so_far(machine);
        let run = machine.run(group, "operations", &[kind.name, &count.to_string()]);
        assert_eq!(run.status, 0, "{}", run.stdout);
        calls_so_far(machine) - before
    };
    let (few, many) = (during(1), during(kind.count + 1));
    (many - few) / f64::from(kind.count)
}

fn calls_so_far(machine: &Machine) -> f64 {
    let stat = machine.vmcg("stat", &[]).stdout;
    let line = stat.lines().find(|line| line.starts_with("call_kmem_charge "));
    line.and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap_or(0.0)
}

/// Pages of kernel memory that a child of a small program uses.
fn pages_of_a_child(machine: &Machine, group: &Group) -> f64 {
    let mut puppet = Puppet::start(machine, group);
    puppet.tell("touch 1");
    machine.wait_until_idle();
    let usage = || group.number("memory.kmem.usage_in_bytes");
    let before = usage();
    puppet.tell("fork");
    machine.wait_until_idle();
    let pages = (usage() - before) / PAGE;
    puppet.finish();
    f64::from(u32::try_from(pages).expect("a child is small"))
}
