//! The release agent: a program of the host that is run when a group becomes empty.

use std::process::{Command, Stdio};
use std::thread;

use fuser::Errno;
use memcg::GroupId;

use crate::errno::Result;
use crate::service::Service;
use crate::values::strip;
use crate::writing::Writing;

/// Longest path of an agent; Linux v6.18 kernel/cgroup/cgroup-v1.c, `max_write_len` of the file.
const PATH_SIZE_MAX: usize = 4095;

/// Writes what `release_agent` shows.
pub(crate) fn show(service: &Service, _root: GroupId, text: &mut String) -> Result<()> {
    text.push_str(&service.agent());
    text.push('\n');
    Ok(())
}

/// Sets the agent.
pub(crate) fn set(writing: &Writing<'_>) -> Result<()> {
    if writing.text.len() > PATH_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    writing.service.set_agent(strip(writing.text));
    Ok(())
}

impl Service {
    /// Runs the agent when `group` wants it and has neither tasks nor children. Call it whenever a
    /// task or a child has left the group. Does not wait for the agent.
    pub(crate) fn agent_check(&self, group: GroupId) {
        let path = self.accounting(|memcg| {
            // The cheap question first: this runs whenever a task exits.
            if !memcg.settings(group).ok()?.notify_on_release {
                return None;
            }
            let is_empty = memcg.tasks(group).ok()?.is_empty();
            let is_leaf = memcg.children(group).ok()?.is_empty();
            memcg.path(group).filter(|_path| is_empty && is_leaf)
        });
        let agent = self.agent();
        let Some(path) = path.filter(|_path| !agent.is_empty()) else { return };
        let mut command = Command::new(&agent);
        command.arg(path).current_dir("/").env_clear();
        // Linux v6.18 kernel/cgroup/cgroup-v1.c cgroup1_release_agent.
        command.env("HOME", "/").env("PATH", "/sbin:/bin:/usr/sbin:/usr/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let run = move || match command.status() {
            Ok(status) => log::debug!("release agent {agent} ended with {status}"),
            Err(error) => log::warn!("cannot run release agent {agent}: {error}"),
        };
        if let Err(error) = thread::Builder::new().name("release-agent".to_owned()).spawn(run) {
            log::warn!("no thread for the release agent: {error}");
        }
    }
}
