//! What clients ask and what they are told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::jobs::Window;
use crate::moves::MoveRecord;
use crate::oom::OomRecord;
use crate::report::{DeadRow, Stat, TaskRow};

/// What a client wants. All but [`Request::Signal`] and [`Request::Resize`] begin a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Run a program. Comes with four descriptors: the program's file, then standard input, output
    /// and error. Answered by `Started`, then `Ended`, or by `Failed` or `Refused`.
    Exec(Exec),
    /// Send this signal to the program that the connection runs.
    Signal(u16),
    /// The terminal of the program that the connection runs has another size.
    Resize(Window),
    /// Answered by `Tasks`.
    Tasks,
    /// Answered by `Groups`.
    Groups,
    /// Answered by `Moves`.
    Moves,
    /// Answered by `Dead`.
    Dead,
    /// Answered by `Violations`.
    Check,
    /// Answered by `Figures`.
    Stat,
    /// Answered by `Ooms`.
    Ooms,
    /// End the machine. Answered by `Ending`.
    Down,
}

/// A program to run. Strings are bytes, as Linux has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Path of the group, from the root of the hierarchy.
    pub group: String,
    /// Absolute path of the program.
    pub path: Vec<u8>,
    /// Working directory.
    pub cwd: Vec<u8>,
    /// Arguments, the program's name first.
    pub argv: Vec<Vec<u8>>,
    /// Environment, each `NAME=value`.
    pub envp: Vec<Vec<u8>>,
    /// Whether the program lives on when the connection ends.
    pub is_detached: bool,
    /// Size of the terminal that the streams are and that the client has put into raw mode; `None`
    /// for plain streams.
    pub window: Option<Window>,
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The program runs as this task.
    Started {
        /// Task id in the guest.
        tid: u32,
    },
    /// The program ended; all it wrote is written.
    Ended {
        /// As wait(2) has it.
        wait_status: u32,
    },
    /// The program never ran, or the machine failed.
    Failed {
        /// A Linux error number.
        errno: i32,
        /// Why.
        reason: String,
    },
    /// The tasks.
    Tasks(Vec<TaskRow>),
    /// The groups.
    Groups(Vec<GroupRow>),
    /// The last moves of tasks between groups, oldest first.
    Moves(Vec<MoveRecord>),
    /// Removed groups that are still there.
    Dead(Vec<DeadRow>),
    /// Broken invariants.
    Violations(Vec<String>),
    /// The figures.
    Figures {
        /// Where the control files are.
        mount_point: Option<PathBuf>,
        /// What the machine counted.
        stat: Box<Stat>,
    },
    /// The last times that a group was out of memory, oldest first.
    Ooms(Vec<OomRecord>),
    /// The machine goes down.
    Ending,
    /// The request could not be carried out; one line that says why.
    Refused(String),
}

/// One group, for `vmcg top`. Amounts are in pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Path from the root of the hierarchy.
    pub path: String,
    /// Pages charged.
    pub usage_pages: u64,
    /// `None` is no limit.
    pub limit_pages: Option<u64>,
    /// Most pages ever charged.
    pub watermark_pages: u64,
    /// Charges refused.
    pub failcnt: u64,
    /// Tasks in it.
    pub tasks: u64,
}
