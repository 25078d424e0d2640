//! Work on directories of groups: writes, many groups, and readers side by side. Against the same on a
//! file system that does nothing else, and beside it the same on this machine's own cgroup v1 memory
//! tree, where it has one.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use vmcg_tests::machine::Machine;

use crate::reference::Reference;
use crate::table::Row;

const ROUNDS: usize = 7;
const WRITES: usize = 1000;
const GROUPS: usize = 1000;
/// Groups in a tree that is searched: as many as promised, and fewer in the kernel's, where each
/// takes kernel memory.
const SEARCHED: [usize; 2] = [10_000, 1000];
const READERS: usize = 8;
const READS: usize = 500;

/// The rows of this file.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = beside(
        [
            "write of memory.limit_in_bytes / write of an empty fuser file system",
            "write of memory.limit_in_bytes",
            "the same in this machine's own cgroup v1 tree",
        ],
        |dir, _is_kernel| write_us(dir),
    );
    rows.extend(beside(
        [
            "mkdir and rmdir of 1,000 groups / of directories of that file system",
            "mkdir and rmdir of 1,000 groups, a group",
            "the same in this machine's own tree",
        ],
        |dir, _is_kernel| make_and_remove_us(dir),
    ));
    rows.extend(beside(
        [
            "find over 10,000 groups / over directories of that file system",
            "find over 10,000 groups, a group",
            "find over 1,000 groups of this machine's own tree",
        ],
        |dir, is_kernel| search_us(dir, SEARCHED[usize::from(is_kernel)]),
    ));
    rows.extend(readers());
    rows.push(crowd());
    rows
}

/// Eight readers, beside the same in the kernel's tree.
fn readers() -> Vec<Row> {
    let machine = Machine::up();
    let ours = (0..ROUNDS).map(|_| read_us(&machine.mount(), READERS)).collect();
    let name = "read of memory.usage_in_bytes, 8 readers at once";
    let mut rows = vec![Row { name, unit: "us", goal: f64::INFINITY, samples: ours }];
    if let Some(own) = OwnTree::find() {
        let samples = (0..ROUNDS).map(|_| read_us(&own.dir, READERS)).collect();
        let name = "the same in this machine's own tree";
        rows.push(Row { name, unit: "us", goal: f64::INFINITY, samples });
    }
    rows
}

/// Eight readers over one, a read.
fn crowd() -> Row {
    let machine = Machine::up();
    Row {
        name: "a read with 8 readers at once / with one",
        unit: "",
        goal: 1.15,
        samples: (0..ROUNDS)
            .map(|_| read_us(&machine.mount(), READERS) / read_us(&machine.mount(), 1))
            .collect(),
    }
}

/// What working on directories may cost more than where nothing else is done.
const GOAL: f64 = 1.5;

/// Rows for a machine of ours over the reference, for the machine alone, and for this machine's own
/// tree if it has one.
fn beside(names: [&'static str; 3], measure: impl Fn(&Path, bool) -> f64) -> Vec<Row> {
    let machine = Machine::up();
    let group = machine.group("group");
    let files = fs::read_dir(group.dir()).expect("a group can be listed");
    let names_of = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("a group can be listed").file_name().to_string_lossy().into_owned()
    };
    let reference = Reference::mount("", &files.map(names_of).collect::<Vec<_>>());
    group.remove().expect("an empty group");
    let (mut ours, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let ours_us = measure(&machine.mount(), false);
        ratios.push(ours_us / measure(&reference.root(), false));
        ours.push(ours_us);
    }
    let row = |name, unit, goal, samples| Row { name, unit, goal, samples };
    let mut rows = vec![row(names[0], "", GOAL, ratios), row(names[1], "us", f64::INFINITY, ours)];
    if let Some(own) = OwnTree::find() {
        let samples = (0..ROUNDS).map(|_| measure(&own.dir, true)).collect();
        rows.push(row(names[2], "us", f64::INFINITY, samples));
    }
    rows
}

/// A group of our own in this machine's cgroup v1 memory tree; it is removed when dropped.
pub(crate) struct OwnTree {
    /// The group.
    pub(crate) dir: PathBuf,
}

impl OwnTree {
    /// Makes one; none where there is no such tree, or it may not be written to.
    pub(crate) fn find() -> Option<Self> {
        let dir = Path::new("/sys/fs/cgroup/memory").join(format!("bench-{}", std::process::id()));
        // Elsewhere the directory is missing, or may not be written to.
        fs::create_dir(&dir).ok()?;
        Some(Self { dir })
    }
}

impl Drop for OwnTree {
    fn drop(&mut self) {
        // Nothing depends on it: an empty group that stays is only seen.
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Makes `count` groups in `dir`, runs `f`, and removes them again.
fn with_groups<R>(dir: &Path, count: usize, f: impl FnOnce() -> R) -> R {
    let group = |number: usize| dir.join(format!("group-{number}"));
    (0..count).for_each(|number| fs::create_dir(group(number)).expect("a new group"));
    let result = f();
    (0..count).for_each(|number| fs::remove_dir(group(number)).expect("an empty group"));
    result
}

fn microseconds(start: Instant, count: usize) -> f64 {
    let count = u32::try_from(count).expect("few enough to be counted");
    start.elapsed().as_secs_f64() * 1e6 / f64::from(count)
}

fn make_and_remove_us(dir: &Path) -> f64 {
    let start = Instant::now();
    with_groups(dir, GROUPS, || ());
    microseconds(start, GROUPS)
}

fn write_us(dir: &Path) -> f64 {
    with_groups(dir, 1, || {
        let file = dir.join("group-0/memory.limit_in_bytes");
        let start = Instant::now();
        for _ in 0..WRITES {
            fs::write(&file, "64M").expect("a limit");
        }
        microseconds(start, WRITES)
    })
}

fn search_us(dir: &Path, count: usize) -> f64 {
    with_groups(dir, count, || {
        let mut find = Command::new("find");
        find.arg(dir).args(["-name", "memory.stat"]).stdout(Stdio::null());
        let start = Instant::now();
        assert!(find.status().expect("find starts").success());
        microseconds(start, count)
    })
}

fn read_us(dir: &Path, readers: usize) -> f64 {
    let file = dir.join("memory.usage_in_bytes");
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..readers {
            scope.spawn(|| {
                for _ in 0..READS {
                    let mut text = [0; 64];
                    let mut opened = File::open(&file).expect("the file is there");
                    assert!(opened.read(&mut text).expect("the file is readable") > 0);
                }
            });
        }
    });
    microseconds(start, readers * READS)
}
