//! `cgroup.event_control`: an eventfd of a client that is signalled when something happens.
//!
//! The client names descriptors of its own; they are fetched through a pidfd. Differs from Linux,
//! where closing the eventfd ends a registration: our copy keeps it open, so that a registration
//! ends with its group or with the process that made it. Thresholds are looked at every
//! [`LOOK_EVERY`], not every 128 page events; a crossing undone in between is not seen, as there.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use fuser::{Errno, INodeNo};
use memcg::{GroupId, Memcg, Pages, Resource};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::errno::{self, Result};
use crate::service::Service;
use crate::values::{self, Registration};
use crate::writing::Writing;

/// How often thresholds are compared with the usage.
const LOOK_EVERY: Duration = Duration::from_millis(10);

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

/// Where the machine reports what somebody may be listening for. Call it without any lock held.
#[derive(Clone)]
pub struct Listeners {
    service: Arc<Service>,
}

/// All registrations of a mount.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    all: Mutex<Vec<Listener>>,
    is_looking: AtomicBool,
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
    Threshold { resource: Resource, at: Pages, is_reached: bool },
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
    pub(crate) const fn new(service: Arc<Service>) -> Self {
        Self { service }
    }

    /// Reports that `group` is out of memory, whether that ends in a kill or in waiting. Heard in
    /// the group and everywhere below.
    pub fn out_of_memory(&self, group: GroupId) {
        self.service.signal(|memcg, listener| {
            listener.what == What::OutOfMemory && is_within(memcg, listener.group, group)
        });
    }

    /// Reports that memory of `group` is being reclaimed. Heard by listeners of this level and of
    /// those below it, in the group and, as they chose, in groups above.
    pub fn pressure(&self, group: GroupId, level: Pressure) {
        self.service.signal_pressure(group, level);
    }

    /// Reports that a task of `group` has exited: the release agent may have to run.
    pub fn task_left(&self, group: GroupId) {
        self.service.agent_check(group);
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
    let counter = service.accounting(|memcg| memcg.counter(group, resource));
    let is_reached = counter.map_err(errno::of_group)?.usage() >= at;
    Ok(What::Threshold { resource, at, is_reached })
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

    /// Compares a threshold with the usage; tells whether it was crossed since the last look.
    fn has_crossed(&mut self, memcg: &Memcg) -> bool {
        let What::Threshold { resource, at, is_reached } = &mut self.what else { return false };
        let Ok(counter) = memcg.counter(self.group, *resource) else { return false };
        let was_reached = std::mem::replace(is_reached, counter.usage() >= *at);
        was_reached != *is_reached
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
        let mut all = self.registrations.lock();
        all.retain(|listener| !listener.is_abandoned());
        all.push(listener);
        drop(all);
        if !self.registrations.is_looking.swap(true, Ordering::AcqRel) {
            let service = Weak::clone(&self.this);
            let look = move || look_after_thresholds(&service);
            if let Err(error) = thread::Builder::new().name("thresholds".to_owned()).spawn(look) {
                log::warn!("no thread to look after thresholds: {error}");
                self.registrations.is_looking.store(false, Ordering::Release);
            }
        }
    }

    /// Signals whoever listens in a group that was removed, for the last time.
    pub(crate) fn end_listening(&self, group: GroupId) {
        self.registrations.lock().retain(|listener| {
            if listener.group == group {
                listener.signal();
            }
            listener.group != group
        });
    }

    /// Signals those listeners that `hears` says.
    fn signal(&self, hears: impl Fn(&Memcg, &Listener) -> bool) {
        let all = self.registrations.lock();
        let called: Vec<&Listener> =
            self.accounting(|memcg| all.iter().filter(|listener| hears(memcg, listener)).collect());
        for listener in called {
            listener.signal();
        }
    }

    /// Linux v6.18 mm/vmpressure.c `vmpressure_event`: from the group upwards; a default listener
    /// hears only what nobody below it has heard.
    fn signal_pressure(&self, group: GroupId, level: Pressure) {
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

    /// Signals every threshold that was crossed; false when nobody listens any more.
    fn check_thresholds(&self) -> bool {
        let mut all = self.registrations.lock();
        all.retain(|listener| !listener.is_abandoned());
        let crossed: Vec<&Listener> = self.accounting(|memcg| {
            all.iter_mut()
                .filter_map(|listener| listener.has_crossed(memcg).then_some(&*listener))
                .collect()
        });
        for listener in crossed {
            listener.signal();
        }
        !all.is_empty()
    }
}

/// Runs as long as the mount is there and somebody listens.
fn look_after_thresholds(service: &Weak<Service>) {
    while let Some(service) = service.upgrade() {
        if !service.check_thresholds() {
            service.registrations.is_looking.store(false, Ordering::Release);
            // Somebody may have come between the two lines above.
            let is_alone = service.registrations.lock().is_empty();
            if is_alone || service.registrations.is_looking.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        drop(service);
        thread::sleep(LOOK_EVERY);
    }
}
