//! What a read of a control file costs, beside a file of the same length in a FUSE file system that
//! does nothing else. Only the ratio between the two means something.
#![expect(clippy::unwrap_used, reason = "a measurement that fails is not one")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use divan::Bencher;
use fusefs::{Host, MountOptions, MoveFailure};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen,
    Request,
};
use memcg::{
    Abi, Gfn, GroupId, Hierarchy, Kind, Memcg, MoveError, Offline, Payer, Policy, Scope, Tid,
};
use tempfile::TempDir;

fn main() {
    divan::main();
}

/// A machine that only counts.
struct Counting(Mutex<Memcg>);

impl Host for Counting {
    fn accounting(&self, f: &mut dyn FnMut(&mut Memcg)) {
        f(&mut self.0.lock().unwrap());
    }

    fn move_task(
        &self,
        _id: Tid,
        _dest: GroupId,
        _scope: Scope,
        _interrupted: &dyn Fn() -> bool,
    ) -> Result<(), MoveFailure> {
        Err(MoveError::NoSuchTask.into())
    }

    fn removed(&self, _group: GroupId) {}
}

/// A file system with one file.
struct Plain;

const CONTENT: &[u8] = b"40960\n";

fn attributes(ino: INodeNo) -> FileAttr {
    let is_root = ino == INodeNo::ROOT;
    FileAttr {
        ino,
        size: 0,
        blocks: 0,
        atime: SystemTime::UNIX_EPOCH,
        mtime: SystemTime::UNIX_EPOCH,
        ctime: SystemTime::UNIX_EPOCH,
        crtime: SystemTime::UNIX_EPOCH,
        kind: if is_root { FileType::Directory } else { FileType::RegularFile },
        perm: if is_root { 0o755 } else { 0o444 },
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

const LONG: Duration = Duration::from_secs(3600);

impl Filesystem for Plain {
    fn lookup(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEntry) {
        reply.entry(&LONG, &attributes(INodeNo(2)), Generation(0));
    }

    fn getattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        reply.attr(&LONG, &attributes(ino));
    }

    fn open(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH);
    }

    fn read(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        _size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match usize::try_from(offset).ok().and_then(|offset| CONTENT.get(offset..)) {
            Some(rest) => reply.data(rest),
            None => reply.error(Errno::EINVAL),
        }
    }
}

/// Both file systems.
struct Mounts {
    directories: [TempDir; 2],
    _control: fusefs::Mounted,
    _plain: BackgroundSession,
}

impl Mounts {
    fn new() -> Self {
        let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let config = memcg::Config {
            frames: 1024,
            hierarchy: Hierarchy::Share,
            recharge: Policy::None,
            offline: Offline::Reparent,
            abi: Abi::Classic,
        };
        let mut memcg = Memcg::new(config).unwrap();
        let group = memcg.create(memcg.root(), "a").unwrap();
        for gfn in 0..10 {
            memcg.try_charge(Payer::Group(group), Gfn::new(gfn), Kind::Anon).unwrap();
        }
        let options = MountOptions { point: directories[0].path().to_owned() };
        let control = fusefs::mount(Arc::new(Counting(Mutex::new(memcg))), options).unwrap();
        let mut config = Config::default();
        config.n_threads = Some(2);
        config.clone_fd = true;
        let plain = fuser::spawn_mount(Plain, directories[1].path(), &config).unwrap();
        Self { directories, _control: control, _plain: plain }
    }

    fn path(&self, which: Which) -> std::path::PathBuf {
        match which {
            Which::Control => self.directories[0].path().join("a/memory.usage_in_bytes"),
            Which::Plain => self.directories[1].path().join("a"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Which {
    Control,
    Plain,
}

#[divan::bench(args = [Which::Plain, Which::Control], sample_count = 300, sample_size = 20)]
fn open_read_close(bencher: Bencher<'_, '_>, which: Which) {
    let mounts = Mounts::new();
    let path = mounts.path(which);
    assert_eq!(fs::read(&path).unwrap(), CONTENT);
    bencher.bench_local(|| {
        let mut buffer = [0; 64];
        File::open(&path).unwrap().read_at(&mut buffer, 0).unwrap()
    });
}

#[divan::bench(args = [Which::Plain, Which::Control], sample_count = 300, sample_size = 20)]
fn pread(bencher: Bencher<'_, '_>, which: Which) {
    let mounts = Mounts::new();
    let file = File::open(mounts.path(which)).unwrap();
    bencher.bench_local(|| {
        let mut buffer = [0; 64];
        file.read_at(&mut buffer, 0).unwrap()
    });
}
