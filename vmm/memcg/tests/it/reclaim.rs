//! Reclaim: who goes first, and who does not go.

use memcg::{Effort, Gfn, Kind, Locked, Memcg, Pages, PressureLevel, Resource};

use crate::patterns::{self, Cache};
use crate::short::{FRAMES, MEMORY, charge, machine, reclaim, swapper, usage};

#[test]
fn the_order_of_eviction_is_as_good_as_least_recent_use_and_better_while_a_file_goes_by() {
    for pattern in patterns::all() {
        let hits = patterns::compare(&pattern);
        assert!(hits.generations + 200 >= hits.lru, "{}: {hits:?}", pattern.name);
        // Nobody is asked more often whether a page is in use than pages come and go.
        assert!(hits.noticed <= 2 * (10_000 - hits.generations), "{}: {hits:?}", pattern.name);
        if pattern.name == "scan+hot set" {
            assert!(hits.generations > hits.lru, "{hits:?}");
        }
    }
}

#[test]
fn one_pass_over_a_big_file_leaves_the_working_set_alone() {
    let mut cache = Cache::new(1024);
    let hot = |cache: &mut Cache| (0..700).filter(|page| !cache.touch((*page, Kind::Anon))).count();
    hot(&mut cache);
    for page in 10_000..30_000 {
        cache.touch((page, Kind::File));
    }
    assert_eq!(hot(&mut cache), 0, "every page is still there");
}

#[test]
fn files_go_before_anonymous_pages_and_those_by_age() {
    let mut m = machine();
    let a = m.create(m.root(), "a").unwrap();
    charge(&mut m, a, 0..20, Kind::Anon);
    charge(&mut m, a, 20..40, Kind::File);
    let mut machine = swapper(100);
    let done = reclaim(&mut m, &mut machine, a, (10, MEMORY));
    assert_eq!((done.reclaimed, done.swapped), (10, 0));
    assert_eq!(machine.evicted, (20..30).map(Gfn::new).collect::<Vec<_>>());
    assert!(!machine.aged.is_empty(), "those that may be next are watched");
    let done = reclaim(&mut m, &mut machine, a, (100, MEMORY));
    assert_eq!((done.reclaimed, done.swapped, done.is_exhausted), (30, 20, true));
    assert_eq!((usage(&m, a, MEMORY), usage(&m, a, Resource::Memsw)), (0, 20));
}

#[test]
fn a_page_that_is_touched_when_it_is_about_to_go_stays() {
    let mut m = machine();
    let a = m.create(m.root(), "a").unwrap();
    charge(&mut m, a, 0..40, Kind::Anon);
    let mut machine = swapper(100);
    reclaim(&mut m, &mut machine, a, (4, MEMORY));
    let touched = machine.aged[0];
    assert_eq!(m.generation(touched), Some(0));
    assert!(m.note_touched(touched));
    assert_eq!(m.generation(touched), Some(3));
    reclaim(&mut m, &mut machine, a, (20, MEMORY));
    assert!(m.is_backed(touched));
    let stat = m.stat(a).unwrap().local;
    assert_eq!(stat.active_anon.get() + stat.inactive_anon.get(), stat.rss.get());
    assert!(!m.note_touched(machine.evicted[0]), "it is on swap");
    assert!(!m.note_touched(Gfn::new(FRAMES)));
}

#[test]
fn with_swappiness_zero_a_limit_never_makes_pages_go_to_swap() {
    let mut m = machine();
    let a = m.create(m.root(), "a").unwrap();
    m.set_swappiness(a, 0).unwrap();
    charge(&mut m, a, 0..10, Kind::Anon);
    charge(&mut m, a, 10..15, Kind::File);
    let mut machine = swapper(100);
    let done = reclaim(&mut m, &mut machine, a, (100, MEMORY));
    assert_eq!((done.reclaimed, done.swapped, done.is_exhausted), (5, 0, true));
    let root = m.root();
    let done = reclaim(&mut m, &mut machine, root, (3, MEMORY));
    assert_eq!(done.swapped, 3, "a guest that is short of memory as a whole is another thing");
    m.set_swappiness(a, 1).unwrap();
    assert_eq!(reclaim(&mut m, &mut machine, a, (3, MEMORY)).swapped, 3);
}

#[test]
fn what_memsw_refuses_is_not_helped_by_swapping() {
    let mut m = machine();
    let a = m.create(m.root(), "a").unwrap();
    charge(&mut m, a, 0..10, Kind::Anon);
    charge(&mut m, a, 10..15, Kind::File);
    let mut machine = swapper(100);
    let done = reclaim(&mut m, &mut machine, a, (100, Resource::Memsw));
    assert_eq!((done.reclaimed, done.swapped, done.is_exhausted), (5, 0, true));
    assert_eq!(usage(&m, a, Resource::Memsw), 10);
}

#[test]
fn a_neighbour_that_is_idle_loses_no_page() {
    let mut m = machine();
    let [a, b] = ["a", "b"].map(|name| m.create(m.root(), name).unwrap());
    charge(&mut m, b, 40..60, Kind::File);
    charge(&mut m, a, 0..20, Kind::Anon);
    let mut machine = swapper(1000);
    for _ in 0..50 {
        reclaim(&mut m, &mut machine, a, (4, MEMORY));
        for gfn in std::mem::take(&mut machine.evicted) {
            m.try_swap_in(gfn).unwrap();
        }
    }
    assert_eq!((usage(&m, b, MEMORY), m.stat(b).unwrap().local.events.pgpgout), (20, 0));
    assert!(machine.aged.iter().all(|gfn| gfn.get() < 40), "nor is it watched");
}

#[test]
fn groups_below_give_in_proportion_to_what_they_have_removed_ones_too() {
    let mut m = Memcg::new(memcg::Config {
        offline: memcg::Offline::Zombie,
        frames: 4096,
        ..machine().config()
    })
    .unwrap();
    let top = m.create(m.root(), "top").unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| m.create(top, name).unwrap());
    charge(&mut m, a, 0..1000, Kind::Anon);
    charge(&mut m, b, 1000..3000, Kind::Anon);
    charge(&mut m, c, 3000..4000, Kind::Anon);
    m.remove(c).unwrap();
    let mut machine = swapper(10_000);
    let done = reclaim(&mut m, &mut machine, top, (400, MEMORY));
    assert_eq!(done.reclaimed, 400);
    let from = |range: std::ops::Range<u64>| {
        machine.evicted.iter().filter(|gfn| range.contains(&gfn.get())).count()
    };
    for (part, fair) in [(from(0..1000), 100), (from(1000..3000), 200), (from(3000..4000), 100)] {
        assert!(part.abs_diff(fair) <= 20, "{part} of {fair}");
    }
    assert!(reclaim(&mut m, &mut machine, top, (10_000, MEMORY)).is_exhausted);
    assert_eq!(usage(&m, top, MEMORY), 0);
}

#[test]
fn locked_pages_stay_and_are_found_when_they_are_unlocked() {
    let mut m = machine();
    let a = m.create(m.root(), "a").unwrap();
    charge(&mut m, a, 0..10, Kind::Anon);
    let mut machine = swapper(100);
    machine.locked.extend((0..6).map(Gfn::new));
    assert!(m.set_locked(Gfn::new(0), Locked::Yes));
    let done = reclaim(&mut m, &mut machine, a, (100, MEMORY));
    assert_eq!((done.reclaimed, done.is_exhausted), (4, true));
    assert_eq!(m.stat(a).unwrap().local.unevictable.get(), 6);
    assert_eq!(m.generation(Gfn::new(0)), None);
    assert!(m.set_locked(Gfn::new(0), Locked::No));
    machine.locked.clear();
    let done = reclaim(&mut m, &mut machine, a, (100, MEMORY));
    assert_eq!(done.reclaimed, 6, "also those nobody told of");
    assert_eq!(m.stat(a).unwrap().local.unevictable.get(), 0);
}

#[test]
fn pages_that_are_needed_just_now_stay_and_become_young() {
    let mut m = machine();
    let a = m.create(m.root(), "a").unwrap();
    charge(&mut m, a, 0..10, Kind::Anon);
    let mut machine = swapper(100);
    machine.busy.extend((0..4).map(Gfn::new));
    let done = reclaim(&mut m, &mut machine, a, (100, MEMORY));
    assert_eq!((done.reclaimed, done.is_exhausted), (6, true));
    assert_eq!(m.generations(a).unwrap().iter().sum::<u64>(), 4, "they are not taken for locked");
    machine.busy.clear();
    assert_eq!(reclaim(&mut m, &mut machine, a, (100, MEMORY)).reclaimed, 4);
}

#[test]
fn a_swap_that_is_full_stops_what_needs_it_and_nothing_is_lost() {
    let mut m = machine();
    let a = m.create(m.root(), "a").unwrap();
    charge(&mut m, a, 0..20, Kind::Anon);
    charge(&mut m, a, 20..30, Kind::File);
    let mut machine = swapper(3);
    machine.lost.extend((20..25).map(Gfn::new));
    let done = reclaim(&mut m, &mut machine, a, (100, MEMORY));
    assert_eq!((done.reclaimed, done.swapped, done.is_exhausted), (8, 3, true));
    assert_eq!(usage(&m, a, MEMORY), 22);
    machine.slots = 100;
    let done = reclaim(&mut m, &mut machine, a, (100, MEMORY));
    assert_eq!((done.reclaimed, done.swapped), (22, 22), "pages of files can go to swap as well");
    assert_eq!((usage(&m, a, MEMORY), usage(&m, a, Resource::Memsw)), (0, 25));
}

#[test]
fn without_swap_nobody_is_asked_in_vain_and_nothing_is_watched() {
    let mut m = machine();
    let a = m.create(m.root(), "a").unwrap();
    charge(&mut m, a, 0..20, Kind::Anon);
    let mut machine = swapper(0);
    assert!(reclaim(&mut m, &mut machine, a, (1, MEMORY)).is_exhausted);
    assert_eq!((machine.asked, machine.aged.len()), (0, 0));
}

#[test]
fn pages_that_come_back_soon_count_as_in_use_and_late_ones_do_not() {
    let mut m = machine();
    let a = m.create(m.root(), "a").unwrap();
    charge(&mut m, a, 0..20, Kind::Anon);
    charge(&mut m, a, 20..30, Kind::File);
    let mut machine = swapper(1000);
    reclaim(&mut m, &mut machine, a, (14, MEMORY));
    let file = Gfn::new(20);
    charge(&mut m, a, 20..21, Kind::File);
    m.try_swap_in(machine.evicted[10]).unwrap();
    let events = m.stat(a).unwrap().total.events;
    assert_eq!((events.workingset_file.refault, events.workingset_file.activate), (1, 1));
    assert_eq!((events.workingset_anon.refault, events.workingset_anon.activate), (1, 1));
    assert_eq!(m.generation(file), Some(2));
    // What the guest freed meanwhile does not come back.
    assert!(!m.uncharge(Gfn::new(21)));
    charge(&mut m, a, 21..22, Kind::File);
    assert_eq!(m.stat(a).unwrap().total.events.workingset_file.refault, 1);
    assert_eq!(m.generation(Gfn::new(21)), Some(1));
    // Long ago: more has gone since than there is.
    for _ in 0..20 {
        reclaim(&mut m, &mut machine, a, (8, MEMORY));
        for gfn in machine.evicted.split_off(machine.evicted.len() - 4) {
            if m.is_swapped(gfn) {
                m.try_swap_in(gfn).unwrap();
            }
        }
    }
    let before = m.stat(a).unwrap().total.events.workingset_file;
    charge(&mut m, a, 22..23, Kind::File);
    let after = m.stat(a).unwrap().total.events.workingset_file;
    assert_eq!((after.refault, after.activate), (before.refault + 1, before.activate));
    assert_eq!(m.generation(Gfn::new(22)), Some(1));
}

#[test]
fn the_group_furthest_above_its_soft_limit_is_the_first_to_give() {
    let mut m = machine();
    let [a, b, c] = ["a", "b", "c"].map(|name| m.create(m.root(), name).unwrap());
    charge(&mut m, a, 0..20, Kind::Anon);
    charge(&mut m, b, 20..30, Kind::Anon);
    charge(&mut m, c, 30..60, Kind::Anon);
    assert_eq!(m.soft_limit_excess(), None);
    m.set_soft_limit(a, Pages::new(18)).unwrap();
    m.set_soft_limit(b, Pages::new(5)).unwrap();
    m.set_soft_limit(c, Pages::new(40)).unwrap();
    assert_eq!(m.soft_limit_excess(), Some((b, Pages::new(5))));
    reclaim(&mut m, &mut swapper(100), b, (5, MEMORY));
    assert_eq!(m.soft_limit_excess(), Some((a, Pages::new(2))));
    m.set_soft_limit(a, Pages::UNLIMITED).unwrap();
    m.remove(b).unwrap();
    assert_eq!(m.soft_limit_excess(), None);
}

#[test]
fn a_call_does_no_more_than_it_was_told_and_pressure_is_made_of_what_it_did() {
    let mut m = Memcg::new(memcg::Config { frames: 4096, ..machine().config() }).unwrap();
    let a = m.create(m.root(), "a").unwrap();
    charge(&mut m, a, 0..2000, Kind::Anon);
    let mut machine = swapper(10_000);
    machine.locked.extend((0..600).map(Gfn::new));
    let mut scanned = 0;
    while scanned < 512 {
        let effort = Effort { scan_max: 64, ..Effort::relieving(MEMORY) };
        let done = m.reclaim(&mut machine, a, Pages::new(1000), effort);
        assert!(done.scanned <= 64, "{done:?}");
        scanned += done.scanned;
    }
    assert_eq!(m.take_pressure(), [(a, PressureLevel::Critical)]);
    assert_eq!(m.check(), []);
}
