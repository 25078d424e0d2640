//! First touch of a page, and the move of many.

use std::time::Instant;

use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;

use crate::table::Row;

/// MiB that are touched for the first time.
const TOUCH_MIB: &str = "64";
const SAMPLES: usize = 7;
/// Runs of which a sample takes the fastest, on each side: the host is rarely left alone.
const RUNS_PER_SAMPLE: usize = 3;
const RECHARGE_ROUNDS: u32 = 12;

/// First touch in the guest with accounting, over the same without.
///
/// The machines take turns, so that both see the same state of the host.
pub(crate) fn first_touch() -> Row {
    let machines = [&[][..], &["--no-accounting"]]
        .map(|options| Machine::up_with(&[&["--memory", "256M"], options].concat()));
    let groups = machines.each_ref().map(|machine| machine.group("A"));
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let mut fastest = [f64::INFINITY; 2];
        for _ in 0..RUNS_PER_SAMPLE {
            for side in 0..2 {
                let ns = touch_ns(&machines[side], &groups[side]);
                fastest[side] = fastest[side].min(ns);
            }
        }
        samples.push(fastest[0] / fastest[1]);
    }
    Row {
        name: "first touch of 64 MiB in the guest / the same without accounting",
        unit: "",
        goal: 1.10,
        samples,
    }
}

fn touch_ns(machine: &Machine, group: &Group) -> f64 {
    let finished = machine.run(group, "touchtime", &[TOUCH_MIB]);
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    finished.stdout.trim().parse().expect("touchtime prints nanoseconds")
}

/// Time of the write to `tasks` that moves a task with 256 MiB, for each page that moved.
pub(crate) fn recharge() -> Row {
    let machine = Machine::up_with(&["--memory", "512M"]);
    let (mut from, mut to) = (machine.group("A"), machine.group("B"));
    let mut hog = machine.start(&from, "hog", &["256M"]);
    assert_eq!(hog.line().as_deref(), Some("holding 65536 pages"));
    wait_until("the task is in its group", || from.tasks().len() == 1);
    let tid = from.tasks()[0].to_string();
    let mut samples = Vec::new();
    for _ in 0..RECHARGE_ROUNDS {
        let start = Instant::now();
        to.write("tasks", &tid).expect("there is room");
        let elapsed_ns = start.elapsed().as_secs_f64() * 1e9;
        assert!(to.pages() >= 65536);
        samples.push(elapsed_ns / f64::from(u32::try_from(to.pages()).expect("few pages")));
        (from, to) = (to, from);
    }
    Row {
        name: "recharge of a task with 256 MiB, a page, pause included",
        unit: "ns",
        goal: 20.0,
        samples,
    }
}
