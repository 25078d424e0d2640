//! Locks of files: whole ones of open files (flock), and ranges of bytes of processes or of open
//! files (fcntl). They keep out only who asks for a lock, too.
//!
//! Source: Linux v6.12 fs/locks.c, man 2 flock, man 2 fcntl.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;

use super::pipe::Dropped;
use crate::number::Tid;

/// A file, by device and inode.
pub(crate) type FileId = (u64, u64);

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// A process: a record lock.
    Process(Tid),
    /// An open file, by its number: a record lock of F_OFD_SETLK.
    File(u64),
    /// An open file, by its number: a lock of flock(), which record locks do not see.
    Whole(u64),
}

impl Owner {
    /// Whether locks of two owners can be in each other's way.
    const fn meets(self, other: Self) -> bool {
        matches!(self, Self::Whole(_)) == matches!(other, Self::Whole(_))
    }
}

/// What a lock keeps out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Exclusive locks of others.
    Shared,
    /// All locks of others.
    Exclusive,
}

/// A lock of some bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) owner: Owner,
    pub(crate) kind: Kind,
    /// The bytes; an end of `u64::MAX` is the end of the file, wherever that is.
    pub(crate) range: Range<u64>,
}

impl Lock {
    fn keeps_out(&self, other: &Self) -> bool {
        self.owner != other.owner
            && self.owner.meets(other.owner)
            && (self.kind == Kind::Exclusive || other.kind == Kind::Exclusive)
            && self.range.start < other.range.end
            && other.range.start < self.range.end
    }
}

/// Every lock there is.
#[derive(Debug)]
pub(crate) struct Locks {
    /// What waits for any lock waits for this.
    pub(crate) wait_id: u64,
    by_file: BTreeMap<FileId, Vec<Lock>>,
    /// Whom processes wait for, so that a circle of them is seen.
    waits: BTreeMap<Tid, Owner>,
    /// The last number given to an open file that has locks.
    last_file: u64,
}

impl Locks {
    /// No locks.
    pub(crate) fn new(wait_id: u64) -> Self {
        Self { wait_id, by_file: BTreeMap::new(), waits: BTreeMap::new(), last_file: 0 }
    }

    /// The first lock in the way of one.
    pub(crate) fn obstacle(&self, file: FileId, wanted: &Lock) -> Option<&Lock> {
        let held = self.by_file.get(&file)?;
        let in_the_way = held.iter().filter(|lock| lock.keeps_out(wanted));
        in_the_way.min_by_key(|lock| lock.range.start)
    }

    /// Adds a lock; what its owner had there before gives way.
    pub(crate) fn add(&mut self, file: FileId, lock: Lock) {
        self.remove(file, lock.owner, &lock.range);
        let held = self.by_file.entry(file).or_default();
        let mut lock = lock;
        // Neighbours of the same kind become one, as fcntl(F_GETLK) shows.
        while let Some(at) = held.iter().position(|other| {
            let touches =
                other.range.end == lock.range.start || other.range.start == lock.range.end;
            touches && other.owner == lock.owner && other.kind == lock.kind
        }) {
            let other = held.swap_remove(at);
            lock.range.start = lock.range.start.min(other.range.start);
            lock.range.end = lock.range.end.max(other.range.end);
        }
        held.push(lock);
    }

    /// Takes away what an owner has locked of a range.
    pub(crate) fn remove(&mut self, file: FileId, owner: Owner, range: &Range<u64>) {
        let Some(held) = self.by_file.get_mut(&file) else { return };
        let mut left = Vec::new();
        for lock in held.drain(..) {
            let is_apart = lock.range.end <= range.start || range.end <= lock.range.start;
            if lock.owner != owner || is_apart {
                left.push(lock);
                continue;
            }
            for rest in [lock.range.start..range.start, range.end..lock.range.end] {
                if rest.start < rest.end {
                    left.push(Lock { range: rest, ..lock.clone() });
                }
            }
        }
        if left.is_empty() {
            self.by_file.remove(&file);
        } else {
            *held = left;
        }
    }

    /// Takes away every lock of an owner; answers whether there was one.
    pub(crate) fn remove_all(&mut self, owner: Owner) -> bool {
        let mut has_any = false;
        self.by_file.retain(|_, held| {
            let count = held.len();
            held.retain(|lock| lock.owner != owner);
            has_any |= held.len() < count;
            !held.is_empty()
        });
        has_any
    }

    /// Whether an owner has a lock of a file.
    pub(crate) fn has(&self, file: FileId, owner: Owner) -> bool {
        self.by_file.get(&file).is_some_and(|held| held.iter().any(|lock| lock.owner == owner))
    }

    /// Notes that a process waits for an owner's lock; false where that one waits for the process.
    pub(crate) fn wait(&mut self, waiter: Tid, holder: Owner) -> bool {
        let mut next = Some(holder);
        // Longer chains are taken for circles.
        for _ in 0..self.waits.len() + 1 {
            match next {
                Some(Owner::Process(pid)) if pid == waiter => return false,
                Some(Owner::Process(pid)) => next = self.waits.get(&pid).copied(),
                _ => break,
            }
        }
        self.waits.insert(waiter, holder);
        true
    }

    /// A process does not wait any more.
    pub(crate) fn end_wait(&mut self, waiter: Tid) {
        self.waits.remove(&waiter);
    }
}

/// What an open file that has locks keeps: dropped with the file, it takes them away.
#[derive(Debug)]
pub(crate) struct Ticket {
    number: u64,
    locks: Rc<RefCell<Locks>>,
    dropped: Dropped,
}

impl Ticket {
    /// The ticket of one more open file.
    pub(crate) fn new(locks: &Rc<RefCell<Locks>>, dropped: Dropped) -> Self {
        let mut table = locks.borrow_mut();
        table.last_file += 1;
        Self { number: table.last_file, locks: locks.clone(), dropped }
    }

    /// The number of its open file.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut locks = self.locks.borrow_mut();
        for owner in [Owner::File(self.number), Owner::Whole(self.number)] {
            if locks.remove_all(owner) {
                self.dropped.borrow_mut().push(locks.wait_id);
            }
        }
    }
}
