//! `cgroup.event_control`: an eventfd of a client that is signalled when something happens.
//!
//! The client names descriptors of its own; they are fetched through a pidfd. Differs from Linux,
//! where closing the eventfd ends a registration: our copy keeps it open, so that a registration
//! ends with its group or with the process that made it. Thresholds are exact, where Linux looks every
//! 128 page events: the accounting notes every crossing, and the machine hands them on.
//!
//! The lock of the registrations is a leaf: the accounting is never asked while it is held.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use fuser::{Errno, INodeNo};
use memcg::{Crossing, GroupId, Memcg, Pages, Resource};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::errno::{self, Result};
use crate::service::Service;
use crate::values::{self, Registration};
use crate::writing::Writing;

/// How often registrations of processes that have ended are looked for. Nobody hears them, so that
/// only their descriptors depend on it.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// How hard it is to free memory in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Something is being reclaimed.
    Low,
    /// Reclaiming has become an effort.
    Medium,
    /// Out of memory is near.
    Critical,
}

impl Pressure {
    /// Tells how hard it was to find `found` of the pages that were `wanted` (Linux v6.18
    /// mm/vmpressure.c `vmpressure_calc_level`). Differs from Linux, where pages are looked at one by
    /// one and 512 of them make one signal: each search for room makes one.
    #[must_use]
    pub fn of(wanted: u64, found: u64) -> Self {
        const MEDIUM_PERCENT: u64 = 60;
        const CRITICAL_PERCENT: u64 = 95;
        let missing = wanted.saturating_sub(found);
        match missing.saturating_mul(100).checked_div(wanted).unwrap_or(0) {
            CRITICAL_PERCENT.. => Self::Critical,
            MEDIUM_PERCENT.. => Self::Medium,
            _ => Self::Low,
        }
    }
}

/// Where the machine reports what somebody may be listening for. Call it without any lock held. It
/// does not keep the file system alive; when that is gone, nobody listens.
#[derive(Clone)]
pub struct Listeners {
    service: Weak<Service>,
}

/// All registrations of a mount.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    all: Mutex<Vec<Listener>>,
    is_tidying: AtomicBool,
}

#[derive(Debug)]
struct Listener {
    group: GroupId,
    what: What,
    event: OwnedFd,
    process: OwnedFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Threshold { resource: Resource, at: Pages },
    OutOfMemory,
    Pressure { level: Pressure, reach: Reach },
}

/// From which groups pressure is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Those below, until somebody there has heard it.
    Default,
    /// All below.
    Hierarchy,
    /// None but the own.
    Local,
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}

impl Listeners {
    pub(crate) const fn new(service: Weak<Service>) -> Self {
        Self { service }
    }

    /// Reports that `group` is out of memory, whether that ends in a kill or in waiting. Heard in
    /// the group and everywhere below.
    pub fn out_of_memory(&self, group: GroupId) {
        if let Some(service) = self.service.upgrade() {
            service.signal_out_of_memory(group);
        }
    }

    /// Reports crossings of thresholds, as the accounting gave them. Each is heard once.
    pub fn crossed(&self, crossings: &[Crossing]) {
        if crossings.is_empty() {
            return;
        }
        if let Some(service) = self.service.upgrade() {
            service.signal_crossings(crossings);
        }
    }

    /// Reports that memory of `group` is being reclaimed. Heard by listeners of this level and of
    /// those below it, in the group and, as they chose, in groups above.
    pub fn pressure(&self, group: GroupId, level: Pressure) {
        if let Some(service) = self.service.upgrade() {
            service.signal_pressure(group, level);
        }
    }

    /// Reports that a task of `group` has exited: the release agent may have to run.
    pub fn task_left(&self, group: GroupId) {
        if let Some(service) = self.service.upgrade() {
            service.agent_check(group);
        }
    }
}

/// Writes `cgroup.event_control`.
pub(crate) fn register(writing: &Writing<'_>) -> Result<()> {
    let Writing { service, client, group, text } = *writing;
    let registration = values::parse_registration(text).map_err(errno::of_parse)?;
    let Registration { event_fd, target_fd, args } = registration;
    let process = client.process().and_then(Pid::from_raw).ok_or(Errno::ESRCH)?;
    let process = pidfd_open(process, PidfdFlags::empty()).map_err(of_rustix)?;
    let event = fetch(&process, event_fd)?;
    if !is_eventfd(&event) {
        return Err(Errno::EINVAL);
    }
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
    service.listen(Listener { group, what, event, process });
    Ok(())
}

/// Copies a descriptor of another process.
fn fetch(process: &OwnedFd, number: u32) -> Result<OwnedFd> {
    let number = i32::try_from(number).map_err(|_too_large| Errno::EBADF)?;
    let fd = pidfd_getfd(process, number, PidfdGetfdFlags::empty()).map_err(of_rustix)?;
    let flags = rustix::fs::fcntl_getfl(&fd).map_err(of_rustix)?;
    // A descriptor that only names a file is as good as none.
    if flags.contains(OFlags::PATH) { Err(Errno::EBADF) } else { Ok(fd) }
}

fn of_rustix(error: rustix::io::Errno) -> Errno {
    Errno::from_i32(error.raw_os_error())
}

fn is_eventfd(fd: &OwnedFd) -> bool {
    use std::os::fd::AsRawFd;
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    link.is_ok_and(|link| link.to_str() == Some("anon_inode:[eventfd]"))
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

/// Tells whether `group` is `above` or below it.
fn is_within(memcg: &Memcg, group: GroupId, above: GroupId) -> bool {
    let mut path = std::iter::successors(Some(group), |group| memcg.parent(*group));
    path.any(|group| group == above)
}

impl Listener {
    fn signal(&self) {
        // An eventfd that is nearly full would block the writer; its reader has signals enough.
        if is_ready(&self.event, PollFlags::OUT)
            && let Err(error) = rustix::io::write(&self.event, &1_u64.to_ne_bytes())
        {
            log::debug!("cannot signal an eventfd: {error}");
        }
    }

    fn is_abandoned(&self) -> bool {
        is_ready(&self.process, PollFlags::IN)
    }

    fn hears(&self, crossing: &Crossing) -> bool {
        let Crossing { group, resource, at, .. } = *crossing;
        self.group == group && self.what == What::Threshold { resource, at }
    }
}

fn is_ready(fd: &impl AsFd, flags: PollFlags) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(fd, flags)], Some(&now)).is_ok_and(|ready| ready > 0)
}

impl Registrations {
    fn lock(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    fn listen(&self, listener: Listener) {
        let is_under_oom = listener.what == What::OutOfMemory
            && self.accounting(|memcg| memcg.is_under_oom(listener.group)) == Ok(true);
        if is_under_oom {
            listener.signal();
        }
        self.registrations.lock().push(listener);
        if !self.registrations.is_tidying.swap(true, Ordering::AcqRel) {
            let service = Weak::clone(&self.this);
            let tidy = move || forget_the_dead(&service);
            if let Err(error) = thread::Builder::new().name("registrations".to_owned()).spawn(tidy)
            {
                log::warn!("no thread to forget clients that end: {error}");
                self.registrations.is_tidying.store(false, Ordering::Release);
            }
        }
    }

    /// Signals whoever listens in a group that was removed, for the last time. As on Linux, the
    /// directory is gone by then: listeners tell by that what the signal means. So it is done when
    /// the kernel has finished the removal, which it has when it takes back the name.
    pub(crate) fn end_listening(&self, group: GroupId, parent: INodeNo, name: OsString) {
        let mut all = self.registrations.lock();
        let ended: Vec<Listener> = all.extract_if(.., |listener| listener.group == group).collect();
        drop(all);
        let Some(notifier) = self.notifier.get().cloned().filter(|_| !ended.is_empty()) else {
            return;
        };
        // Not on a thread that answers the kernel: this waits for whoever works in the parent.
        let signal = move || {
            if let Err(error) = notifier.inval_entry(parent, &name) {
                log::debug!("cannot take back the name of a removed group: {error}");
            }
            ended.iter().for_each(Listener::signal);
        };
        if let Err(error) = thread::Builder::new().name("removal".to_owned()).spawn(signal) {
            log::warn!("no thread to tell that a group was removed: {error}");
        }
    }

    fn signal_crossings(&self, crossings: &[Crossing]) {
        let all = self.registrations.lock();
        for crossing in crossings {
            all.iter().filter(|listener| listener.hears(crossing)).for_each(Listener::signal);
        }
    }

    fn signal_out_of_memory(&self, group: GroupId) {
        let listens = |listener: &&Listener| listener.what == What::OutOfMemory;
        let places: BTreeSet<GroupId> =
            self.registrations.lock().iter().filter(listens).map(|place| place.group).collect();
        if places.is_empty() {
            return;
        }
        let below: BTreeSet<GroupId> = self.accounting(|memcg| {
            places.into_iter().filter(|place| is_within(memcg, *place, group)).collect()
        });
        let all = self.registrations.lock();
        let hears = |listener: &&Listener| below.contains(&listener.group);
        all.iter().filter(listens).filter(hears).for_each(Listener::signal);
    }

    /// Linux v6.18 mm/vmpressure.c `vmpressure_event`: from the group upwards; a default listener
    /// hears only what nobody below it has heard.
    fn signal_pressure(&self, group: GroupId, level: Pressure) {
        let listens = |listener: &Listener| matches!(listener.what, What::Pressure { .. });
        if !self.registrations.lock().iter().any(listens) {
            return;
        }
        let path: Vec<GroupId> = self.accounting(|memcg| {
            std::iter::successors(Some(group), |group| memcg.parent(*group)).collect()
        });
        let all = self.registrations.lock();
        let mut is_heard = false;
        for place in path {
            let was_heard = is_heard;
            for listener in all.iter().filter(|listener| listener.group == place) {
                let What::Pressure { level: wanted, reach } = listener.what else { continue };
                let hears = match reach {
                    Reach::Default => !was_heard,
                    Reach::Hierarchy => true,
                    Reach::Local => place == group,
                };
                if hears && level >= wanted {
                    listener.signal();
                    is_heard = true;
                }
            }
        }
    }

    /// Forgets listeners whose process has ended; false when nobody listens any more.
    fn forget_abandoned(&self) -> bool {
        let mut all = self.registrations.lock();
        let abandoned: Vec<Listener> =
            all.extract_if(.., |listener| listener.is_abandoned()).collect();
        let is_empty = all.is_empty();
        drop(all);
        for Listener { group, what, .. } in abandoned {
            if let What::Threshold { resource, at } = what {
                self.accounting(|memcg| memcg.unwatch_usage(group, resource, at));
            }
        }
        !is_empty
    }
}

/// Runs as long as the mount is there and somebody listens.
fn forget_the_dead(service: &Weak<Service>) {
    while let Some(service) = service.upgrade() {
        if !service.forget_abandoned() {
            service.registrations.is_tidying.store(false, Ordering::Release);
            // Somebody may have come between the two lines above.
            let is_alone = service.registrations.lock().is_empty();
            if is_alone || service.registrations.is_tidying.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        drop(service);
        thread::sleep(FORGET_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::Pressure;

    #[test]
    fn pressure_grows_with_what_was_not_found() {
        let levels = [(1, 1), (100, 41), (100, 40), (100, 6), (100, 5), (1, 0), (0, 0)];
        let levels = levels.map(|(wanted, found)| Pressure::of(wanted, found));
        let [low, medium, critical] = [Pressure::Low, Pressure::Medium, Pressure::Critical];
        assert_eq!(levels, [low, low, medium, medium, critical, critical, low]);
    }
}
