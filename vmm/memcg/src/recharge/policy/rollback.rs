//! `rollback`: the posting of June 2008, repaired.
//!
//! Pages move one by one; when one does not fit, all go back and the task stays where it was. The
//! posting uncharged the source before it charged the destination, so that a page could end up
//! charged nowhere; here the source keeps its charge until the last page has moved. More pages than
//! the destination could ever hold are refused before anything is reclaimed.

use super::{Admission, Ancestors, Attach, Policy, Reach, Release, Rule, Settling, Shortage};

pub(super) const RULE: Rule = Rule {
    policy: Policy::Rollback,
    name: "rollback",
    reach: Reach::private_anon,
    admission: Admission::FitsLimits,
    attach: Attach::Last,
    shortage: Shortage::RollBack,
    ancestors: Ancestors::Once,
    release: Release::AtEnd,
    settling: Settling::Now,
};
