//! How good the order of eviction is: hit ratios on four patterns, against exact least recent use and
//! random eviction. Nothing is timed, so that the figures are the same each time.
#![forbid(unsafe_code)]

#[path = "../tests/it/patterns.rs"]
mod patterns;
#[path = "../tests/it/swapper.rs"]
mod swapper;

/// How far below exact least recent use the hit ratio may be, in hundredths of a percent.
const BELOW_LRU_MAX: u64 = 200;

#[expect(clippy::print_stdout, reason = "the table is what this program is run for")]
fn main() {
    println!("| hits | generations | exact LRU | random | goal | |\n|---|---:|---:|---:|---|---|");
    for pattern in patterns::all() {
        let hits = patterns::compare(&pattern);
        let (goal, is_met) = match pattern.name {
            "scan+hot set" => ("above LRU", hits.generations > hits.lru),
            _ => ("LRU - 2 pp", hits.generations + BELOW_LRU_MAX >= hits.lru),
        };
        let [generations, lru, random] = [hits.generations, hits.lru, hits.random].map(percent);
        let verdict = if is_met { "pass" } else { "FAIL" };
        println!("| {} | {generations} | {lru} | {random} | {goal} | {verdict} |", pattern.name);
    }
}

/// Hundredths of a percent, as percent.
fn percent(hundredths: u64) -> String {
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}
