//! Writing to the terminal, without the panics of `println`.

use std::fmt;
use std::io::{Write, stderr, stdout};
use std::time::Duration;

use vmm::timings::Timings;

use super::error::Error;

/// Prints text on standard output.
///
/// # Errors
/// [`Error::Output`], for example when nobody reads it any more.
pub(super) fn print(text: &dyn fmt::Display) -> Result<(), Error> {
    let mut out = stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(Error::Output)
}

/// Prints an error on standard error, in one line.
pub(super) fn complain(error: &dyn fmt::Display) {
    let line = error.to_string().replace('\n', " ");
    // Nobody listens: then there is nobody to tell that either.
    let _ = writeln!(stderr(), "vmcg: {line}");
}

/// Prints text on standard error, where it is not mixed with a program's output.
pub(super) fn note(text: &dyn fmt::Display) {
    // As for `complain`.
    let _ = write!(stderr(), "{text}");
}

/// The table of phases for `--timings`.
pub(super) fn phases(timings: &Timings) -> String {
    let milliseconds = |took: Duration| format!("{:.2}", took.as_secs_f64() * 1e3);
    let phases = timings.phases();
    let mut rows = vec![vec!["PHASE".to_owned(), "MS".to_owned()]];
    rows.extend(phases.iter().map(|(name, took)| vec![(*name).to_owned(), milliseconds(*took)]));
    let whole = phases.iter().map(|(_, took)| *took).sum();
    rows.push(vec!["all".to_owned(), milliseconds(whole)]);
    table(&rows, &[false, true])
}

/// Lines up the columns of a table; the first row is the heading. Columns of numbers are to be
/// given as such in `is_right`.
pub(super) fn table(rows: &[Vec<String>], is_right: &[bool]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if is_right.get(column) == Some(&true) {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["ID".into(), "NAME".into()], vec!["7".into(), "a".into()]];
        assert_eq!(table(&rows, &[true, false]), "ID  NAME\n 7  a\n");
        assert_eq!(table(&[], &[]), "");
    }
}
