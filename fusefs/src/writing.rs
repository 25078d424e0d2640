//! What happens when somebody writes into a control file.

use std::collections::BTreeSet;

use fuser::Errno;
use memcg::{Error, GroupId, Memcg, Pages, Policy, Resource, Scope, Tid};

use crate::client::Client;
use crate::control_file::{ControlFile, Field, Write};
use crate::errno::{self, Result};
use crate::host::MoveFailure;
use crate::service::Service;
use crate::values::{self, WRITE_MAX};

/// Rounds of reclaim in a row that bring a limit no nearer, after which it is refused although each of
/// them freed something.
const VAIN_ROUNDS_MAX: u32 = 100;

/// One write, on its way to a handler.
pub(crate) struct Writing<'a> {
    /// The file system.
    pub(crate) service: &'a Service,
    /// Who writes.
    pub(crate) client: Client,
    /// The group whose file is written.
    pub(crate) group: GroupId,
    /// What is written, up to the first NUL.
    pub(crate) text: &'a str,
}

/// Writes `data` into a file of a group.
///
/// # Errors
/// E2BIG for more than a page, EINVAL where there is no handler, or what the handler says.
pub(crate) fn write(
    service: &Service,
    client: Client,
    (group, file): (GroupId, &ControlFile),
    data: &[u8],
) -> Result<()> {
    let writing = Writing::new(service, client, group, data)?;
    let text = writing.text;
    match file.write {
        Write::Refused => Err(Errno::EINVAL),
        Write::Limit(resource) => writing.set_limit(resource),
        Write::Size(set) => {
            let size = values::parse_size(text).map_err(errno::of_parse)?;
            writing.set(|memcg| set(memcg, group, size))
        }
        Write::Number(set) => {
            let number = values::parse_number(text).map_err(errno::of_parse)?;
            writing.set(|memcg| set(memcg, group, number))
        }
        Write::Reset(resource, field) => writing.set(|memcg| match field {
            Field::Failcnt => memcg.reset_failcnt(group, resource),
            Field::MaxUsage => memcg.reset_watermark(group, resource),
            Field::Usage | Field::Limit => Err(Error::Invalid),
        }),
        Write::Call(handler) => handler(&writing),
    }
}

/// Same as [`write`], if the guest need not be waited for; none, and nothing changed but failure
/// counts, if it has to be. A limit that fits is the usual case.
pub(crate) fn write_at_once(
    service: &Service,
    client: Client,
    (group, file): (GroupId, &ControlFile),
    data: &[u8],
) -> Option<Result<()>> {
    let Write::Limit(resource) = file.write else {
        return (!file.pauses).then(|| write(service, client, (group, file), data));
    };
    let attempt = Writing::new(service, client, group, data).and_then(|writing| {
        let limit = values::parse_size(writing.text).map_err(errno::of_parse)?;
        Ok(writing.try_limit(resource, limit))
    });
    match attempt {
        Err(errno) => Some(Err(errno)),
        Ok(Ok(())) => Some(Ok(())),
        Ok(Err((why, None))) => Some(Err(errno::of_group(why))),
        Ok(Err((_, Some(_)))) => None,
    }
}

/// Writes `tasks`: moves one thread.
pub(crate) fn move_thread(writing: &Writing<'_>) -> Result<()> {
    move_task(writing, Scope::Task)
}

/// Writes `cgroup.procs`: moves a whole process.
pub(crate) fn move_process(writing: &Writing<'_>) -> Result<()> {
    move_task(writing, Scope::Process)
}

fn move_task(writing: &Writing<'_>, scope: Scope) -> Result<()> {
    let Writing { service, client, group, text } = *writing;
    let id = values::parse_tid(text).map_err(errno::of_parse)?;
    // Differs from Linux, where 0 is the writer: the writer is a task of the host, not of the guest.
    if id == Tid::new(0) {
        return Err(Errno::EINVAL);
    }
    // Linux v6.18 kernel/cgroup/cgroup-v1.c __cgroup1_procs_write: the task's owner may, by who opened
    // the file.
    if !service.may_move(client.opener()) {
        let is_known = service.accounting(|memcg| memcg.task_tgid(id).is_some());
        return Err(if is_known { Errno::EACCES } else { Errno::ESRCH });
    }
    let left = service.accounting(|memcg| groups_of(memcg, id, scope));
    let moved = service.host.move_task(id, group, scope, &|| client.is_interrupted());
    moved.map_err(|failure| match failure {
        MoveFailure::Refused(error) => errno::of_move(error),
        MoveFailure::Interrupted => Errno::EINTR,
    })?;
    for source in left.into_iter().filter(|source| *source != group) {
        service.agent_check(source);
    }
    Ok(())
}

/// Returns the groups that a move takes tasks out of.
fn groups_of(memcg: &Memcg, id: Tid, scope: Scope) -> BTreeSet<GroupId> {
    let moving = match (scope, memcg.task_tgid(id)) {
        (Scope::Process, Some(tgid)) => memcg.threads(tgid),
        (Scope::Task, _) | (_, None) => vec![id],
    };
    moving.into_iter().filter_map(|tid| memcg.task_group(tid)).collect()
}

/// Writes `memory.recharge_policy`: the name of a policy.
pub(crate) fn set_recharge_policy(writing: &Writing<'_>) -> Result<()> {
    let name = values::strip(writing.text);
    let policy = Policy::from_name(name).ok_or(Errno::EINVAL)?;
    writing.set(|memcg| memcg.set_recharge(writing.group, policy))
}

/// Writes `memory.oom_control`: whether tasks wait instead of being killed.
pub(crate) fn set_oom_control(writing: &Writing<'_>) -> Result<()> {
    let Writing { group, text, .. } = *writing;
    let number = values::parse_number(text).map_err(errno::of_parse)?;
    writing.set(|memcg| memcg.set_oom_kill_disable(group, number))
}

/// Writes `memory.force_empty`: reclaims while there is progress. Succeeds even when the group is
/// not empty then (Linux v3.19 `mem_cgroup_force_empty`).
pub(crate) fn force_empty(writing: &Writing<'_>) -> Result<()> {
    let Writing { service, client, group, .. } = *writing;
    if service.accounting(|memcg| memcg.root() == group) {
        return Err(Errno::EINVAL);
    }
    loop {
        let counter = service.accounting(|memcg| memcg.counter(group, Resource::Memory));
        let usage = counter.map_err(errno::of_group)?.usage();
        if usage.is_zero() || service.host.reclaim(group, Resource::Memory, usage).is_zero() {
            return Ok(());
        }
        if client.is_interrupted() {
            return Err(Errno::EINTR);
        }
    }
}

/// From which group how many pages would have to be reclaimed.
type Obstacle = (GroupId, Pages);

impl<'a> Writing<'a> {
    /// Checks what is written before any handler sees it.
    fn new(service: &'a Service, client: Client, group: GroupId, data: &'a [u8]) -> Result<Self> {
        if data.len() > WRITE_MAX {
            return Err(Errno::E2BIG);
        }
        // A removed group answers ENODEV whatever is written.
        service.settings(group)?;
        let text = values::written_text(data).map_err(errno::of_parse)?;
        Ok(Self { service, client, group, text })
    }

    /// Changes something in the accounting.
    fn set(&self, change: impl FnOnce(&mut Memcg) -> std::result::Result<(), Error>) -> Result<()> {
        self.service.accounting(change).map_err(errno::of_group)
    }

    /// Sets a limit. What stands in the way is reclaimed: pages of the group above the limit or, where
    /// limits are borrowed, pages of the parent that has to lend. That goes on for as long as fewer and
    /// fewer pages are in the way; programs that bring them back as fast end it after some rounds.
    fn set_limit(&self, resource: Resource) -> Result<()> {
        let limit = values::parse_size(self.text).map_err(errno::of_parse)?;
        let (mut least, mut vain_rounds) = (Pages::UNLIMITED, 0);
        loop {
            let Err((why, obstacle)) = self.try_limit(resource, limit) else { return Ok(()) };
            let missing = obstacle.map_or(Pages::ZERO, |(_, pages)| pages);
            vain_rounds = if missing < least { 0 } else { vain_rounds + 1 };
            least = least.min(missing);
            let obstacle = obstacle.filter(|_| vain_rounds < VAIN_ROUNDS_MAX);
            let reclaim = |(group, wanted)| self.service.host.reclaim(group, resource, wanted);
            if obstacle.map_or(Pages::ZERO, reclaim).is_zero() {
                return Err(errno::of_group(why));
            }
            if self.client.is_interrupted() {
                return Err(Errno::EINTR);
            }
        }
    }

    /// Sets a limit, if nothing is in the way.
    fn try_limit(
        &self,
        resource: Resource,
        limit: Pages,
    ) -> std::result::Result<(), (Error, Option<Obstacle>)> {
        self.service.accounting(|memcg| {
            let outcome = memcg.set_limit(self.group, resource, limit);
            outcome.map_err(|why| (why, self.in_the_way(memcg, resource, limit, why)))
        })
    }

    /// What would have to be reclaimed for a refused limit to be set.
    fn in_the_way(
        &self,
        memcg: &Memcg,
        resource: Resource,
        limit: Pages,
        why: Error,
    ) -> Option<Obstacle> {
        match why {
            Error::Busy if is_reclaimable(resource) => {
                let usage = memcg.counter(self.group, resource).ok()?.usage();
                let excess = usage.get().checked_sub(limit.get()).filter(|excess| *excess > 0)?;
                Some((self.group, Pages::new(excess)))
            }
            Error::NoMemory(wanted) => {
                let parent = memcg.parent(self.group)?;
                let limit = memcg.counter(parent, resource).ok()?.limit().get();
                let lent = memcg.security(parent).ok()?.get();
                // More than it could lend without any page of its own: why take those?
                let could_lend = wanted.get() <= limit.saturating_sub(lent);
                could_lend.then_some((parent, wanted))
            }
            _ => None,
        }
    }
}

/// Only user memory can be reclaimed; the other counters refuse at once.
fn is_reclaimable(resource: Resource) -> bool {
    matches!(resource, Resource::Memory | Resource::Memsw)
}
