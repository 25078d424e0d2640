//! The file system that vmcg is measured against: one file whose content never changes, and
//! directories that can be made and removed, each with files of the same names as a group has.
//!
//! It runs in a process of its own, as vmcg's daemon does, with the same settings, so that the
//! difference is what vmcg does to answer.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use tempfile::TempDir;
use vmcg_tests::deadline::wait_until;

/// First argument of this program when it is to serve the file system.
pub(crate) const ARGUMENT: &str = "reference-file-system";

const FILE: INodeNo = INodeNo(2);
const FOREVER: Duration = Duration::from_secs(3600);
/// As with vmcg: how long the kernel may keep the name of a directory.
const A_MOMENT: Duration = Duration::from_secs(1);
/// Inode numbers of a directory's files follow its own.
const FILES_MAX: u64 = 256;

struct Plain {
    content: Vec<u8>,
    /// Names of the files in every directory.
    files: Vec<String>,
    directories: Mutex<Directories>,
}

#[derive(Default)]
struct Directories {
    by_name: BTreeMap<OsString, u64>,
    made: u64,
}

/// Serves the file system at `dir`/mnt with the content of `dir`/content until it is unmounted.
pub(crate) fn serve(dir: &Path) {
    let content = fs::read(dir.join("content")).expect("the content is there");
    let files = fs::read_to_string(dir.join("files")).expect("the names are there");
    let files = files.lines().map(str::to_owned).collect();
    let plain = Plain { content, files, directories: Mutex::default() };
    let mut config = Config::default();
    config.mount_options =
        vec![MountOption::FSName("reference".into()), MountOption::DefaultPermissions];
    config.n_threads = Some(2);
    config.clone_fd = true;
    fuser::mount(plain, dir.join("mnt"), &config).expect("the reference can be mounted");
}

/// The mounted reference; dropping it unmounts.
pub(crate) struct Reference {
    dir: TempDir,
    server: Child,
}

impl Reference {
    /// Mounts it with the given content of its one file, and with files of these names in every
    /// directory.
    pub(crate) fn mount(content: &str, files: &[String]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("mnt")).expect("a folder in a new folder");
        fs::write(dir.path().join("content"), content).expect("a file in a new folder");
        fs::write(dir.path().join("files"), files.join("\n")).expect("a file in a new folder");
        let this = std::env::current_exe().expect("a running program has a path");
        let server = Command::new(this).arg(ARGUMENT).arg(dir.path()).spawn().expect("it starts");
        let reference = Self { dir, server };
        wait_until("the reference is mounted", || reference.file().exists());
        reference
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// Its one file.
    pub(crate) fn file(&self) -> PathBuf {
        self.root().join("file")
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

impl Plain {
    fn lock(&self) -> MutexGuard<'_, Directories> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_directory(ino: INodeNo) -> bool {
        ino == INodeNo::ROOT || ino.0.is_multiple_of(FILES_MAX)
    }

    /// Finds a name in a directory.
    fn find(&self, parent: INodeNo, name: &OsStr) -> Option<INodeNo> {
        if parent == INodeNo::ROOT {
            let made = || self.lock().by_name.get(name).copied().map(INodeNo);
            return if name == "file" { Some(FILE) } else { made() };
        }
        let index = self.files.iter().position(|file| name == file.as_str())?;
        Some(INodeNo(parent.0 + 1 + u64::try_from(index).ok()?))
    }

    fn attributes(ino: INodeNo) -> FileAttr {
        let is_directory = Self::is_directory(ino);
        FileAttr {
            ino,
            size: 0,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_directory { FileType::Directory } else { FileType::RegularFile },
            perm: if is_directory { 0o755 } else { 0o644 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn reply_entry(ino: INodeNo, reply: ReplyEntry) {
        let ttl = if Self::is_directory(ino) { A_MOMENT } else { FOREVER };
        reply.entry_with_ttls(&ttl, &FOREVER, &Self::attributes(ino), Generation(0));
    }
}

impl Filesystem for Plain {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.find(parent, name) {
            Some(ino) => Self::reply_entry(ino, reply),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        _file: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        reply.attr(&FOREVER, &Self::attributes(ino));
    }

    fn setattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.attr(&FOREVER, &Self::attributes(ino));
    }

    fn mkdir(
        &self,
        _request: &Request,
        _parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let mut directories = self.lock();
        directories.made += 1;
        let ino = directories.made * FILES_MAX;
        directories.by_name.insert(name.to_owned(), ino);
        drop(directories);
        Self::reply_entry(INodeNo(ino), reply);
    }

    fn rmdir(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.lock().by_name.remove(name);
        match removed {
            Some(_) => reply.ok(),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let next = (1..).skip(skip);
        if ino == INodeNo::ROOT {
            let directories = self.lock();
            for ((name, ino), next) in directories.by_name.iter().skip(skip).zip(next) {
                if reply.add(INodeNo(*ino), next, FileType::Directory, name) {
                    break;
                }
            }
        } else {
            for (name, next) in self.files.iter().skip(skip).zip(next) {
                if reply.add(INodeNo(ino.0 + next), next, FileType::RegularFile, name) {
                    break;
                }
            }
        }
        reply.ok();
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

    fn write(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
    }
}
