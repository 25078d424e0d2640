//! What swap is written to: a file of the host without a name.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, OFlags};
use vmcg_abi::layout::PAGE_SIZE;

use super::slots::Slot;

/// Bytes of a page.
pub(crate) const PAGE_LEN: usize = 4096;
const _: () = assert!(PAGE_LEN as u64 == PAGE_SIZE);

/// The content of a page, aligned as direct I/O wants it.
#[derive(Clone)]
#[repr(C, align(4096))]
pub(crate) struct Page(pub(crate) [u8; PAGE_LEN]);

impl Page {
    /// A page of zeros.
    pub(crate) const ZERO: Self = Self([0; PAGE_LEN]);
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

/// Where pages are written to and read from. The file implements it, and so does the failing device
/// of the tests.
pub(crate) trait SwapDevice: std::fmt::Debug + Send {
    /// Writes pages to consecutive slots; returns how many were written whole, one at least.
    ///
    /// # Errors
    /// The device's; the slots may hold anything then.
    fn write(&mut self, first: Slot, pages: &[Page]) -> io::Result<usize>;

    /// Reads consecutive slots; returns how many were read whole, one at least.
    ///
    /// # Errors
    /// The device's; `pages` may hold anything then.
    fn read(&mut self, first: Slot, pages: &mut [Page]) -> io::Result<usize>;

    /// Gives back what `count` slots hold, from `first` on.
    ///
    /// # Errors
    /// The device's.
    fn trim(&mut self, first: Slot, count: u32) -> io::Result<()>;
}

/// A sparse file that has no name any more.
#[derive(Debug)]
pub(crate) struct SwapFile(File);

impl SwapFile {
    /// Makes the file at `path`, of `bytes`, and takes its name away. Pages are written past the
    /// host's page cache where the file system can do that: swap is there to free memory.
    ///
    /// # Errors
    /// The system's, also when something of that name exists; nothing is left behind.
    pub(crate) fn create(path: &Path, bytes: u64) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(path)?;
        let direct = i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0);
        let reopened =
            File::options().read(true).write(true).custom_flags(direct).open(path).unwrap_or(file);
        std::fs::remove_file(path)?;
        reopened.set_len(bytes)?;
        Ok(Self(reopened))
    }
}

impl SwapDevice for SwapFile {
    fn write(&mut self, first: Slot, pages: &[Page]) -> io::Result<usize> {
        let slices: Vec<IoSlice<'_>> = pages.iter().map(|page| IoSlice::new(&page.0)).collect();
        let written = retry(|| rustix::io::pwritev(&self.0, &slices, offset(first)))?;
        whole(written, io::ErrorKind::WriteZero)
    }

    fn read(&mut self, first: Slot, pages: &mut [Page]) -> io::Result<usize> {
        let mut slices: Vec<IoSliceMut<'_>> =
            pages.iter_mut().map(|page| IoSliceMut::new(&mut page.0)).collect();
        let read = retry(|| rustix::io::preadv(&self.0, &mut slices, offset(first)))?;
        whole(read, io::ErrorKind::UnexpectedEof)
    }

    fn trim(&mut self, first: Slot, count: u32) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let len = u64::from(count) * PAGE_SIZE;
        Ok(rustix::fs::fallocate(&self.0, flags, offset(first), len)?)
    }
}

fn offset(slot: Slot) -> u64 {
    u64::from(slot.get()) * PAGE_SIZE
}

/// Makes a system call again for as long as signals interrupt it.
fn retry(mut call: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Whole pages in so many bytes; less than one is a failure.
fn whole(bytes: usize, short: io::ErrorKind) -> io::Result<usize> {
    match bytes / PAGE_LEN {
        0 => Err(short.into()),
        pages => Ok(pages),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_file_has_no_name_and_keeps_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("swap");
        let mut device = SwapFile::create(&path, 16 * PAGE_SIZE).unwrap();
        assert!(!path.exists());
        let pages = [Page([1; PAGE_LEN]), Page([2; PAGE_LEN])];
        assert_eq!(device.write(Slot::new(5), &pages).unwrap(), 2);
        let mut read = vec![Page::ZERO; 3];
        assert_eq!(device.read(Slot::new(4), &mut read).unwrap(), 3);
        let first: Vec<u8> = read.iter().map(|page| page.0[4095]).collect();
        assert_eq!(first, [0, 1, 2]);
        let beyond = device.read(Slot::new(16), &mut read).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_file_that_exists_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        let refused = SwapFile::create(&path, PAGE_SIZE).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
    }
}
