//! What every policy must keep, on random machines whose tasks go on while one of them is moved.

use std::collections::BTreeMap;

use memcg::{Effort, Gfn, GroupId, Kind, MoveError, Pages, Policy, Progress, Resource, Tid};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

use crate::machine::Machine;

/// What some task does between two steps.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Touch { task: usize, page: u64, kind: Kind },
    Free { task: usize, page: u64 },
    Fork { task: usize },
    Exit { task: usize },
    Cache { group: usize },
    Bring { task: usize, page: u64, forced: bool },
    Reclaim { group: usize, goal: u64, memsw: bool, needs: Option<u64> },
}

fn deed() -> impl Strategy<Value = Deed> {
    let kind = prop_oneof![4 => Just(Kind::Anon), 1 => Just(Kind::File), 1 => Just(Kind::Shmem)];
    prop_oneof![
        6 => (0..4_usize, 0..40_u64, kind).prop_map(|(task, page, kind)| Deed::Touch { task, page, kind }),
        4 => (0..4_usize, 0..40_u64).prop_map(|(task, page)| Deed::Free { task, page }),
        1 => (0..4_usize).prop_map(|task| Deed::Fork { task }),
        1 => (1..4_usize).prop_map(|task| Deed::Exit { task }),
        2 => (0..3_usize).prop_map(|group| Deed::Cache { group }),
        3 => (0..4_usize, 0..40_u64, any::<bool>())
            .prop_map(|(task, page, forced)| Deed::Bring { task, page, forced }),
        2 => (0..3_usize, 1..9_u64, any::<bool>(), proptest::option::of(1..4_u64))
            .prop_map(|(group, goal, memsw, needs)| Deed::Reclaim { group, goal, memsw, needs }),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    proptest::sample::select(Policy::all().collect::<Vec<_>>())
}

fn perform(m: &mut Machine, groups: &[GroupId], deed: Deed) {
    let tasks = m.tasks();
    let task = |n: usize| tasks[n % tasks.len()];
    match deed {
        Deed::Touch { task: n, page, kind } => {
            // Refused faults are part of the game.
            let _ = m.fault(task(n), page, kind);
        }
        Deed::Free { task: n, page } => m.unmap(task(n), page),
        Deed::Fork { task: n } => {
            let next = tasks.last().unwrap().get() + 1;
            m.fork(next, task(n));
        }
        // The first task is the one that moves.
        Deed::Exit { task: n } if n % tasks.len() != 0 => m.exit(task(n)),
        Deed::Exit { .. } => {}
        Deed::Cache { group } if m.in_use() < m.memcg.config().frames => {
            // As above.
            let _ = m.cache(groups[group], 1);
        }
        Deed::Cache { .. } => {}
        Deed::Bring { task: n, page, forced } => {
            let is_back = m.bring(task(n), page);
            let page = m.pages(task(n)).into_iter().find(|(at, ..)| *at == page);
            if let Some((_, gfn, ..)) = page.filter(|_| forced && !is_back) {
                m.memcg.swap_in(gfn).unwrap();
                m.guest.slots += 1;
            }
        }
        Deed::Reclaim { group, goal, memsw, needs } => {
            let resource = if memsw { Resource::Memsw } else { Resource::Memory };
            let for_charge = |needs| Effort::for_charge(resource, Pages::new(needs));
            let effort = needs.map_or(Effort::relieving(resource), for_charge);
            let used = |m: &Machine| m.memcg.counter(groups[group], resource).unwrap().usage();
            let before = used(m).get();
            let done = m.memcg.reclaim(&mut m.guest, groups[group], Pages::new(goal), effort);
            assert!(done.reclaimed <= done.scanned);
            // What is needed of the room that was made is there, whoever else had a use for it.
            // (A file that this guest writes to swap is no relief to memsw.)
            let kept = if memsw { 0 } else { done.reclaimed.min(effort.needs.get()) };
            assert!(used(m).get() <= before - kept, "{done:?} {effort:?} {before}");
        }
    }
}

/// Owners of all frames that are charged.
fn owners(m: &Machine) -> BTreeMap<Gfn, GroupId> {
    (0..m.memcg.config().frames)
        .map(Gfn::new)
        .filter_map(|gfn| Some((gfn, m.memcg.owner(gfn)?)))
        .collect()
}

/// Usage of every group, and what it is with swap.
fn books(m: &Machine, groups: &[GroupId]) -> Vec<u64> {
    groups.iter().flat_map(|group| [m.usage(*group), m.memsw(*group)]).collect()
}

proptest! {
    #[test]
    fn nothing_is_lost_or_charged_twice_whatever_happens_between_the_steps(
        policy in policy(),
        limits in proptest::array::uniform3(5..60_u64),
        pages in 0..30_u64,
        before in proptest::collection::vec(deed(), 0..20),
        between in proptest::collection::vec((deed(), any::<bool>()), 0..60),
        chunk in 1..12_u64,
        siblings in any::<bool>(),
        slots in 0..60_u64,
    ) {
        let mut m = Machine::new(100, policy);
        m.guest.slots = slots;
        let top = m.group("top", limits[2]);
        let a = if siblings { m.memcg.create(top, "a").unwrap() } else { m.group("a", 90) };
        let b = m.memcg.create(top, "b").unwrap();
        m.memcg.set_limit(a, Resource::Memory, Pages::new(limits[0])).unwrap();
        m.memcg.set_limit(b, Resource::Memory, Pages::new(limits[1])).unwrap();
        m.memcg.set_move_charge(b, 3).unwrap();
        let groups = [a, b, top];
        let tid = m.process(2, a, 0);
        m.process(3, a, 0);
        for page in 0..pages {
            // Whether it fits is up to the random limits.
            let _ = m.fault(tid, page, Kind::Anon);
        }
        for &deed in &before {
            perform(&mut m, &groups, deed);
        }
        let start = owners(&m);
        let all = before.iter().chain(between.iter().map(|(deed, _)| deed));
        let forks = all.into_iter().any(|deed| matches!(deed, Deed::Fork { .. }));
        let mut one = m.begin(tid, b).unwrap();
        let mut outcome = Ok(Progress::More);
        for &(deed, steps) in &between {
            perform(&mut m, &groups, deed);
            prop_assert_eq!(m.memcg.check(), []);
            if steps && outcome == Ok(Progress::More) {
                outcome = m.step(&mut one, chunk);
                prop_assert_eq!(m.memcg.check(), []);
                if outcome.is_err() {
                    unchanged_owners(&m, &start, tid, a)?;
                }
            }
        }
        while outcome == Ok(Progress::More) {
            outcome = m.step(&mut one, chunk);
            prop_assert_eq!(m.memcg.check(), []);
        }
        while m.settle(chunk) > 0 {
            prop_assert_eq!(m.memcg.check(), []);
        }
        prop_assert_eq!(owners(&m).len() as u64, m.in_use(), "every frame in use has an owner");
        // A page that becomes private behind the scan stays; without forks there are none.
        let all_private = !forks;
        let undoes = matches!(policy, Policy::Rollback | Policy::Reserve);
        match outcome {
            Ok(_) if undoes && all_private => {
                for (page, gfn, ..) in m.pages(tid) {
                    let stays = m.memcg.kind(gfn) == Some(Kind::Anon) && m.memcg.owner(gfn) == Some(a);
                    prop_assert!(!stays, "page {} stayed behind", page);
                }
            }
            Ok(_) => {}
            Err(error) => {
                prop_assert_eq!(error, MoveError::NoMemory);
                prop_assert_eq!(m.memcg.task_group(tid), Some(a));
            }
        }
        for task in m.tasks() {
            m.exit(task);
        }
        let clean = std::mem::take(&mut m.guest.clean);
        m.memcg.uncharge_all(&clean);
        prop_assert_eq!(books(&m, &groups), [0; 6]);
        prop_assert_eq!(m.guest.slots, slots);
        prop_assert_eq!(m.memcg.check(), []);
    }

    #[test]
    fn a_refused_move_leaves_every_counter_as_it_was(
        policy in proptest::sample::select(vec![Policy::Rollback, Policy::Reserve, Policy::Precharge]),
        pages in 1..30_u64,
        room in 0..30_u64,
        used in 0..20_u64,
        chunk in 1..12_u64,
        swapped in 0..30_u64,
        walled_swap in any::<bool>(),
    ) {
        let mut m = Machine::new(100, policy);
        let (a, b) = (m.group("a", 50), m.group("b", room + used));
        if walled_swap {
            m.memcg.set_limit(b, Resource::Memsw, Pages::new(room + used)).unwrap();
        }
        let tid = m.process(2, a, pages);
        let swapped = swapped.min(pages);
        m.swap_out(tid, 0..swapped);
        m.cache(b, used).unwrap();
        m.guest.clean.clear();
        let state = |m: &Machine| {
            let groups = [a, b, m.memcg.root()];
            let stats = groups.map(|group| m.memcg.stat(group).unwrap());
            let peaks = groups.map(|group| {
                [Resource::Memory, Resource::Memsw]
                    .map(|resource| m.memcg.counter(group, resource).unwrap().watermark())
            });
            (books(m, &groups), stats, peaks, owners(m), m.memcg.task_group(tid))
        };
        let before = state(&m);
        let mut one = m.begin(tid, b).unwrap();
        let mut outcome = Ok(Progress::More);
        while outcome == Ok(Progress::More) {
            outcome = m.step(&mut one, chunk);
        }
        let need = if walled_swap { pages } else { pages - swapped };
        prop_assert_eq!(outcome.is_ok(), need <= room);
        if outcome.is_err() {
            prop_assert_eq!(state(&m), before);
        }
        prop_assert_eq!(m.memcg.check(), []);
    }
}

/// After a refusal, a frame that was charged before and still is has the owner it had, unless it was
/// freed and charged again, and the moving task's pages are not the destination's.
fn unchanged_owners(
    m: &Machine,
    start: &BTreeMap<Gfn, GroupId>,
    tid: Tid,
    from: GroupId,
) -> Result<(), proptest::test_runner::TestCaseError> {
    for (_, gfn, _, mapcount) in m.pages(tid) {
        let mine = m.memcg.kind(gfn) == Some(Kind::Anon) && mapcount == 1;
        if mine && start.get(&gfn) == Some(&from) {
            prop_assert_eq!(m.memcg.owner(gfn), Some(from));
        }
    }
    Ok(())
}
