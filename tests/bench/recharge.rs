//! Moves of small and big tasks: time a page, the longest pause, and what a lazy move takes at once.

use std::time::Instant;

use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::running::Running;

use crate::table::Row;

const ROUNDS: usize = 12;

/// A task that holds memory, and two groups it moves between.
struct Mover {
    // Dropped in this order: the program before its machine.
    _hog: Running,
    groups: [Group; 2],
    tid: String,
    _machine: Machine,
}

impl Mover {
    fn start(memory: &str, size: &str) -> Self {
        let machine = Machine::up_with(&["--memory", memory]);
        let groups = ["A", "B"].map(|name| machine.group(name));
        let mut hog = machine.start(&groups[0], "hog", &[size]);
        assert!(hog.line().is_some_and(|line| line.starts_with("holding")));
        wait_until("the task is in its group", || groups[0].tasks().len() == 1);
        let tid = groups[0].tasks()[0].to_string();
        Self { _hog: hog, groups, tid, _machine: machine }
    }

    /// Moves the task by a policy into the group it is not in; returns seconds that the write took.
    fn shift(&mut self, policy: &str) -> f64 {
        self.groups.reverse();
        self.groups[0].write("memory.recharge_policy", policy).expect("a policy");
        let start = Instant::now();
        self.groups[0].write("tasks", &self.tid).expect("there is room");
        start.elapsed().as_secs_f64()
    }

    /// What `memory.recharge_last` of the group just left says.
    fn last(&self, key: &str) -> f64 {
        let text = self.groups[1].read("memory.recharge_last");
        let line = text.lines().find_map(|line| line.strip_prefix(key)).expect(key);
        line.trim().parse().expect(key)
    }
}

/// Rows for 64 MiB and for 1 GiB.
pub(crate) fn rows() -> Vec<Row> {
    let mut small = Mover::start("256M", "64M");
    let names = [
        "recharge of a task with 64 MiB, a page, pause included",
        "recharge of a task with 1 GiB, a page, pause included",
    ];
    let row = |name, unit, goal, samples| Row { name, unit, goal, samples };
    let mut rows = vec![row(names[0], "ns", 20.0, page_times(&mut small).0)];
    drop(small);
    let mut big = Mover::start("1536M", "1G");
    let (times, pauses) = page_times(&mut big);
    rows.push(row(names[1], "ns", 20.0, times));
    rows.push(row("longest pause of the guest while a task with 1 GiB moves", "ms", 1.5, pauses));
    let attach = (0..ROUNDS).map(|_| {
        let elapsed_ms = big.shift("lazy") * 1e3;
        // Home again with everything, so that the next one owes as much.
        big.shift("rollback");
        elapsed_ms
    });
    rows.push(row("lazy move of a task with 1 GiB, the write", "ms", 1.0, attach.collect()));
    rows
}

/// Nanoseconds a page and milliseconds of the longest pause, of moves by `rollback`.
fn page_times(mover: &mut Mover) -> (Vec<f64>, Vec<f64>) {
    let one = |_| {
        let elapsed_ns = mover.shift("rollback") * 1e9;
        (elapsed_ns / (mover.last("moved ") / 4096.0), mover.last("longest_pause_us ") / 1e3)
    };
    (0..ROUNDS).map(one).unzip()
}
