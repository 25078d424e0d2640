//! Sets of files that are waited for together: epoll.
//!
//! Source: Linux v6.12 include/uapi/linux/eventpoll.h, man 7 epoll.

use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::RefCell;

use super::open_file::{Body, OpenFile, Readiness};
use super::uapi::poll;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::syscall::request::WaitKey;

/// Flag: told once for each change, not for as long as it lasts.
const EDGE: u32 = 1 << 31;
/// Flag: told once, then not before it is asked for again.
const ONE_SHOT: u32 = 1 << 30;

/// What is asked of a file, and what is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// An or of [`poll`] and the flags above.
    pub(crate) events: u32,
    /// The program's own word.
    pub(crate) data: u64,
}

/// A file in a set.
#[derive(Debug)]
struct Interest {
    /// The descriptor it was added by; with the file it is the key.
    fd: u64,
    /// Gone once the last descriptor of it is closed.
    file: Weak<OpenFile>,
    asked: Event,
    /// What was told last, and how often the file had changed by then.
    told: (u32, u64),
    is_armed: bool,
}

/// A set of files.
#[derive(Debug)]
pub(crate) struct Epoll {
    wait_id: u64,
    interests: RefCell<Vec<Interest>>,
}

/// What is to be done with a file of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is added.
    Add(Event),
    /// It is waited for in another way.
    Modify(Event),
    /// It is taken out.
    Delete,
}

impl Epoll {
    /// An empty set.
    pub(crate) fn new(wait_id: u64) -> Self {
        Self { wait_id, interests: RefCell::new(Vec::new()) }
    }

    /// Id of what is woken when the set's files change, not their readiness.
    pub(crate) fn wait_id(&self) -> u64 {
        self.wait_id
    }

    /// ELOOP where this set, about to be put into `outer`, has it within, or sets within sets too
    /// deep.
    pub(crate) fn check_nesting(&self, outer: &Self) -> Result<(), Errno> {
        /// Linux: EP_MAX_NESTS.
        const NESTED_MAX: usize = 4;
        self.check_within(outer.wait_id, NESTED_MAX)
    }

    fn check_within(&self, outer: u64, depth: usize) -> Result<(), Errno> {
        if self.wait_id == outer || depth == 0 {
            return Err(Errno::ELOOP);
        }
        let interests = self.interests.borrow();
        let files = interests.iter().filter_map(|interest| interest.file.upgrade());
        files.into_iter().try_for_each(|file| match &file.body {
            Body::Epoll(inner) => inner.check_within(outer, depth - 1),
            _ => Ok(()),
        })
    }

    /// Adds, changes or removes a file. EPERM where it is one that is always ready.
    pub(crate) fn change(&self, fd: u64, file: &Rc<OpenFile>, change: Change) -> Result<(), Errno> {
        if !file.can_be_polled() {
            return Err(Errno::EPERM);
        }
        let mut interests = self.interests.borrow_mut();
        let weak = Rc::downgrade(file);
        let is_it = |one: &Interest| one.fd == fd && Weak::ptr_eq(&one.file, &weak);
        let at = interests.iter().position(is_it);
        let interest =
            |asked| Interest { fd, file: weak.clone(), asked, told: (0, 0), is_armed: true };
        match (change, at) {
            (Change::Add(_), Some(_)) => return Err(Errno::EEXIST),
            (Change::Add(event), None) => interests.push(interest(event)),
            (_, None) => return Err(Errno::ENOENT),
            (Change::Modify(event), Some(at)) => interests[at] = interest(event),
            (Change::Delete, Some(at)) => drop(interests.remove(at)),
        }
        Ok(())
    }

    /// Up to `max` events that there are to tell. What was told is noted.
    pub(crate) fn take(&self, kernel: &mut Kernel, max: usize) -> Vec<Event> {
        let mut interests = self.interests.take();
        interests.retain(|interest| interest.file.strong_count() > 0);
        let mut told = Vec::new();
        let mut looked_at = 0;
        for interest in &mut interests {
            if told.len() == max {
                break;
            }
            looked_at += 1;
            if let Some((events, changes)) = interest.news(kernel) {
                interest.told = (events, changes);
                interest.is_armed = interest.asked.events & ONE_SHOT == 0;
                told.push(Event { events, data: interest.asked.data });
            }
        }
        // The next call begins where this one stopped, so that every file has its turn.
        interests.rotate_left(looked_at);
        self.interests.replace(interests);
        told
    }

    /// What poll() says of the set.
    pub(crate) fn readiness(&self, kernel: &mut Kernel) -> Readiness {
        let mut interests = self.interests.take();
        let can_read = interests.iter_mut().any(|interest| interest.news(kernel).is_some());
        self.interests.replace(interests);
        Readiness { can_read, ..Readiness::default() }
    }

    /// What a task waits for until there is something to tell.
    pub(crate) fn wait_keys(&self, keys: &mut Vec<WaitKey>) {
        keys.push(WaitKey::Object(self.wait_id));
        for interest in self.interests.borrow().iter() {
            if let Some(file) = interest.file.upgrade() {
                file.wait_keys(keys);
            }
        }
    }
}

impl Interest {
    /// The events there are to tell, and how often the file has changed.
    fn news(&mut self, kernel: &mut Kernel) -> Option<(u32, u64)> {
        let file = self.file.upgrade().filter(|_| self.is_armed)?;
        let always = u32::from(poll::ERROR | poll::HANG_UP);
        let ready = u32::from(file.readiness(kernel).events());
        let events = ready & (self.asked.events | always);
        let changes = file.changes();
        if self.asked.events & EDGE != 0 {
            let (told_events, told_changes) = self.told;
            let is_new = events & !told_events != 0 || changes != told_changes;
            if !is_new {
                return None;
            }
        }
        (events != 0).then_some((events, changes))
    }
}
