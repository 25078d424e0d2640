//! The recharge policies, as a table. Adding one is one file and one row.

mod half;
mod lazy;
mod none;
mod precharge;
mod reserve;
mod rollback;

use crate::Kind;

/// How charges follow a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// They do not.
    None,
    /// Page by page; back again when there is no room.
    #[default]
    Rollback,
    /// Room for everything first, then the pages.
    Reserve,
    /// As Linux 2.6.34 to 6.12 did it.
    Precharge,
    /// What fits moves, the rest stays.
    Half,
    /// The task moves at once, its pages later.
    Lazy,
}

/// A policy in detail. The driver decides by these and by nothing else.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) policy: Policy,
    /// The name in `memory.recharge_policy`.
    pub(crate) name: &'static str,
    /// Which pages move, before the mask of the destination is applied.
    reach: fn(mask: u64) -> Reach,
    pub(crate) admission: Admission,
    pub(crate) attach: Attach,
    pub(crate) shortage: Shortage,
    pub(crate) ancestors: Ancestors,
    pub(crate) release: Release,
    pub(crate) settling: Settling,
}

impl Rule {
    /// Which pages move when the destination's mask is `mask`.
    pub(crate) fn reach(&self, mask: u64) -> Reach {
        (self.reach)(mask)
    }
}

/// What must be known before the first page moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Nothing.
    Open,
    /// The pages are counted, and fit the limits of the destination if that were empty.
    FitsLimits,
    /// The pages are counted, and the destination is charged for all of them.
    Reserved,
}

/// When the task changes its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attach {
    /// Before its pages are looked at.
    First,
    /// Once the destination has admitted it, before the first page moves.
    Admitted,
    /// When the last page has moved. Until then new pages are charged to both sides.
    Last,
}

/// What happens when the destination has no room for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// Everything goes back and the move is refused.
    RollBack,
    /// The move ends, and counts as done.
    Stop,
    /// The page stays behind, marked, and the move goes on.
    LeaveForeign,
}

/// How often a page on its way is charged to an ancestor that both groups have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ancestors {
    /// Once: for the ancestor nothing changes.
    Once,
    /// Twice, until the source has been uncharged.
    Twice,
}

/// When the source is uncharged for pages that have moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// When the move has succeeded.
    AtEnd,
    /// After each step.
    EachStep,
}

/// When pages move at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settling {
    /// During the move.
    Now,
    /// Some time later, when someone calls [`crate::Memcg::settle`].
    Later,
}

/// Which pages move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Anonymous pages that one page-table entry maps.
    pub(crate) anon: bool,
    /// File and shmem pages, however often they are mapped.
    pub(crate) file: bool,
}

/// Why a page does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skip {
    /// An anonymous page that is mapped more than once.
    Shared,
    /// Its owner is not the group that the task comes from.
    ForeignOwner,
    /// A page of a kind that stays.
    Kind,
    /// Nothing is charged for it.
    NotBacked,
    /// It has moved already.
    There,
}

/// Every policy, in the order in which they are shown.
static RULES: [&Rule; 6] =
    [&none::RULE, &rollback::RULE, &reserve::RULE, &precharge::RULE, &half::RULE, &lazy::RULE];

/// Bit of the move mask: anonymous pages.
const MOVE_ANON: u64 = 1;
/// Bit of the move mask: file and shmem pages that the task maps.
const MOVE_FILE: u64 = 2;

impl Policy {
    /// Every policy, in the order in which they are shown.
    pub fn all() -> impl Iterator<Item = Self> {
        RULES.iter().map(|rule| rule.policy)
    }

    /// Returns the name in `memory.recharge_policy`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.rule().name
    }

    /// Finds a policy by its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        RULES.iter().find(|rule| rule.name == name).map(|rule| rule.policy)
    }

    pub(crate) fn rule(self) -> &'static Rule {
        RULES.iter().find(|rule| rule.policy == self).expect("every policy has a row")
    }
}

impl Reach {
    /// Private anonymous memory, as all proposals of 2008 have it.
    const fn private_anon(mask: u64) -> Self {
        Self { anon: mask & MOVE_ANON != 0, file: false }
    }

    /// Whatever the mask says.
    const fn mask(mask: u64) -> Self {
        Self { anon: mask & MOVE_ANON != 0, file: mask & MOVE_FILE != 0 }
    }

    /// No pages at all.
    pub(crate) const NOTHING: Self = Self { anon: false, file: false };

    /// Every page that some policy moves.
    pub(crate) const EVERYTHING: Self = Self { anon: true, file: true };

    const fn nothing(_mask: u64) -> Self {
        Self::NOTHING
    }

    pub(crate) const fn is_nothing(self) -> bool {
        !self.anon && !self.file
    }

    /// Says why a page of this kind does not move, if it does not.
    #[inline]
    pub(crate) const fn check(self, kind: Kind, mapcount: u32) -> Result<(), Skip> {
        match kind {
            Kind::Anon if self.anon && mapcount > 1 => Err(Skip::Shared),
            Kind::Anon if self.anon => Ok(()),
            Kind::File | Kind::Shmem if self.file => Ok(()),
            _ => Err(Skip::Kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Policy;

    #[test]
    fn every_policy_is_found_by_its_name() {
        assert_eq!(Policy::all().count(), 6);
        for policy in Policy::all() {
            assert_eq!(Policy::from_name(policy.name()), Some(policy));
        }
        assert_eq!(Policy::from_name("Rollback"), None);
    }
}
