//! Jobs: programs that the host wants run.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use vmcg_abi::call::job;
use vmcg_abi::page::shared;

use crate::errno::Errno;
use crate::exec::{self, Program};
use crate::file::{FileContext, FileTable};
use crate::kernel::Kernel;
use crate::kmem::KmemId;
use crate::memory::object::Object;
use crate::memory::space::Space;
use crate::number::{Tid, index, low_u32};
use crate::signal::{Handlers, ProcessSignals, TaskSignals};
use crate::task::extended::Extended;
use crate::task::process::{Process, Scheduling, first_limits};
use crate::task::registers::Registers;
use crate::task::{Task, TaskState};
use crate::{file, host};

/// What the host wants run.
struct Job {
    id: u32,
    kmem: KmemId,
    program: u64,
    size: u64,
    path: Vec<u8>,
    cwd: Vec<u8>,
    arguments: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
}

impl Job {
    /// Reads a descriptor; `None` where it does not hold what it says.
    fn parse(descriptor: &[u8]) -> Option<Self> {
        let (words, _) = descriptor.split_at_checked(job::WORDS * 8)?;
        let word = |slot: usize| {
            let bytes = words.as_chunks::<8>().0.get(slot).copied().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        let mut strings = descriptor[job::WORDS * 8..].split(|byte| *byte == 0).map(<[u8]>::to_vec);
        let path = strings.next()?;
        let cwd = strings.next()?;
        let mut take = |count: u64| -> Option<Vec<Vec<u8>>> {
            let taken: Vec<_> = strings.by_ref().take(index(count)).collect();
            (taken.len() as u64 == count).then_some(taken)
        };
        let arguments = take(word(job::ARGC))?;
        let environment = take(word(job::ENVC))?;
        let (id, program, size) = (low_u32(word(job::ID)), word(job::PROGRAM), word(job::SIZE));
        let kmem = KmemId::from_word(word(job::KMEM));
        Some(Self { id, kmem, program, size, path, cwd, arguments, environment })
    }
}

/// Why a job does not start whose group may not use the kernel memory it takes.
const REFUSED: &str = "a limit of its group, or of one above, leaves no room for the kernel memory of a \
    program; see memory.kmem.failcnt and memory.failcnt";

/// Starts every job the host has.
pub(crate) fn start_all(kernel: &mut Kernel) {
    while let Some(descriptor) = host::job_fetch() {
        let Some(job) = Job::parse(&descriptor) else {
            host::log("a job's descriptor is cut short");
            continue;
        };
        let id = job.id;
        let refused_before = kernel.frames.kmem().refused();
        if let Err((errno, mut reason)) = start(kernel, job) {
            if errno == Errno::ENOMEM && kernel.frames.kmem().refused() != refused_before {
                reason = String::from(REFUSED);
            }
            host::job_failed(id, errno, &reason);
        }
    }
}

/// Makes the first task of a job and loads its program.
fn start(kernel: &mut Kernel, job: Job) -> Result<(), (Errno, String)> {
    let object = Rc::new(Object::new_file(&kernel.frames, job.program, job.size));
    let fail = |reason: &str| {
        let reason = String::from(reason);
        move |errno| (errno, reason)
    };
    if kernel.is_ending || crate::heap::is_short() {
        return Err((Errno::ENOMEM, String::from("the guest kernel is out of memory")));
    }
    let tid = add_task(kernel, &job).map_err(fail("the guest has no room for a task"))?;
    // What loading touches is the new task's.
    host::set_shared_word(shared::CURRENT_TID, tid.word());
    let program = Program { object, path: file::real_path(&job.path), called: job.path };
    let strings = exec::Strings { arguments: job.arguments, environment: job.environment };
    if let Err(why) = exec::replace(kernel, tid, program, strings) {
        let errno = why.errno();
        let reason = format!("the program cannot be loaded: {}", exec::explain(why));
        let process = kernel.process_of_mut(tid);
        process.is_first_of_job = false;
        kernel.exit_group(tid, crate::task::process::WaitStatus::exited(127));
        return Err((errno, reason));
    }
    host::job_started(job.id, tid);
    file::terminal::start(kernel, job.id, tid);
    kernel.enqueue(tid);
    Ok(())
}

/// Adds a process with one task, an empty address space and the job's streams.
fn add_task(kernel: &mut Kernel, job: &Job) -> Result<Tid, Errno> {
    let tid = kernel.new_tid().ok_or(Errno::EAGAIN)?;
    kernel.frames.kmem().set_payer(job.kmem);
    let space = Space::new(&kernel.frames)?;
    let extended = Extended::charged(&kernel.frames)?;
    let root = space.tables.root();
    let mut task = kernel.frames.new_box(Task {
        tid,
        process: tid,
        state: TaskState::Ready,
        is_held: false,
        kmem: job.kmem,
        registers: Registers::default(),
        fs_base: 0,
        gs_base: 0,
        extended,
        space: Rc::new(RefCell::new(space)),
        files: Rc::new(RefCell::new(FileTable::for_job(job.id))),
        context: Rc::new(RefCell::new(FileContext::new(&job.cwd))),
        signals: TaskSignals::default(),
        handlers: Rc::new(RefCell::new(Handlers::default())),
        ran_ns: 0,
        request: None,
        interrupted: None,
        clear_tid_gva: 0,
        robust_list_gva: 0,
        name: Vec::new(),
        vfork_parent: None,
    })?;
    task.kmem = host::task_new(tid, tid, Tid::INIT, root, job.id)?;
    let process = Process {
        id: tid,
        parent: Tid::INIT,
        group: tid,
        session: tid,
        threads: alloc::vec![tid],
        job: job.id,
        is_first_of_job: true,
        signals: ProcessSignals::default(),
        exit_signal: 0,
        parent_death: None,
        ended: None,
        ending: None,
        change: None,
        is_stopped: false,
        has_execed: false,
        limits: first_limits(),
        scheduling: Scheduling::default(),
        personality: 0,
        command_line: Vec::new(),
        executable: Vec::new(),
        started_ns: kernel.clock.now(),
        ran_ns: 0,
        children_ran_ns: 0,
    };
    kernel.processes.insert(tid, process);
    kernel.tasks.insert(tid, task);
    Ok(tid)
}
