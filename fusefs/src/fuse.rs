//! The messages of the kernel: each is taken apart, answered by the service, and the answer sent.

mod reply;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};

use crate::attributes::Change;
use crate::client::Client;
use crate::directories::Node;
use crate::errno::Result;
use crate::open_file::OpenFile;
use crate::service::Service;
use crate::writers::Writers;
use crate::writing;
use reply::{FOREVER, moment};

/// The file system as the kernel sees it.
pub(crate) struct Fuse {
    service: Arc<Service>,
    writers: Arc<Writers>,
}

/// How long it may keep a group's name: the machine itself can make and remove groups, too.
const A_MOMENT: Duration = Duration::from_secs(1);
/// Inode numbers are not used again.
const GENERATION: Generation = Generation(0);
/// Open files bypass the page cache, since their size is 0, and need no word at close.
const OPENED: FopenFlags = FopenFlags::FOPEN_DIRECT_IO.union(FopenFlags::FOPEN_NOFLUSH);

impl Fuse {
    /// Shows a service to the kernel.
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self { service, writers: Arc::default() }
    }

    fn reply_entry(&self, node: Result<Node>, reply: ReplyEntry) {
        match node {
            Ok(node) => {
                let ttl = if node.file.is_some() { FOREVER } else { A_MOMENT };
                let attributes = self.service.stat(node);
                reply.entry_with_ttls(&ttl, &FOREVER, &attributes, GENERATION);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn open_file(&self, handle: FileHandle) -> Result<Arc<OpenFile>> {
        self.service.files.get(handle.0).ok_or(Errno::EBADF)
    }
}

impl Filesystem for Fuse {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        for wanted in [InitFlags::FUSE_ATOMIC_O_TRUNC, InitFlags::FUSE_PARALLEL_DIROPS] {
            // Without these the kernel sends more messages, or fewer at once; nothing else changes.
            if let Err(missing) = config.add_capabilities(wanted) {
                log::debug!("this kernel's FUSE does not have {missing:?}");
            }
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.reply_entry(self.service.lookup(parent, name), reply);
    }

    fn forget(&self, _request: &Request, ino: INodeNo, _lookups: u64) {
        self.service.forget(ino);
    }

    fn getattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let attributes = self.service.node(ino).map(|node| self.service.stat(node));
        reply::attributes(attributes, reply);
    }

    fn setattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        // Changing the size does nothing, as on kernfs: it is always 0.
        _size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = Change { mode, uid, gid, atime: atime.map(moment), mtime: mtime.map(moment) };
        reply::attributes(self.service.change(ino, change), reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.service.mkdir(Client::new(request), parent, name, mode);
        self.reply_entry(made, reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.service.rmdir(parent, name) {
            Ok(group) => {
                reply.ok();
                self.service.removed(parent, name.to_owned(), group);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        reply::empty(self.service.rename((parent, name), (new_parent, new_name)), reply);
    }

    // Only groups can be made, and files cannot be removed: Linux v6.18 fs/kernfs/dir.c has no
    // handlers for the rest, upon which fs/namei.c answers EPERM, or EACCES for regular files.

    fn create(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        reply.error(Errno::EACCES);
    }

    fn mknod(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        mode: u32,
        _umask: u32,
        _device: u32,
        reply: ReplyEntry,
    ) {
        let is_regular = mode & libc::S_IFMT == libc::S_IFREG;
        reply.error(if is_regular { Errno::EACCES } else { Errno::EPERM });
    }

    fn unlink(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EPERM);
    }

    fn symlink(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _target: &Path,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EPERM);
    }

    fn link(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _new_parent: INodeNo,
        _new_name: &OsStr,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EPERM);
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let node = match self.service.node(ino) {
            Ok(node) => node,
            Err(errno) => return reply.error(errno),
        };
        let Some(row) = node.file else { return reply.error(Errno::EISDIR) };
        if flags.0 & libc::O_DIRECT != 0 {
            return reply.error(Errno::EINVAL);
        }
        let handle =
            self.service.files.insert(OpenFile::new(node.group, row.file(), request.uid()));
        reply.opened(FileHandle(handle), OPENED);
    }

    fn read(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let open = match self.open_file(handle) {
            Ok(open) => open,
            Err(errno) => return reply.error(errno),
        };
        // The answer wakes the reader, which often comes back before this thread goes on: it must
        // not find the text locked.
        match self.service.read(&open, offset, size) {
            Ok(piece) => reply.data(&piece),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let open = match self.open_file(handle) {
            Ok(open) => open,
            Err(errno) => return reply.error(errno),
        };
        let client = Client::new(request).with_file_of(open.opener);
        let target = (open.group, open.file);
        let size = u32::try_from(data.len()).expect("FUSE sizes have 32 bits");
        let answer = move |result, reply: ReplyWrite| match result {
            Ok(()) => reply.written(size),
            Err(errno) => reply.error(errno),
        };
        if let Some(result) = writing::write_at_once(&self.service, client, target, data) {
            return answer(result, reply);
        }
        let (service, data) = (Arc::clone(&self.service), data.to_vec());
        // Should no thread be had, the reply is dropped with the work, which answers EIO.
        self.writers.begin(move || answer(writing::write(&service, client, target, &data), reply));
    }

    fn fsync(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn release(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.service.files.remove(handle.0);
        reply.ok();
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.0 & libc::O_DIRECT != 0 {
            return reply.error(Errno::EINVAL);
        }
        match self.service.list(ino) {
            Ok(entries) => {
                let handle = self.service.listings.insert(entries);
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(entries) = self.service.listings.get(handle.0) else {
            log::warn!("directory {ino:?} is read without being open");
            return reply.error(Errno::EBADF);
        };
        for (entry, next) in entries.iter().zip(1..).skip(usize::try_from(offset).unwrap_or(0)) {
            if reply.add(entry.ino, next, entry.kind, &entry.name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.service.listings.remove(handle.0);
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EINVAL);
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        reply.statfs(0, 0, 0, 0, 0, 4096, 255, 4096);
    }

    fn setxattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply::empty(self.service.set_label(ino, name, value, flags), reply);
    }

    fn getxattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        reply::label(self.service.label(ino, name), size, reply);
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        reply::label(self.service.label_names(ino), size, reply);
    }

    fn removexattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply::empty(self.service.remove_label(ino, name), reply);
    }

    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _flags: fuser::IoctlFlags,
        _command: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        // Linux v6.18 fs/kernfs/file.c kernfs_generic_poll: a file that was not read yet counts as
        // changed.
        match self.open_file(handle) {
            Ok(open) if open.snapshot().was_read() => reply.poll(reply::READY),
            Ok(_) => reply.poll(reply::READY | PollEvents::POLLERR | PollEvents::POLLPRI),
            Err(errno) => reply.error(errno),
        }
    }

    fn fallocate(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EOPNOTSUPP);
    }

    fn lseek(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        // Only SEEK_DATA and SEEK_HOLE come here, and a file of size 0 has neither.
        reply.error(Errno::ENXIO);
    }
}
