//! What the file system needs from the machine. The machine monitor implements it, and so do the
//! fakes of the tests.

use memcg::{GroupId, Memcg, MoveError, Pages, Resource, Scope, Skipped, Stall, Tid};

use crate::slabinfo::SlabCache;

/// The machine, as far as the control files are concerned. Called from several threads at once.
pub trait Host: Send + Sync + 'static {
    /// Runs `f` once on the accounting, after taking back what the guest has freed so far.
    ///
    /// `f` is short and never blocks; the implementation holds its accounting lock around it and
    /// nothing else, and never waits for the guest while it holds that lock. When it has released
    /// it, it hands the crossings that the accounting noted to [`crate::Listeners::crossed`].
    fn accounting(&self, f: &mut dyn FnMut(&mut Memcg));

    /// Moves a task, or its whole process, to `dest`; returns when its charges have followed it as
    /// the policy of `dest` says. May pause the guest. When `interrupted` turns true, gives up with
    /// [`MoveFailure::Interrupted`] as soon as nothing is left half moved.
    ///
    /// # Errors
    /// The task has not moved, and no counter differs from before except failure counts.
    fn move_task(
        &self,
        id: Tid,
        dest: GroupId,
        scope: Scope,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<(), MoveFailure>;

    /// Tries to lower what `group` and its descendants use of `resource` by `wanted` pages; returns by
    /// how many it did, zero when trying again is no use. Never kills anyone. May pause the guest.
    fn reclaim(&self, group: GroupId, resource: Resource, wanted: Pages) -> Pages {
        // A machine that cannot reclaim need not say so.
        let (_, _, _) = (group, resource, wanted);
        Pages::ZERO
    }

    /// Returns how much time the tasks of `group` and below have lost waiting for memory; `None` when
    /// there is no such group.
    fn stall(&self, group: GroupId) -> Option<Stall> {
        // A machine in which nobody waits need not say so.
        let _ = group;
        Some(Stall::default())
    }

    /// Returns what the last move of a task out of `group` did.
    fn last_recharge(&self, group: GroupId) -> Option<Recharge> {
        // A machine that keeps no record need not say so.
        let _ = group;
        None
    }

    /// Returns the caches that the kernel memory of `group` comes from, without those below it.
    fn slab_caches(&self, group: GroupId) -> Vec<SlabCache> {
        // A machine that does not know its caches need not say so.
        let _ = group;
        Vec::new()
    }

    /// Hears that `group` was removed; its name is not valid any more. Called without any lock held.
    fn removed(&self, group: GroupId);
}

/// Why a task was not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveFailure {
    /// The accounting refused.
    #[error(transparent)]
    Refused(#[from] MoveError),
    /// The writer got a signal.
    #[error("interrupted by a signal")]
    Interrupted,
}

/// What a move of a task did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recharge {
    /// The task that was named.
    pub tid: Tid,
    /// Path of the group it was to go to.
    pub to: String,
    /// Policy of that group.
    pub policy: String,
    /// `moved`, or why it did not.
    pub outcome: String,
    /// Pages that moved.
    pub moved: Pages,
    /// Of these, pages that were on swap.
    pub swapped: Pages,
    /// Pages passed by.
    pub skipped: Skipped,
    /// Pages that found no room.
    pub failed: Pages,
    /// How long the guest stood still, in all, in microseconds.
    pub paused_us: u64,
    /// The longest of these pauses, in microseconds.
    pub longest_pause_us: u64,
}
