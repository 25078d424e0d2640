//! Files of /proc about the machine.

use alloc::format;
use alloc::vec::Vec;

use crate::host;
use crate::kernel::Kernel;
use crate::memory::huge::HugeSize;
use crate::number::index;
use crate::physical;
use vmcg_abi::call::memory;
use vmcg_abi::layout::{BOOT_GPA, PAGE_SIZE};
use vmcg_abi::page::{boot, shared};

const KIB: u64 = 1024;
/// Clock ticks a second, as programs are told by AT_CLKTCK.
const TICKS_PER_S: u64 = 100;
const NS_PER_S: u64 = 1_000_000_000;

/// A word of the boot page.
fn boot_word(word: usize) -> u64 {
    physical::word(BOOT_GPA + word as u64 * 8)
}

/// /proc/meminfo
pub(super) fn meminfo(kernel: &Kernel) -> Vec<u8> {
    let info = host::memory_info();
    let kib = |word: usize| info[word] * PAGE_SIZE / KIB;
    let rows = [
        ("MemTotal", kib(memory::TOTAL)),
        ("MemFree", kib(memory::FREE)),
        ("MemAvailable", kib(memory::FREE) + kib(memory::FILE)),
        ("Buffers", 0),
        ("Cached", kib(memory::FILE) + kib(memory::SHMEM)),
        ("SwapCached", 0),
        ("SwapTotal", kib(memory::SWAP)),
        ("SwapFree", kib(memory::SWAP_FREE)),
        ("AnonPages", kib(memory::ANON)),
        ("Shmem", kib(memory::SHMEM)),
    ];
    let lines = rows.map(|(name, kib)| format!("{:<16}{kib:>8} kB\n", format!("{name}:")));
    let pools = &kernel.huge.pools;
    let huge = pools.counts(HugeSize::Mb2);
    let all = HugeSize::ALL.map(|size| pools.counts(size).total * size.bytes() / KIB);
    format!(
        "{}HugePages_Total: {:7}\nHugePages_Free:  {:7}\nHugePages_Rsvd:  {:7}\n\
         HugePages_Surp:  {:7}\nHugepagesize:    {:7} kB\nHugetlb:         {:7} kB\n",
        lines.concat(),
        huge.total,
        huge.free,
        huge.reserved,
        0,
        HugeSize::Mb2.bytes() / KIB,
        all.iter().sum::<u64>(),
    )
    .into_bytes()
}

/// /proc/cpuinfo
pub(super) fn cpuinfo(_: &Kernel) -> Vec<u8> {
    let khz = boot_word(boot::TSC_KHZ);
    let (mhz, rest) = (khz / 1000, khz % 1000);
    format!(
        "processor\t: 0\nmodel name\t: vmcg\ncpu MHz\t\t: {mhz}.{rest:03}\nsiblings\t: 1\n\
         core id\t\t: 0\ncpu cores\t: 1\n\n"
    )
    .into_bytes()
}

/// /proc/uptime. Idle time is not known and told as 0.
pub(super) fn uptime(kernel: &Kernel) -> Vec<u8> {
    let now = kernel.clock.now();
    let hundredths = now % NS_PER_S / (NS_PER_S / TICKS_PER_S);
    format!("{}.{hundredths:02} 0.00\n", now / NS_PER_S).into_bytes()
}

/// /proc/loadavg: no average, but the tasks that are ready now.
pub(super) fn loadavg(kernel: &Kernel) -> Vec<u8> {
    let (ready, tasks) = (kernel.ready.len(), kernel.tasks.len());
    format!("{ready}.00 {ready}.00 {ready}.00 {ready}/{tasks} {}\n", kernel.last_tid).into_bytes()
}

/// /proc/version
pub(super) fn version(_: &Kernel) -> Vec<u8> {
    format!("Linux version 6.12.0-vmcg (vmcg {})\n", env!("CARGO_PKG_VERSION")).into_bytes()
}

/// /proc/filesystems
pub(super) fn filesystems(_: &Kernel) -> Vec<u8> {
    b"nodev\tproc\nnodev\ttmpfs\nnodev\thugetlbfs\n".to_vec()
}

/// /proc/stat
pub(super) fn stat(kernel: &Kernel) -> Vec<u8> {
    let ran_ns: u64 = kernel.processes.values().map(|process| process.ran_ns).sum();
    let ticks = ran_ns / (NS_PER_S / TICKS_PER_S);
    let idle = (kernel.clock.now() / (NS_PER_S / TICKS_PER_S)).saturating_sub(ticks);
    let boot_s = (kernel.clock.realtime() - kernel.clock.now()) / NS_PER_S;
    let switches = host::shared_word(shared::TASK_SWITCHES);
    let cpu = format!("{ticks} 0 0 {idle} 0 0 0 0 0 0");
    let running = index(kernel.ready.len() as u64);
    format!(
        "cpu  {cpu}\ncpu0 {cpu}\nctxt {switches}\nbtime {boot_s}\nprocesses {}\n\
         procs_running {running}\nprocs_blocked 0\n",
        kernel.last_tid
    )
    .into_bytes()
}
