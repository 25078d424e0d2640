//! From a path to a file, through all file systems.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::device::{self, Device, DeviceEntry};
use super::hugetlbfs::sysfs::{self, SysEntry};
use super::node::{Node, NodeBody};
use super::open_file::OpenFile;
use super::procfs::{self, ProcEntry};
use super::share::ShareFile;
use super::tmpfs::Walk;
use super::uapi::{Stat, at, mode};
use super::{context_of, path, table_of};
use crate::errno::Errno;
use crate::host::Follow;
use crate::kernel::Kernel;
use crate::number::{Tid, low_i32};

/// Symbolic links followed on the way to one file.
pub(super) const LINKS_MAX: usize = 40;

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found {
    /// A file of the share.
    Share(ShareFile),
    /// A file in memory.
    Node(Rc<Node>),
    /// A device.
    Device(Device),
    /// The terminal of the process's job.
    Terminal,
    /// A file of /proc with this text.
    Text(Vec<u8>),
    /// A directory that exists by itself: /dev, or one of /proc.
    Directory,
    /// A symbolic link, where the last one is not followed.
    Link(Vec<u8>),
    /// What a descriptor of a process leads to.
    Open(Rc<OpenFile>),
}

/// A file and its name.
#[derive(Debug)]
pub(crate) struct Place {
    /// Normalised absolute path; that of a file of the share has no symbolic links in it.
    pub(crate) path: Vec<u8>,
    /// What is there.
    pub(crate) found: Found,
}

/// One step of a lookup.
enum Step {
    /// The end.
    Found(Found),
    /// The lookup goes on at this path.
    Link(Vec<u8>),
}

/// Looks an absolute path up for a task.
pub(crate) fn lookup(
    kernel: &mut Kernel,
    tid: Tid,
    absolute: &[u8],
    follow: Follow,
) -> Result<Place, Errno> {
    let mut raw = absolute.to_vec();
    let mut links = 0;
    let mut names_directory = false;
    loop {
        // What `..` leads up from is looked up first: links may lead there.
        let (way, rest) = path::split_at_parent(&raw).unwrap_or((&raw, b""));
        let climbs = !rest.is_empty();
        // A slash or a dot at the end asks for a directory, so a link before it is followed.
        names_directory |= !climbs && (way.ends_with(b"/") || way.ends_with(b"/."));
        let follow = if climbs || names_directory { Follow::Yes } else { follow };
        let text = path::normalise(way);
        match step(kernel, tid, way, &text, follow)? {
            Step::Link(_) if links == LINKS_MAX => return Err(Errno::ELOOP),
            Step::Link(next) => {
                links += 1;
                raw = if climbs { path::join(&next, rest) } else { next };
            }
            Step::Found(found) => {
                let place = Place::new(found, text);
                if (climbs || names_directory) && !place.stat().is_directory() {
                    return Err(Errno::ENOTDIR);
                }
                if !climbs {
                    return Ok(place);
                }
                let (directory, after) = path::climb(place.directory(), rest);
                raw = path::join(directory, after);
            }
        }
    }
}

fn step(
    kernel: &mut Kernel,
    tid: Tid,
    raw: &[u8],
    text: &[u8],
    follow: Follow,
) -> Result<Step, Errno> {
    if let Some(walk) = kernel.files.tmpfs.walk(text, follow) {
        return match walk? {
            Walk::Node(node) => Ok(Step::Found(Found::Node(node))),
            Walk::Link(next) => Ok(Step::Link(next)),
            Walk::Below => Ok(match share_step(kernel, raw, follow)? {
                Step::Found(Found::Share(file)) => Step::Found(Found::Share(file.below_tmpfs())),
                other => other,
            }),
        };
    }
    if let Some(rest) = path::below(text, b"/proc") {
        let entry = procfs::entry(kernel, tid, rest)?;
        return Ok(proc_step(entry, text, follow));
    }
    if let Some(rest) = path::below(text, b"/dev") {
        return device_step(rest, follow);
    }
    if let Some(rest) = path::below(text, sysfs::DIRECTORY) {
        return match sysfs::entry(kernel, rest).ok_or(Errno::ENOENT)? {
            SysEntry::Directory(..) => Ok(Step::Found(Found::Directory)),
            SysEntry::Text(text) => Ok(Step::Found(Found::Text(text))),
        };
    }
    share_step(kernel, raw, follow)
}

fn share_step(kernel: &Kernel, raw: &[u8], follow: Follow) -> Result<Step, Errno> {
    Ok(match ShareFile::look_up(kernel, raw, follow)? {
        Ok(file) => Step::Found(Found::Share(file)),
        Err(elsewhere) => Step::Link(elsewhere),
    })
}

fn device_step(rest: &[u8], follow: Follow) -> Result<Step, Errno> {
    let Some(name) = rest.strip_prefix(b"/") else {
        return Ok(Step::Found(Found::Directory));
    };
    let end = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
    let (name, within) = name.split_at(end);
    Ok(match device::entry(name).ok_or(Errno::ENOENT)? {
        DeviceEntry::Link(target) if !within.is_empty() => Step::Link([target, within].concat()),
        _ if !within.is_empty() => return Err(Errno::ENOTDIR),
        DeviceEntry::Device(device) => Step::Found(Found::Device(device)),
        DeviceEntry::Terminal => Step::Found(Found::Terminal),
        DeviceEntry::Link(target) if follow == Follow::Yes => Step::Link(target.to_vec()),
        DeviceEntry::Link(target) => Step::Found(Found::Link(target.to_vec())),
    })
}

fn proc_step(entry: ProcEntry, text: &[u8], follow: Follow) -> Step {
    match entry {
        ProcEntry::Directory => Step::Found(Found::Directory),
        ProcEntry::Text(text) => Step::Found(Found::Text(text)),
        ProcEntry::Within(next) => Step::Link(next),
        ProcEntry::Open(file) if follow == Follow::No => {
            Step::Found(Found::Link(file.path.clone()))
        }
        // What is opened again by its name is a file of its own, with an offset of its own.
        ProcEntry::Open(file) if file.is_named() => Step::Link(file.path.clone()),
        ProcEntry::Open(file) => Step::Found(Found::Open(file)),
        ProcEntry::Link(target) if follow == Follow::Yes => {
            let directory = path::split(text).map_or(&b"/"[..], |(directory, _)| directory);
            Step::Link(path::join(directory, &target))
        }
        ProcEntry::Link(target) => Step::Found(Found::Link(target)),
    }
}

impl Place {
    /// What was found at a normalised path.
    fn new(found: Found, text: Vec<u8>) -> Self {
        let path = match &found {
            Found::Share(file) => file.real_path(&text),
            _ => text,
        };
        Self { path, found }
    }

    /// Path of the directory that is there, wherever the last name leads.
    pub(crate) fn directory(&self) -> &[u8] {
        match &self.found {
            Found::Open(file) => &file.path,
            _ => &self.path,
        }
    }

    /// What stat() says.
    pub(crate) fn stat(&self) -> Stat {
        /// Device number of the file systems that exist by themselves.
        const PROC_DEV: u64 = 0x15;
        let made_up = |mode: u32| Stat {
            dev: PROC_DEV,
            ino: number_of(&self.path),
            mode,
            nlink: 1,
            ..Stat::default()
        };
        match &self.found {
            Found::Share(file) => file.stat(),
            Found::Node(node) => node.stat(),
            Found::Device(device) => device.stat(),
            Found::Terminal => {
                Stat { rdev: super::uapi::device(5, 0), ..made_up(mode::CHARACTER | 0o666) }
            }
            Found::Text(_) => made_up(mode::REGULAR | 0o444),
            Found::Directory => made_up(mode::DIRECTORY | 0o555),
            Found::Link(_) => made_up(mode::LINK | 0o777),
            Found::Open(file) => file.stat(),
        }
    }

    /// The target of a symbolic link; `None` for anything else.
    pub(crate) fn link_target(&self) -> Result<Option<Vec<u8>>, Errno> {
        match &self.found {
            Found::Link(target) => Ok(Some(target.clone())),
            Found::Node(node) => match &node.body {
                NodeBody::Link(target) => Ok(Some(target.to_vec())),
                _ => Ok(None),
            },
            Found::Share(file) if file.stat().is_link() => {
                crate::host::file_readlink(file.handle()).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// A stand-in for an inode number: the path's hash (FNV-1a).
pub(crate) fn number_of(path: &[u8]) -> u64 {
    path.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// The absolute path that a descriptor and a path of a *at call stand for.
pub(crate) fn absolute(kernel: &Kernel, tid: Tid, fd: u64, given: &[u8]) -> Result<Vec<u8>, Errno> {
    path::check(given)?;
    if given.starts_with(b"/") || low_i32(fd) == at::CWD {
        return Ok(path::join(&context_of(kernel, tid).borrow().directory, given));
    }
    let base = table_of(kernel, tid).borrow().get(fd)?;
    if !base.stat().is_directory() {
        return Err(Errno::ENOTDIR);
    }
    Ok(path::join(&base.path, given))
}
