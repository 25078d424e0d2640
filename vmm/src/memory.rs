//! Guest memory: one memfd, mapped shared, of which the host knows which frames are backed. Where the
//! host has huge pages free, those of the guest are in a second one (`huge/backing.rs`).
//!
//! Nothing outside this file touches guest memory. Reads and writes go through `vm-memory`, which
//! checks bounds; which frames have a host page is known ([`backed`]): [`crate::fault`] says so when
//! it installs a page, and [`GuestMemory::punch`] when it gives one back. Readers that must not fault
//! (the page-table walker, the accounting) ask first whether a page is mapped; pages are copied out
//! through the memfd.

mod backed;
mod smaps;
mod table;

use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use memcg::Gfn;
use rustix::fs::{FallocateFlags, MemfdFlags};
use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemoryBackend as _, GuestMemoryMmap,
    GuestMemoryRegion as _, GuestRegionMmap, MmapRegion, VolatileMemory, VolatileSlice,
};
use vmcg_abi::layout::{PAGE_SIZE, SHARED_GPA};

use crate::error::MachineError;
use crate::huge::backing::{Backing, HugeFile};
use backed::Backed;
pub(crate) use table::FrameTable;

/// A range of guest memory that does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("guest address {gpa:#x}, length {len:#x}, is outside guest memory")]
pub(crate) struct BadRange {
    /// First guest-physical address of the range.
    pub gpa: u64,
    /// Bytes of the range.
    pub len: u64,
}

/// The memory of the guest.
#[derive(Debug)]
pub(crate) struct GuestMemory {
    map: GuestMemoryMmap<()>,
    file: File,
    bytes: u64,
    backed: Backed,
    huge: Option<HugeFile>,
    backing: Backing,
}

/// A part of guest memory that the host maps in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// First guest-physical address.
    pub gpa: u64,
    /// Its host address.
    pub host: u64,
    /// Bytes.
    pub len: u64,
    /// Whether it is huge pages of the host.
    pub is_huge: bool,
}

impl GuestMemory {
    /// Makes guest memory of `bytes`, a multiple of the page size, none of it backed.
    ///
    /// # Errors
    /// When the kernel refuses the memfd or the mapping; nothing is left behind.
    pub(crate) fn new(bytes: u64) -> Result<Self, MachineError> {
        let fail = |why: String| MachineError::Memory { bytes, why };
        let fd = rustix::fs::memfd_create("vmcg-guest", MemfdFlags::CLOEXEC)
            .map_err(|e| fail(e.to_string()))?;
        let file = File::from(fd);
        file.set_len(bytes).map_err(|e| fail(e.to_string()))?;
        let mapped = file.try_clone().map_err(|e| fail(e.to_string()))?;
        let len = usize::try_from(bytes).map_err(|e| fail(e.to_string()))?;
        let map = GuestMemoryMmap::from_ranges_with_files([(
            GuestAddress(0),
            len,
            Some(FileOffset::new(mapped, 0)),
        )])
        .map_err(|e| fail(e.to_string()))?;
        let backed = Backed::new(bytes / PAGE_SIZE);
        Ok(Self { map, file, bytes, backed, huge: None, backing: Backing::Plain })
    }

    /// Sets `frames` aside for huge pages and puts some of the host behind them, if it has as many
    /// free. Before anything else is done with the memory: it lies elsewhere then.
    pub(crate) fn back_by_huge(&mut self, frames: &Range<u64>) {
        if frames.is_empty() {
            return;
        }
        self.backed.set_aside(frames.clone());
        match self.try_back_by_huge(frames) {
            Ok(()) => self.backing = Backing::Hugetlb,
            Err(why) => log::info!("no huge pages of the host for those of the guest: {why}"),
        }
    }

    fn try_back_by_huge(&mut self, frames: &Range<u64>) -> std::io::Result<()> {
        use std::io::Error;
        let (huge, pool) = HugeFile::reserve(frames.clone())?;
        let (start, end) = (frames.start * PAGE_SIZE, frames.end * PAGE_SIZE);
        let mut regions = vec![region(pool, start)?];
        for part in [0..start, end..self.bytes] {
            if !part.is_empty() {
                let file = FileOffset::new(self.file.try_clone()?, part.start);
                let len = usize::try_from(part.end - part.start).map_err(Error::other)?;
                let map = MmapRegion::from_file(file, len).map_err(Error::other)?;
                regions.push(region(map, part.start)?);
            }
        }
        regions.sort_by_key(|region| region.start_addr());
        self.map = GuestMemoryMmap::from_regions(regions).map_err(Error::other)?;
        self.huge = Some(huge);
        Ok(())
    }

    /// What is behind the huge pages of the guest.
    pub(crate) fn backing(&self) -> Backing {
        self.backing
    }

    /// Notes that the host was asked to make the pages behind huge pages huge.
    pub(crate) fn note_transparent(&mut self) {
        self.backing = Backing::Transparent;
    }

    /// The file of huge pages that a frame is in, if it is in one.
    pub(crate) fn huge_file(&self, gfn: u64) -> Option<&HugeFile> {
        self.huge.as_ref().filter(|huge| huge.contains(gfn))
    }

    /// The pieces that the host maps guest memory in, by address.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let span = |region: &GuestRegionMmap<()>| {
            let gpa = region.start_addr().0;
            let is_huge = self.huge_file(gpa / PAGE_SIZE).is_some();
            Span { gpa, host: region.as_ptr() as u64, len: region.len(), is_huge }
        };
        self.map.iter().map(span).collect()
    }

    /// Bytes of guest memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of frames.
    pub(crate) fn frames(&self) -> u64 {
        self.bytes / PAGE_SIZE
    }

    /// Host address of a frame.
    ///
    /// # Panics
    /// When there is no such frame.
    pub(crate) fn host_address(&self, gfn: u64) -> u64 {
        let address = self.map.get_host_address(GuestAddress(gfn * PAGE_SIZE));
        address.expect("the frame is one of guest memory") as u64
    }

    /// The frame at a host address.
    pub(crate) fn frame_at(&self, host: u64) -> Option<Gfn> {
        let inside = |region: &&GuestRegionMmap<()>| {
            host.checked_sub(region.as_ptr() as u64).is_some_and(|at| at < region.len())
        };
        let region = self.map.iter().find(inside)?;
        let gpa = region.start_addr().0 + (host - region.as_ptr() as u64);
        Some(Gfn::new(gpa / PAGE_SIZE))
    }

    /// True when the host has a page for `gfn`.
    pub(crate) fn is_backed(&self, gfn: Gfn) -> bool {
        self.backed.has(gfn)
    }

    /// How many frames from `gfn` on, at most `max`, the host has pages for, one after the other.
    pub(crate) fn backed_run(&self, gfn: Gfn, max: u64) -> u64 {
        self.backed.run(gfn, max)
    }

    /// True when the host has a page for `gfn` that can be read without a fault.
    pub(crate) fn is_mapped(&self, gfn: Gfn) -> bool {
        self.backed.is_mapped(gfn)
    }

    /// Records that `gfn` has a host page now, and that it is mapped.
    pub(crate) fn set_backed(&self, gfn: Gfn) {
        self.backed.set(gfn);
    }

    /// Records that the host page of `gfn` is not mapped any more. Call it before that is so.
    pub(crate) fn set_unmapped(&self, gfn: Gfn) {
        self.backed.set_unmapped(gfn);
    }

    /// Number of frames the host has a page for.
    pub(crate) fn backed_count(&self) -> u64 {
        self.backed.count()
    }

    /// How many of them are not part of huge pages.
    pub(crate) fn small_count(&self) -> u64 {
        self.backed.small_count()
    }

    /// The most there have been of these at once.
    pub(crate) fn small_peak(&self) -> u64 {
        self.backed.small_peak()
    }

    /// Copies the page of `gfn` as it is in the memfd, mapped or not; zeros where there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn copy_page(&self, gfn: Gfn, into: &mut [u8]) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, into, gfn.get() * PAGE_SIZE)
    }

    /// Pages of guest memory that the host really holds, by the file system's own count.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn resident_pages(&self) -> std::io::Result<u64> {
        let huge = self.huge.as_ref().map_or(Ok(0), HugeFile::resident_pages)?;
        let blocks = std::os::unix::fs::MetadataExt::blocks(&self.file.metadata()?);
        Ok(blocks * 512 / PAGE_SIZE + huge)
    }

    /// Gives the host pages of `frames` back; they read as zero and fault again.
    ///
    /// # Errors
    /// When the kernel refuses the hole punch; the frames then still count as backed.
    pub(crate) fn punch(&self, frames: Range<u64>) -> std::io::Result<()> {
        if let Some(huge) = self.huge_file(frames.start) {
            huge.punch(&frames)?;
        } else {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let (start, end) = (frames.start * PAGE_SIZE, frames.end * PAGE_SIZE);
            rustix::fs::fallocate(&self.file, flags, start, end - start)?;
        }
        frames.map(Gfn::new).for_each(|gfn| self.backed.clear(gfn));
        Ok(())
    }

    /// Reads word `index` of the shared or boot page at `page_gpa`.
    ///
    /// # Panics
    /// When the word is outside guest memory; pages of words lie at its start.
    pub(crate) fn word(&self, page_gpa: u64, index: usize) -> u64 {
        self.map
            .load(word_address(page_gpa, index), Ordering::Acquire)
            .expect("pages of words lie within guest memory")
    }

    /// Writes word `index` of the page at `page_gpa`.
    ///
    /// # Panics
    /// When the word is outside guest memory; pages of words lie at its start.
    pub(crate) fn set_word(&self, page_gpa: u64, index: usize, value: u64) {
        self.map
            .store(value, word_address(page_gpa, index), Ordering::Release)
            .expect("pages of words lie within guest memory");
    }

    /// Reads word `index` of the shared page.
    pub(crate) fn shared(&self, index: usize) -> u64 {
        self.word(SHARED_GPA, index)
    }

    /// Writes word `index` of the shared page.
    pub(crate) fn set_shared(&self, index: usize, value: u64) {
        self.set_word(SHARED_GPA, index, value);
    }

    /// Replaces word `index` of the shared page at once; returns what it was.
    ///
    /// # Panics
    /// When the shared page is outside guest memory: it lies at its start.
    pub(crate) fn swap_shared(&self, index: usize, value: u64) -> u64 {
        let slice = self.slice(SHARED_GPA, PAGE_SIZE).expect("the shared page is guest memory");
        let word = slice.get_atomic_ref::<AtomicU64>(index * 8).expect("a word of the page");
        word.swap(value, Ordering::AcqRel)
    }

    /// Sets a word of the shared page to `value` if it is `before`, at once.
    ///
    /// # Panics
    /// As for [`GuestMemory::swap_shared`].
    pub(crate) fn replace_shared(&self, index: usize, before: u64, value: u64) -> bool {
        let slice = self.slice(SHARED_GPA, PAGE_SIZE).expect("the shared page is guest memory");
        let word = slice.get_atomic_ref::<AtomicU64>(index * 8).expect("a word of the page");
        word.compare_exchange(before, value, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Fills `bytes` from guest memory at `gpa`. Frames that are not backed fault.
    ///
    /// # Errors
    /// [`BadRange`] when the range is not all guest memory.
    pub(crate) fn read(&self, gpa: u64, bytes: &mut [u8]) -> Result<(), BadRange> {
        let len = bytes.len() as u64;
        self.map.read_slice(bytes, GuestAddress(gpa)).map_err(|_| BadRange { gpa, len })
    }

    /// Copies `bytes` into guest memory at `gpa`. Frames that are not backed fault.
    ///
    /// # Errors
    /// [`BadRange`] when the range is not all guest memory; part may have been written.
    pub(crate) fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), BadRange> {
        let len = bytes.len() as u64;
        self.map.write_slice(bytes, GuestAddress(gpa)).map_err(|_| BadRange { gpa, len })
    }

    /// A view of `len` bytes at `gpa` for reading many words of it without repeated look-ups.
    ///
    /// # Errors
    /// [`BadRange`] when the range is not all guest memory.
    pub(crate) fn slice(&self, gpa: u64, len: u64) -> Result<VolatileSlice<'_>, BadRange> {
        let bad = BadRange { gpa, len };
        let Ok(count) = usize::try_from(len) else { return Err(bad) };
        self.map.get_slice(GuestAddress(gpa), count).map_err(|_| bad)
    }

    /// The memory as `vm-memory` knows it, for the loader.
    pub(crate) fn map(&self) -> &GuestMemoryMmap<()> {
        &self.map
    }
}

/// A mapping as the part of guest memory that starts at `gpa`.
fn region(map: MmapRegion<()>, gpa: u64) -> std::io::Result<GuestRegionMmap<()>> {
    let why = || std::io::Error::other("the end of guest memory is out of reach");
    GuestRegionMmap::new(map, GuestAddress(gpa)).ok_or_else(why)
}

fn word_address(page_gpa: u64, index: usize) -> GuestAddress {
    GuestAddress(page_gpa + 8 * index as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_memory_reads_zero_and_is_not_backed() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let mut bytes = [1; 16];
        memory.read(0x8000, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 16]);
        assert_eq!(memory.backed_count(), 0);
    }

    #[test]
    fn a_punched_frame_reads_zero_again() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        memory.write(0x3000, b"frame three").unwrap();
        memory.set_backed(Gfn::new(3));
        assert!(memory.is_backed(Gfn::new(3)));
        memory.punch(3..4).unwrap();
        let mut bytes = [1; 11];
        memory.read(0x3000, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 11]);
        assert!(!memory.is_backed(Gfn::new(3)));
    }

    #[test]
    fn entries_that_look_the_same_are_counted_within_a_page_of_the_table() {
        let memory = GuestMemory::new(4 << 20).unwrap();
        memory.set_backed(Gfn::new(0));
        let table = memory.frame_table(0).unwrap();
        let entries = table.entries().unwrap();
        let anon = vmcg_abi::frame::FrameEntry::new(vmcg_abi::frame::FrameKind::Anon, 1);
        (10..20).for_each(|index| memory.set_word(0, index, anon.0));
        assert_eq!(entries.alike(Gfn::new(10), 100), Some((anon, 10)));
        assert_eq!(entries.alike(Gfn::new(15), 2), Some((anon, 2)));
        assert_eq!(entries.alike(Gfn::new(20), 1000).map(|(_, same)| same), Some(492));
        assert_eq!(entries.alike(Gfn::new(600), 1), None, "nobody has touched that page");
        assert_eq!(entries.alike(Gfn::new(u64::MAX), u64::MAX), None);
    }

    #[test]
    fn ranges_outside_guest_memory_are_refused() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let bad = BadRange { gpa: (1 << 20) - 4, len: 8 };
        assert_eq!(memory.read(bad.gpa, &mut [0; 8]), Err(bad));
        assert!(memory.write(u64::MAX, &[0]).is_err());
        assert!(memory.slice(0, u64::MAX).is_err());
        assert!(!memory.is_backed(Gfn::new(u64::MAX)));
        assert!(memory.frame_table(u64::MAX).is_none());
        assert!(memory.frame_table(0).unwrap().entry(Gfn::new(u64::MAX)).is_none());
    }
}
