//! Reading a control file, against an equally long file of a file system that does nothing else.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use vmcg_tests::machine::Machine;

use crate::reference::Reference;
use crate::table::Row;

const READS_PER_ROUND: u32 = 2000;
const ROUNDS: usize = 15;

/// Open, read and close of `memory.usage_in_bytes` over the same of the reference.
pub(crate) fn usage_read() -> Row {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut hog = machine.start(&group, "hog", &["16M"]);
    assert!(hog.line().is_some());
    let ours = group.dir().join("memory.usage_in_bytes");
    let reference = Reference::mount(&group.read("memory.usage_in_bytes"));
    let theirs = reference.file();
    read_many(&ours);
    read_many(&theirs);
    let samples = (0..ROUNDS).map(|_| read_many(&ours) / read_many(&theirs)).collect();
    Row {
        name: "read of memory.usage_in_bytes / read of an empty fuser file system",
        unit: "",
        goal: 1.25,
        samples,
    }
}

fn read_many(path: &Path) -> f64 {
    let mut text = [0; 64];
    let start = Instant::now();
    for _ in 0..READS_PER_ROUND {
        let mut file = File::open(path).expect("the file is there");
        assert!(file.read(&mut text).expect("the file is readable") > 0);
    }
    start.elapsed().as_secs_f64()
}
