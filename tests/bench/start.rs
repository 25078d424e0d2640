//! What a machine costs: the time of a whole `vmcg run`, and the memory beside the guest's own.

use std::fs;
use std::time::Instant;

use vmcg_tests::machine::Machine;
use vmcg_tests::programs::program;
use vmcg_tests::running::Running;

use crate::table::Row;

const RUNS: usize = 15;
const MEMORY_ROUNDS: usize = 3;

/// Wall time of `vmcg run` of a program that only exits.
pub(crate) fn run_wall() -> Row {
    let samples = (0..RUNS).map(|_| run_ms()).collect();
    Row { name: "vmcg run of a program that only exits", unit: "ms", goal: 150.0, samples }
}

fn run_ms() -> f64 {
    let machine = Machine::down_yet();
    let mut command = machine.command("run");
    command.arg("--mount").arg(machine.mount()).arg("--").arg(program("quick"));
    let start = Instant::now();
    let finished = Running::start(command).finish();
    let elapsed_ms = start.elapsed().as_secs_f64() * 1e3;
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    elapsed_ms
}

/// Resident memory of the VMM that is not guest memory, with 400 of 512 MiB touched.
pub(crate) fn memory() -> Row {
    let samples = (0..MEMORY_ROUNDS).map(|_| memory_mib()).collect();
    Row {
        name: "VMM memory beyond guest RAM at 512 MiB of guest",
        unit: "MiB",
        goal: 12.0,
        samples,
    }
}

fn memory_mib() -> f64 {
    let machine = Machine::up_with(&["--memory", "512M"]);
    let group = machine.group("A");
    let mut hog = machine.start(&group, "hog", &["400M"]);
    assert!(hog.line().is_some());
    let [daemon] = machine.daemons()[..] else { panic!("one daemon, not {:?}", machine.daemons()) };
    let status = fs::read_to_string(format!("/proc/{daemon}/status")).expect("the daemon runs");
    // The guest's memory is a memfd, which the kernel counts as RssShmem.
    let kib = |key: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect(key);
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect(key)
    };
    (kib("RssAnon") + kib("RssFile")) / 1024.0
}
