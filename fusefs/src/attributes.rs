//! Who owns a file, who may use it, and what labels it carries: what cgroupfs keeps in its inodes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use fuser::{Errno, FileAttr, FileType, INodeNo};

use crate::errno::Result;

/// The changeable attributes of one file or directory.
#[derive(Clone, Debug)]
pub(crate) struct Attributes {
    /// Permission bits, with set-id and sticky bits.
    pub(crate) mode: u16,
    /// Owner.
    pub(crate) uid: u32,
    /// Owning group.
    pub(crate) gid: u32,
    /// Time of last access, as set by hand.
    pub(crate) atime: SystemTime,
    /// Time of last modification, as set by hand.
    pub(crate) mtime: SystemTime,
    /// Time of the last change of these attributes.
    pub(crate) ctime: SystemTime,
    /// Extended attributes.
    pub(crate) labels: BTreeMap<OsString, Vec<u8>>,
}

/// A change of attributes; what is none stays.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    /// New permission bits.
    pub(crate) mode: Option<u32>,
    /// New owner.
    pub(crate) uid: Option<u32>,
    /// New owning group.
    pub(crate) gid: Option<u32>,
    /// New time of last access.
    pub(crate) atime: Option<SystemTime>,
    /// New time of last modification.
    pub(crate) mtime: Option<SystemTime>,
}

/// Bytes of labels one file may carry: Linux v6.18 fs/kernfs/inode.c `KERNFS_USER_XATTR_SIZE_LIMIT`.
const LABELS_SIZE_MAX: usize = 128 * 1024;

impl Attributes {
    /// Attributes of something made now.
    pub(crate) fn new(mode: u16, uid: u32, gid: u32) -> Self {
        let now = SystemTime::now();
        Self { mode, uid, gid, atime: now, mtime: now, ctime: now, labels: BTreeMap::new() }
    }

    /// Applies a change. Whether it is allowed the kernel has checked already.
    pub(crate) fn apply(&mut self, change: Change) {
        if let Some(mode) = change.mode {
            self.mode = u16::try_from(mode & 0o7777).expect("masked to 12 bits");
        }
        self.uid = change.uid.unwrap_or(self.uid);
        self.gid = change.gid.unwrap_or(self.gid);
        self.atime = change.atime.unwrap_or(self.atime);
        self.mtime = change.mtime.unwrap_or(self.mtime);
        self.ctime = SystemTime::now();
    }

    /// Tells whether the mode bits let this user read.
    pub(crate) fn may_read(&self, uid: u32, gid: u32) -> bool {
        let bit = if uid == self.uid {
            0o400
        } else if gid == self.gid {
            0o040
        } else {
            0o004
        };
        uid == 0 || self.mode & bit != 0
    }

    /// Returns the value of a label.
    ///
    /// # Errors
    /// EOPNOTSUPP for a name outside the namespaces of cgroupfs, ENODATA when it is not set.
    pub(crate) fn label(&self, name: &OsStr) -> Result<&[u8]> {
        check_namespace(name)?;
        self.labels.get(name).map(Vec::as_slice).ok_or(Errno::ENODATA)
    }

    /// Returns the names of all labels, each ended by a NUL.
    pub(crate) fn label_names(&self) -> Vec<u8> {
        let mut names = Vec::new();
        for name in self.labels.keys() {
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        names
    }

    /// Sets a label. `flags` are those of setxattr(2).
    ///
    /// # Errors
    /// EOPNOTSUPP, EEXIST or ENODATA as `flags` say, ENOSPC when there are too many bytes.
    pub(crate) fn set_label(&mut self, name: &OsStr, value: &[u8], flags: i32) -> Result<()> {
        check_namespace(name)?;
        let exists = self.labels.contains_key(name);
        if exists && flags & libc::XATTR_CREATE != 0 {
            return Err(Errno::EEXIST);
        }
        if !exists && flags & libc::XATTR_REPLACE != 0 {
            return Err(Errno::ENODATA);
        }
        let others = self.labels.iter().filter(|(other, _)| other.as_os_str() != name);
        let used: usize = others.map(|(name, value)| name.len() + value.len()).sum();
        if used + name.len() + value.len() > LABELS_SIZE_MAX {
            return Err(Errno::ENOSPC);
        }
        self.labels.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Removes a label.
    ///
    /// # Errors
    /// EOPNOTSUPP, or ENODATA when it is not set.
    pub(crate) fn remove_label(&mut self, name: &OsStr) -> Result<()> {
        check_namespace(name)?;
        self.labels.remove(name).map(drop).ok_or(Errno::ENODATA)
    }

    /// Returns what stat(2) shows. Size and blocks are zero, as on cgroupfs.
    pub(crate) fn stat(&self, ino: INodeNo, kind: FileType, nlink: u32) -> FileAttr {
        FileAttr {
            ino,
            size: 0,
            blocks: 0,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            crtime: self.ctime,
            kind,
            perm: self.mode,
            nlink,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

/// Lets the namespaces pass that kernfs has handlers for.
fn check_namespace(name: &OsStr) -> Result<()> {
    let spaces: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    let is_known = spaces.iter().any(|space| name.as_bytes().starts_with(space));
    if is_known { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use fuser::Errno;

    use super::{Attributes, Change};

    #[test]
    fn labels_are_set_read_and_removed_in_known_namespaces_only() {
        let mut attributes = Attributes::new(0o644, 0, 0);
        let name = OsStr::new("user.x");
        attributes.set_label(name, b"v", 0).unwrap();
        assert_eq!(attributes.label(name), Ok(&b"v"[..]));
        assert_eq!(attributes.label_names(), b"user.x\0");
        assert_eq!(attributes.set_label(name, b"w", libc::XATTR_CREATE), Err(Errno::EEXIST));
        attributes.remove_label(name).unwrap();
        assert_eq!(attributes.label(name), Err(Errno::ENODATA));
        for name in ["system.x", "nonsense"] {
            let refused = attributes.set_label(OsStr::new(name), b"v", 0);
            assert_eq!(refused, Err(Errno::EOPNOTSUPP), "{name}");
        }
    }

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let mut attributes = Attributes::new(0o644, 1, 2);
        attributes.apply(Change { mode: Some(0o104_755), ..Change::default() });
        assert_eq!((attributes.mode, attributes.uid, attributes.gid), (0o4755, 1, 2));
    }
}
