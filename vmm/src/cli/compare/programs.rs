//! The programs of a scenario: found, or compiled first, and with their sizes scaled.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::scale::Scale;
use super::scenario::Scenario;
use crate::cli::ProgramArgs;
use crate::cli::error::Error;

/// Finds or compiles every program; the result is in the order of the scenario.
///
/// # Errors
/// [`Error::Compile`]; that a program is none is found out when it starts.
pub(super) fn prepare(
    scenario: &Scenario,
    near: &Path,
    place: &Path,
    scale: Scale,
) -> Result<Vec<ProgramArgs>, Error> {
    let mut all = Vec::new();
    for (number, program) in scenario.programs.iter().enumerate() {
        let words = program.run.iter().map(|word| scale.word(word).map(OsString::from));
        let mut argv: Vec<OsString> = words.collect::<Result<_, _>>().unwrap_or_default();
        let Some(first) = argv.first_mut() else { continue };
        let path = PathBuf::from(&*first);
        if path.extension().is_some_and(|extension| extension == "c") {
            let name = format!("{number}-{}", path.file_stem().unwrap_or_default().display());
            let output = place.join(name);
            compile(&near.join(&path), &output)?;
            *first = output.into();
        } else if path.components().count() > 1 {
            *first = near.join(&path).into();
        }
        all.push(ProgramArgs { envs: Vec::new(), argv });
    }
    Ok(all)
}

fn compile(source: &Path, output: &Path) -> Result<(), Error> {
    let mut compiler = Command::new("cc");
    compiler.args(["-static", "-O2", "-D_GNU_SOURCE"]).arg(source).arg("-o").arg(output);
    let failed = |why: String| Error::Compile { file: source.to_owned(), why };
    let done = compiler.output().map_err(|why| failed(format!("no C compiler: {why}")))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let complaint = said.lines().find(|line| line.contains("error")).or(said.lines().next());
    Err(failed(complaint.unwrap_or("the compiler failed").to_owned()))
}
