//! `cgroup.event_control`: an eventfd of a client that is signalled when something happens.
//!
//! A registration ends with its group, or when nobody has a descriptor of the eventfd any more.
//! Thresholds are exact, where Linux looks every 128 page events: the accounting notes every crossing,
//! and the machine hands them on.
//!
//! The lock of the registrations is a leaf: the accounting is never asked while it is held.

mod listener;
mod registering;
mod tidying;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use fuser::{Errno, INodeNo};
use memcg::{Crossing, GroupId, Memcg};

use crate::errno::Result;
use crate::service::Service;
use listener::{Event, Listener, Reach, What};
pub(crate) use registering::register;

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
    made: AtomicU64,
    is_tidying: AtomicBool,
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

/// Tells whether `group` is `above` or below it.
fn is_within(memcg: &Memcg, group: GroupId, above: GroupId) -> bool {
    let mut path = std::iter::successors(Some(group), |group| memcg.parent(*group));
    path.any(|group| group == above)
}

impl Registrations {
    fn lock(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    fn listen(&self, group: GroupId, what: What, event: Event) -> Result<()> {
        let serial = self.registrations.made.fetch_add(1, Ordering::Relaxed);
        let listener = Listener { serial, group, what, event };
        let is_under_oom = what == What::OutOfMemory
            && self.accounting(|memcg| memcg.is_under_oom(group)) == Ok(true);
        if is_under_oom {
            listener.signal();
        }
        self.registrations.lock().push(listener);
        if self.settings(group).is_err() {
            // It was removed before this one was in the list, and nobody has told it.
            self.registrations.lock().retain(|listener| listener.serial != serial);
            return Err(Errno::ENODEV);
        }
        self.tidy_up();
        Ok(())
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
}
