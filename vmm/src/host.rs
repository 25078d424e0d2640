//! The machine as the control files and the control socket see it.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use fusefs::{MoveFailure, Recharge, SlabCache};
use memcg::{GroupId, Hierarchy, Memcg, MoveError, Pages, Resource, Scope, Skipped, Stall, Tid};

use crate::control::Controlled;
use crate::control::protocol::GroupRow;
use crate::jobs::Jobs;
use crate::machine::Machine;
use crate::moves::MoveRecord;
use crate::oom::OomRecord;
use crate::report::{DeadRow, Stat, TaskRow};

/// A machine with its jobs and the place where its control files are.
#[derive(Debug)]
pub struct Host {
    machine: Arc<Machine>,
    jobs: Arc<Jobs>,
    mount_point: OnceLock<PathBuf>,
}

impl Host {
    /// Puts the two together and lets the jobs' events reach the guest.
    #[must_use]
    pub fn new(machine: Arc<Machine>, jobs: Arc<Jobs>) -> Self {
        let guest = Arc::downgrade(&machine);
        jobs.connect(move |event| {
            if let Some(guest) = guest.upgrade() {
                guest.send(event);
            }
        });
        Self { machine, jobs, mount_point: OnceLock::new() }
    }

    /// Notes where the control files are. Only the first call counts.
    pub fn set_mount_point(&self, point: PathBuf) {
        // A machine is mounted once.
        let _ = self.mount_point.set(point);
    }

    /// Runs `f` on the accounting and returns what it returns.
    fn ask<R>(&self, mut f: impl FnMut(&mut Memcg) -> R) -> Option<R> {
        let mut answer = None;
        self.machine.accounting(&mut |memcg| answer = Some(f(memcg)));
        answer
    }
}

impl fusefs::Host for Host {
    fn accounting(&self, f: &mut dyn FnMut(&mut Memcg)) {
        self.machine.accounting(f);
    }

    fn move_task(
        &self,
        id: Tid,
        dest: GroupId,
        scope: Scope,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<(), MoveFailure> {
        match self.machine.move_task(id, dest, scope, interrupted) {
            Ok(report) => {
                log::debug!("task {id} moved: {report:?}");
                Ok(())
            }
            // The machine gives up with this when it is interrupted.
            Err(MoveError::Busy) if interrupted() => Err(MoveFailure::Interrupted),
            Err(why) => Err(why.into()),
        }
    }

    fn reclaim(&self, group: GroupId, resource: Resource, wanted: Pages) -> Pages {
        log::debug!("{wanted} pages of {resource:?} wanted of {group:?}");
        self.machine.reclaim(group, resource, wanted)
    }

    fn stall(&self, group: GroupId) -> Option<Stall> {
        let now_us = self.machine.microseconds();
        self.ask(|memcg| memcg.stall(group, now_us).ok())?
    }

    fn last_recharge(&self, group: GroupId) -> Option<Recharge> {
        let record = self.machine.last_move_out_of(group)?;
        let [shared, foreign_owner, kind, not_backed] = record.skipped.map(Pages::new);
        Some(Recharge {
            tid: Tid::new(record.tid),
            to: record.to,
            policy: record.policy,
            outcome: record.outcome,
            moved: Pages::new(record.moved),
            swapped: Pages::new(record.swapped),
            skipped: Skipped { shared, foreign_owner, kind, not_backed },
            failed: Pages::new(record.failed),
            paused_us: record.paused_us,
            longest_pause_us: record.longest_pause_us,
        })
    }

    fn slab_caches(&self, group: GroupId) -> Vec<SlabCache> {
        self.machine.slab_caches(group)
    }

    fn removed(&self, group: GroupId) {
        self.machine.kmem_removed(group);
    }
}

impl Controlled for Host {
    fn mount_point(&self) -> Option<PathBuf> {
        self.mount_point.get().cloned()
    }

    fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    fn group(&self, path: &str) -> Option<GroupId> {
        let names = || path.split('/').filter(|name| !matches!(*name, "" | "."));
        self.ask(|memcg| names().try_fold(memcg.root(), |group, name| memcg.lookup(group, name)))?
    }

    fn obstacle(&self, group: GroupId) -> Option<String> {
        self.ask(|memcg| {
            let limit = memcg.counter(group, Resource::Memory).ok()?.limit();
            let is_walled = memcg.config().hierarchy == Hierarchy::Wall;
            (is_walled && limit.is_zero()).then(|| {
                format!(
                    "cgroup '{}' may use no memory: below --hierarchy wall a group has what it \
                     borrows, so write its memory.limit_in_bytes first",
                    memcg.path(group).unwrap_or_default()
                )
            })
        })?
    }

    fn groups(&self) -> Vec<GroupRow> {
        self.ask(|memcg| {
            let mut rows = Vec::new();
            let mut waiting = vec![memcg.root()];
            while let Some(group) = waiting.pop() {
                rows.extend(describe(memcg, group));
                // The last one waiting comes first, so children are listed below their parent.
                waiting.extend(memcg.children(group).unwrap_or_default().into_iter().rev());
            }
            rows
        })
        .unwrap_or_default()
    }

    fn tasks(&self) -> Vec<TaskRow> {
        self.machine.tasks()
    }

    fn dead(&self) -> Vec<DeadRow> {
        self.machine.dead()
    }

    fn moves(&self) -> Vec<MoveRecord> {
        self.machine.moves()
    }

    fn ooms(&self) -> Vec<OomRecord> {
        self.machine.ooms()
    }

    fn check(&self) -> Vec<String> {
        self.machine.check()
    }

    fn stat(&self) -> Stat {
        self.machine.stat()
    }

    fn shutdown(&self) {
        self.machine.shutdown();
    }
}

fn describe(memcg: &Memcg, group: GroupId) -> Option<GroupRow> {
    let counter = memcg.counter(group, Resource::Memory).ok()?;
    let limit = counter.limit();
    Some(GroupRow {
        path: memcg.path(group)?,
        usage_pages: counter.usage().get(),
        limit_pages: (!limit.is_unlimited()).then_some(limit.get()),
        watermark_pages: counter.watermark().get(),
        failcnt: counter.failcnt(),
        tasks: memcg.tasks(group).map_or(0, |tasks| tasks.len() as u64),
    })
}
