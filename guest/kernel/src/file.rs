//! Files: descriptors, what they refer to, and the names that lead there.

pub(crate) mod path;

use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::errno::Errno;
use crate::host::{self, Follow};
use crate::kernel::Kernel;
use crate::memory::object::Object;
use crate::number::Tid;

/// What all tasks share.
#[derive(Debug)]
pub(crate) struct Files;

impl Files {
    pub(crate) fn new() -> Self {
        Self
    }
}

/// Open descriptors.
#[derive(Debug)]
pub(crate) struct FileTable {
    pub(crate) job: u32,
}

impl FileTable {
    pub(crate) fn for_job(job: u32) -> Self {
        Self { job }
    }

    pub(crate) fn for_fork(&self) -> Self {
        Self { job: self.job }
    }

    pub(crate) fn close_on_exec(&mut self) {}
}

/// Working directory and umask.
#[derive(Debug)]
pub(crate) struct FileContext {
    pub(crate) cwd: Vec<u8>,
}

impl FileContext {
    pub(crate) fn new(cwd: &[u8]) -> Self {
        Self { cwd: cwd.to_vec() }
    }

    pub(crate) fn for_fork(&self) -> Self {
        Self { cwd: self.cwd.clone() }
    }
}

/// A file to be run.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) object: Rc<Object>,
    pub(crate) path: Vec<u8>,
}

/// Opens a program by path.
pub(crate) fn open_program(kernel: &mut Kernel, _tid: Tid, path: &[u8]) -> Result<Program, Errno> {
    let (handle, stat) = host::file_open(path, Follow::Yes)?;
    let object = Rc::new(Object::new_file(&kernel.frames, handle, stat.size));
    Ok(Program { object, path: path.to_vec() })
}

/// What a descriptor offers to mmap.
#[derive(Debug)]
pub(crate) struct Mappable {
    pub(crate) object: Rc<Object>,
    pub(crate) path: Rc<[u8]>,
    pub(crate) can_read: bool,
    pub(crate) can_write: bool,
}

/// The file behind a descriptor, for mmap.
pub(crate) fn mappable(_kernel: &Kernel, _tid: Tid, _fd: u64) -> Result<Mappable, Errno> {
    Err(Errno::EBADF)
}

/// The host says that a job's stream may go on.
pub(crate) fn stream_ready(kernel: &mut Kernel, job: u32) {
    kernel.wake(crate::syscall::request::WaitKey::Stream(job));
}
