//! A Rust program, linked statically: collections, strings, files, panics that are caught.

use std::collections::{BTreeMap, HashMap};

fn main() {
    let words = "the frame the page the frame the charge";
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in words.split(' ') {
        *counts.entry(word).or_default() += 1;
    }
    let sorted: BTreeMap<_, _> = counts.into_iter().collect();
    println!("{sorted:?}");
    let primes: Vec<u64> = (2..2000).filter(|n| (2..*n).all(|d| n % d != 0)).collect();
    println!("{} primes, the last is {:?}", primes.len(), primes.last());
    println!("arguments: {:?}", std::env::args().skip(1).collect::<Vec<_>>());
    let missing = std::fs::read_to_string("/nowhere/at/all").expect_err("no such file");
    println!("{:?}", missing.kind());
    // The message of a panic names the thread by its id, which differs.
    std::panic::set_hook(Box::new(|_| {}));
    let caught = std::panic::catch_unwind(|| {
        let empty: Vec<u8> = Vec::new();
        empty[primes.len()]
    });
    println!("panic caught: {}", caught.is_err());
    let big: Vec<u64> = (0..1_000_000).collect();
    println!("sum {}", big.iter().sum::<u64>());
    std::process::exit(17);
}
