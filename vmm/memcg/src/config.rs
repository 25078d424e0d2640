//! The choices a machine is started with.

use crate::Policy;

/// What a [`crate::Memcg`] is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Number of guest frames; valid frame numbers are `0..frames`.
    pub frames: u64,
    /// How limits nest.
    pub hierarchy: Hierarchy,
    /// How charges follow a task out of the box; each group can choose its own.
    pub recharge: Policy,
    /// What happens to what a removed group still owns.
    pub offline: Offline,
    /// Whose file contract the settings obey.
    pub abi: Abi,
}

/// How limits nest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hierarchy {
    /// Every ancestor is charged; any ancestor's limit can refuse.
    #[default]
    Share,
    /// A child borrows its limit from its parent; a charge touches one counter only.
    Wall,
}

/// What happens to what a removed group still owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offline {
    /// The parent becomes the owner at once; nothing of the group is left.
    #[default]
    Reparent,
    /// The group must be emptied first: removal is refused while it owns anything.
    Drain,
    /// The group stays behind, out of sight, until its last page is freed.
    Zombie,
}

/// Whose file contract the settings obey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Abi {
    /// Every knob alive, as around Linux 3.19.
    #[default]
    Classic,
    /// What Linux 6.18 still does: no charge moving, no kmem limit, always hierarchical.
    Linux618,
}
