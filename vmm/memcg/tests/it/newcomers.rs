//! Reclaim in the group that a task has moved to by the policy `lazy`: what becomes of pages that wait
//! to follow it.

use memcg::{Effort, GroupId, Kind, Pages, Policy, Reclaimed, Resource, Tid};

use crate::machine::Machine;

/// A machine whose task 2 has 30 pages in the first group and has moved to the second, which is full
/// with 20 pages of another.
fn moved(slots: u64) -> (Machine, [GroupId; 2], Tid) {
    let mut m = Machine::new(128, Policy::Lazy);
    m.guest.slots = slots;
    let (a, b) = (m.group("a", 64), m.group("b", 20));
    let tid = m.process(2, a, 30);
    m.process(3, b, 20);
    m.migrate(tid, b).unwrap();
    (m, [a, b], tid)
}

fn reclaim(m: &mut Machine, group: GroupId, goal: u64, effort: Effort) -> Reclaimed {
    let done = m.memcg.reclaim(&mut m.guest, group, Pages::new(goal), effort);
    assert_eq!((m.memcg.check(), m.guest.killed.len()), (vec![], 0));
    done
}

fn for_charge() -> Effort {
    Effort::for_charge(Resource::Memory, Pages::ONE)
}

fn lowering() -> Effort {
    Effort::relieving(Resource::Memory)
}

fn pending(m: &Machine, group: GroupId) -> u64 {
    m.memcg.stat(group).unwrap().local.lazy_pending.get()
}

/// Memory and memsw of both groups.
fn books(m: &Machine, groups: [GroupId; 2]) -> [(u64, u64); 2] {
    groups.map(|group| (m.usage(group), m.memsw(group)))
}

#[test]
fn half_of_the_room_beyond_the_charge_goes_to_them_and_the_rest_of_a_look_settles_on_swap() {
    let (mut m, [a, b], tid) = moved(100);
    assert_eq!(reclaim(&mut m, b, 8, for_charge()).reclaimed, 8);
    // Eight looked at: three of the seven free pages taken, five evicted.
    assert_eq!(books(&m, [a, b]), [(22, 22), (15, 28)]);
    assert_eq!((pending(&m, a), m.guest.slots), (22, 100 - 13));
    assert!((0..8).all(|page| m.owner(tid, page) == Some(b)));
    assert_eq!(m.owner(tid, 8), Some(a), "the next look goes on here");
    // Where there is as much room as its page needs, nobody takes it.
    assert!(m.bring(tid, 7));
}

#[test]
fn a_group_that_keeps_charging_has_all_of_them_in_the_end_and_is_never_above_its_limit() {
    let (mut m, [a, b], tid) = moved(200);
    for page in 100..140 {
        while m.fault(tid, page, Kind::Anon).is_err() {
            assert!(reclaim(&mut m, b, 8, for_charge()).reclaimed > 0, "nobody has to die");
        }
        assert!(m.usage(b) <= 20);
    }
    assert_eq!((books(&m, [a, b])[0], pending(&m, a)), ((0, 0), 0));
    assert!(!m.memcg.has_debts());
    assert_eq!(m.memsw(b), 30 + 20 + 40);
}

#[test]
fn a_limit_that_is_lowered_is_not_made_harder_to_reach() {
    let (mut m, [a, b], _) = moved(100);
    m.memcg.set_limit(b, Resource::Memory, Pages::new(64)).unwrap();
    let before = m.usage(b);
    let done = reclaim(&mut m, b, 10, lowering());
    assert_eq!((done.reclaimed, m.usage(b)), (10, before - 10), "although there is room");
    assert_eq!(books(&m, [a, b]), [(20, 20), (10, 30)]);
}

#[test]
fn without_swap_they_stay_where_they_are() {
    let (mut m, [a, b], tid) = moved(0);
    m.memcg.set_limit(b, Resource::Memory, Pages::new(30)).unwrap();
    m.cache(b, 10).unwrap();
    assert_eq!(reclaim(&mut m, b, 8, for_charge()).reclaimed, 8);
    assert_eq!((books(&m, [a, b]), pending(&m, a)), ([(30, 30), (22, 22)], 30));
    // All of the room is for what the group's own tasks touch.
    for page in 100..108 {
        m.fault(tid, page, Kind::Anon).unwrap();
    }
}

#[test]
fn a_group_that_may_not_swap_takes_none_and_one_that_may_not_is_taken_none_from() {
    for unwilling in [0, 1] {
        let (mut m, groups, _) = moved(100);
        m.memcg.set_swappiness(groups[unwilling], 0).unwrap();
        let before = books(&m, groups)[0];
        reclaim(&mut m, groups[1], 8, for_charge());
        assert_eq!((books(&m, groups)[0], pending(&m, groups[0])), (before, 30));
    }
}

#[test]
fn where_memsw_has_no_room_they_are_the_sources_on_swap_until_it_has() {
    let (mut m, [a, b], _) = moved(100);
    m.memcg.set_limit(b, Resource::Memsw, Pages::new(20)).unwrap();
    assert_eq!(reclaim(&mut m, b, 8, for_charge()).reclaimed, 8);
    assert_eq!((books(&m, [a, b]), pending(&m, a)), ([(22, 30), (12, 20)], 30));
    // What memsw refuses is helped neither by swapping nor by taking more.
    reclaim(&mut m, b, 8, Effort::for_charge(Resource::Memsw, Pages::ONE));
    assert_eq!(books(&m, [a, b]), [(22, 30), (12, 20)]);
    m.memcg.set_limit(b, Resource::Memsw, Pages::new(64)).unwrap();
    while m.settle(16) > 0 {}
    assert_eq!((books(&m, [a, b]), pending(&m, a)), ([(14, 14), (20, 36)], 14));
}

#[test]
fn only_reclaim_for_who_would_be_charged_and_is_not_meets_them() {
    let mut m = Machine::new(128, Policy::Lazy);
    m.guest.slots = 100;
    let top = m.group("top", 100);
    let above = m.memcg.create(top, "above").unwrap();
    let [b, sibling] = ["b", "sibling"].map(|name| m.memcg.create(above, name).unwrap());
    let a = m.memcg.create(top, "a").unwrap();
    let tid = m.process(2, a, 30);
    m.process(3, sibling, 20);
    m.migrate(tid, b).unwrap();
    reclaim(&mut m, sibling, 4, for_charge());
    assert_eq!(pending(&m, a), 30, "they are not to be charged there");
    reclaim(&mut m, top, 4, for_charge());
    assert_eq!(pending(&m, a), 30, "they are charged there already");
    reclaim(&mut m, above, 4, for_charge());
    assert_eq!((pending(&m, a), m.usage(b), m.memsw(b)), (26, 1, 4));
}

#[test]
fn a_page_that_was_seen_to_be_used_is_watched_before_it_goes() {
    let (mut m, [a, b], tid) = moved(100);
    let (_, used, ..) = m.pages(tid)[4];
    assert!(m.memcg.note_touched(used));
    reclaim(&mut m, b, 8, lowering());
    assert_eq!((m.memcg.generation(used), m.owner(tid, 4)), (Some(0), Some(a)));
    assert_eq!(pending(&m, a), 30 - 7);
    while m.owner(tid, 4) == Some(a) {
        (0..20).for_each(|page| assert!(m.bring(Tid::new(3), page)));
        assert_eq!(reclaim(&mut m, b, 4, lowering()).reclaimed, 4);
    }
    assert!(m.memcg.is_swapped(used));
}

#[test]
fn a_look_at_all_of_them_tells_how_many_there_are() {
    let (mut m, [a, b], tid) = moved(100);
    // Only a guess, since others have pages as well.
    m.process(4, a, 25);
    m.migrate(tid, a).unwrap();
    m.migrate(tid, b).unwrap();
    assert_eq!(pending(&m, a), 55);
    m.memcg.set_limit(b, Resource::Memsw, Pages::new(20)).unwrap();
    for goal in [20, 12] {
        (0..20).for_each(|page| assert!(m.bring(Tid::new(3), page)));
        assert_eq!(reclaim(&mut m, b, goal, lowering()).reclaimed, goal);
    }
    assert_eq!((pending(&m, a), m.memsw(b)), (30, 20), "none had room, and these are all");
}

#[test]
fn a_call_takes_on_no_more_of_them_than_it_has_had_of_its_own() {
    let (mut m, [a, b], tid) = moved(100);
    m.guest.longest_scan = 0;
    let effort = Effort { scan_max: 3, ..for_charge() };
    assert_eq!(reclaim(&mut m, b, 10, effort).reclaimed, 3);
    assert_eq!((m.guest.longest_scan, pending(&m, a)), (3, 27));
    // One who has nothing to give leaves theirs alone as well.
    m.memcg.set_limit(b, Resource::Memory, Pages::new(40)).unwrap();
    for (_, gfn, ..) in m.pages(Tid::new(3)) {
        m.guest.locked.insert(gfn);
    }
    for (_, gfn, ..) in m.pages(tid).into_iter().take(3) {
        m.guest.locked.insert(gfn);
    }
    while !reclaim(&mut m, b, 10, effort).is_exhausted {}
    assert_eq!((pending(&m, a), m.usage(b)), (27, 18));
}
