//! Huge pages: the frames set aside for them, and who may still count on some.
//!
//! A mapping reserves its pages when it is made (`file`, `claim`), so that touching them later
//! cannot fail for want of a page; what is taken without a reservation must leave enough for those who
//! have one. The host charges a reservation when it is made and a page when it is taken, and either
//! can be refused.

pub(crate) mod claim;
pub(crate) mod file;
mod indices;
pub(crate) mod map;
mod page;
pub(crate) mod quota;
mod tables;

pub(crate) use claim::Claim;
pub(crate) use file::HugeFile;
pub(crate) use quota::Quota;
pub(crate) use tables::Writing;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use vmcg_abi::call::huge;
use vmcg_abi::frame::{FrameEntry, FrameKind};

use super::frames::Frames;
use crate::errno::Errno;
use crate::host;
use crate::number::Gfn;

/// A size of huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HugeSize {
    /// 2 MiB, the default.
    Mb2,
    /// 1 GiB.
    Gb1,
}

impl HugeSize {
    /// Every size, smallest first.
    pub(crate) const ALL: [Self; 2] = [Self::Mb2, Self::Gb1];

    /// Bytes of a page.
    pub(crate) const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// Frames of a page.
    pub(crate) const fn frames(self) -> u64 {
        self.bytes() / vmcg_abi::layout::PAGE_SIZE
    }

    /// The logarithm of its bytes.
    const fn shift(self) -> u32 {
        match self {
            Self::Mb2 => 21,
            Self::Gb1 => 30,
        }
    }

    /// The size that a program asks for by its logarithm; 0 is the default.
    pub(crate) fn from_shift(shift: u32) -> Option<Self> {
        match shift {
            0 => Some(Self::Mb2),
            shift => Self::ALL.into_iter().find(|size| size.shift() == shift),
        }
    }

    /// The size by its number of bytes.
    pub(crate) fn from_bytes(bytes: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.bytes() == bytes)
    }

    /// The size in the contract with the host.
    const fn kind(self) -> u64 {
        match self {
            Self::Mb2 => huge::MB2,
            Self::Gb1 => huge::GB1,
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Mb2 => 0,
            Self::Gb1 => 1,
        }
    }
}

/// Whether a page is taken out of what somebody has reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    /// The taker has reserved it: the reservation is used up.
    Reserved,
    /// It must not be one that others have reserved.
    Spare,
}

/// How many huge pages of one size there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) free: u64,
    /// Of the free ones, those that are reserved.
    pub(crate) reserved: u64,
}

#[derive(Debug)]
struct Pool {
    first: Gfn,
    total: u64,
    /// Free pages by their number in the pool, the next one last.
    free: Vec<u64>,
    reserved: u64,
}

#[derive(Debug)]
struct Inner {
    pools: [Pool; 2],
    last_map: u64,
}

/// A handle to all huge pages; clones are the same set.
#[derive(Debug, Clone)]
pub(crate) struct HugePools {
    frames: Frames,
    inner: Rc<RefCell<Inner>>,
}

impl HugePools {
    /// `counts` pages of each size, one size after the other from `first` on.
    pub(crate) fn new(frames: &Frames, first: Gfn, counts: [u64; 2]) -> Self {
        let mut next = first;
        let pools = HugeSize::ALL.map(|size| {
            let (first, total) = (next, counts[size.place()]);
            next = Gfn(first.0 + total * size.frames());
            Pool { first, total, free: (0..total).rev().collect(), reserved: 0 }
        });
        let inner = Inner { pools, last_map: 0 };
        Self { frames: frames.clone(), inner: Rc::new(RefCell::new(inner)) }
    }

    /// Whether the machine has pages of this size: the default is always known.
    pub(crate) fn knows(&self, size: HugeSize) -> bool {
        size == HugeSize::Mb2 || self.counts(size).total > 0
    }

    /// How many pages there are.
    pub(crate) fn counts(&self, size: HugeSize) -> Counts {
        let pool = &self.inner.borrow().pools[size.place()];
        Counts { total: pool.total, free: pool.free.len() as u64, reserved: pool.reserved }
    }

    /// A number for the host to know a file or a private mapping by.
    pub(crate) fn new_map(&self) -> u64 {
        let mut inner = self.inner.borrow_mut();
        inner.last_map += 1;
        inner.last_map
    }

    /// Sees to it that `count` pages more can be taken later; ENOMEM where there are not so many.
    pub(crate) fn reserve(&self, size: HugeSize, count: u64) -> Result<(), Errno> {
        let pool = &mut self.inner.borrow_mut().pools[size.place()];
        if pool.free.len() as u64 - pool.reserved < count {
            return Err(Errno::ENOMEM);
        }
        pool.reserved += count;
        Ok(())
    }

    /// Gives up reservations that were not used.
    pub(crate) fn unreserve(&self, size: HugeSize, count: u64) {
        let pool = &mut self.inner.borrow_mut().pools[size.place()];
        pool.reserved -= count;
    }

    /// Takes an empty page and has it charged to the running task; ENOMEM where there is none or its
    /// group may not have it, and then nothing has changed.
    pub(crate) fn take(&self, size: HugeSize, taking: Taking) -> Result<Gfn, Errno> {
        let pool = &mut self.inner.borrow_mut().pools[size.place()];
        let spare = pool.free.len() as u64 - pool.reserved;
        if taking == Taking::Spare && spare == 0 {
            return Err(Errno::ENOMEM);
        }
        let number = *pool.free.last().ok_or(Errno::ENOMEM)?;
        let gfn = Gfn(pool.first.0 + number * size.frames());
        host::huge_fault(gfn)?;
        pool.free.pop();
        if taking == Taking::Reserved {
            pool.reserved -= 1;
        }
        self.frames.set_entry(gfn, FrameEntry::new(FrameKind::Huge, 0));
        Ok(gfn)
    }

    /// Gives a page back that nothing points at.
    pub(crate) fn give_back(&self, size: HugeSize, gfn: Gfn) {
        self.frames.set_entry(gfn, FrameEntry::new(FrameKind::Free, 0));
        host::huge_free(gfn);
        let pool = &mut self.inner.borrow_mut().pools[size.place()];
        let number = (gfn.0 - pool.first.0) / size.frames();
        pool.free.push(number);
    }
}
