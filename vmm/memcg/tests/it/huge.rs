//! Random huge-page operations against a naive model: one entry a page, counted anew each time.

use std::collections::BTreeMap;

use memcg::{
    Abi, Config, Evicted, Gfn, GroupId, Guest, Gva, Hierarchy, HugeMap, HugeSize, HugeUse, Kind,
    Memcg, Move, Offline, Pages, Policy, Progress, Resource, ScanError, ScannedRun, Scope, Tid,
};
use proptest::prelude::{Strategy, prop_oneof};
use proptest::{prop_assert_eq, proptest};

const GROUPS: usize = 4;
const TASKS: u32 = 4;
const MAPS: u64 = 6;
const PAGES: u64 = 24;
const SEED: Resource = Resource::Huge(HugeSize::Mb2, HugeUse::Seed);
const RSVD: Resource = Resource::Huge(HugeSize::Mb2, HugeUse::Rsvd);

/// Kinds of machines: how limits nest, what becomes of removed groups, and the file contract.
const SORTS: [(Hierarchy, Offline, Abi); 6] = [
    (Hierarchy::Share, Offline::Reparent, Abi::Classic),
    (Hierarchy::Wall, Offline::Reparent, Abi::Classic),
    (Hierarchy::Share, Offline::Zombie, Abi::Classic),
    (Hierarchy::Wall, Offline::Zombie, Abi::Classic),
    (Hierarchy::Share, Offline::Drain, Abi::Classic),
    (Hierarchy::Share, Offline::Zombie, Abi::Linux618),
];

#[derive(Clone, Copy, Debug)]
enum Op {
    Reserve { task: u32, map: u64, start: u64, len: u64 },
    Release { map: u64, start: u64, len: u64 },
    Limit { group: usize, seed: bool, pages: u64 },
    Move { task: u32, to: usize },
    Remove { group: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let range = || (0..PAGES, 1..PAGES);
    prop_oneof![
        6 => (0..TASKS, 0..MAPS, range())
            .prop_map(|(task, map, (start, len))| Op::Reserve { task, map, start, len }),
        4 => (0..MAPS, range()).prop_map(|(map, (start, len))| Op::Release { map, start, len }),
        2 => (0..GROUPS, proptest::bool::ANY, 0..60_u64)
            .prop_map(|(group, seed, pages)| Op::Limit { group, seed, pages }),
        3 => (0..TASKS, 0..GROUPS).prop_map(|(task, to)| Op::Move { task, to }),
        1 => (0..GROUPS).prop_map(|group| Op::Remove { group }),
    ]
}

/// Who is charged for a page: for each moment, by place of the group.
type Charged = BTreeMap<(u64, u64), [usize; 2]>;

/// A machine in which group 0 is the root, 1 and 2 are its children, and 3 is a child of 1.
struct Model {
    memcg: Memcg,
    offline: Offline,
    abi: Abi,
    groups: [GroupId; GROUPS],
    parents: [Option<usize>; GROUPS],
    is_alive: [bool; GROUPS],
    limits: [[u64; 2]; GROUPS],
    /// Group of each task.
    tasks: [usize; TASKS as usize],
    charged: Charged,
}

fn tid(task: u32) -> Tid {
    Tid::new(task + 2)
}

fn place(task: u32) -> usize {
    usize::try_from(task).unwrap()
}

/// Even maps are files, odd ones private mappings of the task with half their number.
fn map_of(map: u64) -> HugeMap {
    let owner = u32::try_from(map / 2).unwrap();
    let process = (map % 2 == 1).then(|| tid(owner));
    HugeMap { id: map, size: HugeSize::Mb2, process }
}

impl Model {
    fn new((hierarchy, offline, abi): (Hierarchy, Offline, Abi)) -> Self {
        let recharge = Policy::Rollback;
        let mut memcg =
            Memcg::new(Config { frames: 8, hierarchy, recharge, offline, abi }).unwrap();
        let root = memcg.root();
        let [a, b] = ["a", "b"].map(|name| memcg.create(root, name).unwrap());
        let groups = [root, a, b, memcg.create(a, "c").unwrap()];
        for task in 0..TASKS {
            memcg.task_new(tid(task), tid(task), groups[place(task)]).unwrap();
        }
        Self {
            memcg,
            offline,
            abi,
            groups,
            parents: [None, Some(0), Some(0), Some(1)],
            is_alive: [true; GROUPS],
            limits: [[u64::MAX; 2]; GROUPS],
            tasks: [0, 1, 2, 3],
            charged: Charged::new(),
        }
    }

    fn line(&self, group: usize) -> Vec<usize> {
        std::iter::successors(Some(group), |at| self.parents[*at]).collect()
    }

    fn usage(&self, group: usize, moment: usize) -> u64 {
        let below = |owners: &&[usize; 2]| self.line(owners[moment]).contains(&group);
        self.charged.values().filter(below).count() as u64
    }

    fn fits(&self, groups: &[usize], moment: usize, pages: u64) -> bool {
        groups.iter().all(|at| self.usage(*at, moment) + pages <= self.limits[*at][moment])
    }

    fn reserve(&mut self, task: u32, map: u64, pages: std::ops::Range<u64>) -> Option<u64> {
        let group = self.tasks[place(task)];
        let missing: Vec<u64> =
            pages.filter(|page| !self.charged.contains_key(&(map, *page))).collect();
        let count = missing.len() as u64;
        let line = self.line(group);
        if count > 0 && !(0..2).all(|moment| self.fits(&line, moment, count)) {
            return None;
        }
        self.charged.extend(missing.into_iter().map(|page| ((map, page), [group; 2])));
        Some(count)
    }

    /// What stands in the way of removing a group: nothing where the parent inherits; as posted in
    /// 2012, what was charged at mmap; and what a group that is to be drained cannot give up.
    fn in_the_way(&self, group: usize) -> u64 {
        match (self.offline, self.abi) {
            (Offline::Reparent, _) | (Offline::Zombie, Abi::Linux618) => 0,
            (Offline::Zombie, Abi::Classic) => self.usage(group, 0),
            (Offline::Drain, _) => self.usage(group, 0) + self.usage(group, 1),
        }
    }

    fn removed(&mut self, group: usize) {
        self.is_alive[group] = false;
        if self.offline == Offline::Reparent {
            let parent = self.parents[group].unwrap();
            for owner in self.charged.values_mut().flatten().filter(|at| **at == group) {
                *owner = parent;
            }
        }
    }

    fn moved(&mut self, task: u32, to: usize) -> bool {
        let from = self.tasks[place(task)];
        let private = u64::from(task) * 2 + 1;
        let carried: Vec<(u64, u64)> = self
            .charged
            .iter()
            // Linux from 6.13 on moves no charges.
            .filter(|_| self.abi == Abi::Classic)
            .filter(|((map, _), owners)| *map == private && owners[0] == from)
            .map(|(key, _)| *key)
            .collect();
        let above = self.line(from);
        let below: Vec<usize> =
            self.line(to).into_iter().filter(|at| !above.contains(at)).collect();
        let count = carried.len() as u64;
        if from != to && count > 0 && !self.fits(&below, 0, count) {
            return false;
        }
        for key in carried {
            self.charged.get_mut(&key).unwrap()[0] = to;
        }
        self.tasks[place(task)] = to;
        true
    }
}

/// A guest whose tasks have no small pages.
struct Empty;

impl Guest for Empty {
    fn scan(
        &mut self,
        _: Tid,
        _: Gva,
        _: u64,
        _: &mut dyn FnMut(ScannedRun),
    ) -> Result<Option<Gva>, ScanError> {
        Ok(None)
    }

    fn kill(&mut self, _: Tid) {}

    fn evict(&mut self, _: &[(Gfn, Kind)]) -> Vec<Evicted> {
        Vec::new()
    }
}

/// Moves a task without any small page.
fn really_move(memcg: &mut Memcg, task: u32, to: GroupId) -> bool {
    let mut one = Move::begin(memcg, tid(task), to, Scope::Process).unwrap();
    loop {
        match one.step(memcg, &mut Empty, 64) {
            Ok(Progress::More) => {}
            Ok(Progress::Done(_)) => return true,
            Err(_) => return false,
        }
    }
}

fn perform(model: &mut Model, op: Op) -> Result<(), proptest::test_runner::TestCaseError> {
    match op {
        Op::Reserve { task, map, start, len } => {
            let got = model.memcg.try_reserve_huge(tid(task), map_of(map), start..start + len);
            prop_assert_eq!(got.ok(), model.reserve(task, map, start..start + len));
        }
        Op::Release { map, start, len } => {
            let got = model.memcg.release_huge(map, &(start..start + len));
            let before = model.charged.len();
            model
                .charged
                .retain(|(id, page), _| *id != map || !(start..start + len).contains(page));
            prop_assert_eq!(got, (before - model.charged.len()) as u64);
        }
        Op::Limit { group, seed, pages } => {
            let moment = usize::from(!seed);
            let resource = if seed { SEED } else { RSVD };
            let limit = Pages::new(pages * 512);
            let got = model.memcg.set_limit(model.groups[group], resource, limit).is_ok();
            let expected =
                group > 0 && model.is_alive[group] && model.usage(group, moment) <= pages;
            prop_assert_eq!(got, expected);
            if got {
                model.limits[group][moment] = pages;
            }
        }
        Op::Move { task, to } if model.is_alive[to] => {
            let got = really_move(&mut model.memcg, task, model.groups[to]);
            prop_assert_eq!(got, model.moved(task, to));
        }
        Op::Move { .. } => {}
        Op::Remove { group } => {
            let is_free = group > 0
                && model.is_alive[group]
                && !model.tasks.contains(&group)
                && !(group == 1 && model.is_alive[3])
                && model.in_the_way(group) == 0;
            prop_assert_eq!(model.memcg.remove(model.groups[group]).is_ok(), is_free);
            if is_free {
                model.removed(group);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn random_reservations_moves_and_removals_agree_with_a_naive_model(
        sort in 0..SORTS.len(),
        ops in proptest::collection::vec(op(), 1..80)
    ) {
        let mut model = Model::new(SORTS[sort]);
        for op in ops {
            perform(&mut model, op)?;
            for group in (0..GROUPS).filter(|group| model.is_alive[*group]) {
                for (moment, resource) in [SEED, RSVD].into_iter().enumerate() {
                    let booked = model.memcg.counter(model.groups[group], resource).unwrap();
                    prop_assert_eq!(booked.usage().get() / 512, model.usage(group, moment));
                }
            }
            prop_assert_eq!(model.memcg.check(), vec![]);
        }
    }
}
