//! What the end-to-end tests and the measurements share: a machine that is always taken down again,
//! programs that run in it, and the control files of its groups.
//!
//! Everything goes through the real binary, the mount and the files, as a user would do it.

#![forbid(unsafe_code)]

pub mod counters;
pub mod deadline;
pub mod group;
pub mod huge;
pub mod machine;
pub mod programs;
pub mod puppet;
pub mod running;

/// Bytes in a page, for tests that compare pages with the bytes the control files show.
pub const PAGE: u64 = 4096;
