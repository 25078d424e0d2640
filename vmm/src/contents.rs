//! Where the content of a frame can be had, other than from memory: from swap, or from the file of
//! the host that it was read from.
//!
//! A frame keeps its number while its content is away, and the guest notices nothing. Eight bytes a
//! frame, of which those never written are never backed either. All of it is under the accounting
//! lock.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use memcg::Gfn;
use rustix::io::Errno;
use vmcg_abi::layout::PAGE_SIZE;

use crate::share::HANDLES_MAX;
use crate::swap::{Page, Slot, StoreError, Swap};

/// A file that frames were filled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u32);

/// Where a content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    /// Nowhere but in memory, if at all.
    Memory,
    /// It is zeros, and was evicted.
    Zeros,
    /// In a slot of the swap device.
    Swap(Slot),
    /// This page of a file, also while it is in memory.
    File(FileId, u64),
}

/// A home as it is kept: what it is in bits 0-1, number of slot or file in bits 2-33, and for files
/// the page in bits 34-63.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word(u64);

const PAGE_SHIFT: u32 = 34;
/// Pages at and beyond this offset of a file (4 TiB) are not remembered.
const FILE_PAGES_MAX: u64 = 1 << (64 - PAGE_SHIFT);

impl Word {
    fn new(home: Home) -> Self {
        Self(match home {
            Home::Memory => 0,
            Home::Zeros => 1,
            Home::Swap(slot) => 2 | u64::from(slot.get()) << 2,
            Home::File(FileId(file), page) => 3 | u64::from(file) << 2 | page << PAGE_SHIFT,
        })
    }

    fn home(self) -> Home {
        let number = u32::try_from(self.0 >> 2 & u64::from(u32::MAX)).expect("masked to 32 bits");
        match self.0 & 3 {
            0 => Home::Memory,
            1 => Home::Zeros,
            2 => Home::Swap(Slot::new(number)),
            _ => Home::File(FileId(number), self.0 >> PAGE_SHIFT),
        }
    }
}

/// What became of a content that should leave memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stowed {
    /// It is in a slot.
    Slot,
    /// It is zeros: nothing has to be kept.
    Zeros,
    /// There is no swap, or it is full or fails: the content is nowhere else.
    Refused,
}

/// What a frame without a page is to be filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filling {
    /// Zeros.
    Zeros,
    /// What has been read.
    Content,
    /// It cannot be had any more: the device or the file fails.
    Lost,
}

/// Pages that stay after they were touched, however short memory is. The vCPU asks for the pages of an
/// instruction one after the other, six at most (code, source and destination, each across the border
/// of two pages): if one drove out another, it would never get on.
const RECENT_MAX: usize = 8;

/// The homes of all frames.
#[derive(Debug)]
pub(crate) struct Contents {
    /// A [`Word`] each, as plain numbers: of these the system hands out zeros without touching them.
    homes: Vec<u64>,
    /// Frames touched last, in no order.
    recent: [Option<Gfn>; RECENT_MAX],
    /// Which of them is the oldest.
    oldest: usize,
    swap: Option<Swap>,
    files: Files,
}

impl Contents {
    /// Nothing is anywhere but in the memory of so many frames.
    pub(crate) fn new(frames: u64, swap: Option<Swap>) -> Self {
        let frames = usize::try_from(frames).expect("guest memory is mapped");
        let homes = vec![Word::new(Home::Memory).0; frames];
        Self { homes, recent: [None; RECENT_MAX], oldest: 0, swap, files: Files::default() }
    }

    /// The swap, if there is any.
    pub(crate) fn swap(&self) -> Option<&Swap> {
        self.swap.as_ref()
    }

    /// Tells whether the content of a frame is in swap.
    pub(crate) fn is_swapped(&self, gfn: Gfn) -> bool {
        matches!(self.home(gfn), Home::Zeros | Home::Swap(_))
    }

    /// Tells whether the content of a frame, when it has no page, is to be brought from somewhere.
    pub(crate) fn is_away(&self, gfn: Gfn) -> bool {
        self.home(gfn) != Home::Memory
    }

    /// Notes that a frame was touched.
    pub(crate) fn note_touched(&mut self, gfn: Gfn) {
        if !self.is_recent(gfn) {
            self.recent[self.oldest] = Some(gfn);
            self.oldest = (self.oldest + 1) % RECENT_MAX;
        }
    }

    /// Tells whether a frame is one of those touched last.
    pub(crate) fn is_recent(&self, gfn: Gfn) -> bool {
        self.recent.contains(&Some(gfn))
    }

    /// Number of slots that frames name, for the check.
    pub(crate) fn slots_named(&self) -> u64 {
        self.homes.iter().filter(|word| matches!(Word(**word).home(), Home::Swap(_))).count() as u64
    }

    /// Keeps the content of a frame that loses its page in swap.
    pub(crate) fn stow(&mut self, gfn: Gfn, page: &Page) -> Stowed {
        let Some(swap) = &mut self.swap else { return Stowed::Refused };
        if is_zero(page) {
            self.set(gfn, Home::Zeros);
            return Stowed::Zeros;
        }
        match swap.store(page) {
            Ok(slot) => {
                self.set(gfn, Home::Swap(slot));
                Stowed::Slot
            }
            Err(StoreError::Full | StoreError::Failing) => Stowed::Refused,
        }
    }

    /// Tells whether the content of a frame is what its file has: then it need not be kept.
    pub(crate) fn is_clean(&self, gfn: Gfn, page: &Page) -> bool {
        let Home::File(file, at) = self.home(gfn) else { return false };
        let mut read = Page::ZERO;
        self.files.read(file, at, &mut read).is_ok() && read.0 == page.0
    }

    /// Reads what a frame without a page is to be filled with.
    pub(crate) fn fetch(&mut self, gfn: Gfn, into: &mut Page) -> Filling {
        match self.home(gfn) {
            Home::Memory | Home::Zeros => Filling::Zeros,
            Home::Swap(slot) => {
                let loaded = self.swap.as_mut().map(|swap| swap.load(slot, into));
                if matches!(loaded, Some(Ok(()))) { Filling::Content } else { Filling::Lost }
            }
            Home::File(file, page) => match self.files.read(file, page, into) {
                Ok(()) => Filling::Content,
                Err(why) => {
                    log::warn!("cannot read a file into guest memory again: {why}");
                    Filling::Lost
                }
            },
        }
    }

    /// The content of a frame is in memory again: what was in swap is there no more. A file is
    /// remembered.
    pub(crate) fn note_back(&mut self, gfn: Gfn) {
        if self.is_swapped(gfn) {
            self.forget(gfn);
        }
    }

    /// Forgets where the content of a frame is: nobody wants it any more.
    pub(crate) fn forget(&mut self, gfn: Gfn) {
        self.set(gfn, Home::Memory);
    }

    /// Notes that a frame was filled with a page of a file that the guest has open as `handle`.
    pub(crate) fn note_read(&mut self, gfn: Gfn, handle: u64, file: &Arc<OwnedFd>, page: u64) {
        // A page in swap has another content until it is touched, which the read has done.
        self.forget(gfn);
        if page >= FILE_PAGES_MAX {
            return;
        }
        if let Some(file) = self.files.id(handle, file) {
            self.set(gfn, Home::File(file, page));
        }
    }

    fn home(&self, gfn: Gfn) -> Home {
        let word = usize::try_from(gfn.get()).ok().and_then(|index| self.homes.get(index));
        word.map_or(Home::Memory, |word| Word(*word).home())
    }

    /// Changes a home, and gives back what the old one held.
    fn set(&mut self, gfn: Gfn, home: Home) {
        let old = self.home(gfn);
        let Ok(index) = usize::try_from(gfn.get()) else { return };
        let Some(word) = self.homes.get_mut(index) else { return };
        *word = Word::new(home).0;
        if let Home::File(file, _) = home {
            self.files.get(file);
        }
        match old {
            Home::Memory | Home::Zeros => {}
            Home::Swap(slot) => {
                if let Some(swap) = &mut self.swap {
                    swap.discard(slot);
                }
            }
            Home::File(file, _) => self.files.put(file),
        }
    }
}

fn is_zero(page: &Page) -> bool {
    let (words, _) = page.0.as_chunks::<8>();
    words.iter().all(|word| *word == [0; 8])
}

/// Files that frames were filled from, each open as long as a frame names it.
#[derive(Debug, Default)]
struct Files {
    all: Vec<Option<(Arc<OwnedFd>, u64)>>,
    free: Vec<u32>,
    by_handle: HashMap<u64, FileId>,
}

impl Files {
    /// The number of a file; `None` when there are too many to keep them all open.
    fn id(&mut self, handle: u64, file: &Arc<OwnedFd>) -> Option<FileId> {
        if let Some(&id) = self.by_handle.get(&handle)
            && self.entry(id).is_some_and(|(known, _)| Arc::ptr_eq(known, file))
        {
            return Some(id);
        }
        let id = match self.free.pop() {
            Some(number) => number,
            None if self.all.len() >= HANDLES_MAX => return None,
            None => {
                self.all.push(None);
                u32::try_from(self.all.len() - 1).ok()?
            }
        };
        *self.all.get_mut(usize::try_from(id).ok()?)? = Some((Arc::clone(file), 0));
        self.by_handle.insert(handle, FileId(id));
        Some(FileId(id))
    }

    /// Reads a page; what lies behind the end of the file is zeros.
    fn read(&self, id: FileId, page: u64, into: &mut Page) -> Result<(), Errno> {
        let (file, _) = self.entry(id).ok_or(Errno::BADF)?;
        let done = crate::share::read_full(file, page * PAGE_SIZE, &mut into.0)?;
        into.0[done..].fill(0);
        Ok(())
    }

    fn get(&mut self, id: FileId) {
        if let Some((_, frames)) = self.entry_mut(id) {
            *frames += 1;
        }
    }

    fn put(&mut self, id: FileId) {
        let Some((_, frames)) = self.entry_mut(id) else { return };
        *frames = frames.saturating_sub(1);
        if *frames == 0 {
            if let Some(place) = usize::try_from(id.0).ok().and_then(|at| self.all.get_mut(at)) {
                *place = None;
            }
            self.free.push(id.0);
        }
    }

    fn entry(&self, id: FileId) -> Option<&(Arc<OwnedFd>, u64)> {
        self.all.get(usize::try_from(id.0).ok()?)?.as_ref()
    }

    fn entry_mut(&mut self, id: FileId) -> Option<&mut (Arc<OwnedFd>, u64)> {
        self.all.get_mut(usize::try_from(id.0).ok()?)?.as_mut()
    }
}
