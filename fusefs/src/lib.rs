//! The control files of vmcg: a file system in which every group of the guest is a directory, with
//! the files and the rules of cgroup v1 as of Linux 3.19 or 6.18.
//!
//! A machine implements [`Host`], hands it to [`mount()`], and keeps the [`Mounted`].
//!
//! Read it in this order: `control_file` and `files`, the table of control files; `values`, text
//! and numbers; `text` and `writing`, what files show and do; `service`, the file system without
//! FUSE; `fuse`, the messages of the kernel; `mount`.
//!
//! Locks: the table of directories, the tables of open files, one a text of an open file, the list
//! of listeners, and the machine's accounting lock. Only the text of an open file and the list of
//! listeners are held while the accounting is used; nothing is held while the guest is waited for.
//! Requests are served by several threads, and a write that may pause the guest gets one of its own,
//! so that no reader ever waits for a writer.
#![forbid(unsafe_code)]

mod agent;
mod attributes;
mod client;
mod control_file;
mod directories;
mod errno;
mod events;
mod files;
mod fuse;
mod host;
mod labels;
mod mount;
mod open_file;
mod service;
mod slab;
mod slabinfo;
mod text;
mod values;
mod writers;
mod writing;

pub use events::{Listeners, Pressure};
pub use host::{Host, MoveFailure, Recharge};
pub use mount::{MountError, MountOptions, Mounted, mount};
pub use slabinfo::SlabCache;
