//! What can go wrong with a command. Each message is one line: what was tried, on what, why, and
//! what to do about it.

use std::io;
use std::path::PathBuf;

use fusefs::MountError;
use vmm::control::wire::WireError;
use vmm::error::MachineError;
use vmm::jobs::SubmitError;
use vmm::runtime;

use super::compare::BadScenario;
use super::program::BadProgram;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Program(#[from] BadProgram),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("--memory {asked} is not possible: choose {least} to {most}, in whole pages")]
    Memory { asked: String, least: String, most: String },
    #[error("cannot read guest kernel {}: {why}", path.display())]
    Kernel { path: PathBuf, why: io::Error },
    #[error("cannot share {}: {why}", path.display())]
    Share { path: PathBuf, why: io::Error },
    #[error("cannot listen on {}: {why}", path.display())]
    Listen { path: PathBuf, why: io::Error },
    #[error("cannot {what}: {why}")]
    System { what: &'static str, why: io::Error },
    #[error(
        "no machine named '{name}' is running{others}: start one with `vmcg up --name {name} --detach`"
    )]
    NoMachine { name: String, others: String },
    #[error("cannot reach machine '{name}' at {}: {why}", path.display())]
    Unreachable { name: String, path: PathBuf, why: io::Error },
    #[error("-t needs a terminal, and standard input is none: leave -t out")]
    NoTerminal,
    #[error("machine '{0}' went away")]
    WentAway(String),
    #[error(
        "machine '{name}' (process {process}) has not ended after {seconds} s: kill -9 {process}"
    )]
    StillThere { name: String, process: i32, seconds: u64 },
    #[error("the guest was not ready after {0} s: its log may say why")]
    NotReady(u64),
    #[error("--env {0}: a variable needs a name")]
    Environment(String),
    #[error("cannot set the limit {limit} of group 'run': {why}")]
    Limit { limit: String, why: memcg::Error },
    #[error(transparent)]
    Scenario(#[from] BadScenario),
    #[error("the scenario's options make no machine: {0}")]
    Options(String),
    #[error("cannot compile {}: {why}", file.display())]
    Compile { file: PathBuf, why: String },
    #[error("cannot write {}: {why}", path.display())]
    Unwritable { path: PathBuf, why: io::Error },
    #[error("machine '{0}' has no control files to show: start it with --mount")]
    NotMounted(String),
    #[error(
        "cannot show the control files below /sys/fs/cgroup: {why}; \
         run as root, or in `unshare --map-root-user`"
    )]
    View { why: io::Error },
    #[error("cannot run {program}: {reason}")]
    NotRun { program: String, reason: String },
    #[error("{0}")]
    Refused(String),
    #[error("machine '{0}' gave an answer to another question: use the same vmcg on both sides")]
    Unexpected(String),
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

impl Error {
    /// Wraps a failed system call.
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |why| Self::System { what, why }
    }
}
