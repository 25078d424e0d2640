//! Reading a control file, against an equally long file of a file system that does nothing else.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use vmcg_tests::machine::Machine;

use crate::reference::Reference;
use crate::table::Row;

const READS_PER_RUN: u32 = 1000;
/// Runs of which a sample takes the fastest, on each side: the host is rarely left alone.
const RUNS_PER_SAMPLE: usize = 5;
const SAMPLES: usize = 15;

/// Open, read and close of a file over the same of the reference, which is as long.
pub(crate) fn rows() -> Vec<Row> {
    vec![
        read(
            "read of memory.usage_in_bytes / read of an empty fuser file system",
            "memory.usage_in_bytes",
            1.15,
        ),
        read("read of memory.limit_in_bytes / the same", "memory.limit_in_bytes", 1.15),
        read("read of memory.stat / the same", "memory.stat", 1.15),
    ]
}

fn read(name: &'static str, file: &str, goal: f64) -> Row {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut hog = machine.start(&group, "hog", &["16M"]);
    assert!(hog.line().is_some());
    let ours = group.dir().join(file);
    let reference = Reference::mount(&group.read(file), &[]);
    let theirs = reference.file();
    ratio(name, goal, &ours, &theirs)
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
