//! `vmcg compare`: one scenario, once for each set of options, each time on a fresh machine.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vmm::compare::{self, Run};

use super::error::Error;
use super::output::{print, table};
use super::size::kib;
use super::{CompareArgs, logging};

mod course;
mod player;
mod programs;
mod scale;
mod scenario;
mod watch;

pub(super) use scale::Scale;
pub(super) use scenario::BadScenario;

use player::Setup;
use scenario::Scenario;

/// Plays a scenario with every set of options; prints a table, writes a picture and the samples.
///
/// # Errors
/// When the scenario or an option is none, a machine fails, or a file cannot be written.
pub(super) fn run(args: &CompareArgs) -> Result<ExitCode, Error> {
    logging::start();
    let scenario = Scenario::read(&args.scenario, args.scale)?;
    fs::create_dir_all(&args.output)
        .map_err(|why| Error::Unwritable { path: args.output.clone(), why })?;
    let place = tempfile::tempdir().map_err(Error::system("make a temporary directory"))?;
    let near = args.scenario.parent().unwrap_or(Path::new(""));
    let programs = programs::prepare(&scenario, near, place.path(), args.scale)?;
    let groups: Vec<String> = scenario.groups.iter().map(|group| group.path.clone()).collect();
    let mut runs = Vec::new();
    let sets = cross(&scenario);
    for (number, options) in sets.iter().enumerate() {
        let label = options.iter().map(|(name, value)| format!("{name}={value}"));
        let label = label.collect::<Vec<_>>().join(" ");
        log::info!("run {} of {}: {label}", number + 1, sets.len());
        let setup = Setup { scenario: &scenario, scale: args.scale, options, programs: &programs };
        runs.push(player::play(&setup, label)?);
    }
    print(&run_table(&groups, &runs))?;
    let written = write(args, &scenario, &groups, &runs)?;
    print(&format_args!("\n{}\n{}\n", written[0].display(), written[1].display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Every combination of the scenario's options; one without any when there are none.
fn cross(scenario: &Scenario) -> Vec<Vec<(String, String)>> {
    scenario.options.iter().fold(vec![Vec::new()], |sets, (name, values)| {
        let with = |set: &Vec<_>, value: &String| {
            [set.as_slice(), &[(name.clone(), value.clone())]].concat()
        };
        sets.iter().flat_map(|set| values.iter().map(|value| with(set, value))).collect()
    })
}

/// Writes picture and samples, named after the scenario.
fn write(
    args: &CompareArgs,
    scenario: &Scenario,
    groups: &[String],
    runs: &[Run],
) -> Result<[PathBuf; 2], Error> {
    let named = |path: &Path| {
        let path = path.to_owned();
        move |why| Error::Unwritable { path, why }
    };
    let stem = args.scenario.file_stem().unwrap_or_default();
    let [picture, samples] =
        ["svg", "csv"].map(|extension| args.output.join(Path::new(stem)).with_extension(extension));
    let title = format!("{} (scale {})", scenario.title, args.scale);
    compare::draw(&picture, &title, groups, runs)
        .map_err(|why| named(&picture)(std::io::Error::other(why)))?;
    let mut out = BufWriter::new(File::create(&samples).map_err(named(&samples))?);
    compare::write_csv(&mut out, groups, runs).map_err(named(&samples))?;
    Ok([picture, samples])
}

fn run_table(groups: &[String], runs: &[Run]) -> String {
    let before = ["OPTIONS", "AT", "STEP", "RESULT"];
    let after = ["MOVED", "FAILED", "PAUSED", "LONGEST", "OVERSHOOT", "KILLS"];
    let heading = before.iter().map(|&name| name.to_owned());
    let heading = heading.chain(groups.iter().cloned());
    let mut rows = vec![heading.chain(after.iter().map(|&name| name.to_owned())).collect()];
    for run in runs {
        for (number, step) in run.steps.iter().enumerate() {
            let label = if number == 0 { run.label.clone() } else { String::new() };
            let at = format!("{:.2}s", step.time.as_secs_f64());
            let mut row = vec![label, at, step.what.clone(), step.result.clone()];
            row.extend(step.groups.iter().map(|group| kib(group.usage.get())));
            row.extend(match step.moved {
                Some([moved, failed, paused, longest]) => {
                    [kib(moved), kib(failed), format!("{paused} us"), format!("{longest} us")]
                }
                None => Default::default(),
            });
            let is_last = number + 1 == run.steps.len();
            let whole = [kib(run.overshoot.get()), run.kills.to_string()];
            row.extend(if is_last { whole } else { Default::default() });
            rows.push(row);
        }
    }
    let mut is_right = vec![false, true, false, false];
    is_right.resize(before.len() + groups.len() + after.len(), true);
    table(&rows, &is_right)
}
