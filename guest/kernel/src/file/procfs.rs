//! /proc: what the kernel tells about itself and its tasks. Texts are made when a file is opened.

mod machine;
mod process;

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::directory::NAME_BYTES;
use super::open_file::OpenFile;
use super::uapi::mode;
use super::{path, table_of};
use crate::errno::Errno;
use crate::heap;
use crate::kernel::Kernel;
use crate::number::Tid;

/// What a path in /proc leads to.
#[derive(Debug)]
pub(crate) enum ProcEntry {
    /// A directory.
    Directory,
    /// A file with this text.
    Text(Vec<u8>),
    /// A symbolic link.
    Link(Vec<u8>),
    /// The lookup goes on at this path, which is not a link's target but another name.
    Within(Vec<u8>),
    /// A descriptor's open file.
    Open(Rc<OpenFile>),
}

/// Makes the text of a file of the machine.
type MachineText = fn(&Kernel) -> Vec<u8>;
/// Makes the text of a file of a process.
type ProcessText = fn(&Kernel, Tid) -> Vec<u8>;

/// Files of the machine.
const MACHINE: &[(&[u8], MachineText)] = &[
    (b"cpuinfo", machine::cpuinfo),
    (b"filesystems", machine::filesystems),
    (b"loadavg", machine::loadavg),
    (b"meminfo", machine::meminfo),
    (b"stat", machine::stat),
    (b"uptime", machine::uptime),
    (b"version", machine::version),
];

/// Symbolic links of the machine.
const MACHINE_LINKS: &[(&[u8], &[u8])] = &[(b"mounts", b"self/mounts")];

/// Files of each process.
const PROCESS: &[(&[u8], ProcessText)] = &[
    (b"cgroup", process::cgroup),
    (b"cmdline", process::cmdline),
    (b"comm", process::comm),
    (b"maps", process::maps),
    (b"mounts", process::mounts),
    (b"stat", process::stat),
    (b"statm", process::statm),
    (b"status", process::status),
];

/// Symbolic links of each process, and where they lead.
const PROCESS_LINKS: &[(&[u8], ProcessText)] = &[
    (b"cwd", |kernel, tid| super::context_of(kernel, tid).borrow().directory.clone()),
    (b"exe", |kernel, tid| kernel.process_of(tid).executable.clone()),
    (b"root", |_, _| b"/".to_vec()),
];

/// What the path `/proc` + `rest` leads to, as seen by a task.
pub(crate) fn entry(kernel: &Kernel, tid: Tid, rest: &[u8]) -> Result<ProcEntry, Errno> {
    let mut parts = path::components(rest);
    let Some(name) = parts.next() else {
        return Ok(ProcEntry::Directory);
    };
    let within: Vec<&[u8]> = parts.collect();
    if matches!(name, b"self" | b"thread-self") {
        return Ok(own(kernel, tid, &within));
    }
    if let Some(pid) = number(name) {
        return of_process(kernel, Tid(pid), &within);
    }
    if !within.is_empty() {
        return Err(Errno::ENOENT);
    }
    if let Some((_, text)) = MACHINE.iter().find(|(entry, _)| *entry == name) {
        return Ok(ProcEntry::Text(text(kernel)));
    }
    let link = MACHINE_LINKS.iter().find(|(entry, _)| *entry == name).ok_or(Errno::ENOENT)?;
    Ok(ProcEntry::Link(link.1.to_vec()))
}

/// /proc/self: a link to the process's own directory, or what is in there.
fn own(kernel: &Kernel, tid: Tid, within: &[&[u8]]) -> ProcEntry {
    let pid = format!("{}", kernel.task(tid).process.0).into_bytes();
    if within.is_empty() {
        return ProcEntry::Link(pid);
    }
    inside([b"/proc/", &pid[..]].concat(), within)
}

/// What is in the directory of a process that has not ended.
fn of_process(kernel: &Kernel, pid: Tid, within: &[&[u8]]) -> Result<ProcEntry, Errno> {
    let threads = &kernel.processes.get(&pid).ok_or(Errno::ENOENT)?.threads;
    match *within {
        [b"task"] if !threads.is_empty() => Ok(ProcEntry::Directory),
        [b"task", tid, ref within @ ..] => {
            let tid = number(tid).map(Tid).filter(|tid| threads.contains(tid));
            of_task(kernel, tid.ok_or(Errno::ENOENT)?, within)
        }
        _ => of_task(kernel, *threads.first().ok_or(Errno::ENOENT)?, within),
    }
}

/// What is in the directory of a task.
fn of_task(kernel: &Kernel, tid: Tid, within: &[&[u8]]) -> Result<ProcEntry, Errno> {
    let [name, ref below @ ..] = *within else { return Ok(ProcEntry::Directory) };
    if let Some((_, target)) = PROCESS_LINKS.iter().find(|(entry, _)| *entry == name) {
        let target = target(kernel, tid);
        return Ok(if below.is_empty() { ProcEntry::Link(target) } else { inside(target, below) });
    }
    match *below {
        [] if name == b"fd" => Ok(ProcEntry::Directory),
        [] => {
            let row = PROCESS.iter().find(|(entry, _)| *entry == name).ok_or(Errno::ENOENT)?;
            Ok(ProcEntry::Text(row.1(kernel, tid)))
        }
        [fd, ref below @ ..] if name == b"fd" => {
            let fd = number(fd).ok_or(Errno::ENOENT)?;
            let file = table_of(kernel, tid).borrow().get(u64::from(fd));
            let file = file.map_err(|_| Errno::ENOENT)?;
            let is_end = below.is_empty();
            Ok(if is_end { ProcEntry::Open(file) } else { inside(file.path.clone(), below) })
        }
        _ => Err(Errno::ENOENT),
    }
}

/// The lookup goes on behind a link.
fn inside(mut target: Vec<u8>, below: &[&[u8]]) -> ProcEntry {
    for name in below {
        target.push(b'/');
        target.extend_from_slice(name);
    }
    ProcEntry::Within(target)
}

/// Names in the directory `/proc` + `rest`, with the types of their files.
pub(crate) fn names(kernel: &Kernel, tid: Tid, rest: &[u8]) -> Result<Vec<(Vec<u8>, u32)>, Errno> {
    let parts: Vec<&[u8]> = path::components(rest).collect();
    match *parts.as_slice() {
        [] => {
            let own = [(b"self".to_vec(), mode::LINK)].into_iter();
            let files = MACHINE.iter().map(|(name, _)| (name.to_vec(), mode::REGULAR));
            let links = MACHINE_LINKS.iter().map(|(name, _)| (name.to_vec(), mode::LINK));
            let processes = kernel.processes.values().filter(|process| process.ended.is_none());
            let processes = processes
                .map(|process| (format!("{}", process.id.0).into_bytes(), mode::DIRECTORY));
            Ok(own.chain(files).chain(links).chain(processes).collect())
        }
        [b"self", ref within @ ..] => in_process(kernel, kernel.task(tid).process, within),
        [pid, ref within @ ..] => {
            in_process(kernel, Tid(number(pid).ok_or(Errno::ENOTDIR)?), within)
        }
    }
}

fn in_process(kernel: &Kernel, pid: Tid, within: &[&[u8]]) -> Result<Vec<(Vec<u8>, u32)>, Errno> {
    let threads = &kernel.processes.get(&pid).ok_or(Errno::ENOENT)?.threads;
    let leader = *threads.first().ok_or(Errno::ENOENT)?;
    match *within {
        [] => {
            let mut names = in_task(kernel, leader, within)?;
            names.push((b"task".to_vec(), mode::DIRECTORY));
            Ok(names)
        }
        [b"task"] => {
            let name = |tid: &Tid| (format!("{}", tid.0).into_bytes(), mode::DIRECTORY);
            Ok(threads.iter().map(name).collect())
        }
        [b"task", tid, ref within @ ..] => {
            let tid = number(tid).map(Tid).filter(|tid| threads.contains(tid));
            in_task(kernel, tid.ok_or(Errno::ENOENT)?, within)
        }
        _ => in_task(kernel, leader, within),
    }
}

fn in_task(kernel: &Kernel, tid: Tid, within: &[&[u8]]) -> Result<Vec<(Vec<u8>, u32)>, Errno> {
    match within {
        [] => {
            let files = PROCESS.iter().map(|(name, _)| (name.to_vec(), mode::REGULAR));
            let links = PROCESS_LINKS.iter().map(|(name, _)| (name.to_vec(), mode::LINK));
            let fd = [(b"fd".to_vec(), mode::DIRECTORY)];
            Ok(files.chain(links).chain(fd).collect())
        }
        [b"fd"] => {
            let table = table_of(kernel, tid);
            let table = table.borrow();
            if !heap::has_room(table.used().count() * NAME_BYTES) {
                return Err(Errno::ENOMEM);
            }
            Ok(table.used().map(|fd| (format!("{fd}").into_bytes(), mode::LINK)).collect())
        }
        _ => Err(Errno::ENOTDIR),
    }
}

/// A name that is a number.
fn number(name: &[u8]) -> Option<u32> {
    str::from_utf8(name).ok()?.parse().ok()
}
