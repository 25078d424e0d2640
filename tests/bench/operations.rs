//! What programs do most: calls, faults, forks, pipes, threads, reads, and computing; in the guest and
//! natively, the same program on both sides. Where ring 0 is emulated, also its instructions.

use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::programs::run_natively;

use crate::table::Row;

const SAMPLES: usize = 5;

/// A kind of operation of the program `operations`.
struct Kind {
    name: &'static str,
    row: &'static str,
    /// How many make a sample.
    count: u32,
    goal: f64,
}

const KINDS: [Kind; 7] = [
    Kind { name: "null", row: "null system call, guest / native", count: 20_000, goal: NONE },
    Kind { name: "fork", row: "fork, exit and wait, guest / native", count: 100, goal: NONE },
    Kind { name: "exec", row: "fork and exec, static, guest / native", count: 30, goal: NONE },
    Kind { name: "pipe", row: "pipe round trip, guest / native", count: 2000, goal: NONE },
    Kind { name: "thread", row: "thread create and join, guest / native", count: 200, goal: NONE },
    Kind {
        name: "read",
        row: "read of 16 MiB of page cache, guest / native",
        count: 16,
        goal: NONE,
    },
    Kind {
        name: "compute",
        row: "a second of computing, guest / native",
        count: 500_000_000,
        goal: 1.02,
    },
];

/// The row is there to be read, not to be met.
const NONE: f64 = f64::INFINITY;

/// Operations whose instructions in ring 0 are counted, and how many there may be.
const EMULATED: [(&str, &str, u32, f64); 3] = [
    ("null", "emulated instructions, null system call", 20_000, 60.0),
    ("fault", "emulated instructions, page fault", 500, 250.0),
    ("fork", "emulated instructions, fork of 60 pages, exit and wait", 100, 12_000.0),
];

/// Every row, on one machine.
pub(crate) fn rows() -> Vec<Row> {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut rows: Vec<Row> = KINDS.iter().map(|kind| ratio(&machine, &group, kind)).collect();
    if emulated(&machine).is_some() {
        rows.extend(EMULATED.iter().map(|&(name, row, count, goal)| {
            let samples = (0..SAMPLES).map(|_| instructions(&machine, &group, name, count));
            Row { name: row, unit: "", goal, samples: samples.collect() }
        }));
    }
    rows
}

fn ratio(machine: &Machine, group: &Group, kind: &Kind) -> Row {
    let count = kind.count.to_string();
    let samples = (0..SAMPLES).map(|_| {
        let native = run_natively("operations", &[kind.name, &count], "");
        let guest = machine.run(group, "operations", &[kind.name, &count]);
        ns(&guest.stdout) / ns(&native.stdout)
    });
    Row { name: kind.row, unit: "", goal: kind.goal, samples: samples.collect() }
}

pub(crate) fn ns(stdout: &str) -> f64 {
    stdout.trim().parse().expect("operations prints nanoseconds")
}

/// Instructions of ring 0 that an operation takes: those of many less those of the program itself.
pub(crate) fn instructions(machine: &Machine, group: &Group, name: &str, count: u32) -> f64 {
    let during = |count: u32| {
        let before = emulated(machine).unwrap_or(0.0);
        let run = machine.run(group, "operations", &[name, &count.to_string()]);
        assert_eq!(run.status, 0, "{}", run.stdout);
        emulated(machine).unwrap_or(0.0) - before
    };
    let (few, many) = (during(1), during(count + 1));
    (many - few) / f64::from(count)
}

/// KVM's count of instructions it has emulated, where ring 0 is emulated.
pub(crate) fn emulated(machine: &Machine) -> Option<f64> {
    let stat = machine.vmcg("stat", &[]).stdout;
    let line =
        stat.lines().find(|line| line.contains("insn_emulation") && !line.contains("fail"))?;
    let count: f64 = line.split_whitespace().last()?.parse().ok()?;
    (count > 0.0).then_some(count)
}
