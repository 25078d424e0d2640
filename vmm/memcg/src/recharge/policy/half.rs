//! `half`: policy 4 of the 2008 posting. What fits moves, the rest stays charged to the source, and
//! the move succeeds. The posting feared "the users will be in chaos"; the pages left behind are
//! therefore counted as `foreign` in the source's statistics.

use super::{Admission, Ancestors, Attach, Policy, Reach, Release, Rule, Settling, Shortage};

pub(super) const RULE: Rule = Rule {
    policy: Policy::Half,
    name: "half",
    reach: Reach::private_anon,
    admission: Admission::Open,
    attach: Attach::First,
    shortage: Shortage::LeaveForeign,
    ancestors: Ancestors::Once,
    release: Release::EachStep,
    settling: Settling::Now,
};
