//! The control socket: how `vmcg exec`, `ps` and the others talk to a running machine.
//!
//! A client sends one [`protocol::Request`] and reads [`protocol::Reply`]s until it has what it
//! came for. Messages are lines of JSON; descriptors travel with the line they belong to. Only the
//! machine's owner can reach the socket, because the runtime directory is closed to others.

use std::path::PathBuf;
use std::sync::Arc;

use memcg::GroupId;

use crate::jobs::Jobs;
use crate::moves::MoveRecord;
use crate::oom::OomRecord;
use crate::report::{DeadRow, Stat, TaskRow};

pub mod protocol;
pub mod server;
pub mod wire;

use protocol::GroupRow;

/// The machine, as far as its clients are concerned. Called from several threads at once.
pub trait Controlled: Send + Sync + 'static {
    /// Where the control files are, if they are mounted.
    fn mount_point(&self) -> Option<PathBuf>;
    /// The jobs of the machine.
    fn jobs(&self) -> &Arc<Jobs>;
    /// Finds a group by its path from the root of the hierarchy.
    fn group(&self, path: &str) -> Option<GroupId>;
    /// Says why no program can run in a group, if so.
    fn obstacle(&self, group: GroupId) -> Option<String> {
        // A machine that lets programs run anywhere need not say so.
        let _ = group;
        None
    }
    /// Every group, parents before children.
    fn groups(&self) -> Vec<GroupRow>;
    /// Every task of the guest.
    fn tasks(&self) -> Vec<TaskRow>;
    /// Removed groups that are still there.
    fn dead(&self) -> Vec<DeadRow>;
    /// The last moves of tasks between groups, oldest first.
    fn moves(&self) -> Vec<MoveRecord>;
    /// The last times that a group was out of memory, oldest first.
    fn ooms(&self) -> Vec<OomRecord>;
    /// Broken invariants; none when all is well.
    fn check(&self) -> Vec<String>;
    /// Figures of the machine.
    fn stat(&self) -> Stat;
    /// Asks the machine to end.
    fn shutdown(&self);
}
