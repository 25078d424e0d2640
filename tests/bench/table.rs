//! Rows of figures: median, smallest and largest sample, the goal, and whether it is met.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::json;

/// A measured row. Smaller is better, always.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured, against what.
    pub(crate) name: &'static str,
    /// Unit of the samples; empty for a ratio.
    pub(crate) unit: &'static str,
    /// What the median should not exceed; infinite for a row that others are read against.
    pub(crate) goal: f64,
    /// At least one sample.
    pub(crate) samples: Vec<f64>,
}

impl Row {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    fn median(&self) -> f64 {
        median(&self.samples)
    }

    fn is_met(&self) -> bool {
        self.median() <= self.goal
    }

    fn verdict(&self) -> &'static str {
        match self.is_met() {
            _ if self.goal.is_infinite() => "",
            true => "pass",
            false => "FAIL",
        }
    }
}

/// The middle sample, or the larger of the two in the middle.
///
/// # Panics
/// When there is none.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Prints the table in Markdown.
#[expect(clippy::print_stdout, reason = "the table is what this program is run for")]
pub(crate) fn print(rows: &[Row]) {
    println!("| what | median | min | max | goal | |\n|---|---:|---:|---:|---:|---|");
    for row in rows {
        let sorted = row.sorted();
        let show = |value: f64| {
            format!("{value:.2}{}{}", if row.unit.is_empty() { "" } else { " " }, row.unit)
        };
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            row.name,
            show(row.median()),
            show(sorted[0]),
            show(sorted[sorted.len() - 1]),
            if row.goal.is_infinite() { String::new() } else { show(row.goal) },
            row.verdict()
        );
    }
}

/// The median of a row in the run before this one, if there was one that measured it.
pub(crate) fn median_before(name: &str) -> Option<f64> {
    let text = fs::read_to_string(target().join("bench.json")).ok()?;
    let table: serde_json::Value = serde_json::from_str(&text).ok()?;
    let row = table["rows"].as_array()?.iter().find(|row| row["name"] == name)?;
    row["median"].as_f64()
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

/// Writes the table to `target/bench.json`.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(rows: &[Row]) -> io::Result<()> {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let sorted = row.sorted();
            json!({
                "name": row.name, "unit": row.unit, "goal": row.goal, "pass": row.is_met(),
                "median": row.median(), "min": sorted[0], "max": sorted[sorted.len() - 1],
                "samples": row.samples,
            })
        })
        .collect();
    let target = target();
    fs::create_dir_all(&target)?;
    fs::write(target.join("bench.json"), format!("{:#}\n", json!({ "rows": rows })))
}
