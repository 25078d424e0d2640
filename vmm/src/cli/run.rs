//! `vmcg run`: a machine for one program.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use memcg::{GroupId, Resource};
use vmm::jobs::{JobId, JobSpec, Program, Progress};
use vmm::machine::Machine;

use super::error::Error;
use super::exec::exit_code;
use super::instance::{Instance, MountAt};
use super::size::Size;
use super::{RunArgs, logging, output, program, signals};

/// The program's group.
const GROUP: &str = "run";

/// Starts a machine, runs a program in it and takes it down.
///
/// # Errors
/// What stood in the way.
pub(super) fn run(args: &RunArgs) -> Result<ExitCode, Error> {
    logging::start();
    let program = program::open(&args.program)?;
    let shown = String::from_utf8_lossy(&program.path).into_owned();
    let name = args.name.clone().unwrap_or_else(|| format!("run-{}", std::process::id()));
    let mount_at = args.mount.clone().map_or(MountAt::Nowhere, MountAt::Directory);
    let signals = signals::hold(&signals::FORWARDED)?;
    let instance = Instance::start(&name, &args.machine, mount_at)?;
    let group = make_group(&instance.machine, args.limit.as_ref())?;
    let (id, end) = submit(&instance, program, group)?;
    let jobs = Arc::clone(&instance.jobs);
    signals.handle(move |signal| jobs.signal(id, signal))?;
    let timings = args.machine.timings.then(|| instance.timings.clone());
    let result = instance.run();
    if let Some(timings) = timings {
        output::note(&output::phases(&timings));
    }
    match end.get() {
        Some(Progress::Ended(wait_status)) => Ok(exit_code(*wait_status)),
        // The guest's failure says more than that its jobs failed with it.
        Some(Progress::Failed { reason, .. }) if result.is_ok() => {
            Err(Error::NotRun { program: shown, reason: reason.clone() })
        }
        _ => result.and(Err(Error::WentAway(name))),
    }
}

/// Hands the program to the machine, with our own streams; the machine ends when it does.
fn submit(
    instance: &Instance,
    program: Program,
    group: GroupId,
) -> Result<(JobId, Arc<OnceLock<Progress>>), Error> {
    let spec = JobSpec { program, group, stdio: own_stdio()? };
    let end = Arc::new(OnceLock::new());
    let (noted, machine) = (Arc::clone(&end), Arc::clone(&instance.machine));
    let observer = move |progress| {
        if !matches!(progress, Progress::Started(_)) {
            // The last report is made once.
            let _ = noted.set(progress);
            machine.shutdown();
        }
    };
    let id = instance.jobs.submit(spec, observer)?;
    Ok((id, end))
}

fn own_stdio() -> Result<[OwnedFd; 3], Error> {
    let copy = |file: &dyn AsFd| {
        file.as_fd().try_clone_to_owned().map_err(Error::system("copy a standard stream"))
    };
    Ok([copy(&std::io::stdin())?, copy(&std::io::stdout())?, copy(&std::io::stderr())?])
}

/// Makes the program's group.
fn make_group(machine: &Machine, limit: Option<&Size>) -> Result<GroupId, Error> {
    let mut made = Err(memcg::Error::Dead);
    machine.accounting(&mut |memcg| {
        made = memcg.create(memcg.root(), GROUP).and_then(|group| {
            if let Some(limit) = limit {
                memcg.set_limit(group, Resource::Memory, limit.pages())?;
            }
            Ok(group)
        });
    });
    let limit = || limit.map_or_else(String::new, ToString::to_string);
    made.map_err(|why| Error::Limit { limit: limit(), why })
}
