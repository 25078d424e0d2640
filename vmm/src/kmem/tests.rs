//! Kernel memory of a guest that lies: what it frees, charges, keeps and claims is refused and counted,
//! and the host's counters stay exact.

use std::sync::Arc;

use memcg::{Abi, Config, GroupId, Hierarchy, Offline, Pages, Policy, Resource};
use rustix::io::Errno;
use vmcg_abi::frame::{FrameEntry, FrameKind};
use vmcg_abi::layout::{
    CALL_BUFFER_GPA, FREE_RING_GPA, FREE_RING_SLOTS, KERNEL_GPA, PAGE_SIZE, SHARED_GPA,
};
use vmcg_abi::page::shared;

use super::{charge, gone, shrunk};
use crate::boot::BootLayout;
use crate::fault;
use crate::huge::HugePages;
use crate::jobs::Jobs;
use crate::machine::{Machine, MachineConfig};
use crate::slabs;
use crate::timings::Timings;

const MEMORY_BYTES: u64 = 32 << 20;
/// Without swap there are frames for memory twice.
const FRAMES: u64 = 2 * MEMORY_BYTES / PAGE_SIZE;
/// First frame that is the guest's to hand out: its frame table ends there.
const FIRST: u64 = (KERNEL_GPA + FRAMES * 8) / PAGE_SIZE;

/// A machine whose guest is this test.
struct Liar {
    machine: Arc<Machine>,
}

impl Liar {
    fn new(offline: Offline) -> Self {
        let accounting = Config {
            frames: 0,
            hierarchy: Hierarchy::default(),
            recharge: Policy::default(),
            offline,
            abi: Abi::default(),
        };
        let config = MachineConfig {
            memory_bytes: MEMORY_BYTES,
            huge_pages: HugePages::default(),
            swap: None,
            accounting,
            account: true,
            settle_rate: 0,
            timings: Timings::default(),
            kernel_image: None,
        };
        let machine = Machine::new(&config, Arc::new(Jobs::default())).unwrap();
        assert_eq!(machine.memory.frames(), FRAMES);
        let ring_end = FREE_RING_GPA + FREE_RING_SLOTS * 4;
        let shared = SHARED_GPA / PAGE_SIZE;
        let buffer = CALL_BUFFER_GPA / PAGE_SIZE;
        for pages in
            [shared..shared + 1, buffer..ring_end / PAGE_SIZE, KERNEL_GPA / PAGE_SIZE..FIRST]
        {
            fault::bring_ahead(&machine, pages);
        }
        let layout = BootLayout { entry: 0, frame_table_gpa: KERNEL_GPA, first_free_gfn: FIRST };
        machine.note_layout(&layout);
        Self { machine }
    }

    /// Makes a group whose kernel memory is counted, and may be so many pages.
    fn group(&self, parent: Option<GroupId>, name: &str, limit: u64) -> (GroupId, u64) {
        let mut accounting = self.machine.lock();
        let memcg = &mut accounting.memcg;
        let group = memcg.create(parent.unwrap_or(memcg.root()), name).unwrap();
        memcg.set_limit(group, Resource::Kmem, Pages::new(limit)).unwrap();
        drop(accounting);
        (group, self.id(group))
    }

    fn id(&self, group: GroupId) -> u64 {
        let mut accounting = self.machine.lock();
        let super::Accounting { memcg, kmem, .. } = &mut *accounting;
        u64::from(kmem.of_group(memcg, group))
    }

    fn charge(&self, id: u64) -> Result<u64, Errno> {
        charge(&self.machine, id, false)
    }

    /// Touches a frame and says that it is of the group with this id.
    fn touch(&self, gfn: u64, kind: FrameKind, id: u64) {
        let id = u16::try_from(id).unwrap();
        let entry = FrameEntry::new(kind, 0).with_kmem(id);
        self.machine.memory.set_word(KERNEL_GPA, usize::try_from(gfn).unwrap(), entry.0);
        fault::bring_ahead(&self.machine, gfn..gfn + 1);
    }

    /// Takes leave as an honest guest does, and touches a frame.
    fn touch_with_leave(&self, gfn: u64, id: u64) {
        if self.stock() & u64::from(u32::MAX) == 0 || self.stock() >> 32 != id {
            assert_eq!(self.charge(id), Ok(0));
        }
        self.write(shared::KMEM_STOCK, self.stock() - 1);
        self.touch(gfn, FrameKind::Kernel, id);
    }

    fn free(&self, frames: &[u64]) {
        let head = self.machine.memory.shared(shared::FREE_HEAD);
        for (slot, gfn) in (head..).zip(frames) {
            let number = u32::try_from(*gfn).unwrap().to_le_bytes();
            let gpa = FREE_RING_GPA + slot % FREE_RING_SLOTS * 4;
            self.machine.memory.write(gpa, &number).unwrap();
        }
        self.write(shared::FREE_HEAD, head + frames.len() as u64);
    }

    fn stock(&self) -> u64 {
        self.machine.memory.shared(shared::KMEM_STOCK)
    }

    fn write(&self, word: usize, value: u64) {
        self.machine.memory.set_shared(word, value);
    }

    /// Pages of kmem, memory and memsw, as somebody who reads the files sees them.
    fn usage(&self, group: GroupId) -> [u64; 3] {
        let mut usage = [0; 3];
        self.machine.accounting(&mut |memcg| {
            usage = [Resource::Kmem, Resource::Memory, Resource::Memsw]
                .map(|what| memcg.counter(group, what).unwrap().usage().get());
        });
        usage
    }

    /// What `vmcg stat` says, after `vmcg check` found nothing wrong.
    #[track_caller]
    fn lies(&self) -> u64 {
        assert_eq!(self.machine.check(), Vec::<String>::new());
        self.machine.stat().guest_lies
    }
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_guest_that_keeps_to_the_rules_is_charged_to_the_page_and_caught_at_nothing() {
    let liar = Liar::new(Offline::Reparent);
    let (group, id) = liar.group(None, "A", 64);
    for gfn in FIRST..FIRST + 40 {
        liar.touch_with_leave(gfn, id);
    }
    assert_eq!(liar.usage(group), [40; 3]);
    assert_eq!(liar.stock(), 0, "what is left of a stock is taken back when usage is read");
    let frames: Vec<u64> = (FIRST..FIRST + 40).collect();
    liar.free(&frames[..30]);
    assert_eq!(liar.usage(group), [10; 3]);
    // The others are kept: that is seen by nobody either.
    for (slot, gfn) in frames[30..].iter().enumerate() {
        liar.write(shared::KMEM_KEPT + slot, *gfn);
    }
    assert_eq!(liar.usage(group), [0; 3]);
    assert_eq!(liar.machine.memory.shared(shared::KMEM_KEPT), 0, "it may be handed out again");
    assert_eq!(liar.lies(), 0);
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn what_is_freed_twice_or_was_never_charged_uncharges_nothing() {
    let liar = Liar::new(Offline::Reparent);
    let (group, id) = liar.group(None, "A", 64);
    for gfn in FIRST..FIRST + 4 {
        liar.touch_with_leave(gfn, id);
    }
    liar.free(&[FIRST, FIRST, FIRST + 1, FIRST]);
    assert_eq!((liar.usage(group), liar.lies()), ([2; 3], 2), "the same frame three times");
    liar.free(&[FIRST, FIRST + 9, FIRST + 1]);
    assert_eq!(liar.usage(group), [2; 3], "what has no page is nothing to give back");
    let before = liar.lies();
    liar.free(&[0, SHARED_GPA / PAGE_SIZE, FIRST - 1, FRAMES, u64::from(u32::MAX)]);
    assert_eq!((liar.usage(group), liar.lies()), ([2; 3], before + 5), "not the guest's to free");
    // A claim of 2^40 freed frames: the ring does not hold as many.
    let head = liar.machine.memory.shared(shared::FREE_HEAD);
    liar.write(shared::FREE_HEAD, head + (1 << 40));
    assert_eq!((liar.usage(group), liar.lies()), ([2; 3], before + 6));
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn charges_for_nobody_and_for_removed_groups_are_refused_and_counted() {
    for offline in [Offline::Reparent, Offline::Drain, Offline::Zombie] {
        let liar = Liar::new(offline);
        let (top, _) = liar.group(None, "top", 1000);
        let (child, id) = liar.group(Some(top), "child", 64);
        for (count, nobody) in (1..).zip([0, id + 9, 1 << 16, 1 << 40, u64::MAX]) {
            assert_eq!(liar.charge(nobody), Err(Errno::SRCH), "{nobody:#x}");
            assert_eq!(liar.lies(), count);
        }
        assert_eq!(gone(&liar.machine, id), Err(Errno::INVAL), "the group is there");
        assert_eq!(liar.lies(), 6);
        liar.touch_with_leave(FIRST, id);
        liar.machine.lock().memcg.remove(child).unwrap();
        liar.machine.kmem_removed(child);
        let inherits = offline == Offline::Reparent;
        let answer = liar.charge(id);
        assert_eq!(answer, if inherits { Ok(0) } else { Err(Errno::SRCH) }, "{offline:?}");
        assert_eq!(liar.lies(), if inherits { 6 } else { 7 });
        assert_eq!(liar.usage(top), [1; 3]);
        assert_eq!(gone(&liar.machine, id), Ok(0));
        let before = liar.lies();
        assert_eq!(liar.charge(id), Err(Errno::SRCH));
        assert_eq!(gone(&liar.machine, id), Err(Errno::INVAL), "it is gone already");
        assert_eq!((liar.usage(top), liar.lies()), ([1; 3], before + 2));
        // Touched for a group that is gone: the root pays, and it is counted.
        liar.touch(FIRST + 1, FrameKind::Kernel, id);
        assert_eq!((liar.usage(top), liar.lies()), ([1; 3], before + 3));
        liar.free(&[FIRST, FIRST + 1]);
        assert_eq!((liar.usage(top), liar.machine.dead()), ([0; 3], vec![]));
    }
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn leave_that_the_guest_gives_itself_is_worth_nothing() {
    let liar = Liar::new(Offline::Reparent);
    let (group, id) = liar.group(None, "A", 8);
    let (other, other_id) = liar.group(None, "B", 64);
    assert_eq!(liar.charge(id), Ok(0));
    assert_eq!(liar.stock(), id << 32 | 8, "no more than there is room for");
    for forged in [id << 32 | 0xffff_ffff, id << 32, other_id << 32 | 3, u64::MAX, 1 << 40] {
        let before = liar.lies();
        assert_eq!(liar.charge(id), Ok(0));
        liar.write(shared::KMEM_STOCK, forged);
        assert_eq!((liar.usage(group), liar.usage(other)), ([0; 3], [0; 3]), "{forged:#x}");
        assert_eq!(liar.lies(), before + 1, "{forged:#x}");
    }
    // Pages touched without leave are charged one by one, over the limit at last.
    let before = liar.lies();
    for gfn in FIRST..FIRST + 10 {
        liar.touch(gfn, FrameKind::PageTable, id);
    }
    assert_eq!((liar.usage(group), liar.lies()), ([10; 3], before + 10));
    assert_eq!(liar.machine.stat().forced_charges, 2);
    assert_eq!(liar.charge(id), Err(Errno::NOMEM));
    liar.free(&(FIRST..FIRST + 10).collect::<Vec<_>>());
    assert_eq!((liar.usage(group), liar.lies()), ([0; 3], before + 10));
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn frames_that_are_kept_must_be_the_guests_and_are_taken_back_once() {
    let liar = Liar::new(Offline::Reparent);
    let (group, id) = liar.group(None, "A", 4);
    liar.touch_with_leave(FIRST, id);
    liar.touch_with_leave(FIRST + 1, id);
    let kept = [FIRST, FIRST, 0x10, FRAMES, 1 << 40, shared::KMEM_KEPT_TAKING | (FIRST + 1)];
    for (slot, word) in kept.into_iter().enumerate() {
        liar.write(shared::KMEM_KEPT + slot, word);
    }
    assert_eq!((liar.usage(group), liar.lies()), ([1; 3], 4));
    assert_eq!((liar.usage(group), liar.lies()), ([1; 3], 4), "looked at again");
    // At the limit kept frames go before a charge is refused.
    for gfn in FIRST + 2..FIRST + 5 {
        liar.touch_with_leave(gfn, id);
    }
    assert_eq!(liar.charge(id), Err(Errno::NOMEM));
    liar.write(shared::KMEM_KEPT, FIRST + 3);
    assert_eq!(liar.charge(id), Ok(0));
    assert_eq!(liar.stock(), id << 32 | 1);
    assert_eq!((liar.usage(group), liar.lies()), ([3; 3], 4));
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn answers_that_nobody_asked_for_are_refused() {
    let liar = Liar::new(Offline::Reparent);
    let (_, id) = liar.group(None, "A", 4);
    for (id, count) in [(id, 0), (id, u64::MAX), (1 << 40, 1), (0, 1)] {
        assert_eq!(slabs::answer(&liar.machine, id, count), Err(Errno::INVAL));
    }
    assert_eq!(shrunk(&liar.machine, 1 << 40, true), Err(Errno::INVAL));
    assert_eq!(shrunk(&liar.machine, 9, true), Ok(0), "it is only noted");
    assert_eq!(liar.lies(), 0);
}

/// One thing that a guest may do at random.
fn act(liar: &Liar, random: &mut u64, groups: &mut Vec<(GroupId, u64)>) {
    let mut next = |bound: u64| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*random >> 33) % bound
    };
    let id = next(6);
    let gfn = FIRST + next(60);
    match next(10) {
        0 => liar.free(&[gfn, FIRST + next(60)]),
        1 => liar.write(shared::KMEM_KEPT + usize::try_from(next(32)).unwrap(), gfn),
        2 => liar.write(shared::KMEM_STOCK, next(6) << 32 | next(100)),
        3 => {
            // Refused or not: the accounting is what is looked at.
            let _ = liar.charge(id);
        }
        4 if !groups.is_empty() => {
            let (group, _) =
                groups.swap_remove(usize::try_from(next(groups.len() as u64)).unwrap());
            liar.machine.lock().memcg.remove(group).unwrap();
            liar.machine.kmem_removed(group);
        }
        5 => {
            // As for a charge.
            let _ = gone(&liar.machine, id);
        }
        6 if groups.len() < 4 => {
            let name = random.to_string();
            groups.push(liar.group(None, &name, 16));
        }
        _ => liar.touch(gfn, FrameKind::Kernel, id),
    }
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn whatever_the_guest_says_the_counters_stay_exact() {
    for (seed, offline) in (1..).zip([Offline::Reparent, Offline::Drain, Offline::Zombie]) {
        let liar = Liar::new(offline);
        let (mut random, mut groups) = (seed, Vec::new());
        for step in 0..3000 {
            act(&liar, &mut random, &mut groups);
            if step % 100 == 0 {
                assert_eq!(liar.machine.check(), Vec::<String>::new(), "{offline:?} {step}");
            }
        }
        let backed = |liar: &Liar| liar.machine.memory.backed_count();
        let sum = |liar: &Liar| {
            let groups = groups.iter().map(|(group, _)| liar.usage(*group)[1]);
            let dead = liar.machine.dead().into_iter().map(|row| row.kernel);
            groups.chain(dead).sum::<u64>()
        };
        assert!(liar.lies() > 100 && sum(&liar) <= backed(&liar), "{offline:?}");
        liar.free(&(FIRST..FIRST + 60).collect::<Vec<_>>());
        assert_eq!(sum(&liar), 0, "{offline:?}: everything is given back");
        for id in 0..1 << 16 {
            // Some are there, and most were never given out.
            let _ = gone(&liar.machine, id);
        }
        assert_eq!(liar.machine.dead(), vec![], "{offline:?}");
        assert_eq!(liar.machine.check(), Vec::<String>::new(), "{offline:?}");
    }
}
