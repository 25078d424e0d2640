//! Huge pages on the host: where they lie, and a guest that touches them without asking.

use std::sync::Arc;

use memcg::{Abi, Config, Gfn, Hierarchy, HugeSize, HugeUse, Offline, Policy, Resource};
use rustix::io::Errno;
use vmcg_abi::call::{ARGUMENTS_MAX, Call};
use vmcg_abi::layout::{PAGE_SIZE, SHARED_GPA};
use vmcg_abi::page::shared;

use super::{HugePages, Pools, calls};
use crate::fault;
use crate::jobs::Jobs;
use crate::machine::{Machine, MachineConfig};
use crate::stats::Stats;
use crate::timings::Timings;

#[test]
fn huge_pages_lie_at_the_end_of_memory_aligned_to_2_mib() {
    let pools = HugePages { mb2: 8, gb1: 0 }.place(256 << 20).unwrap();
    assert_eq!(pools, Pools { mb2: 61_440..65_536, gb1: 65_536..65_536 });
    let pools = HugePages { mb2: 1, gb1: 1 }.place((5 << 29) + 4096).unwrap();
    assert_eq!(pools, Pools { mb2: 392_704..393_216, gb1: 393_216..655_360 });
    assert!(pools.contains(392_704) && !pools.contains(655_360));
}

#[test]
fn the_guest_keeps_the_least_it_can_run_in() {
    assert!(HugePages { mb2: 24, gb1: 0 }.place(64 << 20).is_ok());
    for (mb2, gb1) in [(25, 0), (0, 1), (u64::MAX, 0), (0, u64::MAX)] {
        assert!(HugePages { mb2, gb1 }.place(64 << 20).is_err(), "{mb2} {gb1}");
    }
    assert!(HugePages::default().place((64 << 20) + 4096).is_ok());
}

/// A machine of which no guest runs.
fn machine() -> Arc<Machine> {
    let config = MachineConfig {
        memory_bytes: 64 << 20,
        huge_pages: HugePages { mb2: 2, gb1: 0 },
        swap: None,
        accounting: Config {
            frames: 0,
            hierarchy: Hierarchy::default(),
            recharge: Policy::default(),
            offline: Offline::default(),
            abi: Abi::default(),
        },
        account: true,
        settle_rate: 0,
        timings: Timings::default(),
        kernel_image: None,
    };
    let machine = Machine::new(&config, Arc::new(Jobs::default())).unwrap();
    let page = SHARED_GPA / PAGE_SIZE;
    fault::bring_ahead(&machine, page..page + 1);
    machine
}

/// Huge pages that the root is charged for at the fault.
fn charged(machine: &Machine) -> u64 {
    let what = Resource::Huge(HugeSize::Mb2, HugeUse::Fault);
    let memcg = &machine.lock().memcg;
    memcg.counter(memcg.root(), what).unwrap().usage().get() / HugeSize::Mb2.pages().get()
}

fn call(machine: &Machine, call: Call, arguments: &[u64]) -> Result<u64, Errno> {
    let mut words = [0; ARGUMENTS_MAX];
    words[..arguments.len()].copy_from_slice(arguments);
    calls::answer(machine, call, words)
}

fn count(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_huge_page_touched_without_asking_is_charged_once_and_reported() {
    let machine = machine();
    let Stats { guest_lies, forced, .. } = &machine.stats;
    let first = machine.huge.mb2.start;
    // A task that does not exist is named as current: the root pays.
    machine.memory.set_shared(shared::CURRENT_TID, u64::MAX);
    for (touched, lies, pages) in
        [(first + 7, 1, 1), (first + 9, 1, 1), (first, 1, 1), (first + 512, 2, 2)]
    {
        assert!(machine.answer_huge(&mut machine.lock(), Gfn::new(touched)));
        assert_eq!((count(guest_lies), count(forced), charged(&machine)), (lies, lies, pages));
        assert!(machine.memory.is_backed(Gfn::new(touched)));
    }
    assert!(!machine.answer_huge(&mut machine.lock(), Gfn::new(first - 1)));
    assert_eq!(machine.check(), Vec::<String>::new());
    // Asked for too late, from the middle, and below the pool: refused, and nothing changes.
    assert_eq!(call(&machine, Call::HugeFault, &[1, first]), Err(Errno::EXIST));
    for bad in [first + 1, first - 512, first + 1024, u64::MAX] {
        assert_eq!(call(&machine, Call::HugeFault, &[1, bad]), Err(Errno::INVAL));
        assert_eq!(call(&machine, Call::HugeFree, &[bad]), Err(Errno::INVAL));
    }
    assert_eq!(charged(&machine), 2);
    // Given back twice: the second time there is nothing to give.
    for pages in [1, 1] {
        assert_eq!(call(&machine, Call::HugeFree, &[first]), Ok(0));
        assert_eq!(charged(&machine), pages);
        assert_eq!(machine.check(), Vec::<String>::new());
    }
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_huge_page_whose_mapping_the_host_took_away_is_mapped_again() {
    let machine = machine();
    let first = machine.huge.mb2.start;
    assert_eq!(call(&machine, Call::HugeFault, &[1, first]), Ok(0));
    let start = machine.memory.host_address(first);
    let bytes = HugeSize::Mb2.pages().get() * PAGE_SIZE;
    machine.uffd.unmap(start, bytes).unwrap();
    for gfn in first..first + HugeSize::Mb2.pages().get() {
        assert!(machine.answer_huge(&mut machine.lock(), Gfn::new(gfn)));
    }
    // Would wait for ever where a mapping lacks.
    let mut last = [1; 8];
    machine.memory.read(first * PAGE_SIZE + bytes - 8, &mut last).unwrap();
    assert_eq!((last, charged(&machine)), ([0; 8], 1));
    assert_eq!(count(&machine.stats.guest_lies), 0);
    assert_eq!(machine.check(), Vec::<String>::new());
}
