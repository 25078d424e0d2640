//! What a private mapping of huge pages has reserved and paid for.
//!
//! The parts that a mapping is split into share its claim, each for its own range; a forked child has
//! a claim of its own on nothing, and pays for a page when it gets one.

use alloc::rc::Rc;
use core::cell::RefCell;
use core::ops::Range;

use vmcg_abi::call::huge::PRIVATE;

use super::indices::Indices;
use super::{Quota, Taking};
use crate::errno::Errno;
use crate::host;
use crate::number::Gfn;

/// Whether pages were reserved when the mapping was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// All of them, and paid for.
    Kept,
    /// None: MAP_NORESERVE, or the mapping came by a fork.
    None,
}

/// The claim of a private mapping; its pages are numbered as in the mapped file.
#[derive(Debug)]
pub(crate) struct Claim {
    quota: Rc<Quota>,
    /// Its number with the host.
    map: u64,
    promise: Promise,
    /// Pages that are reserved and not in use.
    reserved: RefCell<Indices>,
}

impl Claim {
    /// A claim on nothing.
    pub(crate) fn empty(quota: &Rc<Quota>) -> Self {
        Self::new(quota, Promise::None)
    }

    fn new(quota: &Rc<Quota>, promise: Promise) -> Self {
        let (quota, map) = (quota.clone(), quota.pools().new_map());
        Self { quota, map, promise, reserved: RefCell::default() }
    }

    /// A claim on a range of pages, which the running task pays for; ENOMEM where that is refused.
    pub(crate) fn reserve(quota: &Rc<Quota>, range: &Range<u64>) -> Result<Self, Errno> {
        let claim = Self::new(quota, Promise::Kept);
        let count = range.end - range.start;
        claim.quota.reserve(count)?;
        if let Err(errno) = claim.charge(range) {
            claim.quota.unreserve(count);
            return Err(errno);
        }
        claim.reserved.borrow_mut().insert(range);
        Ok(claim)
    }

    /// Whether its owner was promised every page.
    pub(crate) fn is_promised(&self) -> bool {
        self.promise == Promise::Kept
    }

    fn charge(&self, range: &Range<u64>) -> Result<u64, Errno> {
        host::huge_reserve(self.map, self.quota.size.kind() | PRIVATE, range)
    }

    /// Takes an empty page for place `page` of the mapping; ENOMEM where that is refused.
    pub(crate) fn take(&self, page: u64) -> Result<Gfn, Errno> {
        let alone = page..page + 1;
        if self.reserved.borrow().contains(page) {
            let gfn = self.quota.take(Taking::Reserved)?;
            self.reserved.borrow_mut().remove(&alone);
            return Ok(gfn);
        }
        let charged = self.charge(&alone)?;
        let taken = self.quota.take(Taking::Spare);
        taken.inspect_err(|_| {
            if charged > 0 {
                host::huge_release(self.map, &alone);
            }
        })
    }

    /// Gives a page back whose place stays mapped: it can be taken again where it was promised.
    pub(crate) fn put(&self, page: u64, gfn: Gfn) {
        let alone = page..page + 1;
        self.quota.give_back(gfn);
        if self.promise == Promise::None {
            host::huge_release(self.map, &alone);
        } else if self.quota.reserve(1).is_ok() {
            self.reserved.borrow_mut().insert(&alone);
        }
    }

    /// Gives up a range that is no longer mapped.
    pub(crate) fn release(&self, range: &Range<u64>) {
        let unused = self.reserved.borrow_mut().remove(range);
        self.quota.unreserve(unused);
        host::huge_release(self.map, range);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release(&(0..u64::MAX));
    }
}
