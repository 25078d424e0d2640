//! First touch of huge pages.

use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;

use crate::table::Row;

/// MiB that are touched for the first time: 32 huge pages.
const TOUCH_MIB: &str = "64";
const HUGE_PAGES: f64 = 32.0;
const SAMPLES: usize = 7;

/// First touch of huge pages over that of as much memory in small ones, and what it takes on the host.
pub(crate) fn rows() -> Vec<Row> {
    let machine = Machine::up_with(&["--memory", "512M", "--hugepages", "32"]);
    let group = machine.group("A");
    let (mut ratios, mut faults) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let small_ns = touch_ns(&machine, &group, &[TOUCH_MIB]);
        let before = figure(&machine, "huge_faults");
        ratios.push(touch_ns(&machine, &group, &[TOUCH_MIB, "huge"]) / small_ns);
        faults.push((figure(&machine, "huge_faults") - before) / HUGE_PAGES);
    }
    vec![
        Row {
            name: "first touch of 64 MiB in huge pages / the same in small ones",
            unit: "",
            goal: 0.25,
            samples: ratios,
        },
        Row {
            name: "faults and calls on the host, a huge page",
            unit: "",
            goal: 1.0,
            samples: faults,
        },
    ]
}

fn touch_ns(machine: &Machine, group: &Group, words: &[&str]) -> f64 {
    let finished = machine.run(group, "touchtime", words);
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    finished.stdout.trim().parse().expect("touchtime prints nanoseconds")
}

/// A figure of `vmcg stat`.
fn figure(machine: &Machine, name: &str) -> f64 {
    let stat = machine.vmcg("stat", &[]).stdout;
    let line = stat.lines().find(|line| line.starts_with(name));
    let word = line.and_then(|line| line.split_whitespace().last()).expect("stat has the figure");
    word.parse().expect("a figure is a number")
}
