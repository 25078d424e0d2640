//! Changing directories: making, removing and renaming. Only a tmpfs can be changed.

use alloc::boxed::Box;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::RefCell;

use super::device::Device;
use super::lookup::{Found, Place, lookup};
use super::node::{Below, Dentry, Node, NodeBody};
use super::pipe::Pipe;
use super::tmpfs::Walk;
use super::uapi::{Stat, mode};
use super::{context_of, directory, path};
use crate::errno::Errno;
use crate::heap;
use crate::host::Follow;
use crate::kernel::Kernel;
use crate::memory::object::Object;
use crate::number::Tid;

/// What is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    /// Anything but a directory: unlink().
    File,
    /// An empty directory: rmdir().
    Directory,
}

/// A name in a directory of a tmpfs.
struct Slot {
    parent: Rc<Node>,
    name: Vec<u8>,
    /// Normalised absolute path of the name.
    path: Vec<u8>,
}

impl Slot {
    /// Gives the name to a node; refused, nothing has changed.
    fn put(&self, kernel: &Kernel, node: Rc<Node>) -> Result<(), Errno> {
        let dentry = Dentry::new(&kernel.frames, &self.name, node)?;
        self.enter(dentry, kernel.clock.realtime());
        Ok(())
    }

    /// Gives the name to a node that is made for it.
    fn put_new(&self, kernel: &Kernel, node: Node) -> Result<Rc<Node>, Errno> {
        let node = kernel.frames.new_rc(node)?;
        self.put(kernel, node.clone())?;
        Ok(node)
    }

    fn enter(&self, dentry: Box<Dentry>, now_ns: u64) {
        if let Some(names) = self.parent.names() {
            names.borrow_mut().insert(dentry);
            self.parent.touch(now_ns);
        }
    }

    /// Takes the name away; where the share has a file of that name, hides it.
    fn clear(&self, kernel: &mut Kernel, is_in_share: bool) -> Result<(), Errno> {
        let (ino, now) = (kernel.files.tmpfs.new_ino(), kernel.clock.realtime());
        if is_in_share {
            self.put_new(kernel, Node::new(ino, 0, now, NodeBody::Gone))?;
        } else if let Some(names) = self.parent.names() {
            names.borrow_mut().remove(&self.name);
            self.parent.touch(now);
        }
        Ok(())
    }
}

/// The directory of a tmpfs that holds a path's last name. Directories that only the share has so
/// far are made. EROFS where the path lies in no tmpfs, ENOSPC where the kernel's memory is short.
fn slot(kernel: &mut Kernel, tid: Tid, absolute: &[u8]) -> Result<Slot, Errno> {
    if heap::is_short() {
        return Err(Errno::ENOSPC);
    }
    let last = path::components(absolute).last().ok_or(Errno::EBUSY)?.to_vec();
    if last == b".." {
        return Err(Errno::ENOTEMPTY);
    }
    let trimmed = path::without_slashes(absolute);
    // A path that ends in `.` names a directory that already has its name.
    let parent_raw = trimmed.strip_suffix(&last[..]).ok_or(Errno::EINVAL)?;
    let parent_path = directory::check(kernel, tid, parent_raw)?;
    let parent = ensure(kernel, tid, &parent_path)?;
    let path = path::join(&parent_path, &last);
    Ok(Slot { parent, name: last, path })
}

/// The node of a directory that exists, made where only the share has it.
fn ensure(kernel: &mut Kernel, tid: Tid, directory: &[u8]) -> Result<Rc<Node>, Errno> {
    match kernel.files.tmpfs.walk(directory, Follow::Yes).ok_or(Errno::EROFS)?? {
        Walk::Node(node) => Ok(node),
        Walk::Link(_) => Err(Errno::ENOENT),
        Walk::Below => {
            let (upper, name) = path::split(directory).ok_or(Errno::EROFS)?;
            let parent = ensure(kernel, tid, upper)?;
            let stat = lookup(kernel, tid, directory, Follow::Yes)?.stat();
            let node = Node::directory(stat.ino, stat.mode, stat.mtime_ns, Below::Seen);
            node.set_owner(stat.owner);
            let node = kernel.frames.new_rc(node)?;
            let dentry = Dentry::new(&kernel.frames, name, node.clone())?;
            if let Some(names) = parent.names() {
                names.borrow_mut().insert(dentry);
            }
            Ok(node)
        }
    }
}

/// Makes a file; answers its node and its path. What had the name before loses it.
pub(crate) fn add(
    kernel: &mut Kernel,
    tid: Tid,
    absolute: &[u8],
    permissions: u32,
    body: NodeBody,
) -> Result<(Rc<Node>, Vec<u8>), Errno> {
    let slot = slot(kernel, tid, absolute)?;
    let (ino, now) = (kernel.files.tmpfs.new_ino(), kernel.clock.realtime());
    let node = slot.put_new(kernel, Node::new(ino, permissions, now, body))?;
    Ok((node, slot.path))
}

/// Makes a file that is to be changed, in place of the one of the share that showed there, and like it.
pub(super) fn replace(
    kernel: &mut Kernel,
    tid: Tid,
    absolute: &[u8],
    shown: Stat,
    object: &Rc<Object>,
) -> Result<Rc<Node>, Errno> {
    let slot = slot(kernel, tid, absolute)?;
    let body = NodeBody::File(object.clone());
    let node = Node::new(shown.ino, shown.mode, shown.mtime_ns, body);
    node.set_owner(shown.owner);
    slot.put_new(kernel, node)
}

/// Fails with EEXIST where a path leads to something.
pub(crate) fn check_free(kernel: &mut Kernel, tid: Tid, absolute: &[u8]) -> Result<(), Errno> {
    match lookup(kernel, tid, path::without_slashes(absolute), Follow::No) {
        Ok(_) => Err(Errno::EEXIST),
        Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// mkdir() and mknod(): a directory, regular file, fifo or known device, by the type in the mode.
pub(crate) fn make_node(
    kernel: &mut Kernel,
    tid: Tid,
    absolute: &[u8],
    mode: u32,
    device: u64,
) -> Result<(), Errno> {
    check_free(kernel, tid, absolute)?;
    let body = match mode & mode::TYPE {
        0 | mode::REGULAR => NodeBody::File(Rc::new(Object::new_tmpfs(&kernel.frames))),
        mode::FIFO => {
            let wait_id = kernel.new_wait_id();
            let pipe = Pipe::new(&kernel.frames, wait_id, kernel.files.dropped());
            NodeBody::Fifo(kernel.frames.new_rc(pipe)?)
        }
        mode::SOCKET => NodeBody::Socket(Weak::new()),
        mode::CHARACTER => NodeBody::Device(Device::of_number(device).ok_or(Errno::EPERM)?),
        mode::DIRECTORY => NodeBody::Directory(RefCell::default(), Below::Hidden),
        mode::BLOCK => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    let permissions = mode & !context_of(kernel, tid).borrow().umask;
    let slot = slot(kernel, tid, absolute)?;
    let (ino, now) = (kernel.files.tmpfs.new_ino(), kernel.clock.realtime());
    let node = slot.put_new(kernel, Node::new(ino, permissions, now, body))?;
    if node.names().is_some() {
        slot.parent.linked();
    }
    Ok(())
}

/// symlink()
pub(crate) fn make_link(
    kernel: &mut Kernel,
    tid: Tid,
    absolute: &[u8],
    target: &[u8],
) -> Result<(), Errno> {
    check_free(kernel, tid, absolute)?;
    let target = kernel.frames.new_bytes(target)?;
    add(kernel, tid, absolute, 0o777, NodeBody::Link(target)).map(drop)
}

/// link()
pub(crate) fn link(
    kernel: &mut Kernel,
    tid: Tid,
    old: &[u8],
    new: &[u8],
    follow: Follow,
) -> Result<(), Errno> {
    let place = lookup(kernel, tid, old, follow)?;
    check_free(kernel, tid, new)?;
    if place.stat().is_directory() {
        return Err(Errno::EPERM);
    }
    let Found::Node(node) = place.found else {
        return Err(Errno::EXDEV);
    };
    let slot = slot(kernel, tid, new)?;
    slot.put(kernel, node.clone())?;
    node.linked();
    Ok(())
}

/// unlink() and rmdir()
pub(crate) fn remove(
    kernel: &mut Kernel,
    tid: Tid,
    absolute: &[u8],
    what: Removed,
) -> Result<(), Errno> {
    let place = lookup(kernel, tid, absolute, Follow::No)?;
    let is_directory = place.stat().is_directory();
    match what {
        Removed::File if is_directory => return Err(Errno::EISDIR),
        Removed::Directory if !is_directory => return Err(Errno::ENOTDIR),
        _ => {}
    }
    if kernel.files.tmpfs.mount(&place.path).is_some_and(|(_, rest)| rest.is_empty()) {
        return Err(Errno::EBUSY);
    }
    let slot = slot(kernel, tid, absolute)?;
    if is_directory && !directory::is_empty(kernel, tid, &place.path)? {
        return Err(Errno::ENOTEMPTY);
    }
    let is_in_share = shows_through(&slot);
    slot.clear(kernel, is_in_share)?;
    if let Found::Node(node) = &place.found {
        node.unlinked();
    }
    if is_directory {
        slot.parent.unlinked();
    }
    Ok(())
}

/// Whether the share may have a file where a name of a tmpfs is.
fn shows_through(slot: &Slot) -> bool {
    let in_share = || super::share::ShareFile::open(&slot.path, Follow::No);
    slot.parent.shows_below() && matches!(in_share(), Ok(Ok(_)))
}

/// rename(); whether an existing target may be replaced is the caller's to say.
pub(crate) fn rename(
    kernel: &mut Kernel,
    tid: Tid,
    old: &[u8],
    new: &[u8],
    may_replace: Replace,
) -> Result<(), Errno> {
    let place = lookup(kernel, tid, path::without_slashes(old), Follow::No)?;
    let from = slot(kernel, tid, old)?;
    let to = slot(kernel, tid, new)?;
    let quota = |path: &[u8]| kernel.files.huge_quota(path).map(Rc::as_ptr);
    if quota(&from.path) != quota(&to.path) {
        return Err(Errno::EXDEV);
    }
    if may_replace == Replace::No {
        check_free(kernel, tid, new)?;
    }
    let is_within = path::below(&to.path, &from.path).is_some_and(|rest| !rest.is_empty());
    if is_within {
        return Err(Errno::EINVAL);
    }
    if from.path == to.path {
        return Ok(());
    }
    let mut replaced = None;
    match lookup(kernel, tid, &to.path, Follow::No) {
        // Two names of the same file both stay, as POSIX has it.
        Ok(target) if is_same(&place, &target) => return Ok(()),
        Ok(target) => {
            check_replaceable(kernel, tid, &place, &target)?;
            replaced = Some(target.found);
        }
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    // A directory of the share cannot be moved along with what is in it.
    let Found::Node(node) = place.found else {
        return Err(Errno::EXDEV);
    };
    if node.shows_below() {
        return Err(Errno::EXDEV);
    }
    let dentry = Dentry::new(&kernel.frames, &to.name, node)?;
    let is_in_share = shows_through(&from);
    from.clear(kernel, is_in_share)?;
    to.enter(dentry, kernel.clock.realtime());
    if let Some(Found::Node(node)) = replaced {
        node.unlinked();
    }
    Ok(())
}

/// Whether two places are the same file in memory.
fn is_same(one: &Place, other: &Place) -> bool {
    match (&one.found, &other.found) {
        (Found::Node(one), Found::Node(other)) => Rc::ptr_eq(one, other),
        _ => false,
    }
}

/// Whether a rename may replace what has the new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replace {
    /// It may.
    Yes,
    /// It fails with EEXIST (RENAME_NOREPLACE).
    No,
}

/// Checks that `target` may give its name to `place`.
fn check_replaceable(
    kernel: &mut Kernel,
    tid: Tid,
    place: &Place,
    target: &Place,
) -> Result<(), Errno> {
    let types = [place, target].map(|p| p.stat().mode & mode::TYPE == mode::DIRECTORY);
    match types {
        [true, false] => return Err(Errno::ENOTDIR),
        [false, true] => return Err(Errno::EISDIR),
        [true, true] if !directory::is_empty(kernel, tid, &target.path)? => {
            return Err(Errno::ENOTEMPTY);
        }
        _ => {}
    }
    Ok(())
}
