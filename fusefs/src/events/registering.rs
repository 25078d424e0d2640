//! Writing `cgroup.event_control`: what may be listened for, and by whom.
//!
//! The client names descriptors of its own; they are fetched through a pidfd.

use std::os::fd::{OwnedFd, RawFd};

use fuser::{Errno, INodeNo};
use memcg::{GroupId, Resource};
use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::Pressure;
use super::listener::{Event, Reach, What};
use crate::errno::{self, Result};
use crate::service::Service;
use crate::values::{self, Registration};
use crate::writing::Writing;

/// Writes `cgroup.event_control`.
pub(crate) fn register(writing: &Writing<'_>) -> Result<()> {
    let Writing { service, client, group, text } = *writing;
    let registration = values::parse_registration(text).map_err(errno::of_parse)?;
    let Registration { event_fd, target_fd, args } = registration;
    let pid = client.process().and_then(Pid::from_raw).ok_or(Errno::ESRCH)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(of_rustix)?;
    let event_fd = RawFd::try_from(event_fd).map_err(|_too_large| Errno::EBADF)?;
    let copy = fetch(&process, event_fd)?;
    let event = Event::new(copy, pid.as_raw_nonzero().get().unsigned_abs(), event_fd);
    let event = event.ok_or(Errno::EINVAL)?;
    let target_fd = RawFd::try_from(target_fd).map_err(|_too_large| Errno::EBADF)?;
    let target = fetch(&process, target_fd)?;
    let node = service.node(inode_of(service, &target)?).map_err(|_stale| Errno::EINVAL)?;
    let may_read = |attributes: &crate::attributes::Attributes| {
        attributes.may_read(client.uid(), client.gid())
    };
    if !service.directories.attributes(node, may_read) {
        return Err(Errno::EACCES);
    }
    let file = node.file.filter(|_row| node.group == group).ok_or(Errno::EINVAL)?.file();
    let what = match file.name {
        "memory.usage_in_bytes" => threshold(service, group, Resource::Memory, args)?,
        "memory.memsw.usage_in_bytes" => threshold(service, group, Resource::Memsw, args)?,
        "memory.oom_control" => What::OutOfMemory,
        "memory.pressure_level" => pressure(args)?,
        _ => return Err(Errno::EINVAL),
    };
    service.listen(group, what, event)
}

/// Copies a descriptor of another process.
fn fetch(process: &OwnedFd, number: RawFd) -> Result<OwnedFd> {
    let fd = pidfd_getfd(process, number, PidfdGetfdFlags::empty()).map_err(of_rustix)?;
    let flags = rustix::fs::fcntl_getfl(&fd).map_err(of_rustix)?;
    // A descriptor that only names a file is as good as none.
    if flags.contains(OFlags::PATH) { Err(Errno::EBADF) } else { Ok(fd) }
}

fn of_rustix(error: rustix::io::Errno) -> Errno {
    Errno::from_i32(error.raw_os_error())
}

/// Returns the inode number of a file of this mount.
fn inode_of(service: &Service, target: &OwnedFd) -> Result<INodeNo> {
    // Without the flag the kernel might ask this very file system, which is busy answering.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = statx(target, "", flags, StatxFlags::INO).map_err(of_rustix)?;
    let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
    if service.device.get() == Some(&device) {
        Ok(INodeNo(found.stx_ino))
    } else {
        Err(Errno::EINVAL)
    }
}

fn threshold(service: &Service, group: GroupId, resource: Resource, args: &str) -> Result<What> {
    if args.starts_with(' ') {
        return Err(Errno::EINVAL);
    }
    let at = values::parse_size(args).map_err(errno::of_parse)?;
    service.accounting(|memcg| memcg.watch_usage(group, resource, at)).map_err(errno::of_group)?;
    Ok(What::Threshold { resource, at })
}

/// Linux v6.18 mm/vmpressure.c `vmpressure_register_event`: a level, and how far to listen.
fn pressure(args: &str) -> Result<What> {
    let mut words = args.split(',');
    let level = match words.next() {
        Some("low") => Pressure::Low,
        Some("medium") => Pressure::Medium,
        Some("critical") => Pressure::Critical,
        _ => return Err(Errno::EINVAL),
    };
    let reach = match words.next() {
        None | Some("default") => Reach::Default,
        Some("hierarchy") => Reach::Hierarchy,
        Some("local") => Reach::Local,
        Some(_) => return Err(Errno::EINVAL),
    };
    Ok(What::Pressure { level, reach })
}
