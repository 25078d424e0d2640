//! Pages on swap follow their task like those in memory, and are charged to memsw only.

use memcg::{Config, Hierarchy, Kind, MoveError, Pages, Policy, Progress, Resource};

use crate::machine::Machine;

const CARRYING: [Policy; 4] = [Policy::Rollback, Policy::Reserve, Policy::Precharge, Policy::Half];
const UNDOING: [Policy; 2] = [Policy::Rollback, Policy::Reserve];

#[test]
fn pages_on_swap_follow_in_both_hierarchies_and_take_no_room_in_memory() {
    for (policy, hierarchy) in CARRYING
        .into_iter()
        .chain([Policy::Lazy])
        .flat_map(|policy| [Hierarchy::Share, Hierarchy::Wall].map(|nest| (policy, nest)))
    {
        let config = Machine::new(64, policy).memcg.config();
        let mut m = Machine::with(Config { hierarchy, ..config });
        let (a, b) = (m.group("a", 20), m.group("b", 6));
        let tid = m.process(2, a, 10);
        m.swap_out(tid, 2..6);
        let sum = (m.usage(m.memcg.root()), m.memsw(m.memcg.root()));
        let report = m.migrate(tid, b).unwrap();
        let settled: u64 = std::iter::repeat_with(|| m.settle(3)).take_while(|now| *now > 0).sum();
        let moved = (report.moved.get() + settled, report.swapped.get());
        assert_eq!(moved, (10, if policy == Policy::Lazy { 0 } else { 4 }), "{policy:?}");
        assert_eq!((m.usage(a), m.memsw(a), m.usage(b), m.memsw(b)), (0, 0, 6, 10), "{policy:?}");
        assert_eq!((m.usage(m.memcg.root()), m.memsw(m.memcg.root())), sum, "{policy:?}");
        assert_eq!(m.memcg.stat(b).unwrap().local.swap, Pages::new(4));
        assert_eq!(m.memcg.check(), []);
        assert!(!m.bring(tid, 2), "there is no room");
        m.unmap(tid, 0);
        assert!(m.bring(tid, 2));
        m.exit(tid);
        assert_eq!((m.usage(b), m.memsw(b), m.memcg.check()), (0, 0, vec![]));
    }
}

#[test]
fn swap_of_shared_memory_follows_the_bit_for_files() {
    for (mask, moved) in [(1, 3), (2, 2), (3, 5)] {
        let mut m = Machine::new(64, Policy::Precharge);
        let (a, b) = (m.group("a", 64), m.group("b", 64));
        m.memcg.set_move_charge(b, mask).unwrap();
        let tid = m.process(2, a, 3);
        (10..12).for_each(|page| m.fault(tid, page, Kind::Shmem).unwrap());
        m.swap_out(tid, 0..20);
        assert_eq!(m.migrate(tid, b).unwrap().swapped.get(), moved, "mask {mask}");
        assert_eq!((m.usage(b), m.memsw(b), m.memsw(a)), (0, moved, 5 - moved));
        assert_eq!(m.memcg.check(), []);
    }
}

#[test]
fn a_limit_of_memsw_refuses_pages_on_swap_and_nothing_changes() {
    for policy in [Policy::Rollback, Policy::Reserve, Policy::Precharge] {
        let mut m = Machine::new(64, policy);
        let (a, b) = (m.group("a", 20), m.group("b", 9));
        m.memcg.set_limit(b, Resource::Memsw, Pages::new(9)).unwrap();
        let tid = m.process(2, a, 10);
        m.swap_out(tid, 0..8);
        assert_eq!(m.migrate(tid, b), Err(MoveError::NoMemory), "{policy:?}");
        assert_eq!((m.usage(a), m.memsw(a), m.usage(b), m.memsw(b)), (2, 10, 0, 0), "{policy:?}");
        assert_eq!(m.memcg.counter(b, Resource::Memsw).unwrap().watermark(), Pages::ZERO);
        m.memcg.set_limit(b, Resource::Memsw, Pages::new(10)).unwrap();
        assert_eq!(m.migrate(tid, b).unwrap().moved.get(), 10, "an exact fit");
        assert_eq!(m.memcg.check(), []);
    }
}

#[test]
fn half_takes_pages_on_swap_where_memory_has_no_room() {
    let mut m = Machine::new(64, Policy::Half);
    let (a, b) = (m.group("a", 20), m.group("b", 2));
    let tid = m.process(2, a, 10);
    m.swap_out(tid, 5..10);
    let report = m.migrate(tid, b).unwrap();
    assert_eq!([report.moved, report.swapped, report.failed].map(Pages::get), [7, 5, 3]);
    assert_eq!((m.usage(a), m.memsw(a), m.usage(b), m.memsw(b)), (3, 3, 2, 7));
    assert_eq!(m.memcg.stat(a).unwrap().local.foreign.get(), 3);
    assert_eq!(m.memcg.check(), []);
}

#[test]
fn a_page_that_comes_back_in_the_middle_is_charged_to_both_sides_until_the_end() {
    for (policy, succeeds) in UNDOING.into_iter().flat_map(|one| [(one, true), (one, false)]) {
        let mut m = Machine::new(64, policy);
        let (a, b) = (m.group("a", 20), m.group("b", 20));
        let tid = m.process(2, a, 10);
        m.swap_out(tid, 0..4);
        let mut one = m.begin(tid, b).unwrap();
        // Reserving counts in two steps before the first page moves.
        let steps = if policy == Policy::Reserve { 3 } else { 1 };
        (0..steps).for_each(|_| assert_eq!(m.step(&mut one, 6), Ok(Progress::More)));
        assert_eq!(m.owner(tid, 3), Some(b));
        let before = (m.usage(a), m.usage(b));
        assert!(m.bring(tid, 3));
        assert_eq!((m.usage(a), m.usage(b)), (before.0 + 1, before.1 + 1));
        // The next one needs nothing of the source, which has kept the charge of this.
        m.unmap(tid, 4);
        let before = m.usage(a);
        assert!(m.bring(tid, 2));
        assert_eq!((m.usage(a), m.memcg.check()), (before, vec![]));
        if succeeds {
            m.finish(one).unwrap();
            assert_eq!((m.usage(a), m.memsw(a), m.usage(b), m.memsw(b)), (0, 0, 7, 9));
        } else {
            one.abort(&mut m.memcg);
            assert_eq!((m.usage(a), m.memsw(a), m.usage(b), m.memsw(b)), (7, 9, 0, 0));
            let events = m.memcg.stat(b).unwrap().local.events;
            assert_eq!((events.pgpgin, events.pgpgout), (0, 0), "nothing has happened there");
        }
        assert_eq!(m.memcg.check(), []);
    }
}

#[test]
fn a_page_that_comes_back_and_does_not_fit_is_the_sources_and_the_move_fails() {
    for below in [false, true] {
        let mut m = Machine::new(64, Policy::Rollback);
        let (a, b) = (m.group("a", 20), m.group("b", 8));
        let a = if below { m.memcg.create(b, "below").unwrap() } else { a };
        let b = if below { m.memcg.create(m.memcg.root(), "c").unwrap() } else { b };
        m.memcg.set_limit(b, Resource::Memory, Pages::new(8)).unwrap();
        let tid = m.process(2, a, 8);
        m.swap_out(tid, 0..4);
        let mut one = m.begin(tid, b).unwrap();
        assert_eq!(m.step(&mut one, 6), Ok(Progress::More));
        m.cache(b, 6).unwrap();
        m.guest.clean.clear();
        assert!(m.bring(tid, 0), "a fault is answered");
        m.guest.slots = 0;
        assert_eq!((m.owner(tid, 0), m.owner(tid, 1)), (Some(a), Some(b)));
        assert_eq!(m.memcg.check(), []);
        assert_eq!(m.finish(one), Err(MoveError::NoMemory));
        assert_eq!((m.usage(a), m.memsw(a), m.usage(b), m.memsw(b)), (5, 8, 6, 6));
        assert_eq!((m.guest.killed.len(), m.memcg.check()), (0, vec![]));
    }
}

#[test]
fn a_page_that_fits_nowhere_stays_on_swap_and_the_move_goes_on() {
    let mut m = Machine::new(64, Policy::Rollback);
    let top = m.group("top", 8);
    let [a, b] = ["a", "b"].map(|name| m.memcg.create(top, name).unwrap());
    let tid = m.process(2, a, 8);
    m.swap_out(tid, 0..4);
    m.cache(top, 4).unwrap();
    m.guest.clean.clear();
    let mut one = m.begin(tid, b).unwrap();
    assert_eq!(m.step(&mut one, 6), Ok(Progress::More));
    let before = [a, b, top].map(|group| (m.usage(group), m.memsw(group)));
    assert!(!m.bring(tid, 0));
    assert_eq!([a, b, top].map(|group| (m.usage(group), m.memsw(group))), before);
    m.finish(one).unwrap();
    assert_eq!((m.usage(a), m.memsw(a), m.usage(b), m.memsw(b)), (0, 0, 4, 8));
    assert_eq!(m.memcg.check(), []);
}

#[test]
fn pages_swapped_out_half_way_come_back_with_the_rest() {
    let mut m = Machine::new(64, Policy::Rollback);
    let (a, b) = (m.group("a", 20), m.group("b", 20));
    let tid = m.process(2, a, 10);
    let mut one = m.begin(tid, b).unwrap();
    assert_eq!(m.step(&mut one, 5), Ok(Progress::More));
    m.swap_out(tid, 0..1);
    assert_eq!(m.memcg.check(), []);
    one.abort(&mut m.memcg);
    assert_eq!((m.usage(a), m.memsw(a), m.usage(b), m.memsw(b)), (9, 10, 0, 0));
    assert_eq!(m.memcg.check(), []);
    assert!(m.bring(tid, 0));
    assert_eq!(m.usage(a), 10);
}

#[test]
fn pages_on_swap_that_settle_are_no_relief_to_memory_and_make_nobody_stop_looking() {
    let mut m = Machine::new(64, Policy::Lazy);
    let (a, b) = (m.group("a", 64), m.group("b", 3));
    let tid = m.process(2, a, 10);
    m.swap_out(tid, 0..6);
    m.migrate(tid, b).unwrap();
    let relief = m.memcg.settle_out_of(&mut m.guest, (a, Resource::Memory), 4);
    assert_eq!((relief.get(), m.usage(a), m.memsw(a)), (2, 2, 2));
    assert_eq!((m.usage(b), m.memsw(b), m.memcg.check()), (2, 8, vec![]));
}
