//! Measures what vmcg promises about speed and memory: one table, each row against a reference or a
//! bound, taken in one run. Prints the table and writes it to `target/bench.json`.

#![forbid(unsafe_code)]

#[path = "bench/reads.rs"]
mod reads;
#[path = "bench/recharge.rs"]
mod recharge;
#[path = "bench/reference.rs"]
mod reference;
#[path = "bench/start.rs"]
mod start;
#[path = "bench/table.rs"]
mod table;
#[path = "bench/touch.rs"]
mod touch;

use std::path::Path;

use table::Row;

/// What is measured, in the order of the table.
const MEASUREMENTS: [fn() -> Row; 5] =
    [touch::first_touch, touch::recharge, reads::usage_read, start::run_wall, start::memory];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, dir] = arguments.as_slice()
        && first == reference::ARGUMENT
    {
        return reference::serve(Path::new(dir));
    }
    assert!(Path::new("/dev/kvm").exists(), "/dev/kvm is missing: nothing can be measured here");
    let mut rows: Vec<Row> = MEASUREMENTS.iter().map(|measure| measure()).collect();
    rows.extend(recharge::rows());
    table::print(&rows);
    table::write(&rows).expect("target/bench.json can be written");
}
