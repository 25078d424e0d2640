//! Why something was refused. Whatever returns one of these has changed nothing but failure counts.

use crate::{Gfn, GroupId, Pages, Resource};

/// A refused operation on a group or a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The group has tasks, children or a move in progress, or uses more than the new limit.
    #[error("group is busy")]
    Busy,
    /// The root group does not have this setting, or cannot be removed or renamed.
    #[error("not possible on the root group")]
    Root,
    /// The value is out of range, or in conflict with another setting.
    #[error("invalid value")]
    Invalid,
    /// The parent has not enough room to lend.
    #[error("parent has no room for {0}")]
    NoMemory(Pages),
    /// The parent already has a child of this name, or the task id is taken.
    #[error("name is taken")]
    Exists,
    /// No such task.
    #[error("no such task")]
    NotFound,
    /// The group was removed.
    #[error("group is gone")]
    Dead,
    /// There are as many groups as there can be.
    #[error("too many groups")]
    NoSpace,
    /// The group still owns pages, and removed groups are to be drained first.
    #[error("group still owns {0}")]
    Charged(Pages),
}

/// Why a frame was not charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChargeError {
    /// A limit stands in the way: reclaim from `group`, then try again.
    #[error("{resource:?} limit of {group:?} is reached")]
    Refused {
        /// The group whose limit refused.
        group: GroupId,
        /// The counter that refused. Reclaiming to swap does not help against `Memsw`.
        resource: Resource,
    },
    /// The frame has an owner already. Nothing changed.
    #[error("{0} is already charged")]
    AlreadyCharged(Gfn),
    /// The frame is outside guest memory.
    #[error("{0} is outside guest memory")]
    NoSuchFrame(Gfn),
    /// The group that was to pay was removed.
    #[error("group is gone")]
    Dead,
}
