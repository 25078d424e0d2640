//! One registration: what is listened for, the eventfd that is signalled, and who has it besides us.
//!
//! On Linux a registration ends when the last descriptor of its eventfd is closed. Ours is one of
//! them, so that nobody tells us: whether somebody else has one left is looked up in /proc, where
//! every eventfd shows a number of its own (Linux v5.2 fs/eventfd.c `eventfd_show_fdinfo`). One that
//! is just then on its way through a socket is not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use memcg::{Crossing, GroupId, Pages, Resource};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Pressure;

/// Somebody who listens in a group.
#[derive(Debug)]
pub(super) struct Listener {
    /// Tells it apart from every other there ever was.
    pub(super) serial: u64,
    /// Where.
    pub(super) group: GroupId,
    /// For what.
    pub(super) what: What,
    /// What to signal.
    pub(super) event: Event,
}

/// What is listened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A counter that reaches or falls below a size.
    Threshold {
        /// The counter.
        resource: Resource,
        /// The size.
        at: Pages,
    },
    /// The group runs out of memory.
    OutOfMemory,
    /// Memory is reclaimed.
    Pressure {
        /// With how much effort, at least.
        level: Pressure,
        /// From where it is heard.
        reach: Reach,
    },
}

/// From which groups pressure is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those below, until somebody there has heard it.
    Default,
    /// All below.
    Hierarchy,
    /// None but the own.
    Local,
}

/// An eventfd of a client: our copy of it, and where the client's was last seen.
#[derive(Debug)]
pub(super) struct Event {
    copy: OwnedFd,
    place: Place,
}

/// A descriptor of some process, and the number of the eventfd that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    process: u32,
    descriptor: RawFd,
    pub(super) eventfd: u64,
}

impl Listener {
    /// Tells it that what it listens for has happened.
    pub(super) fn signal(&self) {
        // An eventfd that is nearly full would block the writer; its reader has signals enough.
        if is_ready(&self.event.copy, PollFlags::OUT)
            && let Err(error) = rustix::io::write(&self.event.copy, &1_u64.to_ne_bytes())
        {
            log::debug!("cannot signal an eventfd: {error}");
        }
    }

    /// Tells whether it listens for this crossing.
    pub(super) fn hears(&self, crossing: &Crossing) -> bool {
        let Crossing { group, resource, at, .. } = *crossing;
        self.group == group && self.what == What::Threshold { resource, at }
    }
}

impl Event {
    /// Takes the copy of a descriptor of a process; none when it is not an eventfd.
    pub(super) fn new(copy: OwnedFd, process: u32, descriptor: RawFd) -> Option<Self> {
        let eventfd = Place::eventfd_at(std::process::id(), copy.as_raw_fd())?;
        Some(Self { copy, place: Place { process, descriptor, eventfd } })
    }

    /// The number of our copy.
    pub(super) fn own_number(&self) -> RawFd {
        self.copy.as_raw_fd()
    }

    /// Where the client's descriptor was last seen.
    pub(super) const fn place(&self) -> Place {
        self.place
    }

    /// Notes where it was seen now.
    pub(super) const fn seen_at(&mut self, place: Place) {
        self.place = place;
    }
}

impl Place {
    /// Tells whether it still names the same eventfd, and is none of this process in `own`.
    fn is_as_it_was(self, own: &[RawFd]) -> bool {
        !self.is_own(own) && Self::eventfd_at(self.process, self.descriptor) == Some(self.eventfd)
    }

    fn is_own(self, own: &[RawFd]) -> bool {
        self.process == std::process::id() && own.contains(&self.descriptor)
    }

    /// The number of the eventfd that a descriptor names; none when it names something else, or the
    /// process may not be looked at.
    fn eventfd_at(process: u32, descriptor: RawFd) -> Option<u64> {
        let info = fs::read_to_string(format!("/proc/{process}/fdinfo/{descriptor}")).ok()?;
        info.lines().find_map(|line| line.strip_prefix("eventfd-id:"))?.trim().parse().ok()
    }
}

/// Finds a descriptor of the eventfd of each of `places`, there or anywhere else, except those of
/// this process in `own`; returns by their numbers the eventfds that somebody has.
pub(super) fn find_again(places: &[Place], own: &[RawFd]) -> BTreeMap<u64, Place> {
    let unmoved = places.iter().filter(|place| place.is_as_it_was(own));
    let mut found: BTreeMap<u64, Place> = unmoved.map(|place| (place.eventfd, *place)).collect();
    let moved = places.iter().map(|place| place.eventfd).filter(|id| !found.contains_key(id));
    let mut sought: BTreeSet<u64> = moved.collect();
    for process in numbers_in(Path::new("/proc")) {
        if sought.is_empty() {
            break;
        }
        for number in numbers_in(Path::new(&format!("/proc/{process}/fdinfo"))) {
            let Ok(descriptor) = RawFd::try_from(number) else { continue };
            let Some(eventfd) = Place::eventfd_at(process, descriptor) else { continue };
            let place = Place { process, descriptor, eventfd };
            if !place.is_own(own) && sought.remove(&eventfd) {
                found.insert(eventfd, place);
            }
        }
    }
    found
}

/// The entries of a directory whose names are numbers; none when it cannot be read.
fn numbers_in(folder: &Path) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn is_ready(fd: &impl AsFd, flags: PollFlags) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(fd, flags)], Some(&now)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use rustix::event::{EventfdFlags, eventfd};

    use super::{Event, Place, find_again};

    #[test]
    fn an_eventfd_is_found_as_long_as_somebody_else_has_a_descriptor_of_it() {
        let this = std::process::id();
        let client = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let copy = client.try_clone().unwrap();
        let event = Event::new(copy, this, client.as_raw_fd()).unwrap();
        let own = [event.own_number()];
        let find = || find_again(&[event.place()], &own).into_values().next();
        assert_eq!(find(), Some(event.place()));
        let second = client.try_clone().unwrap();
        drop(client);
        let moved = Place { descriptor: second.as_raw_fd(), ..event.place() };
        assert_eq!(find(), Some(moved));
        drop(second);
        assert_eq!(find(), None);
    }

    #[test]
    fn what_is_no_eventfd_cannot_be_signalled() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(Event::new(file.into(), 1, 0).is_none());
    }
}
