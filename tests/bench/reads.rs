//! Reading a control file, against an equally long file of a file system that does nothing else.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use vmcg_tests::machine::Machine;

use crate::reference::Reference;
use crate::table::Row;
use crate::trees::OwnTree;

const READS_PER_RUN: u32 = 1000;
/// Runs of which a sample takes the fastest, on each side: the host is rarely left alone.
const RUNS_PER_SAMPLE: usize = 5;
const SAMPLES: usize = 15;

/// A file, and the names of its rows: ours and this machine's own, both over the reference.
const FILES: [(&str, [&str; 2]); 3] = [
    (
        "memory.usage_in_bytes",
        [
            "read of memory.usage_in_bytes / read of an empty fuser file system",
            "the same of this machine's own cgroup v1 tree",
        ],
    ),
    (
        "memory.limit_in_bytes",
        [
            "read of memory.limit_in_bytes / the same",
            "memory.limit_in_bytes of this machine's own tree",
        ],
    ),
    ("memory.stat", ["read of memory.stat / the same", "memory.stat of this machine's own tree"]),
];

/// What a read may cost more than where nothing else is done.
const GOAL: f64 = 1.15;

/// Open, read and close of files over the same of the reference, which is as long; and of the same
/// files of this machine's own tree, where it has one.
pub(crate) fn rows() -> Vec<Row> {
    FILES.into_iter().flat_map(|(file, names)| read(file, names)).collect()
}

fn read(file: &str, names: [&'static str; 2]) -> Vec<Row> {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut hog = machine.start(&group, "hog", &["16M"]);
    assert!(hog.line().is_some());
    let ours = group.dir().join(file);
    let reference = Reference::mount(&group.read(file), &[]);
    let theirs = reference.file();
    let mut rows = vec![ratio(names[0], GOAL, &ours, &theirs)];
    if let Some(own) = OwnTree::find() {
        rows.push(ratio(names[1], f64::INFINITY, &own.dir.join(file), &theirs));
    }
    rows
}

/// Reads of one file over reads of another, which take turns.
pub(crate) fn ratio(name: &'static str, goal: f64, one: &Path, other: &Path) -> Row {
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let mut fastest = [f64::INFINITY; 2];
        for _ in 0..RUNS_PER_SAMPLE {
            fastest[0] = fastest[0].min(read_many(one));
            fastest[1] = fastest[1].min(read_many(other));
        }
        samples.push(fastest[0] / fastest[1]);
    }
    Row { name, unit: "", goal, samples }
}

/// Seconds that many reads of a file take.
fn read_many(path: &Path) -> f64 {
    let mut text = [0; 4096];
    let start = Instant::now();
    for _ in 0..READS_PER_RUN {
        let mut file = File::open(path).expect("the file is there");
        assert!(file.read(&mut text).expect("the file is readable") > 0);
    }
    start.elapsed().as_secs_f64()
}
