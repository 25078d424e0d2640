//! Out of memory: a page had to be charged over a limit, because its fault must be answered. Somebody
//! is killed, or waits.

use memcg::{GroupId, Payer, Tid};
use vmcg_abi::event::{Event, EventKind};

use crate::guest::RealGuest;
use crate::machine::{Accounting, Machine};
use crate::news::News;

/// Acts when a page that `payer` touched found no room in `group`.
pub(crate) fn strike(machine: &Machine, accounting: &mut Accounting, group: GroupId, payer: Payer) {
    if let Payer::Task(tid) = payer
        && accounting.waiting.hold(&accounting.memcg, group, tid)
    {
        return machine.gate.send(Event { kind: EventKind::Wait, argument: 0, id: tid.get() });
    }
    kill(machine, accounting, group);
}

/// Picks a victim in the group that refused and tells the guest to kill it. A victim that has been
/// told already is on its way out: nobody else dies meanwhile.
fn kill(machine: &Machine, accounting: &mut Accounting, group: GroupId) {
    let Accounting { memcg, tasks, contents, news, .. } = accounting;
    let is_below = |tid| {
        let mut above = std::iter::successors(memcg.task_group(tid), |&at| memcg.parent(at));
        above.any(|at| at == group)
    };
    if tasks.iter().any(|(tid, task)| task.is_dying && is_below(tid)) {
        return;
    }
    news.push(News::OutOfMemory(group));
    let Some(victim) = memcg.oom_victim(group, &mut RealGuest::new(machine, tasks, contents))
    else {
        return;
    };
    let path = memcg.path(group).unwrap_or_default();
    log::info!("{path} is out of memory: killing task {victim}");
    let counted = memcg.task_group(victim).map(|at| memcg.note_oom_kill(at));
    log::debug!("kill counted: {counted:?}");
    send_kill(machine, victim);
    tasks.set_dying(victim);
}

/// Tells the guest to kill a task, as if by SIGKILL.
pub(crate) fn send_kill(machine: &Machine, tid: Tid) {
    machine.gate.send(Event { kind: EventKind::Kill, argument: 0, id: tid.get() });
}
