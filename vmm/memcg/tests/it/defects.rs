//! The twelve faults of the June 2008 posting "Move usage at task move", each with the behaviour
//! that was intended.
//!
//! | fault of the posting | tests |
//! |---|---|
//! | 1 more than the limit is not refused at once | `more_than_the_destination_could_ever_hold_is_refused_without_reclaim`, `exactly_what_the_destination_can_hold_moves_after_reclaim` |
//! | 2 an `int` counts bytes | `a_task_of_more_than_two_gigabytes_moves` |
//! | 3 room is looked at, not reserved | `room_that_was_found_cannot_be_taken_by_someone_else` |
//! | 4 uncharged first, charged later | `the_source_keeps_its_room_until_the_move_has_succeeded` |
//! | 5 a rollback forgets the true source | `a_failed_move_returns_to_the_group_it_came_from` |
//! | 6 what never ran is rolled back as well | `giving_up_what_never_started_changes_nothing`, `a_refusal_at_the_very_end_takes_back_what_was_done_and_nothing_else` |
//! | 7 a page that was skipped counts as moved | `pages_that_stay_are_reported_and_not_taken_for_moved` |
//! | 8 pages on their way are out of reclaim's reach | `a_step_holds_no_more_pages_than_it_was_told`, `reclaim_in_either_group_has_pages_of_a_move_half_way` |
//! | 9 any thread takes everything along | `only_the_leader_takes_the_pages_of_a_process_along` |
//! | 10 pages touched during the move stay | `pages_touched_during_the_move_follow_or_return_with_the_rest`, `a_page_touched_during_the_move_that_does_not_fit_fails_the_move` |
//! | 11 a move may end in a kill | `a_move_kills_nobody` |
//! | 12 no reference, no exclusion, no bound | `groups_and_tasks_stay_put_while_a_move_needs_them`, `a_rollback_visits_no_frame` in `src/transit.rs` |
//!
//! The same faults where a user sees them: `tests/e2e/moving.rs`, by these numbers.

use memcg::{
    Effort, HugeMap, HugeSize, HugeUse, Kind, MoveError, Pages, Policy, Progress, Resource, Scope,
    Tid,
};

use crate::machine::Machine;

/// Policies that promise to leave everything as it was when they fail.
const UNDOING: [Policy; 2] = [Policy::Rollback, Policy::Reserve];

/// Fault 1.
#[test]
fn more_than_the_destination_could_ever_hold_is_refused_without_reclaim() {
    for policy in UNDOING {
        let mut m = Machine::new(64, policy);
        let (a, b) = (m.group("a", 64), m.group("b", 10));
        let tid = m.process(2, a, 11);
        m.cache(b, 5).unwrap();
        assert_eq!(m.migrate(tid, b), Err(MoveError::NoMemory));
        assert_eq!(m.guest.reclaims, 0);
        assert_eq!(m.memcg.counter(b, Resource::Memory).unwrap().failcnt(), 0);
    }
}

/// Fault 1.
#[test]
fn exactly_what_the_destination_can_hold_moves_after_reclaim() {
    for policy in UNDOING {
        let mut m = Machine::new(64, policy);
        let (a, b) = (m.group("a", 64), m.group("b", 10));
        let tid = m.process(2, a, 10);
        m.cache(b, 5).unwrap();
        let report = m.migrate(tid, b).unwrap();
        assert_eq!((report.moved.get(), m.usage(a), m.usage(b)), (10, 0, 10));
        assert!(m.guest.reclaims > 0);
    }
}

/// Fault 2.
#[test]
fn a_task_of_more_than_two_gigabytes_moves() {
    let pages = (2 << 30) / 4096 + 1;
    let mut m = Machine::new(pages + 8, Policy::Rollback);
    let (a, b) = (m.group("a", pages), m.group("b", pages));
    let tid = m.process(2, a, pages);
    for (to, policy) in [(b, Policy::Rollback), (a, Policy::Reserve)] {
        m.memcg.set_recharge(to, policy).unwrap();
        let mut one = m.begin(tid, to).unwrap();
        while m.step(&mut one, 1 << 16).unwrap() == Progress::More {}
        assert_eq!((m.usage(to), m.usage(m.memcg.root())), (pages, pages), "{policy:?}");
    }
}

/// Fault 3.
#[test]
fn room_that_was_found_cannot_be_taken_by_someone_else() {
    let mut m = Machine::new(64, Policy::Reserve);
    let (a, b) = (m.group("a", 64), m.group("b", 10));
    let tid = m.process(2, a, 10);
    let mut one = m.begin(tid, b).unwrap();
    assert_eq!(m.step(&mut one, 16), Ok(Progress::More));
    assert_eq!((m.usage(a), m.usage(b)), (10, 10), "the source keeps its charge as well");
    assert!(m.cache(b, 1).is_err(), "all of the room is reserved");
    assert!(m.finish(one).is_ok());
    assert_eq!(m.usage(b), 10);
}

/// Fault 4.
#[test]
fn the_source_keeps_its_room_until_the_move_has_succeeded() {
    let mut m = Machine::new(64, Policy::Rollback);
    let (a, b) = (m.group("a", 20), m.group("b", 20));
    let tid = m.process(2, a, 20);
    let mut one = m.begin(tid, b).unwrap();
    assert_eq!(m.step(&mut one, 10), Ok(Progress::More));
    assert_eq!(m.owner(tid, 0), Some(b));
    assert_eq!(m.memcg.check(), []);
    assert!(m.cache(a, 1).is_err(), "nobody can take the room a rollback needs");
    m.cache(b, 10).unwrap();
    m.guest.clean.clear();
    assert_eq!(m.step(&mut one, 10), Err(MoveError::NoMemory));
    assert_eq!((m.usage(a), m.usage(b)), (20, 10));
    assert!((0..20).all(|page| m.owner(tid, page) == Some(a)));
    assert_eq!(m.memcg.check(), []);
}

/// Fault 5.
#[test]
fn a_failed_move_returns_to_the_group_it_came_from() {
    for policy in UNDOING {
        let mut m = Machine::new(64, policy);
        let (a, b, c) = (m.group("a", 64), m.group("b", 20), m.group("c", 20));
        let tid = m.process(2, a, 12);
        m.migrate(tid, b).unwrap();
        m.cache(c, 10).unwrap();
        m.guest.clean.clear();
        assert_eq!(m.migrate(tid, c), Err(MoveError::NoMemory));
        assert_eq!(m.memcg.task_group(tid), Some(b));
        assert_eq!((m.usage(a), m.usage(b), m.usage(c)), (0, 12, 10));
        assert_eq!(m.memcg.check(), []);
    }
}

/// Fault 6.
#[test]
fn giving_up_what_never_started_changes_nothing() {
    for policy in Policy::all() {
        let mut m = Machine::new(64, policy);
        let (a, b) = (m.group("a", 64), m.group("b", 64));
        let tid = m.process(2, a, 12);
        let one = m.begin(tid, b).unwrap();
        one.abort(&mut m.memcg);
        assert_eq!((m.memcg.task_group(tid), m.usage(a), m.usage(b)), (Some(a), 12, 0));
        assert_eq!(m.memcg.check(), []);
    }
}

/// Fault 6, where the last of what is asked refuses.
#[test]
fn a_refusal_at_the_very_end_takes_back_what_was_done_and_nothing_else() {
    let [seed, reserved] = [HugeUse::Seed, HugeUse::Rsvd].map(|u| Resource::Huge(HugeSize::Mb2, u));
    for policy in UNDOING {
        let mut m = Machine::new(64, policy);
        let (a, b) = (m.group("a", 64), m.group("b", 64));
        let tid = m.process(2, a, 12);
        let map = HugeMap { id: 1, size: HugeSize::Mb2, process: Some(tid) };
        m.memcg.try_reserve_huge(tid, map, 0..3).unwrap();
        m.memcg.set_limit(b, seed, Pages::new(2 * 512)).unwrap();
        assert_eq!(m.migrate(tid, b), Err(MoveError::NoMemory));
        let used = |group, resource| m.memcg.counter(group, resource).unwrap().usage().get() / 512;
        assert_eq!(
            [a, b].map(|group| (used(group, seed), used(group, reserved))),
            [(3, 3), (0, 0)]
        );
        assert_eq!((m.usage(a), m.usage(b), m.memcg.task_group(tid)), (12, 0, Some(a)));
        assert_eq!(m.memcg.check(), []);
    }
}

/// Fault 7.
#[test]
fn pages_that_stay_are_reported_and_not_taken_for_moved() {
    let mut m = Machine::new(64, Policy::Rollback);
    let (a, b, c) = (m.group("a", 64), m.group("b", 64), m.group("c", 64));
    let tid = m.process(2, c, 1);
    m.memcg.set_recharge(a, Policy::None).unwrap();
    m.migrate(tid, a).unwrap();
    m.fault(tid, 10, Kind::Anon).unwrap();
    m.fault(tid, 11, Kind::File).unwrap();
    let child = m.fork(3, tid);
    m.fault(tid, 20, Kind::Anon).unwrap();
    m.unmap(child, 0);
    let report = m.migrate(tid, b).unwrap();
    assert_eq!(report.moved, Pages::ONE);
    assert_eq!(report.skipped.shared, Pages::ONE);
    assert_eq!(report.skipped.kind, Pages::ONE);
    assert_eq!(report.skipped.foreign_owner, Pages::ONE);
    assert_eq!((m.owner(tid, 20), m.owner(tid, 10), m.owner(tid, 0)), (Some(b), Some(a), Some(c)));
}

/// Fault 8.
#[test]
fn a_step_holds_no_more_pages_than_it_was_told() {
    for policy in Policy::all() {
        let mut m = Machine::new(64, policy);
        let (a, b) = (m.group("a", 64), m.group("b", 64));
        let tid = m.process(2, a, 50);
        let mut one = m.begin(tid, b).unwrap();
        while m.step(&mut one, 3) == Ok(Progress::More) {
            // Pages of a half-done move can still be freed.
            m.unmap(tid, m.pages(tid)[0].0);
            assert_eq!(m.memcg.check(), []);
        }
        assert!(m.guest.longest_scan <= 3);
    }
}

/// Fault 8.
#[test]
fn reclaim_in_either_group_has_pages_of_a_move_half_way() {
    for policy in [Policy::Rollback, Policy::Reserve, Policy::Precharge, Policy::Half] {
        let mut m = Machine::new(64, policy);
        m.guest.slots = 64;
        let (a, b) = (m.group("a", 64), m.group("b", 64));
        let tid = m.process(2, a, 20);
        let mut one = m.begin(tid, b).unwrap();
        while m.owner(tid, 9) == Some(a) {
            assert_eq!(m.step(&mut one, 5), Ok(Progress::More));
        }
        for (group, pages) in [(a, 10..20), (b, 0..10)] {
            let effort = Effort::relieving(Resource::Memory);
            while !m.memcg.reclaim(&mut m.guest, group, Pages::new(64), effort).is_exhausted {}
            let on_swap = |m: &Machine, page: usize| m.memcg.is_swapped(m.pages(tid)[page].1);
            assert!(pages.into_iter().all(|page| on_swap(&m, page)), "{policy:?}");
            assert_eq!(m.memcg.check(), []);
        }
        m.finish(one).unwrap();
        assert_eq!((m.memsw(a), m.memsw(b), m.usage(b)), (0, 20, 0), "{policy:?}");
    }
}

/// Fault 9.
#[test]
fn only_the_leader_takes_the_pages_of_a_process_along() {
    let mut m = Machine::new(64, Policy::Rollback);
    let (a, b) = (m.group("a", 64), m.group("b", 64));
    let leader = m.process(2, a, 10);
    let thread = m.thread(3, leader);
    let one = memcg::Move::begin(&mut m.memcg, thread, b, Scope::Task).unwrap();
    m.finish(one).unwrap();
    assert_eq!((m.memcg.task_group(thread), m.memcg.task_group(leader)), (Some(b), Some(a)));
    assert_eq!((m.usage(a), m.usage(b)), (10, 0));
    let one = memcg::Move::begin(&mut m.memcg, leader, b, Scope::Task).unwrap();
    m.finish(one).unwrap();
    assert_eq!((m.usage(a), m.usage(b)), (0, 10));
}

/// Fault 10.
#[test]
fn pages_touched_during_the_move_follow_or_return_with_the_rest() {
    for policy in UNDOING {
        let mut m = Machine::new(64, policy);
        let (a, b) = (m.group("a", 40), m.group("b", 30));
        let tid = m.process(2, a, 10);
        let mut one = m.begin(tid, b).unwrap();
        m.fault(tid, 100, Kind::Anon).unwrap();
        m.step(&mut one, 5).unwrap();
        m.fault(tid, 101, Kind::Anon).unwrap();
        while m.step(&mut one, 5).unwrap() == Progress::More {
            // Where the move has been already, before and after its last look.
            m.unmap(tid, 0);
            m.fault(tid, 0, Kind::Anon).unwrap();
        }
        assert_eq!((m.usage(a), m.usage(b)), (0, 12));

        let mut back = m.begin(tid, a).unwrap();
        m.step(&mut back, 5).unwrap();
        m.fault(tid, 102, Kind::Anon).unwrap();
        back.abort(&mut m.memcg);
        assert_eq!((m.usage(a), m.usage(b)), (0, 13));
        assert_eq!((m.owner(tid, 0), m.owner(tid, 102)), (Some(b), Some(b)));
        assert_eq!(m.memcg.check(), []);
    }
}

/// Fault 10.
#[test]
fn a_page_touched_during_the_move_that_does_not_fit_fails_the_move() {
    let mut m = Machine::new(64, Policy::Rollback);
    let (a, b) = (m.group("a", 40), m.group("b", 10));
    let tid = m.process(2, a, 10);
    let mut one = m.begin(tid, b).unwrap();
    m.step(&mut one, 5).unwrap();
    m.cache(b, 5).unwrap();
    m.guest.clean.clear();
    m.fault(tid, 100, Kind::Anon).unwrap();
    assert_eq!(m.finish(one), Err(MoveError::NoMemory));
    assert_eq!((m.usage(a), m.usage(b)), (11, 5));
    assert_eq!(m.memcg.check(), []);
}

/// Fault 11.
#[test]
fn a_move_kills_nobody() {
    for policy in Policy::all() {
        let mut m = Machine::new(64, policy);
        let (a, b) = (m.group("a", 64), m.group("b", 8));
        let tid = m.process(2, a, 8);
        m.process(3, b, 8);
        let moved = m.migrate(tid, b);
        assert_eq!(
            moved.is_ok(),
            !matches!(policy, Policy::Rollback | Policy::Reserve | Policy::Precharge)
        );
        assert_eq!(m.guest.killed, []);
        assert_eq!(m.usage(b), 8);
    }
}

/// Fault 12.
#[test]
fn groups_and_tasks_stay_put_while_a_move_needs_them() {
    let mut m = Machine::new(64, Policy::Rollback);
    let (a, b) = (m.group("a", 64), m.group("b", 64));
    let tid = m.process(2, a, 10);
    let mut one = m.begin(tid, b).unwrap();
    m.step(&mut one, 5).unwrap();
    assert_eq!(m.memcg.remove(b), Err(memcg::Error::Busy));
    assert_eq!(m.memcg.remove(a), Err(memcg::Error::Busy));
    assert_eq!(m.begin(tid, b).unwrap_err(), MoveError::Busy);
    m.exit(tid);
    assert_eq!(m.step(&mut one, 5), Err(MoveError::NoSuchTask));
    assert_eq!((m.usage(a), m.usage(b)), (0, 0));
    m.memcg.remove(b).unwrap();
    m.memcg.remove(a).unwrap();
    assert_eq!(m.memcg.check(), []);
}

#[test]
fn a_task_that_is_not_there_or_may_not_move_is_refused() {
    let mut m = Machine::new(64, Policy::Rollback);
    let (a, b) = (m.group("a", 64), m.group("b", 64));
    let init = m.process(1, a, 1);
    assert_eq!(m.begin(init, b).unwrap_err(), MoveError::Invalid);
    assert_eq!(m.begin(Tid::new(9), b).unwrap_err(), MoveError::NoSuchTask);
    m.memcg.remove(b).unwrap();
    assert_eq!(m.begin(init, b).unwrap_err(), MoveError::DeadGroup);
}
