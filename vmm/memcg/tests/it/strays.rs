//! Pages that a move by the policy `half` left behind: who is charged for them, and who uses them.

use memcg::{GroupId, Pages, Policy, Resource};

use crate::machine::Machine;

/// What each group shows as foreign.
fn foreign<const N: usize>(m: &Machine, groups: [GroupId; N]) -> [u64; N] {
    assert_eq!(m.memcg.check(), []);
    groups.map(|group| m.memcg.stat(group).unwrap().local.foreign.get())
}

#[test]
fn a_second_move_to_the_same_group_takes_what_finds_room_by_now() {
    let mut m = Machine::new(64, Policy::Half);
    let (a, b, c) = (m.group("a", 64), m.group("b", 6), m.group("c", 64));
    let tid = m.process(2, a, 10);
    assert_eq!(m.migrate(tid, b).unwrap().failed.get(), 4);
    let again = m.migrate(tid, b).unwrap();
    assert_eq!((again.moved.get(), again.failed.get()), (0, 4), "there is no more room yet");
    m.memcg.set_limit(b, Resource::Memory, Pages::new(8)).unwrap();
    let again = m.migrate(tid, b).unwrap();
    assert_eq!((again.moved.get(), again.failed.get()), (2, 2));
    assert_eq!((m.usage(a), m.usage(b), foreign(&m, [a, b, c])), (2, 8, [2, 2, 0]));
    // On to a third group, with pages left in both of the others, and all of them taken there.
    m.memcg.set_limit(c, Resource::Memory, Pages::new(5)).unwrap();
    m.migrate(tid, c).unwrap();
    assert_eq!((m.usage(a), m.usage(b), m.usage(c)), (2, 3, 5));
    assert_eq!(foreign(&m, [a, b, c]), [2, 3, 5]);
    m.memcg.set_limit(c, Resource::Memory, Pages::new(64)).unwrap();
    assert_eq!(m.migrate(tid, c).unwrap().moved.get(), 5);
    assert_eq!((m.usage(a), m.usage(b), m.usage(c)), (0, 0, 10));
    assert_eq!(foreign(&m, [a, b, c]), [0; 3]);
}

#[test]
fn each_group_shows_what_its_own_tasks_left_whoever_frees_a_page() {
    let mut m = Machine::new(64, Policy::Half);
    let (a, b, c) = (m.group("a", 64), m.group("b", 2), m.group("c", 3));
    let (one, two) = (m.process(2, a, 10), m.process(3, a, 10));
    m.migrate(one, b).unwrap();
    m.migrate(two, c).unwrap();
    assert_eq!(foreign(&m, [a, b, c]), [15, 8, 7]);
    assert_eq!(m.memcg.stat(m.memcg.root()).unwrap().total.foreign.get(), 15);
    (8..10).for_each(|page| m.unmap(two, page));
    assert_eq!(foreign(&m, [a, b, c]), [13, 8, 5]);
    m.exit(one);
    assert_eq!(foreign(&m, [a, b, c]), [5, 0, 5]);
}

#[test]
fn what_was_left_goes_along_with_the_process_by_any_policy_and_ends_at_home() {
    let mut m = Machine::new(64, Policy::Half);
    let (a, b, c) = (m.group("a", 64), m.group("b", 4), m.group("c", 64));
    for group in [a, c] {
        m.memcg.set_recharge(group, Policy::None).unwrap();
    }
    let tid = m.process(2, a, 10);
    m.migrate(tid, b).unwrap();
    m.migrate(tid, c).unwrap();
    assert_eq!(foreign(&m, [a, b, c]), [6, 0, 6]);
    m.migrate(tid, a).unwrap();
    assert_eq!(foreign(&m, [a, b, c]), [0; 3]);
}

#[test]
fn pages_of_a_removed_group_are_its_heirs_and_those_of_a_process_that_ended_its_groups() {
    let mut m = Machine::new(64, Policy::Half);
    let top = m.group("top", 64);
    let a = m.memcg.create(top, "a").unwrap();
    let b = m.group("b", 4);
    let tid = m.process(2, a, 10);
    m.migrate(tid, b).unwrap();
    m.memcg.remove(a).unwrap();
    assert_eq!(foreign(&m, [top, b]), [6, 6]);
    let child = m.fork(3, tid);
    m.exit(tid);
    assert_eq!(foreign(&m, [top, b]), [6, 6], "the child maps them");
    m.exit(child);
    assert_eq!(foreign(&m, [top, b]), [0, 0]);
}
