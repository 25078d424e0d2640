//! What backs the part of guest memory that is set aside for huge pages: huge pages of the host where
//! it has as many free, else what backs all other memory.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{FallocateFlags, MemfdFlags};
use rustix::mm::{MapFlags, ProtFlags};
use vm_memory::{FileOffset, MmapRegion};
use vmcg_abi::layout::PAGE_SIZE;

/// What backs the guest's huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backing {
    /// Huge pages that the host has set aside.
    Hugetlb,
    /// Small pages that the host may make huge when it gets to it.
    Transparent,
    /// Small pages.
    Plain,
}

impl Backing {
    /// The name in `vmcg stat`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hugetlb => "hugetlb",
            Self::Transparent => "transparent",
            Self::Plain => "plain",
        }
    }
}

/// A file of huge pages of the host, as long as the frames that it backs.
#[derive(Debug)]
pub(crate) struct HugeFile {
    file: File,
    frames: Range<u64>,
}

impl HugeFile {
    /// Reserves huge pages of the host for all of `frames`, and maps them.
    ///
    /// # Errors
    /// The host's, mostly for want of free huge pages; none is taken then.
    pub(crate) fn reserve(frames: Range<u64>) -> io::Result<(Self, MmapRegion<()>)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        let file = File::from(rustix::fs::memfd_create("vmcg-huge", flags)?);
        let bytes = (frames.end - frames.start) * PAGE_SIZE;
        file.set_len(bytes)?;
        let this = Self { file, frames };
        let map = this.map(0, bytes, ProtFlags::READ | ProtFlags::WRITE)?;
        Ok((this, map))
    }

    /// Whether a frame is one of the file's.
    pub(crate) fn contains(&self, gfn: u64) -> bool {
        self.frames.contains(&gfn)
    }

    /// Gives whole huge pages of the guest pages of the host, full of zeros.
    ///
    /// # Errors
    /// The host's; part of them may be there then.
    pub(crate) fn fill(&self, frames: &Range<u64>) -> io::Result<()> {
        let (start, len) = self.place(frames);
        Ok(rustix::fs::fallocate(&self.file, FallocateFlags::empty(), start, len)?)
    }

    /// Gives the pages of whole huge pages back, and reserves others in their place.
    ///
    /// # Errors
    /// When the host refuses the hole punch.
    pub(crate) fn punch(&self, frames: &Range<u64>) -> io::Result<()> {
        let (start, len) = self.place(frames);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&self.file, flags, start, len)?;
        // A hole has no reservation; mapping it makes one, which stays when the mapping goes.
        if let Err(why) = self.map(start, len, ProtFlags::READ) {
            log::warn!("the host has lent the pages of a freed huge page to others: {why}");
        }
        Ok(())
    }

    /// Pages of 4 KiB that the host holds for the file.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn resident_pages(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.blocks() * 512 / PAGE_SIZE)
    }

    /// Maps a part of the file, which reserves what is not reserved yet.
    fn map(&self, start: u64, len: u64, rights: ProtFlags) -> io::Result<MmapRegion<()>> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let bits = |bits: u32| i32::try_from(bits).map_err(io::Error::other);
        let file = FileOffset::new(self.file.try_clone()?, start);
        let (rights, flags) = (bits(rights.bits())?, bits(MapFlags::SHARED.bits())?);
        MmapRegion::build(Some(file), len, rights, flags).map_err(io::Error::other)
    }

    fn place(&self, frames: &Range<u64>) -> (u64, u64) {
        let bytes = (frames.end - frames.start) * PAGE_SIZE;
        ((frames.start - self.frames.start) * PAGE_SIZE, bytes)
    }
}

/// Whether the host makes memory of this kind huge when it is asked to.
pub(crate) fn host_has_transparent() -> bool {
    std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
        .is_ok_and(|text| !text.contains("[never]") && !text.contains("[deny]"))
}
