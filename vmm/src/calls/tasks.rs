//! Calls about tasks: they begin, run another program, end, and ask for their group.

use memcg::{Gfn, Memcg};
use rustix::io::Errno;
use vmcg_abi::call::ARGUMENTS_MAX;
use vmcg_abi::layout::CALL_BUFFER_GPA;

use super::{Answer, bytes, job, put_buffer, tid};
use crate::machine::{Accounting, Machine};
use crate::news::News;
use crate::tasks::{Task, TaskError};

/// tid, tgid, parent, root, job.
pub(super) fn start(machine: &Machine, a: [u64; ARGUMENTS_MAX]) -> Answer {
    let (id, tgid, parent) = (tid(a[0])?, tid(a[1])?, tid(a[2])?);
    let root = Gfn::new(a[3]);
    if root.get() >= machine.memory.frames() {
        return Err(Errno::FAULT);
    }
    let group = match a[4] {
        0 => None,
        word => Some(machine.jobs.group(job(word)?).ok_or(Errno::SRCH)?),
    };
    let mut accounting = machine.lock();
    let accounting = &mut *accounting;
    let name = accounting.tasks.get(parent).map_or_else(String::new, |task| task.name.clone());
    let task = Task { tgid, root: Some(root), name, is_dying: false };
    accounting.tasks.add(id, task)?;
    let joined = match group {
        Some(group) => accounting.memcg.task_new(id, tgid, group),
        None => accounting.memcg.task_fork(id, tgid, parent),
    };
    if let Err(why) = joined {
        log::debug!("task {id} cannot join its group: {why}");
        accounting.tasks.remove(id);
        return Err(Errno::AGAIN);
    }
    let Accounting { memcg, kmem, .. } = accounting;
    Ok(memcg.task_group(id).map_or(0, |group| u64::from(kmem.of_group(memcg, group))))
}

/// tid, root, length of the name in the buffer.
pub(super) fn exec(machine: &Machine, a: [u64; ARGUMENTS_MAX]) -> Answer {
    let name = bytes(machine, CALL_BUFFER_GPA, a[2])?;
    if a[1] >= machine.memory.frames() {
        return Err(Errno::FAULT);
    }
    machine.lock().tasks.exec(tid(a[0])?, Gfn::new(a[1]), &name)?;
    Ok(0)
}

pub(super) fn exit(machine: &Machine, id: u64) -> Answer {
    let id = tid(id)?;
    let mut accounting = machine.lock();
    accounting.tasks.remove(id).ok_or(Errno::SRCH)?;
    let left = accounting.memcg.task_group(id);
    accounting.memcg.task_exit(id);
    machine.drain_free(&mut accounting);
    let wants_word = |memcg: &Memcg, group| {
        memcg.settings(group).is_ok_and(|settings| settings.notify_on_release)
    };
    if let Some(group) = left.filter(|group| wants_word(&accounting.memcg, *group)) {
        accounting.news.push(News::TaskLeft(group));
    }
    Ok(0)
}

pub(super) fn unknown_syscall(machine: &Machine, id: u64, number: u64) -> Answer {
    let mut accounting = machine.lock();
    let name = accounting.tasks.get(tid(id)?).map_or_else(String::new, |task| task.name.clone());
    accounting.unknown_calls.count(number, &name);
    Ok(0)
}

/// Linux v6.12 kernel/cgroup/cgroup.c, proc_cgroup_show: hierarchy, controllers, path.
pub(super) fn group(machine: &Machine, id: u64) -> Answer {
    let accounting = machine.lock();
    let memcg = &accounting.memcg;
    let group = memcg.task_group(tid(id)?).ok_or(Errno::SRCH)?;
    let path = memcg.path(group).ok_or(Errno::SRCH)?;
    drop(accounting);
    put_buffer(machine, format!("1:memory:{path}\n").as_bytes())
}

impl From<TaskError> for Errno {
    fn from(why: TaskError) -> Self {
        match why {
            TaskError::BadId => Self::EXIST,
            TaskError::TooMany => Self::AGAIN,
            TaskError::NoSuchTask => Self::SRCH,
        }
    }
}
