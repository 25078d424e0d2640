//! What the accounting of a big machine takes in memory. A test program of its own: it looks at how
//! the whole process grows.

use memcg::{Abi, Config, Gfn, Hierarchy, Kind, Memcg, Offline, Payer, Policy, Tid};

const GROUPS: u32 = 30_000;
const TASKS: u32 = 1_000_000;
const FRAMES: u64 = 1 << 22;
/// Promised sizes in bytes; that of a task is what it takes today, rounded up.
const GROUP_MAX: u64 = 1024;
const FRAME_MAX: u64 = 16;
const TASK_MAX: u64 = 128;

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let sizes = std::fs::read_to_string("/proc/self/statm").expect("a file of every process");
    let pages = sizes.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second field is a number") * 4096
}

#[test]
fn thirty_thousand_groups_a_million_tasks_and_four_million_frames_keep_their_sizes() {
    let mut m = Memcg::new(Config {
        frames: FRAMES,
        hierarchy: Hierarchy::Share,
        recharge: Policy::Rollback,
        offline: Offline::Reparent,
        abi: Abi::Classic,
    })
    .unwrap();
    let start = resident();
    let groups: Vec<_> =
        (0..GROUPS).map(|n| m.create(m.root(), &format!("group-{n}")).unwrap()).collect();
    let with_groups = resident();
    for (id, group) in (2..TASKS + 2).zip(groups.iter().cycle()) {
        m.task_new(Tid::new(id), Tid::new(id), *group).unwrap();
    }
    let with_tasks = resident();
    for gfn in 0..FRAMES {
        let tid = Tid::new(2 + u32::try_from(gfn).unwrap() % TASKS);
        m.try_charge(Payer::Task(tid), Gfn::new(gfn), Kind::Anon).unwrap();
    }
    let with_frames = resident();
    let grown = [
        (with_groups - start) / u64::from(GROUPS),
        (with_tasks - with_groups) / u64::from(TASKS),
        (with_frames - with_tasks) / FRAMES,
    ];
    let most = [GROUP_MAX, TASK_MAX, FRAME_MAX];
    assert!(grown.iter().zip(most).all(|(grown, most)| *grown <= most), "{grown:?} of {most:?}");
    assert_eq!(m.counter(m.root(), memcg::Resource::Memory).unwrap().usage().get(), FRAMES);
}
