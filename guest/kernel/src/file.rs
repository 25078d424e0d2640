//! Files: descriptors, what they refer to, and the names that lead there.
//!
//! What a program sees is put together from a read-only view of a directory of the host
//! ([`share`]), trees in memory that can be written ([`tmpfs`]), and /dev and /proc, which are made
//! up here ([`device`], [`procfs`]).

pub(crate) mod change;
pub(crate) mod context;
mod device;
pub(crate) mod directory;
pub(crate) mod epoll;
pub(crate) mod event;
pub(crate) mod hugetlbfs;
pub(crate) mod lock;
pub(crate) mod lookup;
pub(crate) mod node;
pub(crate) mod open;
pub(crate) mod open_file;
pub(crate) mod path;
pub(crate) mod pipe;
mod procfs;
mod share;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod timer;
mod tmpfs;
pub(crate) mod uapi;

pub(crate) use context::FileContext;
pub(crate) use open_file::OpenFile;
pub(crate) use table::FileTable;

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::errno::Errno;
use crate::host::Follow;
use crate::kernel::Kernel;
use crate::memory::huge::Quota;
use crate::memory::huge::map::HugeMemory;
use crate::memory::object::Object;
use crate::number::Tid;
use crate::syscall::request::WaitKey;
use open_file::Body;

/// What waiters for locks wait for: no object has this id.
const LOCKS_WAIT_ID: u64 = 0;

/// What all tasks share.
#[derive(Debug)]
pub(crate) struct Files {
    /// The places that can be written.
    tmpfs: tmpfs::Tmpfs,
    /// Page cache of the share's files, by device and inode.
    cache: BTreeMap<(u64, u64), share::CachedObject>,
    /// Input of jobs that was read ahead.
    lookahead: BTreeMap<u32, stream::Lookahead>,
    /// What is kept of the jobs' terminals.
    terminals: BTreeMap<u32, terminal::Terminal>,
    /// Pipes of which an end was dropped.
    dropped: pipe::Dropped,
    /// Names of sockets that are not files.
    pub(crate) sockets: socket::port::AbstractNames,
    /// Locks of files.
    pub(crate) locks: Rc<RefCell<lock::Locks>>,
    /// Ends of fifos whose open() waits for the other side.
    pub(crate) opening: BTreeMap<Tid, Rc<OpenFile>>,
    /// Timers that may be armed.
    pub(crate) timers: timer::Timers,
}

impl Files {
    /// Nothing but the roots of the file systems.
    pub(crate) fn new(huge: &HugeMemory) -> Self {
        Self {
            tmpfs: tmpfs::Tmpfs::new(huge),
            cache: BTreeMap::new(),
            lookahead: BTreeMap::new(),
            terminals: BTreeMap::new(),
            dropped: pipe::Dropped::default(),
            sockets: socket::port::AbstractNames::default(),
            locks: Rc::new(RefCell::new(lock::Locks::new(LOCKS_WAIT_ID))),
            opening: BTreeMap::new(),
            timers: timer::Timers::default(),
        }
    }

    /// The page caches of the share's files that are open or mapped.
    pub(crate) fn cached_objects(&self) -> Vec<Rc<Object>> {
        self.cache.values().filter_map(share::CachedObject::object).collect()
    }

    /// The terminal of a job.
    pub(crate) fn terminal_mut(&mut self, job: u32) -> &mut terminal::Terminal {
        self.terminals.entry(job).or_default()
    }

    /// The process group that signals of a job's terminal go to, once a program chose one.
    pub(crate) fn foreground(&self, job: u32) -> Option<Tid> {
        self.terminals.get(&job)?.foreground
    }

    /// Whether the streams of a job are a terminal.
    pub(crate) fn has_terminal(&self, job: u32) -> bool {
        self.terminals.contains_key(&job)
    }

    /// Forgets what was kept for a job that has ended.
    pub(crate) fn forget_job(&mut self, job: u32) {
        self.terminals.remove(&job);
        self.lookahead.remove(&job);
    }

    /// Whether a path lies where files can be made and changed.
    pub(crate) fn is_writable(&self, path: &[u8]) -> bool {
        self.tmpfs.mount(path).is_some()
    }

    /// Mounts a hugetlbfs.
    pub(crate) fn mount_huge(&mut self, point: &[u8], quota: &Rc<Quota>, permissions: u32) {
        self.tmpfs.add_huge(point, quota, permissions);
    }

    /// Every tree in memory: where it lies, and what its huge files count against.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = (&[u8], Option<&Rc<Quota>>)> {
        self.tmpfs.mounts()
    }

    /// Whether a hugetlbfs is mounted at a normalised path.
    pub(crate) fn is_huge_mount(&self, point: &[u8]) -> bool {
        self.mounts().any(|(path, quota)| path == point && quota.is_some())
    }

    /// What the huge files at a normalised path count against, if it lies in a hugetlbfs.
    pub(crate) fn huge_quota(&self, path: &[u8]) -> Option<&Rc<Quota>> {
        self.tmpfs.quota(path)
    }

    /// Takes a mount away, and all that is in it.
    pub(crate) fn unmount(&mut self, point: &[u8]) {
        self.tmpfs.remove(point);
    }

    /// Where ends of pipes note that they were dropped.
    pub(crate) fn dropped(&self) -> pipe::Dropped {
        self.dropped.clone()
    }
}

/// A file to be run.
#[derive(Debug)]
pub(crate) struct Program {
    /// Its pages.
    pub(crate) object: Rc<Object>,
    /// Its absolute path.
    pub(crate) path: Vec<u8>,
}

/// Opens a program by path, relative to the task's working directory.
pub(crate) fn open_program(kernel: &mut Kernel, tid: Tid, path: &[u8]) -> Result<Program, Errno> {
    path::check(path)?;
    let absolute = path::join(&context_of(kernel, tid).borrow().directory, path);
    let (object, file) = open::open_executable(kernel, tid, &absolute)?;
    Ok(Program { object, path: file.path.clone() })
}

/// The path without symbolic links of a program that the host opened.
pub(crate) fn real_path(path: &[u8]) -> Vec<u8> {
    match share::ShareFile::open(path, Follow::Yes) {
        Ok(Ok(file)) => file.real_path(path),
        _ => path.to_vec(),
    }
}

/// The program that a descriptor leads to.
pub(crate) fn opened_program(kernel: &mut Kernel, tid: Tid, fd: u64) -> Result<Program, Errno> {
    let file = table_of(kernel, tid).borrow().get(fd)?;
    if file.is_named() {
        return open_program(kernel, tid, &file.path);
    }
    let object = open::executable_object(&file)?;
    Ok(Program { object, path: file.path.clone() })
}

/// What a descriptor offers to mmap.
#[derive(Debug)]
pub(crate) struct Mappable {
    /// Its pages.
    pub(crate) object: Rc<Object>,
    /// Its absolute path.
    pub(crate) path: Rc<[u8]>,
    /// Whether it was opened for reading.
    pub(crate) can_read: bool,
    /// Whether it was opened for writing.
    pub(crate) can_write: bool,
}

/// The file behind a descriptor, for mmap.
pub(crate) fn mappable(kernel: &Kernel, tid: Tid, fd: u64) -> Result<Mappable, Errno> {
    let file = table_of(kernel, tid).borrow().get(fd)?;
    let object = match &file.body {
        Body::Cached(cached) => cached.object.clone(),
        Body::Memory(_, object) => object.clone(),
        // A mapping of /dev/zero is memory of its own.
        Body::Device(device::Device::Zero) => {
            Rc::new(Object::new_shmem(&kernel.frames, DEVICE_SIZE))
        }
        Body::Path(_) => return Err(Errno::EBADF),
        _ => return Err(Errno::ENODEV),
    };
    let (can_read, can_write) = (file.can_read(), file.can_write());
    Ok(Mappable { object, path: file.path.clone().into(), can_read, can_write })
}

/// Length of what a mapping of /dev/zero maps: more than fits into any address space.
const DEVICE_SIZE: u64 = 1 << 47;

/// The host says that a job's stream may go on.
pub(crate) fn stream_ready(kernel: &mut Kernel, job: u32) {
    terminal::take_input(kernel, job);
    kernel.wake(WaitKey::Stream(job));
}

/// A task no longer uses a table of descriptors.
pub(crate) fn release(kernel: &mut Kernel, files: Rc<RefCell<FileTable>>) {
    drop(files);
    wake_dropped(kernel);
}

/// Wakes those who wait for pipes of which an end was dropped.
pub(crate) fn wake_dropped(kernel: &mut Kernel) {
    let dropped = kernel.files.dropped.take();
    for wait_id in dropped {
        kernel.wake(WaitKey::Object(wait_id));
    }
}

/// The descriptors of a task.
pub(crate) fn table_of(kernel: &Kernel, tid: Tid) -> Rc<RefCell<FileTable>> {
    kernel.task(tid).files.clone()
}

/// Where a task stands in the file system.
pub(crate) fn context_of(kernel: &Kernel, tid: Tid) -> Rc<RefCell<FileContext>> {
    kernel.task(tid).context.clone()
}
