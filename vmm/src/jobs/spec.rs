//! What a job is to its two sides: what the client asks for, what the guest fetches, what both may be told.

use std::fs::File;
use std::os::fd::OwnedFd;

use memcg::{GroupId, Tid};
use serde::{Deserialize, Serialize};
use vmcg_abi::layout::CALL_BUFFER_LEN;

/// Names a job; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u32);

impl JobId {
    /// Names the job with this id.
    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The id as a plain number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// What the guest needs to run a program.
#[derive(Debug)]
pub struct Program {
    /// The program's file, open for reading.
    pub file: File,
    /// Its absolute path.
    pub path: Vec<u8>,
    /// The working directory.
    pub cwd: Vec<u8>,
    /// Arguments, the program's name first.
    pub argv: Vec<Vec<u8>>,
    /// Environment, each `NAME=value`.
    pub envp: Vec<Vec<u8>>,
}

/// A job to be.
#[derive(Debug)]
pub struct JobSpec {
    /// What to run.
    pub program: Program,
    /// The group its first task starts in.
    pub group: GroupId,
    /// Standard input, output and error.
    pub stdio: [OwnedFd; 3],
}

/// Size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A job as the guest fetches it.
#[derive(Debug)]
pub struct JobDescriptor {
    /// Its id.
    pub id: JobId,
    /// The program's file, for the share's table of handles.
    pub program: File,
    /// Absolute path of the program.
    pub path: Vec<u8>,
    /// The working directory.
    pub cwd: Vec<u8>,
    /// Arguments, the program's name first.
    pub argv: Vec<Vec<u8>>,
    /// Environment.
    pub envp: Vec<Vec<u8>>,
}

/// What becomes of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The program runs as this task.
    Started(Tid),
    /// It ended with this wait status, and all it wrote is with the client. The last report.
    Ended(u32),
    /// It never ran, or the machine failed. The last report.
    Failed {
        /// A Linux error number.
        errno: i32,
        /// Why, in words.
        reason: String,
    },
}

/// Why a stream did not take or give bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Not now; a `Stream` event says when to try again.
    #[error("the stream is not ready")]
    WouldBlock,
    /// Nobody is at the other end.
    #[error("the stream is closed")]
    Closed,
    /// There is no such job or stream.
    #[error("no such job or stream")]
    NoSuchJob,
}

/// Why a job was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Arguments and environment do not fit the call buffer.
    #[error(
        "arguments and environment take {bytes} bytes and the guest takes {CALL_BUFFER_LEN}: pass fewer"
    )]
    TooLong {
        /// What they take.
        bytes: usize,
    },
    /// There are too many jobs, or the machine is going down.
    #[error("the machine takes no more jobs ({0} run): wait for some to end")]
    TooMany(usize),
    /// A string holds a NUL, or there is no argument at all.
    #[error(
        "a path, an argument or an environment entry holds a NUL byte, or there is no argument"
    )]
    BadString,
    /// The host has no thread or descriptor left.
    #[error("cannot make the job's thread: {0}")]
    System(#[from] std::io::Error),
}
