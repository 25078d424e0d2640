//! `lazy`: policy 3 of the 2008 posting, the one its author preferred. The task moves at once; its
//! pages settle later, whenever the machine has time or either group is short of memory.

use super::{Admission, Ancestors, Attach, Policy, Reach, Release, Rule, Settling, Shortage};

pub(super) const RULE: Rule = Rule {
    policy: Policy::Lazy,
    name: "lazy",
    reach: Reach::private_anon,
    admission: Admission::Open,
    attach: Attach::First,
    shortage: Shortage::Stop,
    ancestors: Ancestors::Once,
    release: Release::EachStep,
    settling: Settling::Later,
};
