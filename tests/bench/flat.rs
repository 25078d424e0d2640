//! `memory.stat` costs the same however many groups there are, alive or dead.

use std::fs;

use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

use crate::reads::ratio;
use crate::table::Row;

const FEW: usize = 10;
const DEAD: usize = 300;

/// Reads of the root's `memory.stat` with many groups, over reads with ten.
pub(crate) fn rows() -> Vec<Row> {
    let few = Machine::up();
    fill(&few, 0..FEW);
    let many = Machine::up();
    fill(&many, 0..1000);
    let mut rows = vec![row("read of memory.stat with 1,000 groups / with 10", &many, &few)];
    fill(&many, 1000..30_000);
    rows.push(row("read of memory.stat with 30,000 groups / with 10", &many, &few));
    let dead = Machine::up_with(&["--memory", "256M", "--offline", "zombie", "--recharge", "none"]);
    let _puppet = leave_zombies(&dead);
    rows.push(row("read of memory.stat with 300 dead groups / with 10 groups", &dead, &few));
    rows
}

fn row(name: &'static str, many: &Machine, few: &Machine) -> Row {
    let [many, few] = [many, few].map(|machine| machine.mount().join("memory.stat"));
    ratio(name, 1.15, &many, &few)
}

fn fill(machine: &Machine, numbers: std::ops::Range<usize>) {
    for number in numbers {
        fs::create_dir(machine.mount().join(format!("group-{number}"))).expect("a new group");
    }
}

/// Leads a task through groups; each keeps a page of it, and is removed.
fn leave_zombies(machine: &Machine) -> Puppet {
    let home = machine.group("home");
    let mut puppet = Puppet::start(machine, &home);
    let tid = puppet.tid().to_string();
    for number in 0..DEAD {
        let group = machine.group(&format!("dead-{number}"));
        group.write("tasks", &tid).expect("there is room");
        puppet.tell("touch 1");
        home.write("tasks", &tid).expect("there is room");
        assert!(group.pages() > 0, "the page stays behind");
        group.remove().expect("a group without tasks");
    }
    puppet
}
