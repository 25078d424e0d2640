//! How charges follow a task into another group.
//!
//! Each policy is one file in `policy` and one row in [`policy::RULES`]; what they share, the driver
//! in `mover`, reads those rows. `lazy` holds what is to move later, `strays` what stayed.

mod lazy;
mod mover;
mod policy;
mod report;
mod room;
mod strays;

pub use lazy::Settled;
pub(crate) use lazy::{Debts, Key};
pub use mover::Move;
pub use policy::Policy;
pub(crate) use policy::{Ancestors, Reach, Skip};
pub use report::{MoveError, MoveReport, Progress, Scope, Skipped};
pub(crate) use strays::{StrayId, Strays};
