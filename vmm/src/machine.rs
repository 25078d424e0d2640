//! The machine: guest memory, accounting and the vCPU's gate, and what other threads ask of it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use fusefs::Listeners;
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Cap, Kvm, VmFd};
use memcg::{Config, Memcg, Pages, Tid};
use vmcg_abi::event::{Event, EventKind};
use vmcg_abi::layout::PAGE_SIZE;
use vmcg_abi::page::shared;

use crate::boot::{self, BootFacts, BootLayout};
use crate::contents::Contents;
use crate::error::MachineError;
use crate::frame_space::FrameSpace;
pub use crate::gate::Readiness;
use crate::gate::{Gate, Paused, kick_signal};
use crate::host_kind::HostKind;
use crate::huge::{HugePages, Pools};
use crate::jobs::Jobs;
use crate::kmem::KmemIds;
use crate::kvm_stats::KvmStats;
use crate::memory::GuestMemory;
use crate::moves::MoveLog;
use crate::news::{Locked, News};
use crate::oom::OomLog;
use crate::share::Share;
use crate::slabs::Questions;
use crate::stats::{Stats, UnknownCalls};
use crate::swap::{Faulty, Swap, SwapDevice, SwapFile};
use crate::tasks::Tasks;
use crate::timings::Timings;
use crate::uffd::Uffd;
use crate::waiting::Waiting;
use crate::{fault, slot, vcpu};

mod free_ring;

/// How long a time slice lasts while tasks compete for the vCPU.
const TIME_SLICE: Duration = Duration::from_millis(5);
/// How long the guest may take to end its tasks when the machine is shut down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// What a machine is made from.
#[derive(Debug, Clone)]
pub struct MachineConfig {
    /// Bytes of guest memory.
    pub memory_bytes: u64,
    /// Huge pages set aside, at the end of guest memory.
    pub huge_pages: HugePages,
    /// Where pages go that memory has no room for; `None` is nowhere.
    pub swap: Option<SwapConfig>,
    /// Choices of the accounting; `frames` is filled in from memory and swap.
    pub accounting: Config,
    /// False only to measure what accounting costs: faults are answered and nothing is charged.
    pub account: bool,
    /// Pages a second that follow a task moved by `lazy` while the guest idles; 0 is none.
    pub settle_rate: u64,
    /// Where the phases of the start are noted.
    pub timings: Timings,
    /// Another guest kernel to boot than the one in the binary, for work on the kernel.
    pub kernel_image: Option<Vec<u8>>,
}

/// What swap is made from.
#[derive(Debug, Clone)]
pub struct SwapConfig {
    /// Bytes of swap.
    pub bytes: u64,
    /// Where its file is made; it loses its name at once.
    pub file: PathBuf,
    /// Of a hundred accesses so many fail, to test what becomes of that.
    pub faults_percent: u64,
}

/// What the accounting lock protects.
#[derive(Debug)]
pub(crate) struct Accounting {
    /// Groups, counters and owners of frames.
    pub(crate) memcg: Memcg,
    /// The guest's tasks.
    pub(crate) tasks: Tasks,
    /// System calls the guest does not have.
    pub(crate) unknown_calls: UnknownCalls,
    /// What recent moves did.
    pub(crate) moves: MoveLog,
    /// Where the content of frames without a page is.
    pub(crate) contents: Contents,
    /// The last times that a group was out of memory.
    pub(crate) ooms: OomLog,
    /// Who waits for a move to end.
    pub(crate) waiting: Waiting,
    /// Whose kernel memory the guest accounts.
    pub(crate) kmem: KmemIds,
    /// What to tell when the lock is released.
    pub(crate) news: Vec<News>,
}

/// A machine with one guest.
pub struct Machine {
    kvm: Kvm,
    vm: VmFd,
    pub(crate) memory: GuestMemory,
    pub(crate) uffd: Uffd,
    pub(crate) gate: Gate,
    pub(crate) stats: Stats,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) is_accounting: bool,
    pub(crate) timings: Timings,
    pub(crate) host_kind: HostKind,
    pub(crate) kvm_stats: OnceLock<[KvmStats; 2]>,
    pub(crate) settle_rate: u64,
    pub(crate) questions: Questions,
    accounting: Mutex<Accounting>,
    listeners: OnceLock<Listeners>,
    frame_table: AtomicU64,
    first_free: AtomicU64,
    start: Instant,
    pub(crate) huge: Pools,
    /// Pages of `--memory`.
    pub(crate) memory_pages: u64,
    space: FrameSpace,
    failure: OnceLock<String>,
    kernel_image: Option<Vec<u8>>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("memory", &self.memory.bytes()).finish_non_exhaustive()
    }
}

impl Machine {
    /// Makes a machine that does not run yet. Its accounting can be used at once.
    ///
    /// # Errors
    /// When the host lacks KVM or userfaultfd, or the memory asked for is not possible.
    pub fn new(config: &MachineConfig, jobs: Arc<Jobs>) -> Result<Arc<Self>, MachineError> {
        let swap_bytes = config.swap.as_ref().map_or(0, |swap| swap.bytes);
        let space = FrameSpace::plan(config.memory_bytes, swap_bytes)?;
        let huge = config.huge_pages.place(space.memory_bytes)?;
        let kvm = open_kvm()?;
        let vm = kvm.create_vm().map_err(|why| kvm_error("a virtual machine", &why))?;
        config.timings.mark("KVM");
        let mut memory = GuestMemory::new(space.frame_bytes)?;
        memory.back_by_huge(&huge.all());
        let uffd = Uffd::open().map_err(|why| MachineError::Userfaultfd { why })?;
        for (number, span) in (0..).zip(memory.spans()) {
            uffd.register(span).map_err(|why| MachineError::Userfaultfd { why })?;
            let region = kvm_userspace_memory_region {
                slot: number,
                guest_phys_addr: span.gpa,
                memory_size: span.len,
                userspace_addr: span.host,
                ..Default::default()
            };
            slot::set(&vm, region).map_err(|why| kvm_error("guest memory", &why))?;
        }
        huge.ask_for_transparent(&mut memory, &uffd);
        config.timings.mark("guest memory");
        let frames = memory.frames();
        let refuse = |why| MachineError::Accounting { why };
        let mut memcg = Memcg::new(Config { frames, ..config.accounting }).map_err(refuse)?;
        let memory_pages = space.memory_bytes / PAGE_SIZE;
        memcg.set_memory(Pages::new(memory_pages));
        huge.enter(&mut memcg);
        memcg.task_new(Tid::INIT, Tid::INIT, memcg.root()).map_err(refuse)?;
        let swap = config.swap.as_ref().map(make_swap).transpose()?;
        config.timings.mark("accounting");
        let accounting = Accounting {
            memcg,
            tasks: Tasks::new(),
            unknown_calls: UnknownCalls::default(),
            moves: MoveLog::default(),
            contents: Contents::new(frames, swap),
            ooms: OomLog::default(),
            waiting: Waiting::default(),
            kmem: KmemIds::default(),
            news: Vec::new(),
        };
        Ok(Arc::new(Self {
            kvm,
            vm,
            memory,
            uffd,
            gate: Gate::default(),
            stats: Stats::default(),
            jobs,
            is_accounting: config.account,
            timings: config.timings.clone(),
            host_kind: HostKind::find(),
            kvm_stats: OnceLock::new(),
            settle_rate: config.settle_rate,
            questions: Questions::default(),
            accounting: Mutex::new(accounting),
            listeners: OnceLock::new(),
            frame_table: AtomicU64::new(0),
            first_free: AtomicU64::new(u64::MAX),
            start: Instant::now(),
            huge,
            memory_pages,
            space,
            failure: OnceLock::new(),
            kernel_image: config.kernel_image.clone(),
        }))
    }

    /// Runs the guest on the calling thread until it shuts down or fails.
    ///
    /// # Errors
    /// [`MachineError::Guest`] with a report when the guest could not go on.
    ///
    /// # Panics
    /// Never by what the guest does.
    pub fn run(&self, mut share: Share) -> Result<(), MachineError> {
        let stop = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)
            .map_err(|why| MachineError::Guest(format!("no event descriptor: {why}")))?;
        let result = std::thread::scope(|scope| {
            scope.spawn(|| fault::serve(self, &stop));
            scope.spawn(|| self.keep_time());
            scope.spawn(|| self.settle_when_idle());
            let result = self.run_vcpu(&mut share);
            self.gate.detach();
            end_thread(&stop);
            result
        });
        self.jobs.fail_all("the machine went down");
        result
    }

    fn run_vcpu(&self, share: &mut Share) -> Result<(), MachineError> {
        extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
        vmm_sys_util::signal::register_signal_handler(kick_signal(), nothing)
            .map_err(|why| MachineError::Guest(format!("no signal for kicks: {why}")))?;
        let mut cpu = self.vm.create_vcpu(0).map_err(|why| kvm_error("a vCPU", &why))?;
        if let (Ok(vm), Ok(vcpu)) = (KvmStats::open(&self.vm), KvmStats::open(&cpu)) {
            // A machine has one vCPU.
            let _ = self.kvm_stats.set([vm, vcpu]);
        }
        let mut random = [0_u8; 16];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(|why| MachineError::Guest(format!("no random numbers: {why}")))?;
        let half =
            |at: usize| u64::from_le_bytes(random[at..at + 8].try_into().unwrap_or_default());
        let facts = BootFacts {
            tsc_khz: cpu.get_tsc_khz().map_err(|why| kvm_error("its TSC rate", &why))?,
            huge: self.huge.clone(),
            space: self.space,
            direct_syscall: self.host_kind.runs_ring0(),
            random: [half(0), half(8)],
        };
        self.timings.mark("vCPU");
        for frames in boot::image_frames(self.kernel_image.as_deref()) {
            fault::bring_ahead(self, frames);
        }
        let layout = boot::lay_out(&self.memory, self.kernel_image.as_deref(), &facts)?;
        self.note_layout(&layout);
        vcpu::set_up(&self.kvm, &cpu, layout.entry, self.host_kind)?;
        self.gate.attach(&raw mut cpu.get_kvm_run().immediate_exit);
        self.timings.mark("guest laid out");
        vcpu::run(self, &mut cpu, share)
    }

    /// Ticks while tasks compete for the vCPU, or when the guest wants to be woken.
    fn keep_time(&self) {
        while self.gate.sleep_while_busy(TIME_SLICE) {
            if self.frame_table().is_none() {
                continue;
            }
            let is_contended = self.memory.shared(shared::RUNNABLE) > 1;
            if is_contended || self.memory.shared(shared::DEADLINE) <= self.nanoseconds() {
                self.gate.tick();
            }
        }
    }

    /// Waits until the guest kernel is up and asks for work, for `limit` at most.
    pub fn wait_ready(&self, limit: Duration) -> Readiness {
        self.gate.wait_boot(limit)
    }

    /// Asks the guest to end its tasks and stops it when it does not.
    pub fn shutdown(&self) {
        self.send(Event { kind: EventKind::Shutdown, argument: 0, id: 0 });
        self.gate.stop_after(SHUTDOWN_GRACE);
    }

    /// Stops a guest that cannot be let go on. Only the first reason counts.
    pub(crate) fn stop(&self, why: &str) {
        if self.failure.set(why.to_owned()).is_ok() {
            self.gate.stop_after(Duration::ZERO);
        }
    }

    /// Why the guest was stopped, if it was.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Queues an event for the guest and kicks its vCPU.
    pub fn send(&self, event: Event) {
        self.gate.send(event);
    }

    /// Runs `f` on the accounting, after taking back what the guest has freed so far.
    pub fn accounting(&self, f: &mut dyn FnMut(&mut Memcg)) {
        let mut accounting = self.lock();
        self.drain_free(&mut accounting);
        self.drain_kmem(&mut accounting);
        f(&mut accounting.memcg);
    }

    /// The guest stands still while the result lives. Caller holds no lock.
    pub(crate) fn pause(&self) -> Paused<'_> {
        self.gate.pause()
    }

    /// Takes the accounting lock. Caller holds no lock.
    pub(crate) fn lock(&self) -> Locked<'_> {
        let guard = self.accounting.lock().expect("no thread panics with the accounting locked");
        Locked::new(guard, self.listeners.get(), &self.gate)
    }

    /// Notes whom to tell what clients of the control files may be listening for. Only the first
    /// call counts.
    pub fn tell(&self, listeners: Listeners) {
        // A machine is mounted once.
        let _ = self.listeners.set(listeners);
    }

    /// Notes where the guest's memory begins: from now on it is asked what frames are for.
    pub(crate) fn note_layout(&self, layout: &BootLayout) {
        self.frame_table.store(layout.frame_table_gpa, Ordering::Release);
        self.first_free.store(layout.first_free_gfn, Ordering::Release);
    }

    /// Where the guest's frame table lies, once the guest has been laid out.
    pub(crate) fn frame_table(&self) -> Option<u64> {
        Some(self.frame_table.load(Ordering::Acquire)).filter(|&gpa| gpa != 0)
    }

    /// Nanoseconds since the machine was made.
    pub(crate) fn nanoseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Microseconds since the machine was made.
    pub(crate) fn microseconds(&self) -> u64 {
        self.nanoseconds() / 1000
    }

    /// The instant that is `nanoseconds` after the machine was made; `None` if that is never.
    pub(crate) fn instant(&self, nanoseconds: u64) -> Option<Instant> {
        if nanoseconds == u64::MAX {
            return None;
        }
        self.start.checked_add(Duration::from_nanos(nanoseconds))
    }
}

/// Makes the swap file.
fn make_swap(config: &SwapConfig) -> Result<Swap, MachineError> {
    let fail = |why| MachineError::Swap { path: config.file.clone(), why };
    let slots = u32::try_from(config.bytes / PAGE_SIZE)
        .map_err(|_| fail(std::io::ErrorKind::FileTooLarge.into()))?;
    let file = SwapFile::create(&config.file, config.bytes).map_err(fail)?;
    let device: Box<dyn SwapDevice> = match config.faults_percent {
        0 => Box::new(file),
        percent => Box::new(Faulty::new(file, percent)),
    };
    Ok(Swap::new(device, slots))
}

fn kvm_error(what: &'static str, why: &dyn std::fmt::Display) -> MachineError {
    MachineError::Kvm { what, why: why.to_string() }
}

fn open_kvm() -> Result<Kvm, MachineError> {
    let kvm = Kvm::new().map_err(|why| {
        let advice = match why.errno() {
            libc::ENOENT => "load a KVM module, or run where virtualisation is available",
            libc::EACCES | libc::EPERM => "run as root or join the group that owns it (often kvm)",
            _ => "check that the KVM module works",
        };
        MachineError::NoKvm { why: std::io::Error::from_raw_os_error(why.errno()), advice }
    })?;
    if !kvm.check_extension(Cap::UserMemory) || !kvm.check_extension(Cap::ImmediateExit) {
        return Err(kvm_error("its own capabilities", &"the kernel is older than 4.13"));
    }
    Ok(kvm)
}

fn end_thread(stop: &OwnedFd) {
    if let Err(why) = rustix::io::write(stop, &1_u64.to_ne_bytes()) {
        log::error!("cannot stop the fault thread: {why}");
    }
}
