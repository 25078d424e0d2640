//! `precharge`: what Linux merged (v2.6.34 mm/memcontrol.c mem_cgroup_can_attach, _move_task).
//!
//! Count, charge the destination for the count, attach the task, then move. Pages that appeared
//! after the count are charged one at a time, and at the first refusal the move stops, silently.
//! Ancestors that both groups have are charged twice until the end, and can refuse.

use super::{Admission, Ancestors, Attach, Policy, Reach, Release, Rule, Settling, Shortage};

pub(super) const RULE: Rule = Rule {
    policy: Policy::Precharge,
    name: "precharge",
    reach: Reach::mask,
    admission: Admission::Reserved,
    attach: Attach::Admitted,
    shortage: Shortage::Stop,
    ancestors: Ancestors::Twice,
    release: Release::AtEnd,
    settling: Settling::Now,
};
