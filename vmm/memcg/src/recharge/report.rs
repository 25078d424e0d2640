//! What a move is asked for, and what it answers.

use super::policy::Skip;
use crate::{Pages, ScanError};

/// What a move takes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One thread. Charges move only if it stands for the address space of its process.
    Task,
    /// All threads of the process.
    Process,
}

/// Why a task did not move. Its charges are where they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// The task does not exist, or exited during the move.
    #[error("no such task")]
    NoSuchTask,
    /// The destination has no room for its pages.
    #[error("no room in the destination")]
    NoMemory,
    /// The destination was removed.
    #[error("group is gone")]
    DeadGroup,
    /// The task cannot be moved, or its page tables make no sense.
    #[error("task cannot be moved")]
    Invalid,
    /// Its process is being moved already.
    #[error("task is being moved")]
    Busy,
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call again.
    More,
    /// The task is in its new group.
    Done(MoveReport),
}

/// What a finished move did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoveReport {
    /// Pages that were found and moved. Pages faulted in during the move are not among them.
    pub moved: Pages,
    /// Of these, pages that were on swap.
    pub swapped: Pages,
    /// Pages that were not to move, by reason.
    pub skipped: Skipped,
    /// Pages that were to move and had no room.
    pub failed: Pages,
}

/// Pages that a move passed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Mapped more than once.
    pub shared: Pages,
    /// Owned by a third group.
    pub foreign_owner: Pages,
    /// Of a kind that does not move.
    pub kind: Pages,
    /// Without a charge.
    pub not_backed: Pages,
}

impl Skipped {
    /// Counts pages.
    pub(crate) fn count(&mut self, skip: Skip, more: u64) {
        let pages = match skip {
            Skip::Shared => &mut self.shared,
            Skip::ForeignOwner => &mut self.foreign_owner,
            Skip::Kind => &mut self.kind,
            Skip::NotBacked => &mut self.not_backed,
            Skip::There => return,
        };
        *pages = plus(*pages, more);
    }
}

impl std::ops::AddAssign for Skipped {
    fn add_assign(&mut self, more: Self) {
        self.shared = plus(self.shared, more.shared.get());
        self.foreign_owner = plus(self.foreign_owner, more.foreign_owner.get());
        self.kind = plus(self.kind, more.kind.get());
        self.not_backed = plus(self.not_backed, more.not_backed.get());
    }
}

/// Adds to a page count of a report.
pub(super) fn plus(pages: Pages, more: u64) -> Pages {
    Pages::new(pages.get() + more)
}

impl From<ScanError> for MoveError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::NoSuchTask(_) => Self::NoSuchTask,
            ScanError::Broken(_) => Self::Invalid,
        }
    }
}
