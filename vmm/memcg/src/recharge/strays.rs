//! Strays: pages that a task which moved by the policy `half` had to leave behind.
//!
//! The frames say so themselves, with a flag that their owner's gauges count. What is kept here is
//! the other end: which group uses them.

use std::collections::BTreeMap;

use crate::GroupId;

/// How many pages moves left behind, by who uses them and who is charged for them.
#[derive(Debug, Default)]
pub(crate) struct Strays(BTreeMap<(GroupId, GroupId), u64>);

impl Strays {
    /// Notes that a move to `user` left pages charged to `from`.
    pub(crate) fn add(&mut self, user: GroupId, from: GroupId, pages: u64) {
        *self.0.entry((user, from)).or_default() += pages;
    }

    /// Who is charged for pages that `user` uses, and for how many at most.
    pub(crate) fn of(&self, user: GroupId) -> impl Iterator<Item = (GroupId, u64)> {
        let all = self.0.range((user, GroupId::default())..);
        all.take_while(move |(key, _)| key.0 == user).map(|(key, pages)| (key.1, *pages))
    }

    /// Forgets a group that is being removed.
    pub(crate) fn forget_group(&mut self, group: GroupId) {
        self.0.retain(|key, _| key.0 != group && key.1 != group);
    }
}
