//! Host side of vmcg: runs the guest, charges its pages, serves the control files.
//!
//! Lock order: pause guest -> accounting lock -> nothing. The locks of [`jobs`] and [`share`] are
//! leaves: nothing else is taken, and nothing is waited for, while one of them is held.

pub mod runtime;
pub mod share;
