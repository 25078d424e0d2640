//! Files of /proc about a process.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::file::hugetlbfs::mount;
use crate::host;
use crate::kernel::Kernel;
use crate::memory::area::{Area, Backing, Role};
use crate::number::Tid;
use crate::signal::{Signal, SignalSet, pending_set};
use crate::task::TaskState;
use vmcg_abi::layout::PAGE_SIZE;

/// Nanoseconds in a clock tick (AT_CLKTCK is 100).
const TICK_NS: u64 = 10_000_000;
const KIB: u64 = 1024;

/// Sizes of a process, in bytes.
struct Sizes {
    total: u64,
    resident: u64,
    huge: u64,
    data: u64,
    stack: u64,
    code: u64,
}

fn sizes(kernel: &Kernel, tid: Tid) -> Sizes {
    let space = kernel.task(tid).space.borrow();
    let (resident, huge) = (space.resident(), space.resident_huge());
    let mut sizes = Sizes { total: 0, resident, huge, data: 0, stack: 0, code: 0 };
    for (start, area) in space.areas.iter() {
        let len = area.end - start;
        sizes.total += len;
        match area {
            Area { role: Role::Stack, .. } => sizes.stack += len,
            Area { rights, .. } if rights.can_execute => sizes.code += len,
            Area { rights, is_shared: false, .. } if rights.can_write => sizes.data += len,
            _ => {}
        }
    }
    sizes
}

/// The letter and the word for what a process is doing.
fn state(kernel: &Kernel, tid: Tid) -> (char, &'static str) {
    if kernel.process_of(tid).is_stopped {
        return ('T', "stopped");
    }
    match kernel.task(tid).state {
        TaskState::Blocked(_) => ('S', "sleeping"),
        _ => ('R', "running"),
    }
}

/// /proc/PID/cgroup
pub(super) fn cgroup(_: &Kernel, tid: Tid) -> Vec<u8> {
    // A task that ends just now is in no group any more.
    host::task_group(tid).unwrap_or_default()
}

/// /proc/PID/cmdline
pub(super) fn cmdline(kernel: &Kernel, tid: Tid) -> Vec<u8> {
    kernel.process_of(tid).command_line.clone()
}

/// /proc/PID/comm
pub(super) fn comm(kernel: &Kernel, tid: Tid) -> Vec<u8> {
    let mut name = kernel.task(tid).name.clone();
    name.push(b'\n');
    name
}

/// /proc/PID/mounts
pub(super) fn mounts(kernel: &Kernel, _: Tid) -> Vec<u8> {
    let mut text = b"share / fuse ro,relatime 0 0\n\
      tmpfs /tmp tmpfs rw,relatime 0 0\n\
      devtmpfs /dev devtmpfs rw,relatime 0 0\n\
      tmpfs /dev/shm tmpfs rw,relatime 0 0\n\
      proc /proc proc rw,relatime 0 0\n"
        .to_vec();
    let mounts = kernel.files.mounts();
    for (path, quota) in mounts.filter_map(|(path, quota)| Some((path, quota?))) {
        text.extend_from_slice(b"hugetlbfs ");
        text.extend_from_slice(path);
        text.extend_from_slice(format!(" hugetlbfs {} 0 0\n", mount::shown(quota)).as_bytes());
    }
    text
}

/// /proc/PID/maps
pub(super) fn maps(kernel: &Kernel, tid: Tid) -> Vec<u8> {
    /// Bytes of a line besides the path, at most.
    const LINE_LEN: usize = 120;
    let space = kernel.task(tid).space.borrow();
    let path_len = |area: &Area| match &area.backing {
        Backing::Object { path, .. } => path.len(),
        Backing::Anon => 0,
    };
    let len = space.areas.iter().map(|(_, area)| LINE_LEN + path_len(area)).sum();
    let mut text = Vec::new();
    if text.try_reserve(len).is_err() {
        // Tens of thousands of areas and no room for their text: it is cut to nothing.
        return text;
    }
    for (start, area) in space.areas.iter() {
        let flag = |is_set: bool, letter: char| if is_set { letter } else { '-' };
        let rights = area.rights;
        let (offset, name): (u64, &[u8]) = match (&area.backing, area.role) {
            (Backing::Object { offset, path, .. }, _) => (*offset, path),
            (Backing::Anon, Role::Heap) => (0, b"[heap]"),
            (Backing::Anon, Role::Stack) => (0, b"[stack]"),
            (Backing::Anon, Role::Plain) => (0, b""),
        };
        let line = format!(
            "{start:08x}-{:08x} {}{}{}{} {offset:08x} 00:00 0 ",
            area.end,
            flag(rights.can_read, 'r'),
            flag(rights.can_write, 'w'),
            flag(rights.can_execute, 'x'),
            if area.is_shared { 's' } else { 'p' },
        );
        /// Column at which Linux puts the names.
        const NAME_COLUMN: usize = 73;
        text.extend_from_slice(line.as_bytes());
        if !name.is_empty() {
            text.extend(core::iter::repeat_n(b' ', NAME_COLUMN.saturating_sub(line.len())));
            text.extend_from_slice(name);
        }
        text.push(b'\n');
    }
    text
}

/// /proc/PID/statm, in pages
pub(super) fn statm(kernel: &Kernel, tid: Tid) -> Vec<u8> {
    let sizes = sizes(kernel, tid);
    let pages = [sizes.total, sizes.resident, 0, sizes.code, 0, sizes.data + sizes.stack, 0];
    let words = pages.map(|bytes| format!("{}", bytes / PAGE_SIZE));
    let mut line = words.join(" ").into_bytes();
    line.push(b'\n');
    line
}

/// /proc/PID/stat. Fields that this kernel does not count are 0.
pub(super) fn stat(kernel: &Kernel, tid: Tid) -> Vec<u8> {
    let process = kernel.process_of(tid);
    let sizes = sizes(kernel, tid);
    let name = String::from_utf8_lossy(&kernel.task(tid).name).into_owned();
    let space = kernel.task(tid).space.borrow();
    let mut line = format!(
        "{} ({name}) {} {} {} {} 0 -1 0 0 0 0 0",
        process.id.0,
        state(kernel, tid).0,
        process.parent.0,
        process.group.0,
        process.session.0,
    );
    // From field 14 on: utime to rsslim, then addresses, signals and the rest, 52 fields in all.
    let mut fields = [0_u64; 39];
    fields[0] = process.ran_ns / TICK_NS;
    fields[2] = process.children_ran_ns / TICK_NS;
    fields[4] = 20;
    fields[6] = process.threads.len() as u64;
    fields[8] = process.started_ns / TICK_NS;
    fields[9] = sizes.total;
    fields[10] = sizes.resident / PAGE_SIZE;
    fields[11] = u64::MAX;
    fields[24] = u64::from(Signal::CHLD.number());
    fields[33] = space.heap.start;
    fields[34] = space.arguments.start;
    fields[35] = space.arguments.end;
    for field in fields {
        // Writing to a string cannot fail.
        let _ = write!(line, " {field}");
    }
    line.push('\n');
    line.into_bytes()
}

/// /proc/PID/status
pub(super) fn status(kernel: &Kernel, tid: Tid) -> Vec<u8> {
    let process = kernel.process_of(tid);
    let task = kernel.task(tid);
    let sizes = sizes(kernel, tid);
    let name = String::from_utf8_lossy(&task.name).into_owned();
    let (letter, word) = state(kernel, tid);
    let handlers = task.handlers.borrow();
    let (ignored, caught) = handlers.ignored_and_caught();
    let all = format!("{:016x}", (1_u64 << 41) - 1);
    let mask = |set: SignalSet| format!("{:016x}", set.0);
    let rows = [
        ("Name", name),
        ("Umask", format!("{:04o}", task.context.borrow().umask)),
        ("State", format!("{letter} ({word})")),
        ("Tgid", format!("{}", process.id.0)),
        ("Pid", format!("{}", process.id.0)),
        ("PPid", format!("{}", process.parent.0)),
        ("TracerPid", String::from("0")),
        ("Uid", String::from("0\t0\t0\t0")),
        ("Gid", String::from("0\t0\t0\t0")),
        ("VmSize", format!("{:8} kB", sizes.total / KIB)),
        ("VmRSS", format!("{:8} kB", sizes.resident / KIB)),
        ("VmData", format!("{:8} kB", sizes.data / KIB)),
        ("VmStk", format!("{:8} kB", sizes.stack / KIB)),
        ("VmExe", format!("{:8} kB", sizes.code / KIB)),
        ("HugetlbPages", format!("{:8} kB", sizes.huge / KIB)),
        ("Threads", format!("{}", process.threads.len())),
        ("SigPnd", mask(task.signals.pending.set())),
        ("ShdPnd", mask(pending_set(kernel, tid))),
        ("SigBlk", mask(task.signals.blocked)),
        ("SigIgn", mask(ignored)),
        ("SigCgt", mask(caught)),
        ("CapEff", all),
    ];
    rows.map(|(name, value)| format!("{name}:\t{value}\n")).concat().into_bytes()
}
