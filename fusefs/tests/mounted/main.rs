//! The control files of a machine without a guest, through real mounts.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod control_files;
mod events;
mod golden;
mod host;
mod mounting;
mod open_files;
mod operations;
mod replay;
mod waiting;
