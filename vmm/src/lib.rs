//! Host side of vmcg: runs the guest, charges its pages, serves the control files.
//!
//! Lock order: pause guest -> accounting lock -> nothing. The locks of [`jobs`] and [`share`] are
//! leaves: nothing else is taken, and nothing is waited for, while one of them is held.

mod boot;
mod calls;
pub mod compare;
mod contents;
pub mod control;
pub mod error;
mod evict;
mod fault;
mod frame_space;
mod gate;
mod guest;
pub mod host;
pub mod host_kind;
pub mod huge;
mod interrupt;
pub mod jobs;
mod kmem;
mod kvm_stats;
pub mod machine;
mod memory;
pub mod moves;
mod news;
pub mod oom;
mod reclaim;
pub mod report;
pub mod runtime;
pub mod settle;
pub mod share;
mod shortage;
mod slabs;
mod slot;
mod stats;
mod swap;
mod tasks;
pub mod timings;
mod uffd;
mod vcpu;
mod waiting;
mod walk;
