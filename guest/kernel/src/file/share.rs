//! Files of the share: a read-only view of a directory of the host.

use alloc::boxed::Box;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;

use super::node::TMPFS_DEV;
use super::uapi::{SECTOR_LEN, Stat};
use crate::errno::Errno;
use crate::host::{self, Follow, HostStat, Opened};
use crate::kernel::Kernel;
use crate::memory::object::Object;

/// A file of the share that was looked up; the host forgets it when it is dropped.
#[derive(Debug)]
pub(crate) struct ShareFile {
    handle: u64,
    host_stat: HostStat,
    /// Its path without symbolic links, where that is another one than it was looked up by.
    real: Option<Box<[u8]>>,
    is_owner: bool,
    /// It shows through a tmpfs, and counts as a file of that.
    is_below: bool,
}

/// The inode number, in a tmpfs, of a file of the share that shows through it. It keeps it when it is
/// copied to be changed; numbers of files the tmpfs makes itself are never that large.
pub(super) const fn ino_below(ino: u64) -> u64 {
    ino | 1 << 62
}

/// Page cache of a file that somebody has open or mapped.
#[derive(Debug)]
pub(crate) struct CachedObject {
    host_stat: HostStat,
    object: Weak<Object>,
}

impl CachedObject {
    /// The pages, if somebody uses them.
    pub(super) fn object(&self) -> Option<Rc<Object>> {
        self.object.upgrade()
    }
}

impl ShareFile {
    /// Looks an absolute path up; where a symbolic link leads into a tree of the guest's own, answers
    /// the path there.
    pub(crate) fn open(path: &[u8], follow: Follow) -> Result<Result<Self, Vec<u8>>, Errno> {
        Ok(match host::file_open(path, follow)? {
            Opened::File(handle, host_stat, real) => {
                Ok(Self { handle, host_stat, real, is_owner: true, is_below: false })
            }
            Opened::Elsewhere(path) => Err(path),
        })
    }

    /// The same for a task, which is charged for the name.
    pub(crate) fn look_up(
        kernel: &Kernel,
        path: &[u8],
        follow: Follow,
    ) -> Result<Result<Self, Vec<u8>>, Errno> {
        let found = Self::open(path, follow);
        let stat = match &found {
            Ok(Ok(file)) => Some(file.host_stat),
            Err(Errno::ENOENT) => None,
            Ok(Err(_)) | Err(_) => return found,
        };
        kernel.frames.kmem().remember(&kernel.frames, path, stat)?;
        found
    }

    /// The file as one that shows through a tmpfs.
    pub(super) fn below_tmpfs(mut self) -> Self {
        self.is_below = true;
        self
    }

    /// The path without symbolic links of what was looked up as `path`.
    pub(crate) fn real_path(&self, path: &[u8]) -> Vec<u8> {
        self.real.as_deref().unwrap_or(path).to_vec()
    }

    /// The host's handle, good for as long as this lives.
    pub(crate) fn handle(&self) -> u64 {
        self.handle
    }

    /// What stat() says.
    pub(crate) fn stat(&self) -> Stat {
        const NS_PER_S: u64 = 1_000_000_000;
        let host = &self.host_stat;
        let (dev, ino) = match self.is_below {
            true => (TMPFS_DEV, ino_below(host.ino)),
            false => (host.dev, host.ino),
        };
        Stat {
            dev,
            ino,
            mode: host.mode,
            nlink: host.nlink,
            owner: host.owner,
            rdev: 0,
            size: host.size,
            blocks: host.size.div_ceil(SECTOR_LEN),
            block_len: 0,
            mtime_ns: host.mtime_s.saturating_mul(NS_PER_S).saturating_add(host.mtime_ns),
        }
    }

    /// The file's pages: those that somebody uses already, unless the file has changed since.
    pub(crate) fn into_object(mut self, kernel: &mut Kernel) -> Rc<Object> {
        let key = (self.host_stat.dev, self.host_stat.ino);
        let cache = &mut kernel.files.cache;
        if let Some(cached) = cache.get(&key)
            && cached.host_stat == self.host_stat
            && let Some(object) = cached.object.upgrade()
        {
            return object;
        }
        cache.retain(|_, cached| cached.object.strong_count() > 0);
        self.is_owner = false;
        let size = self.host_stat.size;
        let object = Rc::new(Object::new_file(&kernel.frames, self.handle, size));
        let cached = CachedObject { host_stat: self.host_stat, object: Rc::downgrade(&object) };
        cache.insert(key, cached);
        object
    }
}

impl Drop for ShareFile {
    fn drop(&mut self) {
        if self.is_owner {
            host::file_close(self.handle);
        }
    }
}
