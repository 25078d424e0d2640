//! Running a program: a new address space is built aside, then it replaces the old one.

mod elf;
mod image;
mod stack;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::errno::Errno;
use crate::file::{self, FileTable, Program as OpenProgram};
use crate::host;
use crate::kernel::Kernel;
use crate::kmem::Shortage;
use crate::memory::object::Object;
use crate::memory::space::{SharedSpace, Space};
use crate::number::Tid;
use crate::syscall::file::closed as release_locks;
use crate::syscall::request::WaitKey;
use crate::task::process::{LIMIT_SPACE, LIMIT_STACK, WaitStatus};
use crate::task::registers::Registers;
use image::Image;
use vmcg_abi::page::shared;

/// A file to be run.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) object: Rc<Object>,
    /// Its absolute path.
    pub(crate) path: Vec<u8>,
    /// Its path as the caller gave it.
    pub(crate) called: Vec<u8>,
}

/// What a program is given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strings {
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) environment: Vec<Vec<u8>>,
}

/// Interpreters of interpreters that are followed (Linux: 5 levels of binfmt).
const SCRIPTS_MAX: usize = 4;
/// Bytes of a script's first line that count (Linux: BINPRM_BUF_SIZE).
const LINE_MAX: usize = 256;
/// Bytes of a task's name without its NUL (Linux: TASK_COMM_LEN - 1).
pub(crate) const NAME_MAX: usize = 15;

/// Why a program cannot be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unloadable {
    /// The caller is told this.
    Refused(Errno),
    /// Its segments lie where none can. Linux finds that out when there is no way back for the
    /// caller, and ends it with SIGSEGV.
    Misplaced,
}

impl Unloadable {
    /// The error number that says it best.
    pub(crate) const fn errno(self) -> Errno {
        match self {
            Self::Refused(errno) => errno,
            Self::Misplaced => Errno::ENOEXEC,
        }
    }
}

impl From<Errno> for Unloadable {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

impl From<Shortage> for Unloadable {
    fn from(shortage: Shortage) -> Self {
        Self::Refused(shortage.into())
    }
}

/// Replaces the program of a task. Refused, the task goes on as it was.
pub(crate) fn replace(
    kernel: &mut Kernel,
    tid: Tid,
    program: Program,
    strings: Strings,
) -> Result<(), Unloadable> {
    let called = program.called.clone();
    let (program, strings) = resolve_scripts(kernel, tid, program, strings)?;
    let space = new_space(kernel, tid)?;
    let image = Image::load(kernel, tid, &space, &program)?;
    let registers = stack::build(&space, &image, &called, &strings)?;
    let files = own_files(kernel, tid)?;
    end_other_threads(kernel, tid);
    let Some(tid) = take_process_id(kernel, tid) else { return Ok(()) };
    switch(kernel, tid, space, registers);
    kernel.task_mut(tid).files = files;
    close_files(kernel, tid);
    rename(kernel, tid, &called, program.path, &strings);
    Ok(())
}

/// The task's descriptors; a copy where tasks share them, which keep theirs.
fn own_files(kernel: &Kernel, tid: Tid) -> Result<Rc<RefCell<FileTable>>, Errno> {
    let files = &kernel.task(tid).files;
    if Rc::strong_count(files) == 1 {
        return Ok(files.clone());
    }
    let copy = files.borrow().for_fork()?;
    Ok(Rc::new(RefCell::new(copy)))
}

/// An empty space with the limits of the task's process.
fn new_space(kernel: &Kernel, tid: Tid) -> Result<SharedSpace, Errno> {
    let mut space = Space::new(&kernel.frames)?;
    let limits = &kernel.process_of(tid).limits;
    space.stack_max = limits[LIMIT_STACK].0;
    space.total_max = limits[LIMIT_SPACE].0;
    Ok(Rc::new(RefCell::new(space)))
}

/// Follows `#!` lines to a program that is not a script.
fn resolve_scripts(
    kernel: &mut Kernel,
    tid: Tid,
    mut program: Program,
    mut strings: Strings,
) -> Result<(Program, Strings), Errno> {
    for _ in 0..SCRIPTS_MAX {
        let mut line = [0; LINE_MAX];
        let len = program.object.read(0, &mut line)?;
        let Some(rest) = line[..len].strip_prefix(b"#!") else {
            return Ok((program, strings));
        };
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Errno::ENOEXEC)?;
        let line = rest[..end].trim_ascii();
        let mut words = line.splitn(2, |byte| matches!(byte, b' ' | b'\t'));
        let interpreter = words.next().filter(|word| !word.is_empty()).ok_or(Errno::ENOEXEC)?;
        let mut arguments = alloc::vec![interpreter.to_vec()];
        arguments.extend(words.next().map(|word| word.trim_ascii().to_vec()));
        arguments.push(program.called);
        arguments.extend(strings.arguments.into_iter().skip(1));
        strings.arguments = arguments;
        let OpenProgram { object, path, .. } = file::open_program(kernel, tid, interpreter)?;
        program = Program { object, path, called: interpreter.to_vec() };
    }
    Err(Errno::ELOOP)
}

/// Ends the other threads of the task's process.
fn end_other_threads(kernel: &mut Kernel, tid: Tid) {
    let threads = kernel.process_of(tid).threads.clone();
    for other in threads.into_iter().filter(|other| *other != tid) {
        kernel.exit_task(other, WaitStatus::killed(9));
    }
}

/// Gives the one task left of a process the process's id, which its first task had: answers the id.
/// `None` where the host refuses, and the process has been ended, for there is no way back.
fn take_process_id(kernel: &mut Kernel, tid: Tid) -> Option<Tid> {
    let id = kernel.task(tid).process;
    if id == tid {
        return Some(id);
    }
    let root = kernel.task(tid).space.borrow().tables.root();
    let Ok(kmem) = host::task_new(id, id, tid, root, 0) else {
        kernel.exit_group(tid, WaitStatus::killed(9));
        return None;
    };
    kernel.save_extended(tid);
    let mut task = kernel.tasks.remove(&tid)?;
    (task.tid, task.kmem) = (id, kmem);
    kernel.tasks.insert(id, task);
    kernel.process_of_mut(id).threads = alloc::vec![id];
    host::set_shared_word(shared::CURRENT_TID, id.word());
    kernel.frames.kmem().set_payer(kmem);
    host::task_exit(tid, 0);
    kernel.enqueue(id);
    Some(id)
}

/// Closes what an exec closes.
fn close_files(kernel: &mut Kernel, tid: Tid) {
    let files = kernel.task(tid).files.clone();
    let mut from = 0;
    loop {
        let closed = files.borrow_mut().take_closed_on_exec(&mut from);
        let Some(file) = closed else { break };
        release_locks(kernel, tid, &file);
    }
    file::wake_dropped(kernel);
}

/// Puts the new space and registers into place of the old ones.
fn switch(kernel: &mut Kernel, tid: Tid, space: SharedSpace, registers: Registers) {
    kernel.reload_extended(tid);
    let task = kernel.task_mut(tid);
    task.space = space;
    task.registers = registers;
    task.extended.reset();
    (task.fs_base, task.gs_base) = (0, 0);
    (task.clear_tid_gva, task.robust_list_gva) = (0, 0);
    task.interrupted = None;
    task.signals.on_exec();
    // Tables shared with other tasks stay theirs.
    let handlers = task.handlers.borrow().for_fork();
    task.handlers = Rc::new(RefCell::new(handlers));
    task.handlers.borrow_mut().on_exec();
    if let Some(parent) = task.vfork_parent.take() {
        kernel.wake(WaitKey::Vfork(parent));
    }
}

/// Tells the process, the host and /proc what runs now.
fn rename(kernel: &mut Kernel, tid: Tid, called: &[u8], path: Vec<u8>, strings: &Strings) {
    let base = called.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = base[..base.len().min(NAME_MAX)].to_vec();
    let task = kernel.task_mut(tid);
    task.name.clone_from(&name);
    let root = task.space.borrow().tables.root();
    host::task_exec(tid, root, &name);
    let process = kernel.process_of_mut(tid);
    process.has_execed = true;
    process.signals.timers.notify.clear();
    process.executable = path;
    process.command_line = strings.arguments.join(&0);
    process.command_line.push(0);
}

/// What an error number of loading means, for the one who started the job.
pub(crate) fn explain(why: Unloadable) -> &'static str {
    let Unloadable::Refused(errno) = why else {
        return "its segments lie outside the memory of programs, or where its stack is";
    };
    match errno {
        Errno::ENOEXEC => "not an executable for this machine (a 64-bit x86 ELF is needed)",
        Errno::ENOMEM => "the guest has not enough memory",
        Errno::ENOENT | Errno::ELIBBAD => "its dynamic linker is missing or damaged",
        Errno::E2BIG => "its arguments and environment are too long",
        Errno::EIO | Errno::ENXIO => "the file cannot be read, or ends too early",
        _ => "the file cannot be run",
    }
}
