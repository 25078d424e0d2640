//! `vmcg up`.
//!
//! With `--detach` the machine is another process, started from this one with `--daemon` added. It
//! has a session of its own and says on its standard output when it is ready; what goes wrong
//! before that it says on our standard error, later in its log.

use std::fs::File;
use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use vmm::machine::{Machine, Readiness};
use vmm::timings::Timings;

use super::error::Error;
use super::instance::{Instance, MountAt};
use super::{UpArgs, logging, output, signals};

/// How long a guest may take until it waits for work, in seconds.
const READY_LIMIT_S: u64 = 20;

/// Starts a machine.
///
/// # Errors
/// What stood in the way.
pub(super) fn run(args: &UpArgs) -> Result<ExitCode, Error> {
    if args.daemon {
        // Fails only for the leader of a process group, which a child of `--detach` is not.
        let _ = rustix::process::setsid();
    } else if args.detach {
        return start_daemon();
    }
    logging::start();
    let signals = signals::hold(&signals::ENDING)?;
    let mount_at = args.mount.clone().map_or(MountAt::RuntimeDirectory, MountAt::Directory);
    let instance = Instance::start(&args.named.name, &args.machine, mount_at)?;
    let machine = Arc::clone(&instance.machine);
    signals.handle(move |_| machine.shutdown())?;
    let greeting = greeting(args, &instance);
    let log = args.daemon.then(|| File::create(instance.claim().files().log())).transpose();
    let log = log.map_err(Error::system("make the log"))?;
    let machine = Arc::clone(&instance.machine);
    let timings = args.machine.timings.then(|| instance.timings.clone());
    let announcing = std::thread::Builder::new()
        .name("announcer".to_owned())
        .spawn(move || announce(&machine, &greeting, timings.as_ref(), log))
        .map_err(Error::system("make a thread"))?;
    // The guest's failure is the better story when both have one.
    instance.run()?;
    announcing.join().unwrap_or(Ok(()))?;
    Ok(ExitCode::SUCCESS)
}

fn greeting(args: &UpArgs, instance: &Instance) -> String {
    let name = &args.named.name;
    let point = instance.mount_point().unwrap_or_else(|| std::path::Path::new("nowhere"));
    format!("{name}: {} of memory, control files in {}\n", args.machine.memory(), point.display())
}

/// Says that the machine is ready once it is, and lets a daemon go its own way.
fn announce(
    machine: &Machine,
    greeting: &str,
    timings: Option<&Timings>,
    log: Option<File>,
) -> Result<(), Error> {
    match machine.wait_ready(Duration::from_secs(READY_LIMIT_S)) {
        Readiness::Ready => {}
        // The one who stopped it knows; a failure is told by the machine itself.
        Readiness::Stopped => return Ok(()),
        Readiness::Late => {
            machine.shutdown();
            return Err(Error::NotReady(READY_LIMIT_S));
        }
    }
    // A machine whose starter has gone is a machine all the same.
    let _ = output::print(&greeting);
    if let Some(timings) = timings {
        // As for the greeting.
        let _ = output::print(&output::phases(timings));
    }
    let Some(log) = log else { return Ok(()) };
    let redirect = || -> std::io::Result<()> {
        let null = File::options().write(true).open("/dev/null")?;
        rustix::stdio::dup2_stderr(&log)?;
        rustix::stdio::dup2_stdout(&null)?;
        Ok(rustix::process::chdir("/")?)
    };
    redirect().map_err(Error::system("detach from the terminal"))
}

/// Starts the machine's process and waits until it is ready or has failed.
fn start_daemon() -> Result<ExitCode, Error> {
    let program = std::env::current_exe().map_err(Error::system("find vmcg itself"))?;
    let mut daemon = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--daemon")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::system("start the machine's process"))?;
    let mut greeting = String::new();
    if let Some(mut said) = daemon.stdout.take() {
        said.read_to_string(&mut greeting).map_err(Error::system("hear from the machine"))?;
    }
    if !greeting.is_empty() {
        output::print(&greeting)?;
        return Ok(ExitCode::SUCCESS);
    }
    let status = daemon.wait().map_err(Error::system("wait for the machine"))?;
    // It has said why, unless it was killed.
    if status.code().is_none() {
        output::complain(&format_args!("the machine's process was killed: {status}"));
    }
    Ok(ExitCode::from(1))
}
