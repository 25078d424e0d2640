//! The main job through the real binary, the mount and the files, with programs in the guest.
//!
//! Every test brings up a machine of its own and ends with empty groups, `vmcg check` and nothing
//! left behind (`Machine::finish`). Where `NO_KVM=1` is set, tests that need /dev/kvm are listed as
//! ignored; without it they fail.

#![forbid(unsafe_code)]

#[path = "e2e/bad_input.rs"]
mod bad_input;
#[path = "e2e/charging.rs"]
mod charging;
#[path = "e2e/cli.rs"]
mod cli;
#[path = "e2e/conformance.rs"]
mod conformance;
#[path = "e2e/daily.rs"]
mod daily;
#[path = "e2e/fairness.rs"]
mod fairness;
#[path = "e2e/huge.rs"]
mod huge;
#[path = "e2e/huge_programs.rs"]
mod huge_programs;
#[path = "e2e/huge_random.rs"]
mod huge_random;
#[path = "e2e/huge_reparent.rs"]
mod huge_reparent;
#[path = "e2e/kmem.rs"]
mod kmem;
#[path = "e2e/kmem_buffers.rs"]
mod kmem_buffers;
#[path = "e2e/kmem_races.rs"]
mod kmem_races;
#[path = "e2e/limits.rs"]
mod limits;
#[path = "e2e/locked.rs"]
mod locked;
#[path = "e2e/moving.rs"]
mod moving;
#[path = "e2e/oom.rs"]
mod oom;
#[path = "e2e/oracle.rs"]
mod oracle;
#[path = "e2e/programs.rs"]
mod programs;
#[path = "e2e/random.rs"]
mod random;
#[path = "e2e/reclaim.rs"]
mod reclaim;
#[path = "e2e/shortage.rs"]
mod shortage;
#[path = "e2e/squeeze.rs"]
mod squeeze;
#[path = "e2e/terminal.rs"]
mod terminal;
