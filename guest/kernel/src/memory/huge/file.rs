//! Files of huge pages: what shared mappings map, and what private ones start from.
//!
//! A range that somebody has mapped is reserved and charged once, to who mapped it first, whoever maps
//! it later; it stays so until it is truncated, punched out, or the file goes.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::ops::Range;

use super::indices::Indices;
use super::{HugeSize, Quota, Taking};
use crate::errno::Errno;
use crate::number::{Gfn, index};
use crate::{host, physical};

/// The pages of a file.
#[derive(Debug)]
pub(crate) struct HugeFile {
    quota: Rc<Quota>,
    /// Its number with the host.
    map: u64,
    pages: RefCell<BTreeMap<u64, Gfn>>,
    /// Pages that are reserved, those in use included.
    reserved: RefCell<Indices>,
}

impl HugeFile {
    /// A file without pages.
    pub(crate) fn new(quota: &Rc<Quota>) -> Self {
        Self {
            quota: quota.clone(),
            map: quota.pools().new_map(),
            pages: RefCell::default(),
            reserved: RefCell::default(),
        }
    }

    /// Size of its pages.
    pub(crate) fn size(&self) -> HugeSize {
        self.quota.size
    }

    /// What its pages count against.
    pub(crate) fn quota(&self) -> &Rc<Quota> {
        &self.quota
    }

    /// Pages it has.
    pub(crate) fn page_count(&self) -> u64 {
        self.pages.borrow().len() as u64
    }

    /// A page if it is there already.
    pub(crate) fn cached(&self, page: u64) -> Option<Gfn> {
        self.pages.borrow().get(&page).copied()
    }

    /// Reserves those pages of a range that are not yet, and charges them to the running task; ENOMEM
    /// where that is refused, and then nothing has changed.
    pub(crate) fn reserve(&self, range: &Range<u64>) -> Result<(), Errno> {
        let missing = range.end - range.start - self.reserved.borrow().count(range);
        if missing == 0 {
            return Ok(());
        }
        self.quota.reserve(missing)?;
        if let Err(errno) = host::huge_reserve(self.map, self.size().kind(), range) {
            self.quota.unreserve(missing);
            return Err(errno);
        }
        self.reserved.borrow_mut().insert(range);
        Ok(())
    }

    /// A page of the file, made if need be; ENOMEM where that is refused.
    pub(crate) fn page(&self, page: u64) -> Result<Gfn, Errno> {
        if let Some(gfn) = self.cached(page) {
            return Ok(gfn);
        }
        let alone = page..page + 1;
        let gfn = if self.reserved.borrow().contains(page) {
            self.quota.take(Taking::Reserved)?
        } else {
            // Nothing was reserved (MAP_NORESERVE, fallocate): it is paid for now.
            host::huge_reserve(self.map, self.size().kind(), &alone)?;
            let taken = self.quota.take(Taking::Spare);
            taken.inspect_err(|_| host::huge_release(self.map, &alone))?
        };
        self.reserved.borrow_mut().insert(&alone);
        self.pages.borrow_mut().insert(page, gfn);
        Ok(gfn)
    }

    /// Gives up a range: pages, reservations and charges. Nothing maps the pages any more.
    pub(crate) fn drop_range(&self, range: &Range<u64>) {
        let mut pages = self.pages.borrow_mut();
        let mut unused = self.reserved.borrow_mut().remove(range);
        while let Some((&page, &gfn)) = pages.range(range.clone()).next() {
            pages.remove(&page);
            self.quota.give_back(gfn);
            unused -= 1;
        }
        self.quota.unreserve(unused);
        host::huge_release(self.map, range);
    }

    /// Copies from the file, which ends at `end`; pages that are not there read as zeros.
    pub(crate) fn read(&self, end: u64, offset: u64, into: &mut [u8]) -> usize {
        let len = index(end.saturating_sub(offset)).min(into.len());
        let size = self.size().bytes();
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let piece = index(size - at % size).min(len - done);
            let part = &mut into[done..done + piece];
            match self.cached(at / size) {
                Some(gfn) => physical::read(gfn.gpa() + at % size, part),
                None => part.fill(0),
            }
            done += piece;
        }
        len
    }

    /// Zeros the part of a range of bytes that its page has, if it is there.
    pub(crate) fn zero(&self, range: Range<u64>) {
        let size = self.size().bytes();
        if range.start < range.end
            && let Some(gfn) = self.cached(range.start / size)
        {
            physical::zero(gfn.gpa() + range.start % size, index(range.end - range.start));
        }
    }
}

impl Drop for HugeFile {
    fn drop(&mut self) {
        self.drop_range(&(0..u64::MAX));
    }
}
