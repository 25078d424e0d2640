//! The host directory that guest programs see, read-only and confined.
//!
//! Names are looked up below the share's root with `openat2(RESOLVE_IN_ROOT)`: `..` and symbolic
//! links, absolute ones too, end inside. Devices, sockets and pipes of the host are never opened,
//! only described. What was opened is named by a handle from a table of bounded size.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir, SeekFrom, Stat};
use rustix::io::Errno;
use vmcg_abi::call::entry;

mod elsewhere;
mod lookup;

/// Most files a guest may hold open; beyond it a lookup answers ENFILE.
pub const HANDLES_MAX: usize = 16_384;

/// Longest path, in bytes, as `PATH_MAX` without its NUL.
const PATH_BYTES_MAX: usize = 4095;
/// Bytes of directory entries asked from the host at a time.
const READDIR_BYTES: usize = 8192;

/// What the guest is told about a file; the fields of `struct stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    /// Link count.
    pub nlink: u64,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Last modification, seconds since 1970.
    pub mtime_s: i64,
    /// Its nanoseconds.
    pub mtime_ns: u64,
}

/// A read-only view of a directory of the host, with the handles the guest holds.
#[derive(Debug)]
pub struct Share {
    root: OwnedFd,
    // Device of our own mount: a lookup there would wait for a service that waits for the guest.
    excluded: Option<u64>,
    slots: Vec<Option<Arc<OwnedFd>>>,
    free: Vec<usize>,
}

impl Share {
    /// Opens `root` as the directory that the guest will see as `/`.
    ///
    /// # Errors
    /// The system's, when `root` is missing, no directory, or not to be searched by this user.
    pub fn new(root: &Path) -> std::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, root, flags, Mode::empty())?;
        Ok(Self { root, excluded: None, slots: Vec::new(), free: Vec::new() })
    }

    /// Keeps lookups out of the file system with device number `dev` (the machine's own mount).
    pub fn exclude(&mut self, dev: u64) {
        self.excluded = Some(dev);
    }

    /// Where a symbolic link on the way along `path` leads into a tree that the guest has itself, as
    /// a path there. Answers what [`Self::open`] cannot.
    #[must_use]
    pub fn elsewhere(&self, path: &[u8], follow: bool) -> Option<Vec<u8>> {
        elsewhere::find(&self.root, path, follow, self.excluded)
    }

    /// Looks up the absolute `path`; `follow` says whether a symbolic link at its end is followed.
    ///
    /// # Errors
    /// As open(2); ENFILE when the guest holds [`HANDLES_MAX`] handles.
    pub fn open(&mut self, path: &[u8], follow: bool) -> Result<(u64, FileStat), Errno> {
        if path.len() > PATH_BYTES_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        if path.contains(&0) || path.first() != Some(&b'/') {
            return Err(Errno::INVAL);
        }
        let found = lookup::locate(&self.root, path, follow, self.excluded)?;
        let stat = rustix::fs::fstat(&found)?;
        let opened = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => reopen(&found, OFlags::empty())?,
            FileType::Directory => reopen(&found, OFlags::DIRECTORY)?,
            _ => found,
        };
        Ok((self.keep(opened)?, describe(&stat)))
    }

    /// The path of a handle's file without symbolic links; `None` where that cannot be told.
    #[must_use]
    pub fn real_path(&self, handle: u64) -> Option<Vec<u8>> {
        let name_of = |fd: &OwnedFd| {
            let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
            rustix::fs::readlinkat(CWD, link, Vec::new()).map(std::ffi::CString::into_bytes)
        };
        let (root, file) = (name_of(&self.root).ok()?, name_of(self.get(handle).ok()?).ok()?);
        let below = file.strip_prefix(root.strip_suffix(b"/").unwrap_or(&root))?;
        below.starts_with(b"/").then(|| below.to_vec())
    }

    /// Gives a file that was opened elsewhere (a job's program) a handle; returns it and the file's
    /// size in bytes. `None` when the guest holds [`HANDLES_MAX`] handles.
    pub fn insert(&mut self, file: File) -> Option<(u64, u64)> {
        let stat = rustix::fs::fstat(&file).ok()?;
        let handle = self.keep(file.into()).ok()?;
        Some((handle, describe(&stat).size))
    }

    /// Forgets a handle.
    ///
    /// # Errors
    /// EBADF for a handle that is not held.
    pub fn close(&mut self, handle: u64) -> Result<(), Errno> {
        let index = usize::try_from(handle).map_err(|_| Errno::BADF)?;
        let slot = self.slots.get_mut(index).ok_or(Errno::BADF)?;
        slot.take().ok_or(Errno::BADF)?;
        self.free.push(index);
        Ok(())
    }

    /// Describes an open file as it is now.
    ///
    /// # Errors
    /// EBADF for a handle that is not held.
    pub fn stat(&self, handle: u64) -> Result<FileStat, Errno> {
        Ok(describe(&rustix::fs::fstat(self.get(handle)?)?))
    }

    /// Reads at `offset` into `into`; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// EBADF, EISDIR and what pread(2) answers.
    pub fn read_at(&self, handle: u64, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        read_full(self.get(handle)?, offset, into)
    }

    /// The open regular file behind a handle.
    pub(crate) fn regular_file(&self, handle: u64) -> Option<Arc<OwnedFd>> {
        let file = self.get(handle).ok()?;
        let stat = rustix::fs::fstat(file).ok()?;
        let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        is_regular.then(|| Arc::clone(file))
    }

    /// Entries of a directory after `cookie` (0 = from the start), packed as
    /// [`vmcg_abi::call::entry`] says, as many as fit `bytes_max`. Empty at the end.
    ///
    /// # Errors
    /// EBADF, ENOTDIR and what getdents(2) answers; EINVAL when not even one entry fits.
    pub fn readdir(&self, handle: u64, cookie: u64, bytes_max: usize) -> Result<Vec<u8>, Errno> {
        let directory = self.get(handle)?;
        rustix::fs::seek(directory, SeekFrom::Start(cookie))?;
        let mut buffer = Vec::with_capacity(READDIR_BYTES);
        let mut raw = RawDir::new(directory, buffer.spare_capacity_mut());
        let mut packed = Vec::new();
        while let Some(entry) = raw.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let Ok(name_bytes) = u8::try_from(name.len()) else { continue };
            if packed.len() + entry::HEADER_LEN + name.len() > bytes_max {
                return if packed.is_empty() { Err(Errno::INVAL) } else { Ok(packed) };
            }
            packed.extend(entry.ino().to_le_bytes());
            packed.extend(entry.next_entry_cookie().to_le_bytes());
            packed.extend([d_type(entry.file_type()), name_bytes]);
            packed.extend(name);
        }
        Ok(packed)
    }

    /// The target of a symbolic link that was opened without following it.
    ///
    /// # Errors
    /// EBADF, and EINVAL for what is no symbolic link.
    pub fn readlink(&self, handle: u64) -> Result<Vec<u8>, Errno> {
        let link = self.get(handle)?;
        // Linux answers ENOENT for an empty path on anything but a link.
        let target = rustix::fs::readlinkat(link, "", Vec::new());
        target.map(std::ffi::CString::into_bytes).map_err(|error| match error {
            Errno::NOENT => Errno::INVAL,
            other => other,
        })
    }

    fn keep(&mut self, file: OwnedFd) -> Result<u64, Errno> {
        if let Some(index) = self.free.pop() {
            self.slots[index] = Some(Arc::new(file));
            return Ok(index as u64);
        }
        if self.slots.len() == HANDLES_MAX {
            return Err(Errno::NFILE);
        }
        self.slots.push(Some(Arc::new(file)));
        Ok(self.slots.len() as u64 - 1)
    }

    fn get(&self, handle: u64) -> Result<&Arc<OwnedFd>, Errno> {
        let index = usize::try_from(handle).map_err(|_| Errno::BADF)?;
        self.slots.get(index).and_then(Option::as_ref).ok_or(Errno::BADF)
    }
}

/// Reads `into` full from `offset` on; fewer bytes only at the end of the file.
///
/// # Errors
/// What pread(2) answers to the first read.
pub(crate) fn read_full(file: &OwnedFd, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while done < into.len() {
        let at = offset.checked_add(done as u64).ok_or(Errno::INVAL)?;
        match rustix::io::pread(file, &mut into[done..], at) {
            Ok(0) => break,
            Ok(length) => done += length,
            Err(Errno::INTR) => {}
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Opens for reading exactly the file that was found. Never blocks, never takes a terminal.
fn reopen(found: &OwnedFd, extra: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | extra;
    let path = format!("/proc/self/fd/{}", found.as_fd().as_raw_fd());
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

fn describe(stat: &Stat) -> FileStat {
    FileStat {
        dev: stat.st_dev,
        ino: stat.st_ino,
        mode: stat.st_mode,
        nlink: stat.st_nlink,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_s: stat.st_mtime,
        mtime_ns: stat.st_mtime_nsec,
    }
}

/// `d_type` values: Linux v6.12 include/linux/fs_types.h.
fn d_type(kind: FileType) -> u8 {
    match kind {
        FileType::Fifo => 1,
        FileType::CharacterDevice => 2,
        FileType::Directory => 4,
        FileType::BlockDevice => 6,
        FileType::RegularFile => 8,
        FileType::Symlink => 10,
        FileType::Socket => 12,
        FileType::Unknown => 0,
    }
}

#[cfg(test)]
mod tests;
