//! Objects: pages that several mappings and descriptors share - the page cache of a file of the
//! host, or memory that exists for itself (tmpfs files, shared anonymous memory).
//!
//! A page an object gives up while tasks still map it becomes theirs: it turns anonymous and goes
//! with its last mapping. Truncation unmaps pages before it comes to that ([`super::truncate`]).

use alloc::collections::BTreeMap;
use core::cell::{Cell, RefCell};
use core::ops::Range;

use vmcg_abi::frame::{FrameEntry, FrameKind};
use vmcg_abi::layout::PAGE_SIZE;

use super::frames::{Frames, RUN_MAX};
use super::huge::HugeFile;
use crate::errno::Errno;
use crate::number::{Gfn, PAGE_LEN, index};
use crate::{host, physical};

/// Where an object's pages come from.
#[derive(Debug)]
enum Source {
    /// They start as zeros.
    Zero,
    /// The same, and they count against what files in memory may have.
    Tmpfs,
    /// A file of the share, by the host's handle.
    File(u64),
    /// They are huge.
    Huge(HugeFile),
}

/// Pages that are shared.
#[derive(Debug)]
pub(crate) struct Object {
    frames: Frames,
    source: Source,
    size: Cell<u64>,
    pages: RefCell<BTreeMap<u64, Gfn>>,
}

impl Object {
    /// Memory of `size` bytes that starts as zeros.
    pub(crate) fn new_shmem(frames: &Frames, size: u64) -> Self {
        Self::new(frames, Source::Zero, size)
    }

    /// A file in memory, still empty.
    pub(crate) fn new_tmpfs(frames: &Frames) -> Self {
        Self::new(frames, Source::Tmpfs, 0)
    }

    /// The page cache of a file of the share; the object closes the handle when it is dropped.
    pub(crate) fn new_file(frames: &Frames, handle: u64, size: u64) -> Self {
        Self::new(frames, Source::File(handle), size)
    }

    /// A file of huge pages.
    pub(crate) fn new_huge(frames: &Frames, file: HugeFile, size: u64) -> Self {
        Self::new(frames, Source::Huge(file), size)
    }

    fn new(frames: &Frames, source: Source, size: u64) -> Self {
        let pages = RefCell::new(BTreeMap::new());
        Self { frames: frames.clone(), source, size: Cell::new(size), pages }
    }

    /// Length in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size.get()
    }

    /// Whether it is memory of its own, not a file of the host.
    pub(crate) fn is_shmem(&self) -> bool {
        matches!(self.source, Source::Zero | Source::Tmpfs)
    }

    /// Its huge pages, if it has such.
    pub(crate) fn huge(&self) -> Option<&HugeFile> {
        match &self.source {
            Source::Huge(file) => Some(file),
            Source::Zero | Source::Tmpfs | Source::File(_) => None,
        }
    }

    /// Frames it holds.
    pub(crate) fn page_count(&self) -> u64 {
        let huge = self.huge().map_or(0, |file| file.page_count() * file.size().frames());
        huge + self.pages.borrow().len() as u64
    }

    /// A number no other living object has.
    pub(crate) fn id(&self) -> u64 {
        core::ptr::from_ref(self).expose_provenance() as u64
    }

    /// The frame of a page if it is there already.
    pub(crate) fn cached(&self, page: u64) -> Option<Gfn> {
        self.pages.borrow().get(&page).copied()
    }

    /// The frame of a page, made or read if need be.
    ///
    /// Fails with ENXIO beyond the end (a mapping's SIGBUS), ENOMEM, or what the host's read said.
    pub(crate) fn page(&self, page: u64) -> Result<Gfn, Errno> {
        if page >= self.size.get().div_ceil(PAGE_SIZE) {
            return Err(Errno::ENXIO);
        }
        if let Some(gfn) = self.cached(page) {
            return Ok(gfn);
        }
        match self.source {
            Source::Zero => {
                self.add(page, self.frames.allocate(FrameKind::Shmem).ok_or(Errno::ENOMEM)?)
            }
            Source::Tmpfs => self.add(page, self.frames.allocate_in_file().ok_or(Errno::ENOSPC)?),
            Source::File(handle) => self.read_around(handle, page),
            // Huge areas have a way of their own; nothing else takes single frames of them.
            Source::Huge(_) => Err(Errno::ENXIO),
        }
    }

    fn add(&self, page: u64, gfn: Gfn) -> Result<Gfn, Errno> {
        self.pages.borrow_mut().insert(page, gfn);
        Ok(gfn)
    }

    /// Reads a page and, where that takes no second call, its neighbours from there on.
    fn read_around(&self, handle: u64, page: u64) -> Result<Gfn, Errno> {
        let pages_end = self.size.get().div_ceil(PAGE_SIZE);
        let window_end = (page / RUN_MAX as u64 + 1) * RUN_MAX as u64;
        let end = window_end.min(pages_end);
        let missing = (page..end).take_while(|page| self.cached(*page).is_none()).count();
        let run = self.frames.allocate_run(missing, FrameKind::File);
        let (first, count) = match run {
            Some(first) => (first, missing as u64),
            None => (self.allocate_cache().ok_or(Errno::ENOMEM)?, 1),
        };
        let read = host::file_read(handle, page * PAGE_SIZE, first.gpa(), count * PAGE_SIZE);
        if let Err(errno) = read {
            (0..count).for_each(|offset| self.frames.release(Gfn(first.0 + offset)));
            return Err(errno);
        }
        let mut pages = self.pages.borrow_mut();
        for offset in 0..count {
            pages.insert(page + offset, Gfn(first.0 + offset));
        }
        Ok(first)
    }

    /// A frame for a page of the file, if need be one that another page of it had.
    fn allocate_cache(&self) -> Option<Gfn> {
        self.frames.allocate(FrameKind::File).or_else(|| {
            self.forget_unmapped();
            self.frames.allocate(FrameKind::File)
        })
    }

    /// Gives up the pages of a file that nobody maps or has locked: they can be read again.
    pub(crate) fn forget_unmapped(&self) {
        if !matches!(self.source, Source::File(_)) {
            return;
        }
        self.pages.borrow_mut().retain(|_, gfn| {
            let entry = self.frames.entry(*gfn);
            let stays = entry.mapcount() > 0 || entry.flags() & FrameEntry::LOCKED != 0;
            if !stays {
                self.frames.release(*gfn);
            }
            stays
        });
    }

    /// Copies from the object; answers the bytes copied, fewer at its end.
    pub(crate) fn read(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        if let Some(file) = self.huge() {
            return Ok(file.read(self.size.get(), offset, into));
        }
        let len = index(self.size.get().saturating_sub(offset)).min(into.len());
        let mut done = 0;
        while done < len {
            let (gpa, room) = self.piece(offset + done as u64)?;
            let piece = room.min(len - done);
            physical::read(gpa, &mut into[done..done + piece]);
            done += piece;
        }
        Ok(done)
    }

    /// Copies into the object, which must be memory; it grows as needed.
    pub(crate) fn write(&self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let end = offset.checked_add(from.len() as u64).ok_or(Errno::EFBIG)?;
        let old_size = self.size.get();
        self.size.set(old_size.max(end));
        let mut done = 0;
        while done < from.len() {
            let Ok((gpa, room)) = self.piece(offset + done as u64) else {
                self.size.set(old_size.max(offset + done as u64));
                return if done == 0 { Err(Errno::ENOSPC) } else { Ok(done) };
            };
            let piece = room.min(from.len() - done);
            physical::write(gpa, &from[done..done + piece]);
            done += piece;
        }
        Ok(done)
    }

    /// Where a byte lies, and how many follow it in the same frame.
    pub(crate) fn piece(&self, offset: u64) -> Result<(u64, usize), Errno> {
        let within = offset % PAGE_SIZE;
        let gfn = self.page(offset / PAGE_SIZE)?;
        Ok((gfn.gpa() + within, PAGE_LEN - index(within)))
    }

    /// Sets the length; what lies beyond is dropped, what is new reads as zeros.
    pub(crate) fn set_size(&self, size: u64) {
        let old_size = self.size.replace(size);
        if size >= old_size {
            return;
        }
        self.drop_pages(size.div_ceil(PAGE_SIZE)..u64::MAX);
        let within = size % PAGE_SIZE;
        if within != 0
            && let Some(gfn) = self.cached(size / PAGE_SIZE)
        {
            physical::zero(gfn.gpa() + within, PAGE_LEN - index(within));
        }
    }

    /// Makes a range of bytes read as zeros; whole pages are given back.
    pub(crate) fn punch(&self, range: Range<u64>) {
        let whole = range.start.div_ceil(PAGE_SIZE)..range.end / PAGE_SIZE;
        for edge in [
            range.start..range.end.min(whole.start * PAGE_SIZE),
            range.start.max(whole.end * PAGE_SIZE)..range.end,
        ] {
            if edge.start < edge.end
                && let Some(gfn) = self.cached(edge.start / PAGE_SIZE)
            {
                let len = index(edge.end - edge.start);
                physical::zero(gfn.gpa() + edge.start % PAGE_SIZE, len);
            }
        }
        if whole.start < whole.end {
            self.drop_pages(whole);
        }
    }

    /// Gives up the frames of a range of pages.
    fn drop_pages(&self, range: Range<u64>) {
        let mut pages = self.pages.borrow_mut();
        let mut dropped = pages.split_off(&range.start);
        let mut kept = dropped.split_off(&range.end);
        pages.append(&mut kept);
        if matches!(self.source, Source::Tmpfs) {
            self.frames.left_file(dropped.len() as u64);
        }
        for gfn in dropped.into_values() {
            let mapcount = self.frames.entry(gfn).mapcount();
            if mapcount == 0 {
                self.frames.release(gfn);
            } else {
                self.frames.set_entry(gfn, FrameEntry::new(FrameKind::Anon, mapcount));
            }
        }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.drop_pages(0..u64::MAX);
        if let Source::File(handle) = self.source {
            host::file_close(handle);
        }
    }
}
