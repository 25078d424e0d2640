//! How limits nest and how charges follow a task: both hierarchies and all six policies, through the
//! real binary, the mount and the files, with programs in the guest.
//!
//! Each test ends with empty groups and `vmcg check`, as those of `e2e`.

#![forbid(unsafe_code)]

#[path = "policies/bad_input.rs"]
mod bad_input;
#[path = "policies/compare.rs"]
mod compare;
#[path = "policies/lazy.rs"]
mod lazy;
#[path = "policies/nesting.rs"]
mod nesting;
#[path = "policies/recharge.rs"]
mod recharge;
#[path = "policies/swapped.rs"]
mod swapped;
#[path = "policies/wall.rs"]
mod wall;
