//! Where a process stands in the file system.

use alloc::vec::Vec;

/// What clone() shares with CLONE_FS.
#[derive(Debug, Clone)]
pub(crate) struct FileContext {
    /// Working directory, an absolute path without `.`, `..` and links.
    pub(crate) directory: Vec<u8>,
    /// Permission bits that new files do not get.
    pub(crate) umask: u32,
}

impl FileContext {
    /// The context of a job's first process.
    pub(crate) fn new(directory: &[u8]) -> Self {
        Self { directory: super::path::normalise(directory), umask: 0o022 }
    }

    /// What a forked process starts with.
    pub(crate) fn for_fork(&self) -> Self {
        self.clone()
    }
}
