//! System calls: making, replacing, ending and waiting for processes.

mod prctl;
mod wait;

pub(super) use wait::usage;

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::Entry;
use super::request::{OnSignal, Outcome, Request, Wait, WaitKey};
use crate::errno::Errno;
use crate::exec::{self, Strings, Unloadable};
use crate::file::uapi::at;
use crate::file::{self, lookup};
use crate::heap;
use crate::kernel::Kernel;
use crate::memory::user::UserMemory;
use crate::number::{Tid, low_i32, low_u8, low_u32};
use crate::signal::Signal;
use crate::task::clone::{CloneRequest, clone as clone_task, flag};
use crate::task::process::WaitStatus;

/// The group's rows.
pub(crate) const CALLS: &[Entry] = &[
    (24, "sched_yield", sched_yield),
    (56, "clone", clone), // partial: no namespaces, CLONE_PIDFD or CLONE_IO
    (57, "fork", fork),
    (58, "vfork", vfork),
    (59, "execve", execve),
    (60, "exit", exit),
    (61, "wait4", wait::wait4),
    (135, "personality", personality), // partial: remembered, without effect
    (157, "prctl", prctl::prctl), // partial: names, PDEATHSIG, DUMPABLE, NO_NEW_PRIVS, TIMERSLACK
    (158, "arch_prctl", prctl::arch_prctl),
    (218, "set_tid_address", set_tid_address),
    (231, "exit_group", exit_group),
    (247, "waitid", wait::waitid),
    (272, "unshare", unshare), // partial: no namespaces
    (322, "execveat", execveat),
    (435, "clone3", clone3), // partial: as clone
];

/// SIGCHLD, the exit signal of fork.
const SIGCHLD: u64 = 17;

/// Bytes of arguments and environment together, and of one string (Linux: MAX_ARG_STRLEN).
const STRINGS_MAX: usize = 2 << 20;
const STRING_MAX: usize = 128 << 10;
/// The same where the heap is nearly full.
const STRINGS_SMALL: usize = 64 << 10;
/// Longest path.
const PATH_MAX: usize = 4096;

fn sched_yield(kernel: &mut Kernel, _request: &mut Request) -> Result<Outcome, Errno> {
    kernel.ready.end_turn();
    Ok(Outcome::Done(0))
}

/// Makes a task; a vfork goes on only when the child has execed or ended.
fn make(kernel: &mut Kernel, request: &mut Request, wish: &CloneRequest) -> Result<Outcome, Errno> {
    if request.progress == 0 {
        request.progress = clone_task(kernel, request.tid, wish)?.word();
    }
    let parent = request.tid;
    let waits = |child: &alloc::boxed::Box<crate::task::Task>| child.vfork_parent == Some(parent);
    let child = Tid::from_word(request.progress);
    if child.and_then(|child| kernel.tasks.get(&child)).is_some_and(waits) {
        let wait = Wait::on(WaitKey::Vfork(parent)).with_on_signal(OnSignal::Ignore);
        return Ok(Outcome::Block(wait));
    }
    Ok(Outcome::Done(request.progress))
}

fn fork(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    make(kernel, request, &simple_request(0))
}

fn vfork(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    make(kernel, request, &simple_request(flag::VM | flag::VFORK))
}

const fn simple_request(flags: u64) -> CloneRequest {
    CloneRequest {
        flags,
        stack: 0,
        parent_tid_gva: 0,
        child_tid_gva: 0,
        tls: 0,
        exit_signal: SIGCHLD,
    }
}

fn clone(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [flags, stack, parent_tid_gva, child_tid_gva, tls, _] = request.args;
    let exit_signal = flags & 0xff;
    let flags = flags & 0xffff_ff00;
    let wish = CloneRequest { flags, stack, parent_tid_gva, child_tid_gva, tls, exit_signal };
    make(kernel, request, &wish)
}

fn clone3(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    /// Bytes of `struct clone_args` in its first version, and as far as it is known.
    const LEN_MIN: u64 = 64;
    const LEN_MAX: u64 = 4096;
    let [args_gva, len, ..] = request.args;
    if !(LEN_MIN..=LEN_MAX).contains(&len) {
        return Err(if len > LEN_MAX { Errno::E2BIG } else { Errno::EINVAL });
    }
    let user = kernel.user(request.tid);
    let mut words = [0; 8];
    for (slot, word) in words.iter_mut().enumerate() {
        *word = user.read_word(args_gva.wrapping_add(slot as u64 * 8))?;
    }
    let [flags, _pid_descriptor, child_tid_gva, parent_tid_gva, exit_signal, low, size, tls] =
        words;
    let stack = low.wrapping_add(size);
    let wish = CloneRequest { flags, stack, parent_tid_gva, child_tid_gva, tls, exit_signal };
    make(kernel, request, &wish)
}

/// Reads a vector of string pointers; `budget` is what is left of the bytes allowed.
fn read_strings(
    user: &UserMemory,
    vector_gva: u64,
    budget: &mut usize,
) -> Result<Vec<Vec<u8>>, Errno> {
    let mut strings = Vec::new();
    if vector_gva == 0 {
        return Ok(strings);
    }
    loop {
        let slot_gva = vector_gva.wrapping_add(strings.len() as u64 * 8);
        let gva = user.read_word(slot_gva)?;
        if gva == 0 {
            return Ok(strings);
        }
        let string = user.read_c_string(gva, STRING_MAX).map_err(|errno| match errno {
            Errno::ENAMETOOLONG => Errno::E2BIG,
            other => other,
        })?;
        *budget = budget.checked_sub(string.len() + 9).ok_or(Errno::E2BIG)?;
        if heap::is_short() {
            return Err(Errno::ENOMEM);
        }
        strings.push(string);
    }
}

/// execve(path, arguments, environment)
fn execve(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [path_gva, arguments_gva, environment_gva, ..] = request.args;
    let tid = request.tid;
    run(kernel, request, [arguments_gva, environment_gva], |kernel| {
        let called = kernel.user(tid).read_c_string(path_gva, PATH_MAX)?;
        Ok((file::open_program(kernel, tid, &called)?, called))
    })
}

/// execveat(directory, path, arguments, environment, flags)
fn execveat(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, path_gva, arguments_gva, environment_gva, flags, _] = request.args;
    let tid = request.tid;
    let flags = low_u32(flags);
    if flags & !(at::EMPTY_PATH | at::SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    run(kernel, request, [arguments_gva, environment_gva], |kernel| {
        let given = kernel.user(tid).read_c_string(path_gva, PATH_MAX)?;
        if given.starts_with(b"/") || low_i32(fd) == at::CWD {
            return Ok((file::open_program(kernel, tid, &given)?, given));
        }
        // What a script is told: Linux names the file by the descriptor.
        let mut called = format!("/dev/fd/{}", low_u32(fd)).into_bytes();
        if given.is_empty() && flags & at::EMPTY_PATH != 0 {
            return Ok((file::opened_program(kernel, tid, fd)?, called));
        }
        let absolute = lookup::absolute(kernel, tid, fd, &given)?;
        called.push(b'/');
        called.extend_from_slice(&given);
        Ok((file::open_program(kernel, tid, &absolute)?, called))
    })
}

/// Replaces the caller's program by the one that `find` finds, and that is called so.
fn run(
    kernel: &mut Kernel,
    request: &Request,
    [arguments_gva, environment_gva]: [u64; 2],
    find: impl FnOnce(&mut Kernel) -> Result<(file::Program, Vec<u8>), Errno>,
) -> Result<Outcome, Errno> {
    let tid = request.tid;
    // The strings are held twice while the new stack is written.
    if !heap::has_room(STRINGS_MAX * 2) && !heap::has_room(STRINGS_SMALL * 2) {
        return Err(Errno::ENOMEM);
    }
    let mut budget = if heap::has_room(STRINGS_MAX * 2) { STRINGS_MAX } else { STRINGS_SMALL };
    let (file::Program { object, path }, called) = find(kernel)?;
    let user = kernel.user(tid);
    let mut arguments = read_strings(&user, arguments_gva, &mut budget)?;
    let environment = read_strings(&user, environment_gva, &mut budget)?;
    if arguments.is_empty() {
        arguments.push(Vec::new());
    }
    // The old memory goes before the host hears of the new one, so nothing may hold it.
    drop(user);
    let program = exec::Program { object, path, called };
    match exec::replace(kernel, tid, program, Strings { arguments, environment }) {
        Ok(()) => {}
        Err(Unloadable::Refused(errno)) => return Err(errno),
        Err(Unloadable::Misplaced) => {
            kernel.exit_group(tid, WaitStatus::killed(Signal::SEGV.number()));
        }
    }
    Ok(Outcome::Resume)
}

/// personality(persona)
fn personality(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    /// Only asks.
    const ASK: u32 = u32::MAX;
    let wanted = low_u32(request.args[0]);
    let process = kernel.process_of_mut(request.tid);
    let old = process.personality;
    if wanted != ASK {
        process.personality = wanted;
    }
    Ok(Outcome::Done(u64::from(old)))
}

/// unshare(flags)
fn unshare(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    /// System V semaphores are undone apart; there are none.
    const SYSV_SEMAPHORES: u64 = 0x4_0000;
    let flags = request.args[0];
    if flags & !(flag::FS | flag::FILES | SYSV_SEMAPHORES) != 0 {
        return Err(Errno::EINVAL);
    }
    let task = kernel.task_mut(request.tid);
    if flags & flag::FILES != 0 {
        let copy = task.files.borrow().for_fork()?;
        task.files = Rc::new(RefCell::new(copy));
    }
    if flags & flag::FS != 0 {
        let copy = task.context.borrow().for_fork();
        task.context = Rc::new(RefCell::new(copy));
    }
    Ok(Outcome::Done(0))
}

fn exit(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let status = WaitStatus::exited(low_u8(request.args[0]));
    kernel.exit_task(request.tid, status);
    Ok(Outcome::Resume)
}

fn exit_group(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let status = WaitStatus::exited(low_u8(request.args[0]));
    kernel.exit_group(request.tid, status);
    Ok(Outcome::Resume)
}

fn set_tid_address(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    kernel.task_mut(request.tid).clear_tid_gva = request.args[0];
    Ok(Outcome::Done(request.tid.word()))
}
