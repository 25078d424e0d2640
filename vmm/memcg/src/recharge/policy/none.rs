//! `none`: a task moves alone. What it has touched stays charged to the group it came from, as in
//! Linux before 2.6.34, from 6.13 on, and in every cgroup v2.

use super::{Admission, Ancestors, Attach, Policy, Reach, Release, Rule, Settling, Shortage};

pub(super) const RULE: Rule = Rule {
    policy: Policy::None,
    name: "none",
    reach: Reach::nothing,
    admission: Admission::Open,
    attach: Attach::First,
    shortage: Shortage::Stop,
    ancestors: Ancestors::Once,
    release: Release::AtEnd,
    settling: Settling::Now,
};
