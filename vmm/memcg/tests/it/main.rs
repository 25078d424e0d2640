//! Tests of whole machines: moves, refusals, and random runs against a naive model.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod defects;
mod defects_wall;
mod everybody;
mod huge;
mod kmem;
mod machine;
mod model;
mod moves;
mod newcomers;
mod patterns;
mod policies;
mod reclaim;
mod reclaim_random;
mod short;
mod strays;
mod swapped;
mod swapper;
