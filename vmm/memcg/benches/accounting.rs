//! What the accounting costs: a fault, a move, and the memory of many groups and tasks.
#![forbid(unsafe_code)]

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use memcg::{
    Abi, Config, Gfn, GroupId, Guest, Gva, Hierarchy, HugeMap, HugeSize, Kind, Memcg, Move,
    Offline, Pages, Payer, Policy, Progress, ScanError, ScannedRun, Scope, Tid,
};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Pages of the task that moves: 64 GiB.
const MOVED: u64 = 16_700_000;

fn main() {
    divan::main();
}

fn machine(frames: u64, recharge: Policy) -> Memcg {
    nesting(frames, recharge, Hierarchy::Share)
}

fn nesting(frames: u64, recharge: Policy, hierarchy: Hierarchy) -> Memcg {
    let (offline, abi) = (Offline::Reparent, Abi::Classic);
    Memcg::new(Config { frames, hierarchy, recharge, offline, abi })
        .expect("configuration is valid")
}

/// Makes a chain of groups; returns the lowest.
fn nested(m: &mut Memcg, depth: u64) -> GroupId {
    (0..depth).fold(m.root(), |parent, _| m.create(parent, "g").expect("name is free"))
}

/// Has the host give memory to the whole frame table, which is no part of what is measured.
fn touch_frame_table(m: &mut Memcg, tid: Tid) {
    for gfn in (0..m.config().frames).map(Gfn::new) {
        m.try_charge(Payer::Task(tid), gfn, Kind::Anon).expect("there is room for one");
        black_box(m.uncharge(gfn));
    }
}

/// Charging a frame to a task's group and uncharging it.
#[divan::bench(args = [1, 5, 50])]
fn charge_and_uncharge(bencher: Bencher<'_, '_>, depth: u64) {
    let mut m = machine(1 << 16, Policy::None);
    let group = nested(&mut m, depth);
    let tid = Tid::new(2);
    m.task_new(tid, tid, group).expect("id is free");
    touch_frame_table(&mut m, tid);
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 7919) & 0xffff;
        let gfn = Gfn::new(next);
        m.try_charge(Payer::Task(tid), gfn, Kind::Anon).expect("nothing limits it");
        black_box(m.uncharge(gfn));
    });
}

/// The same where limits are walls: one counter is touched, however deep the group is.
#[divan::bench(args = [1, 5, 50])]
fn charge_and_uncharge_walled(bencher: Bencher<'_, '_>, depth: u64) {
    let mut m = nesting(1 << 16, Policy::None, Hierarchy::Wall);
    let mut group = m.root();
    for level in 0..depth {
        group = m.create(group, "g").expect("name is free");
        let limit = Pages::new((1 << 16) - level);
        m.set_limit(group, memcg::Resource::Memory, limit).expect("the parent can lend it");
    }
    let tid = Tid::new(2);
    m.task_new(tid, tid, group).expect("id is free");
    touch_frame_table(&mut m, tid);
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 7919) & 0xffff;
        let gfn = Gfn::new(next);
        m.try_charge(Payer::Task(tid), gfn, Kind::Anon).expect("there is room for one");
        black_box(m.uncharge(gfn));
    });
}

/// Being refused by the topmost limit.
#[divan::bench(args = [1, 5, 50])]
fn refused_charge(bencher: Bencher<'_, '_>, depth: u64) {
    let mut m = machine(16, Policy::None);
    let group = nested(&mut m, depth);
    let top = m.lookup(m.root(), "g").expect("it was made");
    m.set_limit(top, memcg::Resource::Memory, Pages::ZERO).expect("nothing is charged");
    bencher.bench_local(|| m.try_charge(Payer::Group(group), Gfn::new(3), Kind::Anon));
}

/// A task whose pages are one run of frames.
struct Dense {
    pages: u64,
}

impl Guest for Dense {
    fn scan(
        &mut self,
        _tid: Tid,
        from: Gva,
        pages_max: u64,
        visit: &mut dyn FnMut(ScannedRun),
    ) -> Result<Option<Gva>, ScanError> {
        let end = self.pages.min(from.get() + pages_max);
        let (first, last) = (from.get(), end);
        // A page table at a time, as the real guest's are walked.
        for start in (first..last).step_by(512) {
            let pages = Pages::new((last - start).min(512));
            let (gva, gfn, kind) = (Gva::new(start), Gfn::new(start), Kind::Anon);
            visit(ScannedRun { gva, gfn, pages, kind, mapcount: 1, is_locked: false });
        }
        Ok((end < self.pages).then_some(Gva::new(end)))
    }

    fn kill(&mut self, _tid: Tid) {}
}

/// A task with `MOVED` pages between two groups, 16384 pages a step; items are pages.
#[divan::bench(args = ["rollback", "reserve", "precharge", "half"], sample_count = 5, sample_size = 1)]
fn move_a_big_task(bencher: Bencher<'_, '_>, policy: &str) {
    let policy = Policy::from_name(policy).expect("policy is in the table");
    let mut m = machine(MOVED, policy);
    let mut groups = ["a", "b"].map(|name| m.create(m.root(), name).expect("name is free"));
    let tid = Tid::new(2);
    m.task_new(tid, tid, groups[0]).expect("id is free");
    for page in 0..MOVED {
        m.try_charge(Payer::Task(tid), Gfn::new(page), Kind::Anon).expect("nothing limits it");
    }
    bencher.counter(ItemsCount::new(MOVED)).bench_local(|| {
        groups.reverse();
        let mut guest = Dense { pages: MOVED };
        let mut one = Move::begin(&mut m, tid, groups[0], Scope::Process).expect("task is there");
        while one.step(&mut m, &mut guest, 16_384) == Ok(Progress::More) {}
    });
}

/// Moving a task with `MOVED` pages by the policy `lazy`, without the pages.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn move_a_big_task_lazily(bencher: Bencher<'_, '_>) {
    let mut m = machine(MOVED, Policy::Lazy);
    let mut groups = ["a", "b"].map(|name| m.create(m.root(), name).expect("name is free"));
    let tid = Tid::new(2);
    m.task_new(tid, tid, groups[0]).expect("id is free");
    for page in 0..MOVED {
        m.try_charge(Payer::Task(tid), Gfn::new(page), Kind::Anon).expect("nothing limits it");
    }
    bencher.bench_local(|| {
        groups.reverse();
        let mut guest = Dense { pages: MOVED };
        let mut one = Move::begin(&mut m, tid, groups[0], Scope::Process).expect("task is there");
        while one.step(&mut m, &mut guest, 16_384) == Ok(Progress::More) {}
    });
}

/// The allocations shown are those of the frame table; divided by 2^24 they are bytes a frame.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn sixteen_million_frames() -> Memcg {
    machine(1 << 24, Policy::None)
}

/// Taking back a move of `MOVED` pages just before its end.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn roll_back_a_big_move(bencher: Bencher<'_, '_>) {
    let mut m = machine(MOVED, Policy::Rollback);
    let [a, b] = ["a", "b"].map(|name| m.create(m.root(), name).expect("name is free"));
    let tid = Tid::new(2);
    m.task_new(tid, tid, a).expect("id is free");
    for page in 0..MOVED {
        m.try_charge(Payer::Task(tid), Gfn::new(page), Kind::Anon).expect("nothing limits it");
    }
    let m = std::cell::RefCell::new(m);
    let half_way = || {
        let mut m = m.borrow_mut();
        let mut guest = Dense { pages: MOVED };
        let mut one = Move::begin(&mut m, tid, b, Scope::Process).expect("task is there");
        for _ in 1..MOVED.div_ceil(16_384) {
            assert_eq!(one.step(&mut m, &mut guest, 16_384), Ok(Progress::More));
        }
        one
    };
    bencher.with_inputs(half_way).bench_local_values(|one| one.abort(&mut m.borrow_mut()));
}

/// Removing a group that owns a million pages.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn remove_a_big_group(bencher: Bencher<'_, '_>) {
    let pages = 1_000_000;
    let full = || {
        let mut m = machine(pages, Policy::None);
        let group = nested(&mut m, 1);
        for page in 0..pages {
            m.try_charge(Payer::Group(group), Gfn::new(page), Kind::Anon).expect("no limit");
        }
        (m, group)
    };
    bencher.with_inputs(full).bench_local_refs(|(m, group)| m.remove(*group));
}

/// The allocations shown are those of 30,000 groups.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn thirty_thousand_groups() -> Memcg {
    let mut m = machine(0, Policy::None);
    for number in 0..30_000 {
        m.create(m.root(), &number.to_string()).expect("name is free");
    }
    m
}

/// The allocations shown are those of a million tasks in one group.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn a_million_tasks() -> Memcg {
    let mut m = machine(0, Policy::None);
    for number in 2..1_000_002 {
        m.task_new(Tid::new(number), Tid::new(number), m.root()).expect("id is free");
    }
    m
}

/// Charging 512 huge pages at mmap, a GiB, as one range, and giving it back.
#[divan::bench]
fn reserve_and_release_a_gigabyte(bencher: Bencher<'_, '_>) {
    let mut m = machine(0, Policy::None);
    let (tid, map) = huge_mapping(&mut m);
    bencher.bench_local(|| {
        black_box(m.try_reserve_huge(tid, map, 0..512)).expect("nothing limits it");
        black_box(m.release_huge(map.id, &(0..512)));
    });
}

/// Ranges on one inode: each inserted apart from the last, each split by a hole, and all truncated.
/// A time that grows tenfold with their number is linear.
#[divan::bench(args = [1_000, 10_000], sample_count = 5, sample_size = 1)]
fn ranges_on_one_inode(bencher: Bencher<'_, '_>, ranges: u64) {
    let mut m = machine(0, Policy::None);
    let (tid, map) = huge_mapping(&mut m);
    bencher.counter(ItemsCount::new(ranges)).bench_local(|| {
        for range in 0..ranges {
            m.try_reserve_huge(tid, map, range * 4..range * 4 + 3).expect("nothing limits it");
        }
        for range in 0..ranges {
            black_box(m.release_huge(map.id, &(range * 4 + 1..range * 4 + 2)));
        }
        assert_eq!(m.release_huge(map.id, &(0..u64::MAX)), ranges * 2);
    });
}

/// A task and a file of huge pages.
fn huge_mapping(m: &mut Memcg) -> (Tid, HugeMap) {
    let (tid, group) = (Tid::new(2), nested(m, 3));
    m.task_new(tid, tid, group).expect("id is free");
    (tid, HugeMap { id: 1, size: HugeSize::Mb2, process: None })
}
