//! Measures what vmcg promises about speed and memory: one table, each row against a reference or a
//! bound, taken in one run. Prints the table and writes it to `target/bench.json`.

#![forbid(unsafe_code)]

#[path = "bench/flat.rs"]
mod flat;
#[path = "bench/huge.rs"]
mod huge;
#[path = "bench/kmem.rs"]
mod kmem;
#[path = "bench/operations.rs"]
mod operations;
#[path = "bench/reads.rs"]
mod reads;
#[path = "bench/recharge.rs"]
mod recharge;
#[path = "bench/reference.rs"]
mod reference;
#[path = "bench/start.rs"]
mod start;
#[path = "bench/swapping.rs"]
mod swapping;
#[path = "bench/table.rs"]
mod table;
#[path = "bench/threshold.rs"]
mod threshold;
#[path = "bench/touch.rs"]
mod touch;
#[path = "bench/trees.rs"]
mod trees;

use std::path::Path;

use table::Row;

/// A name, and what it measures.
type Measurement = (&'static str, fn() -> Vec<Row>);

/// What is measured, in the order of the table. Names given as arguments choose.
const MEASUREMENTS: [Measurement; 11] = [
    ("touch", || vec![touch::first_touch(), touch::recharge()]),
    ("operations", operations::rows),
    ("kmem", kmem::rows),
    ("recharge", recharge::rows),
    ("huge", huge::rows),
    ("reads", reads::rows),
    ("flat", flat::rows),
    ("trees", trees::rows),
    ("threshold", || vec![threshold::latency()]),
    ("swapping", swapping::rows),
    ("start", || vec![start::run_wall(), start::memory()]),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, dir] = arguments.as_slice()
        && first == reference::ARGUMENT
    {
        return reference::serve(Path::new(dir));
    }
    assert!(Path::new("/dev/kvm").exists(), "/dev/kvm is missing: nothing can be measured here");
    let is_chosen = |name: &str| arguments.is_empty() || arguments.iter().any(|one| one == name);
    let chosen = MEASUREMENTS.into_iter().filter(|(name, _)| is_chosen(name));
    let rows: Vec<Row> = chosen.flat_map(|(_, measure)| measure()).collect();
    table::print(&rows);
    table::write(&rows).expect("target/bench.json can be written");
}
