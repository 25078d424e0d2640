//! What each policy promises.

use memcg::{
    Config, Gva, Hierarchy, Kind, MoveError, Offline, Pages, Policy, Progress, Resource, ScannedRun,
};

use crate::machine::Machine;

#[test]
fn with_none_a_task_moves_alone() {
    let mut m = Machine::new(64, Policy::None);
    let (a, b) = (m.group("a", 64), m.group("b", 4));
    let tid = m.process(2, a, 10);
    m.migrate(tid, b).unwrap();
    assert_eq!((m.usage(a), m.usage(b)), (10, 0));
    m.fault(tid, 50, Kind::Anon).unwrap();
    assert_eq!(m.owner(tid, 50), Some(b));
}

#[test]
fn moving_a_task_takes_its_anon_pages_along() {
    let policies = [Policy::Rollback, Policy::Reserve, Policy::Precharge, Policy::Half];
    for policy in policies {
        let mut m = Machine::new(128, policy);
        let (a, b) = (m.group("a", 64), m.group("b", 64));
        let tid = m.process(2, a, 50);
        let report = m.migrate(tid, b).unwrap();
        assert_eq!((report.moved.get(), report.failed.get()), (50, 0), "{policy:?}");
        assert_eq!((m.usage(a), m.usage(b)), (0, 50));
        assert_eq!(m.memcg.stat(b).unwrap().local.rss, Pages::new(50));
        assert_eq!(m.memcg.stat(a).unwrap().local.rss, Pages::ZERO);
        assert_eq!(m.memcg.tasks(b).unwrap(), [tid]);
        assert_eq!(m.memcg.check(), []);
        m.exit(tid);
        assert_eq!((m.usage(b), m.usage(m.memcg.root())), (0, 0));
    }
}

#[test]
fn a_common_ancestor_is_charged_twice_by_precharge_only() {
    for (policy, peak) in [(Policy::Rollback, 10), (Policy::Reserve, 10), (Policy::Precharge, 20)] {
        let mut m = Machine::new(64, policy);
        let top = m.group("top", 64);
        let a = m.memcg.create(top, "a").unwrap();
        let b = m.memcg.create(top, "b").unwrap();
        let tid = m.process(2, a, 10);
        m.migrate(tid, b).unwrap();
        let counter = m.memcg.counter(top, Resource::Memory).unwrap();
        assert_eq!((counter.usage().get(), counter.watermark().get()), (10, peak), "{policy:?}");
        assert_eq!(m.memcg.check(), []);
    }
}

#[test]
fn a_full_common_ancestor_stops_precharge_and_nobody_else() {
    for policy in [Policy::Rollback, Policy::Reserve, Policy::Half, Policy::Precharge] {
        let mut m = Machine::new(64, policy);
        let top = m.group("top", 10);
        let a = m.memcg.create(top, "a").unwrap();
        let b = m.memcg.create(top, "b").unwrap();
        let tid = m.process(2, a, 10);
        let moved = m.migrate(tid, b);
        assert_eq!(moved.is_err(), policy == Policy::Precharge, "{policy:?}");
        assert_eq!(m.memcg.check(), []);
    }
}

#[test]
fn pages_move_between_parent_and_child_both_ways() {
    let mut m = Machine::new(64, Policy::Rollback);
    let a = m.group("a", 10);
    let b = m.memcg.create(a, "b").unwrap();
    let tid = m.process(2, a, 10);
    m.migrate(tid, b).unwrap();
    assert_eq!((m.usage(a), m.usage(b)), (10, 10));
    assert_eq!(m.memcg.check(), []);
    m.migrate(tid, a).unwrap();
    assert_eq!((m.usage(a), m.usage(b)), (10, 0));
    assert_eq!(m.memcg.check(), []);
}

#[test]
fn precharge_stops_silently_when_pages_appear_that_do_not_fit() {
    let mut m = Machine::new(64, Policy::Precharge);
    let (a, b) = (m.group("a", 64), m.group("b", 10));
    let tid = m.process(2, a, 10);
    let mut one = m.begin(tid, b).unwrap();
    m.step(&mut one, 5).unwrap();
    // Behind the cursor of the count, so that the reservation does not know it.
    m.unmap(tid, 0);
    m.fault(tid, 0, Kind::Anon).unwrap();
    m.fault(tid, 100, Kind::Anon).unwrap();
    m.unmap(tid, 100);
    m.step(&mut one, 5).unwrap();
    m.cache(a, 1).unwrap();
    let report = m.finish(one).unwrap();
    assert_eq!(report.moved.get(), 10);
    assert_eq!(m.memcg.task_group(tid), Some(b));
    assert_eq!(m.memcg.check(), []);
}

#[test]
fn precharge_takes_mapped_file_pages_along_when_the_mask_says_so() {
    for (mask, moved) in [(0, 0), (1, 10), (2, 5), (3, 15)] {
        let mut m = Machine::new(64, Policy::Precharge);
        let (a, b) = (m.group("a", 64), m.group("b", 64));
        m.memcg.set_move_charge(b, mask).unwrap();
        let tid = m.process(2, a, 10);
        for page in 20..25 {
            m.fault(tid, page, Kind::Shmem).unwrap();
        }
        let report = m.migrate(tid, b).unwrap();
        assert_eq!((report.moved.get(), m.usage(b)), (moved, moved), "mask {mask}");
        assert_eq!(m.memcg.check(), []);
    }
}

#[test]
fn huge_and_kernel_pages_and_those_of_a_third_group_move_by_no_policy() {
    for policy in Policy::all() {
        let mut m = Machine::new(64, policy);
        let (a, b, c) = (m.group("a", 64), m.group("b", 64), m.group("c", 64));
        m.memcg.set_recharge(a, Policy::None).unwrap();
        m.memcg.set_move_charge(b, 3).unwrap();
        let tid = m.process(2, c, 3);
        m.migrate(tid, a).unwrap();
        for (page, kind) in [(10, Kind::Huge), (11, Kind::Kernel), (12, Kind::PageTable)] {
            m.fault(tid, page, kind).unwrap();
        }
        m.fault(tid, 20, Kind::Anon).unwrap();
        let owners = |m: &Machine| [0, 1, 2, 10, 11, 12].map(|page| m.owner(tid, page));
        let before = owners(&m);
        m.migrate(tid, b).unwrap();
        while m.settle(4) > 0 {}
        assert_eq!(owners(&m), before, "{policy:?}");
        assert_eq!(m.owner(tid, 20), Some(if policy == Policy::None { a } else { b }));
        assert_eq!(m.memcg.check(), []);
    }
}

#[test]
fn half_moves_what_fits_and_shows_the_rest_as_foreign() {
    let mut m = Machine::new(64, Policy::Half);
    let (a, b) = (m.group("a", 64), m.group("b", 6));
    let tid = m.process(2, a, 10);
    let report = m.migrate(tid, b).unwrap();
    assert_eq!((report.moved.get(), report.failed.get()), (6, 4));
    assert_eq!((m.usage(a), m.usage(b)), (4, 6));
    assert_eq!(m.memcg.stat(a).unwrap().local.foreign, Pages::new(4));
    assert_eq!(m.memcg.stat(b).unwrap().local.foreign, Pages::new(4));
    m.unmap(tid, 9);
    assert_eq!(m.memcg.stat(a).unwrap().local.foreign, Pages::new(3));
    assert_eq!(m.memcg.stat(b).unwrap().local.foreign, Pages::new(3));
    m.migrate(tid, a).unwrap();
    assert_eq!(m.memcg.stat(a).unwrap().local.foreign, Pages::ZERO);
    assert_eq!(m.memcg.stat(b).unwrap().local.foreign, Pages::ZERO);
    assert_eq!((m.usage(a), m.usage(b)), (9, 0));
    assert_eq!(m.memcg.check(), []);
}

#[test]
fn room_is_made_for_a_move_however_much_it_needs() {
    for policy in [Policy::Rollback, Policy::Reserve, Policy::Precharge, Policy::Half] {
        let mut m = Machine::new(8192, policy);
        let (a, b) = (m.group("a", 8192), m.group("b", 4000));
        let tid = m.process(2, a, 3500);
        m.cache(b, 4000).unwrap();
        let mut one = m.begin(tid, b).unwrap();
        let report = loop {
            let clean = m.guest.clean.len();
            let progress = m.step(&mut one, 4096).unwrap();
            // The guest stands still meanwhile.
            assert!(clean - m.guest.clean.len() <= 64, "{policy:?}");
            match progress {
                Progress::More => assert_eq!(m.memcg.check(), []),
                Progress::Done(report) => break report,
            }
        };
        assert_eq!((report.moved.get(), report.failed), (3500, Pages::ZERO), "{policy:?}");
        assert_eq!((m.usage(a), m.owner(tid, 3499)), (0, Some(b)), "{policy:?}");
    }
}

#[test]
fn lazy_attaches_at_once_and_settles_later() {
    let mut m = Machine::new(64, Policy::Lazy);
    let (a, b) = (m.group("a", 64), m.group("b", 64));
    let tid = m.process(2, a, 10);
    assert_eq!(m.migrate(tid, b).unwrap().moved, Pages::ZERO);
    assert_eq!((m.memcg.task_group(tid), m.usage(a)), (Some(b), 10));
    assert_eq!(m.memcg.stat(a).unwrap().local.lazy_pending, Pages::new(10));
    let settled = m.settle(4);
    assert_eq!((settled, m.usage(a), m.usage(b)), (4, 6, 4));
    assert_eq!(m.memcg.stat(a).unwrap().local.lazy_pending, Pages::new(6));
    while m.settle(4) > 0 {}
    assert_eq!((m.usage(a), m.usage(b)), (0, 10));
    assert_eq!(m.memcg.stat(a).unwrap().total.lazy_pending, Pages::ZERO);
    assert_eq!(m.memcg.check(), []);
}

#[test]
fn lazy_pages_that_are_locked_in_memory_settle_first() {
    let mut m = Machine::new(64, Policy::Lazy);
    let (a, b) = (m.group("a", 64), m.group("b", 64));
    let tid = m.process(2, a, 20);
    let locked = [3, 11, 19];
    for (page, gfn, ..) in m.pages(tid) {
        if locked.contains(&page) {
            m.guest.locked.insert(gfn);
        }
    }
    // Others have pages as well: how many of them wait, only the scan for locked ones tells.
    m.process(3, a, 30);
    m.migrate(tid, b).unwrap();
    assert_eq!(m.memcg.stat(a).unwrap().local.lazy_pending.get(), 50);
    while m.usage(b) < 3 {
        assert!(m.memcg.settle(&mut m.guest, 4).goes_on);
    }
    assert_eq!(m.memcg.stat(a).unwrap().local.lazy_pending.get(), 17);
    let settled: Vec<u64> = (0..20).filter(|page| m.owner(tid, *page) == Some(b)).collect();
    assert_eq!(settled, locked);
    while m.settle(4) > 0 {}
    assert_eq!((m.usage(a), m.usage(b)), (30, 20));
    assert_eq!(m.memcg.check(), []);
}

#[test]
fn a_lazy_page_that_its_task_touches_again_settles_at_once() {
    let mut m = Machine::new(64, Policy::Lazy);
    let (a, b) = (m.group("a", 64), m.group("b", 2));
    let (tid, other) = (m.process(2, a, 10), m.process(3, a, 1));
    let thread = m.thread(4, tid);
    m.migrate(tid, b).unwrap();
    let page = |m: &Machine, tid, at: usize| {
        let (page, gfn, kind, mapcount) = m.pages(tid)[at];
        ScannedRun { gva: Gva::new(page), gfn, pages: Pages::ONE, kind, mapcount, is_locked: false }
    };
    let (five, six, seven) = (page(&m, tid, 5), page(&m, tid, 6), page(&m, tid, 7));
    assert!(m.memcg.settle_touched(tid, &five));
    assert!(!m.memcg.settle_touched(tid, &five), "it is there");
    assert!(m.memcg.settle_touched(thread, &six), "threads share what they have");
    assert!(!m.memcg.settle_touched(tid, &seven), "there is no room");
    let foreign = page(&m, other, 0);
    assert!(!m.memcg.settle_touched(other, &foreign), "it owes nothing");
    assert_eq!((m.usage(a), m.usage(b)), (9, 2));
    assert_eq!(m.memcg.stat(a).unwrap().local.lazy_pending, Pages::new(9));
    assert_eq!(m.memcg.check(), []);
}

#[test]
fn lazy_pages_without_room_wait_until_there_is_some() {
    let mut m = Machine::new(64, Policy::Lazy);
    let (a, b) = (m.group("a", 64), m.group("b", 6));
    let tid = m.process(2, a, 10);
    m.migrate(tid, b).unwrap();
    assert_eq!(m.settle(100), 6);
    assert_eq!(m.settle(100), 0);
    m.memcg.set_limit(b, Resource::Memory, Pages::new(10)).unwrap();
    assert_eq!(m.settle(100), 4);
    assert_eq!((m.usage(a), m.usage(b)), (0, 10));
}

#[test]
fn lazy_pages_leave_a_group_that_is_out_of_room_and_stay_within_one_that_is() {
    let mut m = Machine::new(64, Policy::Lazy);
    let top = m.group("top", 64);
    let [a, b] = ["a", "b"].map(|name| m.memcg.create(top, name).unwrap());
    let tid = m.process(2, a, 10);
    m.migrate(tid, b).unwrap();
    assert!(
        m.memcg.settle_out_of(&mut m.guest, (top, Resource::Memory), 3).is_zero(),
        "top would still be charged"
    );
    assert!(
        m.memcg.settle_out_of(&mut m.guest, (b, Resource::Memory), 3).is_zero(),
        "nothing waits to leave b"
    );
    assert_eq!(m.memcg.settle_out_of(&mut m.guest, (a, Resource::Memory), 3).get(), 3);
    assert_eq!((m.usage(a), m.usage(b), m.usage(top)), (7, 3, 10));
    m.memcg.set_limit(b, Resource::Memory, Pages::new(5)).unwrap();
    while !m.memcg.settle_out_of(&mut m.guest, (a, Resource::Memory), 3).is_zero() {}
    assert_eq!((m.usage(a), m.usage(b)), (5, 5), "no room in b, and no refusal counted");
    assert!(m.memcg.has_debts());
    m.exit(tid);
    assert!(!m.memcg.has_debts());
    assert_eq!(m.memcg.check(), []);
}

#[test]
fn a_lazy_attach_and_a_roomy_rollback_look_at_no_page_in_advance() {
    for policy in [Policy::Lazy, Policy::Rollback, Policy::Precharge] {
        let mut m = Machine::new(64, policy);
        let (a, b) = (m.group("a", 64), m.group("b", 64));
        let tid = m.process(2, a, 50);
        let mut one = m.begin(tid, b).unwrap();
        m.step(&mut one, 3).unwrap();
        assert!(m.guest.longest_scan <= 3, "{policy:?}");
        one.abort(&mut m.memcg);
    }
}

#[test]
fn lazy_debts_end_with_the_task_with_the_group_and_on_return() {
    let mut m = Machine::new(64, Policy::Lazy);
    let (a, b) = (m.group("a", 64), m.group("b", 64));
    let (one, two) = (m.process(2, a, 4), m.process(3, a, 4));
    m.migrate(one, b).unwrap();
    m.migrate(two, b).unwrap();
    m.exit(one);
    assert_eq!(m.memcg.stat(a).unwrap().local.lazy_pending, Pages::new(4));
    m.migrate(two, a).unwrap();
    while m.memcg.stat(a).unwrap().local.lazy_pending.get() > 0 {
        assert_eq!(m.settle(100), 0);
    }
    m.migrate(two, b).unwrap();
    m.memcg.remove(a).unwrap();
    assert_eq!(m.settle(100), 0);
    assert_eq!(m.owner(two, 0), Some(m.memcg.root()));
    assert_eq!(m.memcg.check(), []);
}

#[test]
fn moving_into_the_same_group_is_a_success_that_does_nothing() {
    for policy in Policy::all() {
        let mut m = Machine::new(64, policy);
        let a = m.group("a", 10);
        let tid = m.process(2, a, 10);
        assert_eq!(m.migrate(tid, a).unwrap(), memcg::MoveReport::default());
        assert_eq!((m.usage(a), m.memcg.check()), (10, vec![]));
    }
}

#[test]
fn moves_between_walled_groups_touch_just_the_two() {
    let mut m = Machine::with(Config {
        frames: 64,
        hierarchy: Hierarchy::Wall,
        recharge: Policy::Rollback,
        offline: Offline::Reparent,
        abi: memcg::Abi::Classic,
    });
    let (a, b) = (m.group("a", 20), m.group("b", 10));
    let tid = m.process(2, a, 10);
    m.migrate(tid, b).unwrap();
    assert_eq!((m.usage(a), m.usage(b), m.usage(m.memcg.root())), (0, 10, 30));
    m.fault(tid, 50, Kind::Anon).unwrap_err();
    m.migrate(tid, a).unwrap();
    m.fault(tid, 50, Kind::Anon).unwrap();
    assert_eq!(m.migrate(tid, b), Err(MoveError::NoMemory));
    assert_eq!((m.usage(a), m.usage(b)), (11, 0));
    assert_eq!(m.memcg.check(), []);
}
