//! Kernel memory: what counting it costs, what removing a group with objects costs, how fast cached
//! names go, and how full slabs are.

#[path = "kmem/cost.rs"]
mod cost;

use std::time::Instant;

use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;

use crate::table::Row;

const LIMIT: &str = "memory.kmem.limit_in_bytes";
const SLABS: &str = "memory.kmem.slabinfo";

/// Every row.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = cost::rows();
    rows.extend(removal());
    rows.push(shrinking());
    rows.extend(utilisation());
    rows
}

/// Runs `nest` to its end, and waits until nothing of the program itself is left.
fn nest(machine: &Machine, group: &Group, args: &[&str]) {
    let done = machine.run(group, "nest", args);
    assert_eq!(done.status, 0, "{}", done.stderr);
    wait_until("the program is gone", || group.tasks().is_empty());
}

/// Removal of a group, until its parent shows what it inherited, with many objects over one with ten.
fn removal() -> Vec<Row> {
    /// Groups in a line: each removal hands everything on to the next one up.
    const DEPTH: usize = 12;
    const COUNTS: [&str; 3] = ["10", "1000", "100000"];
    let machine = Machine::up_with(&["--memory", "1G"]);
    let lines = COUNTS.map(|count| {
        let top = machine.group(&format!("top-{count}"));
        top.write(LIMIT, "-1").expect("a limit");
        let mut line = vec![top];
        for _ in 0..DEPTH {
            let child = line[line.len() - 1].child("child");
            line.push(child);
        }
        let folder = format!("/dev/shm/{count}");
        nest_folder(&machine, &folder);
        nest(&machine, &line[DEPTH], &["-m", count, &folder]);
        line
    });
    let mut times = [const { Vec::new() }; 3];
    for depth in (1..=DEPTH).rev() {
        for (line, times) in lines.iter().zip(&mut times) {
            let start = Instant::now();
            line[depth].remove().expect("a group without tasks");
            let inherited = line[depth - 1].read(SLABS);
            times.push(start.elapsed().as_secs_f64());
            assert!(inherited.contains("inode_cache"), "{inherited}");
        }
    }
    let over = |many: &[f64]| many.iter().zip(&times[0]).map(|(many, few)| many / few).collect();
    let row = |name, samples| Row { name, unit: "", goal: 1.25, samples };
    vec![
        row("rmdir of a group with 1,000 kernel objects / with 10", over(&times[1])),
        row("rmdir of a group with 100,000 kernel objects / with 10", over(&times[2])),
    ]
}

fn nest_folder(machine: &Machine, folder: &str) {
    let made = machine.exec_file(&machine.root(), "/bin/mkdir".as_ref(), &[folder]).finish();
    assert_eq!(made.status, 0, "{}", made.stderr);
}

/// What `memory.force_empty` takes for each of 100,000 names that are only cached.
fn shrinking() -> Row {
    const NAMES: &str = "100000";
    let machine = Machine::up_with(&["--memory", "1G"]);
    let group = machine.group("A");
    group.write(LIMIT, "-1").expect("a limit");
    let samples = (0..3).map(|_| {
        nest(&machine, &group, &["-s", NAMES, "/root"]);
        let (names, _, _) = dentries(&group);
        assert!(names >= 100_000.0, "{names} names are kept");
        let start = Instant::now();
        group.write("memory.force_empty", "0").expect("force_empty takes anything");
        let elapsed_ns = start.elapsed().as_secs_f64() * 1e9;
        assert!(dentries(&group).0 < 100.0, "names went");
        elapsed_ns / names
    });
    let samples = samples.collect();
    let name = "shrinking of 100,000 cached dentries, each";
    Row { name, unit: "ns", goal: f64::INFINITY, samples }
}

/// Objects in use, bytes of one, and pages of the cache of dentries.
fn dentries(group: &Group) -> (f64, f64, f64) {
    let text = group.read(SLABS);
    let line = text.lines().find(|line| line.starts_with("dentry "));
    let word = |at: usize| {
        let word = line.and_then(|line| line.split_whitespace().nth(at));
        word.and_then(|word| word.parse().ok()).unwrap_or(0.0)
    };
    (word(1), word(3), word(14))
}

/// Charged bytes for each used one, of fifty groups whose programs make and remove files at random,
/// and of the same programs in one group.
fn utilisation() -> Vec<Row> {
    const GROUPS: usize = 50;
    let machine = Machine::up_with(&["--memory", "1G"]);
    let run = |round: usize, groups: &[Group]| {
        for number in 0..GROUPS {
            let folder = format!("/dev/shm/{round}-{}-{number}", groups.len());
            nest_folder(&machine, &folder);
            let seed = (round * GROUPS + number).to_string();
            nest(&machine, &groups[number % groups.len()], &["-r", "4000", &folder, &seed]);
        }
        let (used, charged) = groups
            .iter()
            .map(slab_bytes)
            .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        charged / used
    };
    let make = |name: String| {
        let group = machine.group(&name);
        group.write(LIMIT, "-1").expect("a limit");
        group
    };
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..3 {
        let many: Vec<Group> = (0..GROUPS).map(|n| make(format!("many-{round}-{n}"))).collect();
        let one = [make(format!("one-{round}"))];
        samples[0].push(run(round, &many));
        samples[1].push(run(round, &one));
    }
    let [many, one] = samples;
    let over = many.iter().zip(&one).map(|(many, one)| many / one).collect();
    let row = |name, goal, samples| Row { name, unit: "", goal, samples };
    vec![
        row("slabs of 50 groups, random files: charged / used bytes", f64::INFINITY, many),
        row("slabs of one cache for all, the same: charged / used bytes", f64::INFINITY, one),
        row("slabs of 50 groups / of one cache for all", 1.45, over),
    ]
}

/// Used and charged bytes of all slabs of a group.
fn slab_bytes(group: &Group) -> (f64, f64) {
    let text = group.read(SLABS);
    let sums = text.lines().skip(2).map(|line| {
        let words: Vec<f64> =
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // Objects in use, objects, bytes of one, objects a slab, pages a slab.
        let [active, objects, size, per_slab, pages, ..] = words[..] else { return (0.0, 0.0) };
        (active * size, objects / per_slab * pages * 4096.0)
    });
    sums.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}
