//! Opening files, and making the ones that open() creates.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

use super::directory::Directory;
use super::lookup::{Found, LINKS_MAX, Place, lookup};
use super::node::{Node, NodeBody};
use super::open_file::{Body, Cached, OpenFile};
use super::pipe::{Pipe, Side};
use super::share::ShareFile;
use super::stream::Stream;
use super::uapi::{Stat, open};
use super::{change, context_of, hugetlbfs, path};
use crate::errno::Errno;
use crate::host::Follow;
use crate::kernel::Kernel;
use crate::memory::huge::HugeFile;
use crate::memory::object::Object;
use crate::number::Tid;
use crate::syscall::request::WaitKey;

/// Bytes copied at a time when a file of the share is about to be changed.
const COPY_LEN: usize = 65536;

/// Opens an absolute path for a task; `permissions` are those of a new file.
pub(crate) fn open(
    kernel: &mut Kernel,
    tid: Tid,
    absolute: &[u8],
    flags: u32,
    permissions: u32,
) -> Result<Rc<OpenFile>, Errno> {
    if flags & open::TEMPORARY == open::TEMPORARY {
        return open_unnamed(kernel, tid, absolute, flags, permissions);
    }
    let is_new = flags & open::CREATE != 0 && flags & open::EXCLUSIVE != 0;
    let follow = if is_new || flags & open::NO_FOLLOW != 0 { Follow::No } else { Follow::Yes };
    match lookup(kernel, tid, absolute, follow) {
        Ok(_) if is_new => Err(Errno::EEXIST),
        Ok(place) => open_place(kernel, tid, place, flags),
        Err(Errno::ENOENT) if flags & open::CREATE != 0 => {
            let absolute = link_end(kernel, tid, absolute, follow)?;
            create(kernel, tid, &absolute, flags, permissions)
        }
        Err(errno) => Err(errno),
    }
}

/// Where a file that does not exist is made: at its path, or where a symbolic link there leads.
fn link_end(
    kernel: &mut Kernel,
    tid: Tid,
    absolute: &[u8],
    follow: Follow,
) -> Result<Vec<u8>, Errno> {
    let mut at = absolute.to_vec();
    for _ in 0..LINKS_MAX {
        let target = match lookup(kernel, tid, &at, Follow::No) {
            Ok(place) if follow == Follow::Yes => place.link_target()?,
            _ => None,
        };
        let Some(target) = target else { return Ok(at) };
        let directory = path::split(&at).map_or(&b"/"[..], |(directory, _)| directory);
        at = path::join(directory, &target);
    }
    Err(Errno::ELOOP)
}

/// Makes an empty file and opens it.
fn create(
    kernel: &mut Kernel,
    tid: Tid,
    absolute: &[u8],
    flags: u32,
    permissions: u32,
) -> Result<Rc<OpenFile>, Errno> {
    if absolute.ends_with(b"/") {
        return Err(Errno::EISDIR);
    }
    let object = Rc::new(new_object(kernel, tid, absolute));
    let permissions = permissions & !context_of(kernel, tid).borrow().umask;
    let body = NodeBody::File(object.clone());
    let (node, path) = change::add(kernel, tid, absolute, permissions, body)?;
    Ok(kernel.frames.new_rc(OpenFile::new(Body::Memory(node, object), flags, path))?)
}

/// Memory for a new file at a path, of huge pages where that lies in a hugetlbfs.
fn new_object(kernel: &mut Kernel, tid: Tid, absolute: &[u8]) -> Object {
    let parent = path::split(absolute).map_or(&b"/"[..], |(parent, _)| parent);
    // A directory that is not there is found out when the file gets its name.
    let parent = super::directory::check(kernel, tid, parent).unwrap_or_default();
    object_below(kernel, &parent)
}

/// Memory for a new file in a directory.
fn object_below(kernel: &Kernel, directory: &[u8]) -> Object {
    match kernel.files.huge_quota(directory) {
        Some(quota) => Object::new_huge(&kernel.frames, HugeFile::new(quota), 0),
        None => Object::new_tmpfs(&kernel.frames),
    }
}

/// Opens a file without a name (O_TMPFILE).
fn open_unnamed(
    kernel: &mut Kernel,
    tid: Tid,
    absolute: &[u8],
    flags: u32,
    permissions: u32,
) -> Result<Rc<OpenFile>, Errno> {
    if flags & open::ACCESS_MODE == open::READ_ONLY {
        return Err(Errno::EINVAL);
    }
    let path = super::directory::check(kernel, tid, absolute)?;
    kernel.files.tmpfs.mount(&path).ok_or(Errno::EOPNOTSUPP)?;
    let object = object_below(kernel, &path);
    unnamed(kernel, (flags, permissions), &path, object)
}

/// A file in memory without a name, as O_TMPFILE and memfd_create() make them.
pub(crate) fn unnamed(
    kernel: &mut Kernel,
    (flags, permissions): (u32, u32),
    path: &[u8],
    object: Object,
) -> Result<Rc<OpenFile>, Errno> {
    let object = Rc::new(object);
    let (ino, now) = (kernel.files.tmpfs.new_ino(), kernel.clock.realtime());
    let node = Node::new(ino, permissions, now, NodeBody::File(object.clone()));
    let node = kernel.frames.new_rc(node)?;
    node.unlinked();
    let flags = flags & !open::DIRECTORY;
    Ok(kernel.frames.new_rc(OpenFile::new(Body::Memory(node, object), flags, path.to_vec()))?)
}

/// Opens what a lookup found.
fn open_place(
    kernel: &mut Kernel,
    tid: Tid,
    place: Place,
    flags: u32,
) -> Result<Rc<OpenFile>, Errno> {
    let stat = place.stat();
    if flags & open::DIRECTORY != 0 && !stat.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    if flags & open::PATH != 0 {
        let body = if stat.is_directory() {
            Body::Directory(Directory::new(stat, &place.path))
        } else {
            Body::Path(stat)
        };
        return Ok(kernel.frames.new_rc(OpenFile::new(body, flags, place.path))?);
    }
    if stat.is_link() {
        return Err(Errno::ELOOP);
    }
    let is_changing = flags & open::ACCESS_MODE != open::READ_ONLY || flags & open::TRUNCATE != 0;
    if stat.is_directory() {
        if is_changing || flags & open::CREATE != 0 {
            return Err(Errno::EISDIR);
        }
        let body = Body::Directory(Directory::new(stat, &place.path));
        return Ok(kernel.frames.new_rc(OpenFile::new(body, flags, place.path))?);
    }
    let mut path = place.path;
    let body = match place.found {
        Found::Share(file) if is_changing => copy_up(kernel, tid, &path, file, flags)?,
        Found::Share(file) if stat.is_regular() => {
            Body::Cached(Cached { object: file.into_object(kernel), stat })
        }
        Found::Share(_) => return Err(Errno::ENXIO),
        Found::Node(node) => open_node(kernel, &node, flags)?,
        Found::Device(device) => Body::Device(device),
        Found::Terminal => Body::Stream(terminal(kernel, tid)?),
        Found::Text(_) if is_changing => return Err(Errno::EACCES),
        Found::Text(text) => Body::Text(text, stat),
        Found::Open(file) => match file.node() {
            Some(node) => {
                path.clone_from(&file.path);
                open_node(kernel, node, flags)?
            }
            None => return Ok(file),
        },
        Found::Directory | Found::Link(_) => return Err(Errno::ELOOP),
    };
    Ok(kernel.frames.new_rc(OpenFile::new(body, flags, path))?)
}

fn open_node(kernel: &mut Kernel, node: &Rc<Node>, flags: u32) -> Result<Body, Errno> {
    match &node.body {
        NodeBody::File(object) => {
            let object = object.clone();
            if flags & open::TRUNCATE != 0 {
                hugetlbfs::set_size(kernel, &object, 0)?;
                node.touch(kernel.clock.realtime());
            }
            Ok(Body::Memory(node.clone(), object))
        }
        NodeBody::Fifo(pipe) => open_fifo(kernel, node, pipe, flags),
        NodeBody::Device(device) => Ok(Body::Device(*device)),
        _ => Err(Errno::ENXIO),
    }
}

/// Makes an end of a fifo. Whoever waits for the other side learns of it; so may the caller have to.
fn open_fifo(
    kernel: &mut Kernel,
    node: &Rc<Node>,
    pipe: &Rc<Pipe>,
    flags: u32,
) -> Result<Body, Errno> {
    let side = match flags & open::ACCESS_MODE {
        open::READ_ONLY => Side::Reader,
        open::WRITE_ONLY if flags & open::NON_BLOCKING != 0 && !pipe.has_readers() => {
            return Err(Errno::ENXIO);
        }
        open::WRITE_ONLY => Side::Writer,
        _ => Side::Both,
    };
    let end = pipe.end(side, Some(node.clone()));
    kernel.wake(WaitKey::Object(end.wait_id()));
    Ok(Body::Pipe(end))
}

/// Makes a copy in memory of a file of the share that lies below a tmpfs, to be changed.
fn copy_up(
    kernel: &mut Kernel,
    tid: Tid,
    path: &[u8],
    file: ShareFile,
    flags: u32,
) -> Result<Body, Errno> {
    if kernel.files.tmpfs.mount(path).is_none() {
        return Err(Errno::EROFS);
    }
    let stat = file.stat();
    if !stat.is_regular() {
        return Err(Errno::ENXIO);
    }
    let object = Rc::new(Object::new_tmpfs(&kernel.frames));
    if flags & open::TRUNCATE == 0 {
        let source = file.into_object(kernel);
        let mut buffer = vec![0; COPY_LEN];
        let mut offset = 0;
        loop {
            let len = source.read(offset, &mut buffer)?;
            if len == 0 {
                break;
            }
            object.write(offset, &buffer[..len])?;
            offset += len as u64;
        }
    }
    let node = change::replace(kernel, tid, path, stat, &object)?;
    if flags & open::TRUNCATE != 0 {
        node.touch(kernel.clock.realtime());
    }
    Ok(Body::Memory(node, object))
}

/// The terminal of the task's job, as /dev/tty names it.
fn terminal(kernel: &Kernel, tid: Tid) -> Result<Stream, Errno> {
    let stream = Stream::new(kernel.process_of(tid).job, 0);
    if stream.is_terminal() { Ok(stream) } else { Err(Errno::ENXIO) }
}

/// The pages of a file that shall be run.
pub(crate) fn open_executable(
    kernel: &mut Kernel,
    tid: Tid,
    absolute: &[u8],
) -> Result<(Rc<Object>, Rc<OpenFile>), Errno> {
    let place = lookup(kernel, tid, absolute, Follow::Yes)?;
    check_executable(&place.stat())?;
    let file = open_place(kernel, tid, place, open::READ_ONLY)?;
    Ok((executable_object(&file)?, file))
}

fn check_executable(stat: &Stat) -> Result<(), Errno> {
    const ANY_EXECUTE: u32 = 0o111;
    let may_run = stat.is_regular() && stat.mode & ANY_EXECUTE != 0;
    if may_run { Ok(()) } else { Err(Errno::EACCES) }
}

/// The pages of an open file that shall be run.
pub(crate) fn executable_object(file: &OpenFile) -> Result<Rc<Object>, Errno> {
    check_executable(&file.stat())?;
    match &file.body {
        Body::Cached(cached) => Ok(cached.object.clone()),
        Body::Memory(_, object) if object.huge().is_none() => Ok(object.clone()),
        _ => Err(Errno::EACCES),
    }
}
