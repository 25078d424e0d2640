//! Groups that come and go: no id and no memory is used up by them. A test program of its own: it
//! looks at how the whole process grows.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use memcg::{
    Abi, Config, Gfn, Hierarchy, Kind, Memcg, Offline, Pages, Payer, Policy, Resource, Tid,
};

const FRAMES: u64 = 64;
const ROUNDS: u64 = 100_000;
/// What may differ by chance: less than three bytes a round.
const GROWTH_MAX: u64 = 256 << 10;

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let sizes = std::fs::read_to_string("/proc/self/statm").expect("a file of every process");
    let pages = sizes.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second field is a number") * 4096
}

/// Makes a group with a task, lets it use user and kernel memory, and removes it. Every tenth leaves
/// its pages behind until they are wanted again.
fn rounds(memcg: &mut Memcg, numbers: std::ops::Range<u64>) {
    for round in numbers {
        let group = memcg.create(memcg.root(), "g").unwrap();
        memcg.set_limit(group, Resource::Kmem, Pages::new(8)).unwrap();
        let tid = Tid::new(7);
        memcg.task_new(tid, tid, group).unwrap();
        let mut held = memcg.hold_kmem(group).unwrap();
        memcg.try_charge_ahead(&mut held, Pages::new(3)).unwrap();
        let [kernel, user] = [0, 1].map(|n| Gfn::new((2 * round + n) % FRAMES));
        for gfn in [kernel, user] {
            memcg.uncharge(gfn);
        }
        memcg.take_over(&mut held, kernel, Kind::Kernel).unwrap();
        memcg.try_charge(Payer::Task(tid), user, Kind::Anon).unwrap();
        memcg.task_exit(tid);
        memcg.remove(group).unwrap();
        memcg.uncharge_held(held);
        if round % 10 != 0 {
            assert!(memcg.uncharge(kernel) && memcg.uncharge(user));
        }
    }
}

#[test]
fn a_hundred_thousand_groups_that_came_and_went_leave_memory_flat() {
    for offline in [Offline::Reparent, Offline::Drain, Offline::Zombie] {
        let mut memcg = Memcg::new(Config {
            frames: FRAMES,
            hierarchy: Hierarchy::Share,
            recharge: Policy::Rollback,
            offline,
            abi: Abi::Classic,
        })
        .unwrap();
        rounds(&mut memcg, 0..ROUNDS / 100);
        let before = resident();
        rounds(&mut memcg, ROUNDS / 100..ROUNDS);
        let grown = resident().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "{offline:?}: {grown} bytes more");
        let pinned =
            if offline == Offline::Reparent { 0 } else { usize::try_from(FRAMES).unwrap() };
        assert!(memcg.zombies() <= pinned, "{offline:?}: {} zombies", memcg.zombies());
        for gfn in (0..FRAMES).map(Gfn::new) {
            memcg.uncharge(gfn);
        }
        assert_eq!((memcg.zombies(), memcg.check()), (0, vec![]), "{offline:?}");
    }
}
