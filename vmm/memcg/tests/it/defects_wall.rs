//! The nine faults of the May 2008 posting "res_counter hierarchy" (borrow and repay), each with the
//! behaviour that was intended.
//!
//! | fault of the posting | tests here | and where a user sees it |
//! |---|---|---|
//! | 1 an exact fit is refused | `an_exact_fit_can_be_borrowed_and_one_page_more_cannot` | `limits_that_cannot_be_are_refused_and_exact_fits_are_not` in `tests/policies/wall.rs` |
//! | 2 reading what was borrowed is a BUG() | `what_was_borrowed_and_lent_can_be_read_of_every_group` | `a_limit_is_borrowed_repaid_and_given_back_by_rmdir` there |
//! | 3 "repay all" leaves a limit below the usage | `a_limit_never_falls_below_own_pages_and_what_grandchildren_were_lent` | `limits_that_cannot_be_...` there |
//! | 4 repaying more than was borrowed wraps | `what_was_borrowed_is_repaid_once_however_often_and_in_whatever_steps` | `a_limit_is_borrowed_...` there |
//! | 5 sums overflow, and -1 has no meaning | `no_limit_is_so_high_that_sums_overflow_and_none_is_endless` | `no_number_makes_a_child_richer_than_its_parent` there |
//! | 6 two writers work with a stale limit | `whoever_sets_a_limit_borrows_what_is_missing_at_that_moment` | `writers_of_one_limit_at_once_leave_the_books_right` there |
//! | 7 a refused loan is not counted | `a_refused_loan_is_counted_by_the_parent_and_moves_no_watermark` | `a_refused_loan_shows_in_failcnt_and_in_nothing_else` there |
//! | 8 attach, then fault, is the end | `a_group_without_a_limit_takes_no_pages_and_refuses_the_first_fault` | `a_group_without_a_limit_takes_only_tasks_that_bring_nothing` there |
//! | 9 no signal ends the wait for a loan | `looking_for_pages_to_lend_ends_after_as_many_as_were_asked_for` | `a_signal_ends_the_wait_for_a_loan` there and in `fusefs/tests/mounted/waiting.rs` |

use memcg::{
    ChargeError, Config, Effort, Error, GroupId, Hierarchy, Kind, MoveError, Pages, Policy,
    Resource,
};

use crate::machine::Machine;

const MEMORY: Resource = Resource::Memory;

/// A machine of a hundred pages whose groups borrow, and a group below the root that has borrowed
/// nothing.
fn walled() -> (Machine, GroupId) {
    let config = Machine::new(100, Policy::Rollback).memcg.config();
    let mut m = Machine::with(Config { hierarchy: Hierarchy::Wall, ..config });
    let a = m.group("a", 0);
    (m, a)
}

fn limit(m: &mut Machine, group: GroupId, pages: u64) -> Result<(), Error> {
    m.memcg.set_limit(group, MEMORY, Pages::new(pages))
}

/// Usage, limit, borrow and security.
fn books(m: &Machine, group: GroupId) -> [u64; 4] {
    assert_eq!(m.memcg.check(), []);
    let counter = m.memcg.counter(group, MEMORY).unwrap();
    let (borrow, security) = (m.memcg.borrow(group).unwrap(), m.memcg.security(group).unwrap());
    [counter.usage(), counter.limit(), borrow, security].map(Pages::get)
}

/// Fault 1.
#[test]
fn an_exact_fit_can_be_borrowed_and_one_page_more_cannot() {
    let (mut m, a) = walled();
    assert_eq!(limit(&mut m, a, 101), Err(Error::NoMemory(Pages::new(101))));
    assert_eq!(books(&m, a), [0; 4]);
    limit(&mut m, a, 100).unwrap();
    let child = m.memcg.create(a, "child").unwrap();
    assert_eq!(limit(&mut m, child, 101), Err(Error::NoMemory(Pages::new(101))));
    limit(&mut m, child, 100).unwrap();
    assert_eq!((books(&m, a), books(&m, child)), ([100, 100, 100, 100], [0, 100, 100, 0]));
}

/// Fault 2.
#[test]
fn what_was_borrowed_and_lent_can_be_read_of_every_group() {
    let (mut m, a) = walled();
    let root = m.memcg.root();
    assert_eq!((books(&m, root), books(&m, a)), ([0, 100, 0, 0], [0; 4]));
    limit(&mut m, a, 40).unwrap();
    let child = m.memcg.create(a, "child").unwrap();
    limit(&mut m, child, 30).unwrap();
    assert_eq!(books(&m, root), [40, 100, 0, 40]);
    assert_eq!((books(&m, a), books(&m, child)), ([30, 40, 40, 30], [0, 30, 30, 0]));
    m.memcg.remove(child).unwrap();
    assert_eq!(books(&m, a), [0, 40, 40, 0]);
    assert_eq!(
        (m.memcg.borrow(child), m.memcg.security(child)),
        (Err(Error::Dead), Err(Error::Dead))
    );
    let mut shared = Machine::new(100, Policy::Rollback);
    let group = shared.group("a", 40);
    assert_eq!(books(&shared, group), [0, 40, 0, 0], "nobody borrows where limits are shared");
}

/// Fault 3.
#[test]
fn a_limit_never_falls_below_own_pages_and_what_grandchildren_were_lent() {
    let (mut m, a) = walled();
    limit(&mut m, a, 50).unwrap();
    let child = m.memcg.create(a, "child").unwrap();
    limit(&mut m, child, 30).unwrap();
    m.cache(a, 1).unwrap();
    for pages in [30, 29, 1, 0] {
        assert_eq!(limit(&mut m, a, pages), Err(Error::Busy), "{pages}");
        assert_eq!(books(&m, a), [31, 50, 50, 30]);
    }
    limit(&mut m, a, 31).unwrap();
    assert_eq!(books(&m, a), [31, 31, 31, 30]);
}

/// Fault 4.
#[test]
fn what_was_borrowed_is_repaid_once_however_often_and_in_whatever_steps() {
    let (mut m, a) = walled();
    let root = m.memcg.root();
    for pages in [40, 15, 15, 60, 0, 0] {
        limit(&mut m, a, pages).unwrap();
        assert_eq!((books(&m, a), books(&m, root)), ([0, pages, pages, 0], [pages, 100, 0, pages]));
    }
    limit(&mut m, a, 25).unwrap();
    m.memcg.remove(a).unwrap();
    assert_eq!(books(&m, root), [0, 100, 0, 0]);
    assert_eq!(limit(&mut m, a, 0), Err(Error::Dead));
    assert_eq!(books(&m, root), [0, 100, 0, 0], "not once more");
}

/// Fault 5.
#[test]
fn no_limit_is_so_high_that_sums_overflow_and_none_is_endless() {
    let (mut m, a) = walled();
    limit(&mut m, a, 40).unwrap();
    let most = Pages::UNLIMITED.get();
    for pages in [41 + 60, most / 2, most - 40, most - 1] {
        assert_eq!(limit(&mut m, a, pages), Err(Error::NoMemory(Pages::new(pages - 40))));
    }
    for pages in [most, most + 1, u64::MAX / 2, u64::MAX - 39, u64::MAX] {
        assert_eq!(limit(&mut m, a, pages), Err(Error::Invalid), "nobody can lend without end");
    }
    assert_eq!((books(&m, a), books(&m, m.memcg.root())), ([0, 40, 40, 0], [40, 100, 0, 40]));
}

/// Fault 6. A writer that was refused tries again when there is room; meanwhile others write.
#[test]
fn whoever_sets_a_limit_borrows_what_is_missing_at_that_moment() {
    let (mut m, a) = walled();
    let b = m.group("b", 80);
    assert_eq!(limit(&mut m, a, 30), Err(Error::NoMemory(Pages::new(30))));
    limit(&mut m, a, 20).unwrap();
    assert_eq!(limit(&mut m, a, 30), Err(Error::NoMemory(Pages::new(10))), "of the new limit");
    limit(&mut m, b, 60).unwrap();
    limit(&mut m, a, 5).unwrap();
    limit(&mut m, a, 30).unwrap();
    assert_eq!((books(&m, a), books(&m, m.memcg.root())), ([0, 30, 30, 0], [90, 100, 0, 90]));
}

/// Fault 7.
#[test]
fn a_refused_loan_is_counted_by_the_parent_and_moves_no_watermark() {
    let (mut m, a) = walled();
    let root = m.memcg.root();
    limit(&mut m, a, 101).unwrap_err();
    let counter = |m: &Machine, group| m.memcg.counter(group, MEMORY).unwrap();
    assert_eq!((counter(&m, root).failcnt(), counter(&m, root).watermark()), (1, Pages::ZERO));
    assert_eq!((counter(&m, a).failcnt(), counter(&m, a).watermark()), (0, Pages::ZERO));
    limit(&mut m, a, 60).unwrap();
    assert_eq!((counter(&m, root).failcnt(), counter(&m, root).watermark().get()), (1, 60));
    limit(&mut m, a, 10).unwrap();
    assert_eq!(counter(&m, root).watermark().get(), 60, "the most that was ever lent");
}

/// Fault 8.
#[test]
fn a_group_without_a_limit_takes_no_pages_and_refuses_the_first_fault() {
    let (mut m, a) = walled();
    let b = m.group("b", 40);
    let tid = m.process(2, b, 10);
    assert_eq!(m.migrate(tid, a), Err(MoveError::NoMemory));
    assert_eq!((m.memcg.task_group(tid), m.usage(b)), (Some(b), 10));
    let empty = m.process(3, b, 0);
    m.migrate(empty, a).unwrap();
    let refused = ChargeError::Refused { group: a, resource: MEMORY };
    assert_eq!(m.fault(empty, 0, Kind::Anon), Err(refused));
    assert_eq!((books(&m, a), books(&m, b)), ([0; 4], [10, 40, 40, 0]));
    limit(&mut m, a, 1).unwrap();
    m.fault(empty, 0, Kind::Anon).unwrap();
}

/// Fault 9. The writer looks for a signal between two such calls.
#[test]
fn looking_for_pages_to_lend_ends_after_as_many_as_were_asked_for() {
    let (mut m, a) = walled();
    limit(&mut m, a, 60).unwrap();
    m.cache(a, 50).unwrap();
    let child = m.memcg.create(a, "child").unwrap();
    let effort = Effort { scan_max: 8, ..Effort::relieving(MEMORY) };
    let mut calls = 0;
    while let Err(why) = limit(&mut m, child, 40) {
        assert_eq!(why, Error::NoMemory(Pages::new(40)));
        let done = m.memcg.reclaim(&mut m.guest, a, Pages::new(40), effort);
        assert!(done.scanned <= 8 && !done.is_exhausted, "{done:?}");
        calls += 1;
    }
    assert_eq!((calls, books(&m, a)), (4, [58, 60, 60, 40]));
    assert_eq!(limit(&mut m, child, 61), Err(Error::NoMemory(Pages::new(21))));
    while !m.memcg.reclaim(&mut m.guest, a, Pages::new(21), effort).is_exhausted {}
    assert_eq!(limit(&mut m, child, 61), Err(Error::NoMemory(Pages::new(21))), "there is an end");
    assert_eq!(books(&m, child), [0, 40, 40, 0]);
}
