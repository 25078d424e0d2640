//! Who runs next. One vCPU; jobs take turns and tasks within a job; the host ends a turn by setting
//! `TICK`.

pub(crate) mod ready;

use vmcg_abi::layout::TASK_END;
use vmcg_abi::page::shared;

use crate::kernel::Kernel;
use crate::kmem::KmemId;
use crate::memory::fault::{Access, Fault};
use crate::memory::truncate;
use crate::number::Tid;
use crate::signal::{self, Signal, SignalInfo, code};
use crate::syscall::request::{Wait, WaitKey};
use crate::task::process::WaitStatus;
use crate::task::{TaskState, extended};
use crate::trap::{self, Trap};
use crate::{event, file, host, syscall};

/// Runs tasks for as long as the machine is up.
pub(crate) fn run(kernel: &mut Kernel) -> ! {
    loop {
        event::take_all(kernel);
        signal::expire(kernel);
        file::wake_dropped(kernel);
        kernel.frames.kmem().collect(&kernel.frames);
        file::timer::expire(kernel);
        kernel.wake_sleepers();
        if kernel.frames.is_nearly_out() {
            truncate::forget_files(kernel);
        }
        let deadline = kernel.next_deadline();
        if let Some(tid) = kernel.next_task() {
            let running = signal::running_deadline(kernel, tid);
            let deadline = [deadline, running].into_iter().flatten().min();
            host::set_shared_word(shared::DEADLINE, deadline.unwrap_or(u64::MAX));
            host::set_shared_word(shared::RUNNABLE, kernel.ready.len() as u64);
            take_turn(kernel, tid);
        } else {
            host::set_shared_word(shared::CURRENT_TID, 0);
            kernel.frames.kmem().set_payer(KmemId::NOBODY);
            host::set_shared_word(shared::RUNNABLE, 0);
            host::idle(deadline);
        }
    }
}

/// Brings a task up to date, lets it run until it traps, and handles the trap.
fn take_turn(kernel: &mut Kernel, tid: Tid) {
    host::set_shared_word(shared::CURRENT_TID, tid.word());
    kernel.frames.kmem().set_payer(kernel.task(tid).kmem);
    if let Some(request) = kernel.task_mut(tid).request.take() {
        syscall::run(kernel, request);
        if !kernel.is_runnable(tid) {
            return;
        }
    }
    let task = kernel.task(tid);
    let must_deliver = task.interrupted.is_some() || task.signals.restore.is_some();
    if must_deliver || signal::has_deliverable(kernel, tid) {
        signal::deliver(kernel, tid);
        if !kernel.is_runnable(tid) || kernel.task(tid).request.is_some() {
            return;
        }
    }
    kernel.load(tid);
    let start = kernel.clock.now();
    let task = kernel.task_mut(tid);
    let root = task.space.borrow().tables.root();
    let trap = trap::run(&mut task.registers, root);
    handle(kernel, tid, trap);
    let ran_ns = kernel.clock.now().saturating_sub(start);
    if kernel.tasks.contains_key(&tid) {
        kernel.process_of_mut(tid).ran_ns += ran_ns;
        kernel.task_mut(tid).ran_ns += ran_ns;
    }
}

/// Does what a task trapped for.
fn handle(kernel: &mut Kernel, tid: Tid, trap: Trap) {
    match trap {
        Trap::Syscall => syscall::enter(kernel, tid),
        Trap::PageFault { gva, code } => page_fault(kernel, tid, gva, code),
        Trap::Exception { vector } => exception(kernel, tid, vector),
        Trap::Event => {}
    }
}

/// Bits of a page fault's error code.
const FAULT_WRITE: u64 = 1 << 1;
const FAULT_FETCH: u64 = 1 << 4;
/// How long a task waits before it tries again to get a page table or a frame.
const RETRY_NS: u64 = 10_000_000;

fn page_fault(kernel: &mut Kernel, tid: Tid, gva: u64, fault_code: u64) {
    host::set_shared_word(shared::PAGE_FAULTS, host::shared_word(shared::PAGE_FAULTS) + 1);
    let access = match fault_code {
        bits if bits & FAULT_FETCH != 0 => Access::Execute,
        bits if bits & FAULT_WRITE != 0 => Access::Write,
        _ => Access::Read,
    };
    let result = if gva < TASK_END {
        kernel.task(tid).space.clone().borrow_mut().fault(gva, access)
    } else {
        Err(Fault::NotMapped)
    };
    let info = match result {
        Ok(()) => return,
        Err(Fault::NoHugePage) if file::hugetlbfs::take_from_children(kernel, tid, gva) => return,
        Err(Fault::NoMemory) if !host::out_of_frames(tid) => {
            kernel.exit_group(tid, WaitStatus::killed(Signal::KILL.number()));
            return;
        }
        Err(Fault::Refused | Fault::NoMemory) => {
            // As in Linux the fault is made again until there is room. For a page table nobody is
            // killed; for a frame somebody is, and exits meanwhile.
            let deadline = kernel.clock.now() + RETRY_NS;
            kernel.sleep(tid, Wait::forever().with_deadline(Some(deadline)));
            return;
        }
        Err(Fault::NotMapped) => SignalInfo::fault(Signal::SEGV, code::SEGV_MAPERR, gva),
        Err(Fault::NotAllowed) => SignalInfo::fault(Signal::SEGV, code::SEGV_ACCERR, gva),
        Err(Fault::BeyondEnd | Fault::NoHugePage) => {
            SignalInfo::fault(Signal::BUS, code::BUS_ADRERR, gva)
        }
    };
    signal::force(kernel, tid, info);
}

/// Signals for the other exceptions, as Linux v6.12 arch/x86/kernel/traps.c sends them.
fn exception(kernel: &mut Kernel, tid: Tid, vector: u64) {
    let rip = kernel.task(tid).registers.rip;
    let info = match vector {
        0 => SignalInfo::fault(Signal::FPE, code::FPE_INTDIV, rip),
        1 => SignalInfo::fault(Signal::TRAP, code::TRAP_TRACE, rip),
        trap::BREAKPOINT => SignalInfo::kernel(Signal::TRAP),
        // Differs from the CPU: software KVM answers `int n` with #UD instead of #GP.
        6 if is_int_n(kernel, tid, rip) => SignalInfo::kernel(Signal::SEGV),
        6 => SignalInfo::fault(Signal::ILL, code::ILL_ILLOPN, rip),
        trap::X87_ERROR | trap::VECTOR_ERROR => {
            SignalInfo::fault(Signal::FPE, float_code(kernel, tid, vector), rip)
        }
        17 => SignalInfo::fault(Signal::BUS, code::BUS_ADRALN, 0),
        11 | 12 => SignalInfo::kernel(Signal::BUS),
        _ => SignalInfo::kernel(Signal::SEGV),
    };
    signal::force(kernel, tid, info);
}

/// Which floating-point exception a task raised: the first that is not masked, in the order of Linux
/// v6.12 arch/x86/kernel/fpu/core.c fpu__exception_code.
fn float_code(kernel: &mut Kernel, tid: Tid, vector: u64) -> i32 {
    const CODES: [(u16, i32); 5] = [
        (0x01, code::FPE_FLTINV),
        (0x04, code::FPE_FLTDIV),
        (0x08, code::FPE_FLTOVF),
        (0x12, code::FPE_FLTUND),
        (0x20, code::FPE_FLTRES),
    ];
    kernel.save_extended(tid);
    let extended = &kernel.task(tid).extended;
    let raised = if vector == trap::X87_ERROR { extended.raised_x87() } else { extended.raised() };
    CODES.iter().find(|(bits, _)| raised & bits != 0).map_or(0, |(_, code)| *code)
}

/// Whether the instruction at `rip` is `int n`.
fn is_int_n(kernel: &Kernel, tid: Tid, rip: u64) -> bool {
    let mut opcode = [0];
    kernel.user(tid).read(rip, &mut opcode).is_ok() && opcode == [0xcd]
}

impl Kernel {
    /// Whether a task exists and may run now.
    pub(crate) fn is_runnable(&self, tid: Tid) -> bool {
        self.tasks.get(&tid).is_some_and(|task| {
            let is_held = task.is_held && !signal::is_doomed(self, tid);
            task.state == TaskState::Ready && !is_held && !self.process_of(tid).is_stopped
        })
    }

    /// Puts a task into the queue if it may run.
    pub(crate) fn enqueue(&mut self, tid: Tid) {
        if self.is_runnable(tid) {
            let job = self.process_of(tid).job;
            self.ready.add(job, tid);
        }
    }

    /// The task whose turn it is: the last one, unless the host ended its turn or it sleeps.
    fn next_task(&mut self) -> Option<Tid> {
        if host::shared_word(shared::TICK) != 0 {
            host::set_shared_word(shared::TICK, 0);
            self.ready.end_turn();
        }
        while let Some(tid) = self.ready.first() {
            if self.is_runnable(tid) {
                return Some(tid);
            }
            self.ready.remove_first();
        }
        None
    }

    /// Makes a sleeping task ready, whatever it waits for; its call is made again.
    pub(crate) fn wake_task(&mut self, tid: Tid) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if let TaskState::Blocked(Wait { deadline, .. }) = &task.state {
            if let Some(deadline) = *deadline {
                self.sleepers.remove(&(deadline, tid));
            }
            task.state = TaskState::Ready;
            self.enqueue(tid);
        }
    }

    /// Puts a task to sleep.
    pub(crate) fn sleep(&mut self, tid: Tid, wait: Wait) {
        if let Some(deadline) = wait.deadline {
            self.sleepers.insert((deadline, tid));
        }
        self.task_mut(tid).state = TaskState::Blocked(wait);
    }

    /// Wakes every task that waits for `key`.
    pub(crate) fn wake(&mut self, key: WaitKey) {
        self.wake_some(usize::MAX, |waited| *waited == key);
    }

    /// Wakes up to `count` tasks one of whose keys `matches`; answers how many.
    pub(crate) fn wake_some(&mut self, count: usize, matches: impl Fn(&WaitKey) -> bool) -> usize {
        let place = |task: &crate::task::Task| match &task.state {
            TaskState::Blocked(wait) => wait.keys.iter().position(&matches),
            _ => None,
        };
        let woken: alloc::vec::Vec<(Tid, usize)> = self
            .tasks
            .values()
            .filter_map(|task| place(task).map(|place| (task.tid, place)))
            .take(count)
            .collect();
        for &(tid, place) in &woken {
            if let Some(request) = &mut self.task_mut(tid).request {
                request.woken = Some(place);
            }
            self.wake_task(tid);
        }
        woken.len()
    }

    /// Wakes the tasks whose deadline has passed.
    fn wake_sleepers(&mut self) {
        if self.sleepers.is_empty() {
            return;
        }
        let now = self.clock.now();
        while let Some((deadline, tid)) = self.sleepers.first().copied()
            && deadline <= now
        {
            self.sleepers.remove(&(deadline, tid));
            self.wake_task(tid);
        }
    }

    /// When something happens without the host's doing.
    fn next_deadline(&self) -> Option<u64> {
        let sleeper = self.sleepers.first().map(|(deadline, _)| *deadline);
        let timer = self.files.timers.next_deadline();
        [sleeper, timer, signal::next_deadline(self)].into_iter().flatten().min()
    }

    /// Loads what the trap entry leaves in the CPU: vector state and segment bases.
    fn load(&mut self, tid: Tid) {
        if self.loaded == Some(tid) {
            return;
        }
        self.unload();
        let task = self.task(tid);
        task.extended.load();
        extended::set_segment_bases(task.fs_base, task.gs_base);
        self.loaded = Some(tid);
        let switches = host::shared_word(shared::TASK_SWITCHES);
        host::set_shared_word(shared::TASK_SWITCHES, switches + 1);
    }

    /// Saves what the CPU holds of a task.
    fn unload(&mut self) {
        if let Some(tid) = self.loaded.take()
            && let Some(task) = self.tasks.get_mut(&tid)
        {
            task.extended.save();
            (task.fs_base, task.gs_base) = extended::segment_bases();
        }
    }

    /// Makes `task.extended` and the segment bases current.
    pub(crate) fn save_extended(&mut self, tid: Tid) {
        if self.loaded == Some(tid) {
            self.unload();
        }
    }

    /// Makes the CPU take `task.extended` and the segment bases at the task's next turn.
    pub(crate) fn reload_extended(&mut self, tid: Tid) {
        if self.loaded == Some(tid) {
            self.loaded = None;
            let task = self.task_mut(tid);
            (task.fs_base, task.gs_base) = extended::segment_bases();
        }
    }
}
