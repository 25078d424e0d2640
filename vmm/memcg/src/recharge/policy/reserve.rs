//! `reserve`: policy 1 of the 2008 posting. The destination is charged for everything before the
//! first page moves, while the source keeps its charge: rolling back is easy, and for a while the
//! task uses twice its size. A big task does not get into a small group, and knows at once.

use super::{Admission, Ancestors, Attach, Policy, Reach, Release, Rule, Settling, Shortage};

pub(super) const RULE: Rule = Rule {
    policy: Policy::Reserve,
    name: "reserve",
    reach: Reach::private_anon,
    admission: Admission::Reserved,
    attach: Attach::Last,
    shortage: Shortage::RollBack,
    ancestors: Ancestors::Once,
    release: Release::AtEnd,
    settling: Settling::Now,
};
