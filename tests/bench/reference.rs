//! The file system that reads are measured against: one file whose content never changes.
//!
//! It runs in a process of its own, as vmcg's daemon does, with the same settings, so that the
//! difference is what vmcg does to answer.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, Request,
};
use tempfile::TempDir;
use vmcg_tests::deadline::wait_until;

/// First argument of this program when it is to serve the file system.
pub(crate) const ARGUMENT: &str = "reference-file-system";

const FILE: INodeNo = INodeNo(2);
const FOREVER: Duration = Duration::from_secs(3600);

struct Single {
    content: Vec<u8>,
}

/// Serves the file system at `dir`/mnt with the content of `dir`/content until it is unmounted.
pub(crate) fn serve(dir: &Path) {
    let content = fs::read(dir.join("content")).expect("the content is there");
    let mut config = Config::default();
    config.mount_options =
        vec![MountOption::FSName("reference".into()), MountOption::DefaultPermissions];
    config.n_threads = Some(2);
    config.clone_fd = true;
    fuser::mount(Single { content }, dir.join("mnt"), &config)
        .expect("the reference can be mounted");
}

/// The mounted reference; dropping it unmounts.
pub(crate) struct Reference {
    dir: TempDir,
    server: Child,
}

impl Reference {
    /// Mounts it with the given content.
    pub(crate) fn mount(content: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("mnt")).expect("a folder in a new folder");
        fs::write(dir.path().join("content"), content).expect("a file in a new folder");
        let this = std::env::current_exe().expect("a running program has a path");
        let server = Command::new(this).arg(ARGUMENT).arg(dir.path()).spawn().expect("it starts");
        let reference = Self { dir, server };
        wait_until("the reference is mounted", || reference.file().exists());
        reference
    }

    /// Its one file.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("mnt/file")
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let tool = if rustix::process::geteuid().is_root() { "umount" } else { "fusermount3" };
        let mut command = Command::new(tool);
        if tool == "fusermount3" {
            command.arg("-u");
        }
        // The server ends either way; a mount that stays is seen by the next line of the report.
        let _ = command.arg(self.dir.path().join("mnt")).status();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Single {
    fn attributes(&self, ino: INodeNo) -> FileAttr {
        let is_file = ino == FILE;
        FileAttr {
            ino,
            size: 0,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o444 } else { 0o755 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Single {
    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "file" {
            reply.entry_with_ttls(&FOREVER, &FOREVER, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        _file: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        reply.attr(&FOREVER, &self.attributes(ino));
    }

    fn open(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(1), FopenFlags::FOPEN_DIRECT_IO.union(FopenFlags::FOPEN_NOFLUSH));
    }

    fn read(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _file: FileHandle,
        offset: u64,
        _size: u32,
        _flags: OpenFlags,
        _lock: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.content.len());
        reply.data(&self.content[start..]);
    }
}
