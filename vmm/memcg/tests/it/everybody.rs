//! Reclaim for the whole guest: soft limits first, then everybody, whomever he charges to.

use memcg::{
    Config, Effort, Gfn, GroupId, Hierarchy, Kind, Memcg, Pages, PressureLevel, Reclaimed,
};

use crate::short::{MEMORY, charge, machine, swapper, usage};
use crate::swapper::Swapper;

/// Reclaims until `goal` pages are had or nothing is left; returns how many were had.
fn reclaim_anywhere(m: &mut Memcg, machine: &mut Swapper, goal: u64) -> u64 {
    let mut had = 0;
    for _ in 0..10_000 {
        let effort = Effort::relieving(MEMORY);
        let done: Reclaimed = m.reclaim_anywhere(machine, Pages::new(goal - had), effort);
        had += done.reclaimed;
        assert_eq!(m.check(), []);
        if had >= goal || done.is_exhausted {
            return had;
        }
    }
    panic!("it never says that nothing is left");
}

fn three(m: &mut Memcg) -> [GroupId; 3] {
    ["a", "b", "c"].map(|name| m.create(m.root(), name).unwrap())
}

#[test]
fn who_is_above_the_soft_limit_gives_down_to_it_before_anybody_else_does() {
    let mut m = machine();
    let [a, b, c] = three(&mut m);
    charge(&mut m, a, 0..20, Kind::Anon);
    charge(&mut m, b, 20..40, Kind::Anon);
    charge(&mut m, c, 40..60, Kind::Anon);
    m.set_soft_limit(a, Pages::new(12)).unwrap();
    m.set_soft_limit(b, Pages::new(15)).unwrap();
    let mut machine = swapper(100);
    let mut rest = |m: &mut Memcg, goal| {
        assert_eq!(reclaim_anywhere(m, &mut machine, goal), goal);
        [a, b, c].map(|group| usage(m, group, MEMORY))
    };
    assert_eq!(rest(&mut m, 3)[1..], [20, 20], "a is furthest above its own");
    assert_eq!(rest(&mut m, 10), [12, 15, 20]);
    let rest = rest(&mut m, 24);
    assert!(rest.iter().all(|pages| *pages < 12), "now everybody gives: {rest:?}");
}

#[test]
fn a_group_above_its_soft_limit_that_has_nothing_to_give_does_not_save_the_others() {
    let mut m = machine();
    let [a, b, _] = three(&mut m);
    charge(&mut m, a, 0..20, Kind::Anon);
    charge(&mut m, b, 20..40, Kind::Anon);
    m.set_soft_limit(a, Pages::ONE).unwrap();
    let mut machine = swapper(100);
    machine.locked.extend((0..20).map(Gfn::new));
    assert_eq!(reclaim_anywhere(&mut m, &mut machine, 15), 15);
    assert_eq!([a, b].map(|group| usage(&m, group, MEMORY)), [20, 5]);
    assert_eq!(reclaim_anywhere(&mut m, &mut machine, 15), 5, "all but what is locked");
}

#[test]
fn pages_of_groups_that_do_not_charge_to_the_root_can_be_had() {
    for hierarchy in [Hierarchy::Share, Hierarchy::Wall] {
        let mut m = Memcg::new(Config { hierarchy, ..machine().config() }).unwrap();
        if hierarchy == Hierarchy::Share {
            m.set_use_hierarchy(m.root(), 0).unwrap();
        }
        let [a, b, _] = three(&mut m);
        for group in [a, b] {
            m.set_limit(group, MEMORY, Pages::new(30)).unwrap();
        }
        charge(&mut m, a, 0..30, Kind::Anon);
        charge(&mut m, b, 30..40, Kind::Anon);
        assert_eq!(m.pages_of(Kind::Anon).get(), 40);
        assert_eq!(reclaim_anywhere(&mut m, &mut swapper(100), 20), 20);
        let [a, b] = [a, b].map(|group| m.stat(group).unwrap().total.rss.get());
        assert!(a > b && b < 10, "each gives in proportion to what he has: {a} {b}");
        assert_eq!(m.pages_of(Kind::Anon).get(), 20);
    }
}

#[test]
fn pressure_of_the_whole_guest_is_told_at_the_root() {
    let mut m = Memcg::new(Config { frames: 4096, ..machine().config() }).unwrap();
    let a = m.create(m.root(), "a").unwrap();
    charge(&mut m, a, 0..2000, Kind::Anon);
    assert_eq!(reclaim_anywhere(&mut m, &mut swapper(4096), 1000), 1000);
    assert_eq!(m.take_pressure().first(), Some(&(m.root(), PressureLevel::Low)));
}
