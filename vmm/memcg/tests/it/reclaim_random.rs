//! Reclaim among random charges, touches and removals.

use std::collections::BTreeSet;

use memcg::{Effort, Gfn, Kind, Locked, Memcg, Pages, Payer, Resource};
use proptest::prelude::{Strategy, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

use crate::short::{FRAMES, MEMORY, machine, reclaim, swapper, usage};

#[derive(Clone, Copy, Debug)]
enum Op {
    Charge { group: usize, gfn: u64, kind: Kind },
    Uncharge { gfn: u64 },
    SwapIn { gfn: u64 },
    Touch { gfn: u64 },
    Lock { gfn: u64, locked: bool },
    Reclaim { group: usize, goal: u64, memsw: bool },
    ReclaimAnywhere { goal: u64 },
    SoftLimit { group: usize, pages: u64 },
    Remove { group: usize },
    Slots { slots: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let gfn = || 0..FRAMES;
    let kind = proptest::sample::select(vec![Kind::Anon, Kind::File, Kind::Shmem, Kind::Kernel]);
    let any = proptest::bool::ANY;
    prop_oneof![
        12 => (0..4_usize, gfn(), kind).prop_map(|(group, gfn, kind)| Op::Charge { group, gfn, kind }),
        3 => gfn().prop_map(|gfn| Op::Uncharge { gfn }),
        3 => gfn().prop_map(|gfn| Op::SwapIn { gfn }),
        3 => gfn().prop_map(|gfn| Op::Touch { gfn }),
        2 => (gfn(), any).prop_map(|(gfn, locked)| Op::Lock { gfn, locked }),
        4 => (0..4_usize, 1..20_u64, any)
            .prop_map(|(group, goal, memsw)| Op::Reclaim { group, goal, memsw }),
        2 => (1..20_u64).prop_map(|goal| Op::ReclaimAnywhere { goal }),
        1 => (0..4_usize, 0..20_u64)
            .prop_map(|(group, pages)| Op::SoftLimit { group, pages }),
        1 => (1..4_usize).prop_map(|group| Op::Remove { group }),
        1 => (0..40_u64).prop_map(|slots| Op::Slots { slots }),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_only_pages_of_the_group_go_and_every_page_is_listed_once(
        ops in proptest::collection::vec(op(), 1..150),
        zombie in proptest::bool::ANY,
    ) {
        let offline = if zombie { memcg::Offline::Zombie } else { memcg::Offline::Reparent };
        let mut m = Memcg::new(memcg::Config { offline, ..machine().config() }).unwrap();
        let a = m.create(m.root(), "a").unwrap();
        let mut groups = vec![m.root(), a, m.create(a, "b").unwrap(), m.create(m.root(), "c").unwrap()];
        let mut machine = swapper(20);
        for op in ops {
            match op {
                Op::Charge { group, gfn, kind } => {
                    let payer = Payer::Group(groups[group]);
                    let free = !m.is_backed(Gfn::new(gfn)) && !m.is_swapped(Gfn::new(gfn));
                    let dead = !m.is_alive(groups[group]);
                    let answer = m.try_charge(payer, Gfn::new(gfn), kind);
                    prop_assert_eq!(answer.is_ok(), free && !dead);
                }
                Op::Uncharge { gfn } => {
                    machine.slots += u64::from(m.is_swapped(Gfn::new(gfn)));
                    m.uncharge(Gfn::new(gfn));
                }
                Op::SwapIn { gfn } => {
                    machine.slots += u64::from(m.try_swap_in(Gfn::new(gfn)).is_ok());
                }
                Op::Touch { gfn } => {
                    m.note_touched(Gfn::new(gfn));
                }
                Op::Lock { gfn, locked: true } => {
                    machine.locked.insert(Gfn::new(gfn));
                    m.set_locked(Gfn::new(gfn), Locked::Yes);
                }
                Op::Lock { gfn, locked: false } => {
                    machine.locked.remove(&Gfn::new(gfn));
                }
                Op::Reclaim { group, goal, memsw } => {
                    let group = groups[group];
                    let resource = if memsw { Resource::Memsw } else { MEMORY };
                    let inside: BTreeSet<_> =
                        (0..FRAMES).map(Gfn::new).filter(|gfn| m.is_charged_to(*gfn, group)).collect();
                    machine.evicted.clear();
                    let before = m.counter(group, resource).ok().map(|c| c.usage().get());
                    let done = reclaim(&mut m, &mut machine, group, (goal, resource));
                    prop_assert!(machine.evicted.iter().all(|gfn| inside.contains(gfn)));
                    prop_assert!(machine.evicted.iter().all(|gfn| !machine.locked.contains(gfn)));
                    prop_assert_eq!(done.reclaimed, machine.evicted.len() as u64);
                    prop_assert!(done.swapped == 0 || !memsw);
                    if let Some(before) = before {
                        prop_assert_eq!(usage(&m, group, resource), before - done.reclaimed);
                    }
                    let rest = m.stat(group).map_or(0, |stat| {
                        stat.total.cache.get() - stat.total.shmem.get()
                    });
                    let kept = machine.locked.len() as u64;
                    prop_assert!(done.reclaimed >= goal || rest <= kept, "{:?} {}", done, rest);
                }
                Op::ReclaimAnywhere { goal } => {
                    machine.evicted.clear();
                    let done = m.reclaim_anywhere(
                        &mut machine,
                        Pages::new(goal),
                        Effort::relieving(MEMORY),
                    );
                    prop_assert!(machine.evicted.iter().all(|gfn| !machine.locked.contains(gfn)));
                    prop_assert_eq!(done.reclaimed, machine.evicted.len() as u64);
                    prop_assert!(done.reclaimed <= goal);
                }
                Op::SoftLimit { group, pages } => {
                    // Refused for a group that was removed.
                    let _ = m.set_soft_limit(groups[group], Pages::new(pages));
                }
                Op::Remove { group } => {
                    // Who has children stays, and is no less alive for it.
                    let _ = m.remove(groups[group]);
                }
                Op::Slots { slots } => machine.slots = slots,
            }
            prop_assert_eq!(m.check(), []);
        }
        for gfn in 0..FRAMES {
            m.uncharge(Gfn::new(gfn));
        }
        groups.retain(|group| m.is_alive(*group));
        for group in groups {
            prop_assert_eq!((usage(&m, group, MEMORY), usage(&m, group, Resource::Memsw)), (0, 0));
        }
        prop_assert_eq!((m.check(), m.zombies()), (vec![], 0));
    }
}
