//! Random operations against a model so naive that it can be seen to be right: a map from frame to
//! owner, and everything counted anew each time.

use std::collections::BTreeMap;

use memcg::{
    Abi, ChargeError, Config, Error, Gfn, GroupId, Hierarchy, Kind, Memcg, Offline, Pages, Payer,
    Policy, Resource,
};
use proptest::prelude::{Strategy, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

const FRAMES: u64 = 48;

#[derive(Clone, Copy, Debug)]
enum Op {
    Create { parent: usize },
    Remove { group: usize },
    Limit { group: usize, pages: u64 },
    Charge { group: usize, gfn: u64, kind: Kind },
    Force { group: usize, gfn: u64 },
    Uncharge { gfn: u64 },
    SwapOut { gfn: u64 },
    SwapIn { gfn: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let group = || 0..8_usize;
    let gfn = || 0..FRAMES;
    let kind = proptest::sample::select(vec![Kind::Anon, Kind::File, Kind::Shmem, Kind::Huge]);
    prop_oneof![
        2 => group().prop_map(|parent| Op::Create { parent }),
        2 => group().prop_map(|group| Op::Remove { group }),
        3 => (group(), 0..FRAMES).prop_map(|(group, pages)| Op::Limit { group, pages }),
        12 => (group(), gfn(), kind).prop_map(|(group, gfn, kind)| Op::Charge { group, gfn, kind }),
        1 => (group(), gfn()).prop_map(|(group, gfn)| Op::Force { group, gfn }),
        6 => gfn().prop_map(|gfn| Op::Uncharge { gfn }),
        2 => gfn().prop_map(|gfn| Op::SwapOut { gfn }),
        2 => gfn().prop_map(|gfn| Op::SwapIn { gfn }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    owner: usize,
    kind: Kind,
    swapped: bool,
}

#[derive(Clone, Debug)]
struct Group {
    id: GroupId,
    parent: Option<usize>,
    limit: u64,
    alive: bool,
}

/// The naive model. Groups are never forgotten; a dead one owns nothing, or is a zombie.
#[derive(Debug)]
struct Model {
    groups: Vec<Group>,
    frames: BTreeMap<u64, Frame>,
    wall: bool,
    zombies: bool,
}

impl Model {
    fn ancestors(&self, group: usize) -> Vec<usize> {
        if self.wall {
            return vec![group];
        }
        std::iter::successors(Some(group), |group| self.groups[*group].parent).collect()
    }

    fn lent(&self, group: usize) -> u64 {
        let child = |child: &&Group| child.parent == Some(group) && child.alive;
        if self.wall { self.groups.iter().filter(child).map(|child| child.limit).sum() } else { 0 }
    }

    fn usage(&self, group: usize) -> u64 {
        let counts = |frame: &&Frame| {
            !frame.swapped
                && frame.kind != Kind::Huge
                && self.ancestors(frame.owner).contains(&group)
        };
        self.frames.values().filter(counts).count() as u64 + self.lent(group)
    }

    fn memsw(&self, group: usize) -> u64 {
        let counts = |frame: &&Frame| {
            frame.kind != Kind::Huge && self.ancestors(frame.owner).contains(&group)
        };
        self.frames.values().filter(counts).count() as u64
    }

    fn fits(&self, group: usize) -> bool {
        self.ancestors(group).iter().all(|group| self.usage(*group) < self.groups[*group].limit)
    }

    fn pick(&self, n: usize) -> usize {
        let alive: Vec<usize> =
            (0..self.groups.len()).filter(|group| self.groups[*group].alive).collect();
        alive[n % alive.len()]
    }
}

/// Performs one operation on both, and compares what they answer.
fn perform(
    memcg: &mut Memcg,
    model: &mut Model,
    op: Op,
) -> Result<(), proptest::test_runner::TestCaseError> {
    match op {
        Op::Create { parent } => {
            let parent = model.pick(parent);
            let name = model.groups.len().to_string();
            let id = memcg.create(model.groups[parent].id, &name).unwrap();
            let limit = if model.wall { 0 } else { Pages::UNLIMITED.get() };
            model.groups.push(Group { id, parent: Some(parent), limit, alive: true });
        }
        Op::Remove { group } => remove(memcg, model, group)?,
        Op::Limit { group, pages } => set_limit(memcg, model, group, pages)?,
        Op::Charge { group, gfn, kind } => {
            let group = model.pick(group);
            let answer =
                memcg.try_charge(Payer::Group(model.groups[group].id), Gfn::new(gfn), kind);
            if model.frames.contains_key(&gfn) {
                prop_assert_eq!(answer, Err(ChargeError::AlreadyCharged(Gfn::new(gfn))));
            } else if kind == Kind::Huge || model.fits(group) {
                prop_assert_eq!(answer, Ok(()));
                model.frames.insert(gfn, Frame { owner: group, kind, swapped: false });
            } else {
                let refused = matches!(answer, Err(ChargeError::Refused { .. }));
                prop_assert!(refused, "{answer:?}");
            }
        }
        Op::Force { group, gfn } => {
            let group = model.pick(group);
            let payer = Payer::Group(model.groups[group].id);
            let answer = memcg.charge(payer, Gfn::new(gfn), Kind::Anon);
            prop_assert_eq!(answer.is_ok(), !model.frames.contains_key(&gfn));
            let frame = Frame { owner: group, kind: Kind::Anon, swapped: false };
            model.frames.entry(gfn).or_insert(frame);
        }
        Op::Uncharge { gfn } => {
            prop_assert_eq!(memcg.uncharge(Gfn::new(gfn)), model.frames.remove(&gfn).is_some());
        }
        Op::SwapOut { gfn } => {
            let frame = model.frames.get_mut(&gfn);
            let frame = frame.filter(|frame| !frame.swapped && frame.kind != Kind::Huge);
            prop_assert_eq!(memcg.swap_out(Gfn::new(gfn)), frame.is_some());
            frame.into_iter().for_each(|frame| frame.swapped = true);
        }
        Op::SwapIn { gfn } => {
            let frame = model.frames.get(&gfn).copied().filter(|frame| frame.swapped);
            let fits = frame.is_some_and(|frame| model.fits(frame.owner));
            prop_assert_eq!(memcg.try_swap_in(Gfn::new(gfn)).is_ok(), fits);
            if fits {
                model.frames.get_mut(&gfn).unwrap().swapped = false;
            }
        }
    }
    Ok(())
}

fn remove(
    memcg: &mut Memcg,
    model: &mut Model,
    group: usize,
) -> Result<(), proptest::test_runner::TestCaseError> {
    let group = model.pick(group);
    let answer = memcg.remove(model.groups[group].id);
    let Some(parent) = model.groups[group].parent else {
        prop_assert_eq!(answer, Err(Error::Root));
        return Ok(());
    };
    if model.groups.iter().any(|child| child.alive && child.parent == Some(group)) {
        prop_assert_eq!(answer, Err(Error::Busy));
        return Ok(());
    }
    prop_assert_eq!(answer, Ok(()));
    model.groups[group].alive = false;
    if !model.zombies {
        let own = model.frames.values_mut().filter(|frame| frame.owner == group);
        own.for_each(|frame| frame.owner = parent);
    }
    Ok(())
}

fn set_limit(
    memcg: &mut Memcg,
    model: &mut Model,
    group: usize,
    pages: u64,
) -> Result<(), proptest::test_runner::TestCaseError> {
    let group = model.pick(group);
    let answer = memcg.set_limit(model.groups[group].id, Resource::Memory, Pages::new(pages));
    let Some(parent) = model.groups[group].parent else {
        prop_assert_eq!(answer, Err(Error::Root));
        return Ok(());
    };
    let more = pages.saturating_sub(model.groups[group].limit);
    let lends = model.usage(parent) + more <= model.groups[parent].limit;
    if model.usage(group) > pages {
        prop_assert_eq!(answer, Err(Error::Busy));
    } else if model.wall && more > 0 && !lends {
        prop_assert_eq!(answer, Err(Error::NoMemory(Pages::new(more))));
    } else {
        prop_assert_eq!(answer, Ok(()));
        model.groups[group].limit = pages;
    }
    Ok(())
}

fn compare(memcg: &Memcg, model: &Model) -> Result<(), proptest::test_runner::TestCaseError> {
    prop_assert_eq!(memcg.check(), []);
    for gfn in 0..FRAMES {
        let owner = model.frames.get(&gfn).map(|frame| model.groups[frame.owner].id);
        prop_assert_eq!(memcg.owner(Gfn::new(gfn)), owner);
    }
    for (number, group) in model.groups.iter().enumerate().filter(|(_, group)| group.alive) {
        let usage = |resource| memcg.counter(group.id, resource).unwrap().usage().get();
        prop_assert_eq!(usage(Resource::Memory), model.usage(number));
        prop_assert_eq!(usage(Resource::Memsw), model.memsw(number));
    }
    Ok(())
}

fn run(
    hierarchy: Hierarchy,
    offline: Offline,
    ops: Vec<Op>,
) -> Result<(), proptest::test_runner::TestCaseError> {
    let recharge = Policy::Rollback;
    let config = Config { frames: FRAMES, hierarchy, recharge, offline, abi: Abi::Classic };
    let mut memcg = Memcg::new(config).unwrap();
    let wall = hierarchy == Hierarchy::Wall;
    let limit = if wall { FRAMES } else { Pages::UNLIMITED.get() };
    let root = Group { id: memcg.root(), parent: None, limit, alive: true };
    let zombies = offline == Offline::Zombie;
    let mut model = Model { groups: vec![root], frames: BTreeMap::new(), wall, zombies };
    for op in ops {
        perform(&mut memcg, &mut model, op)?;
        compare(&memcg, &model)?;
    }
    for gfn in 0..FRAMES {
        memcg.uncharge(Gfn::new(gfn));
    }
    prop_assert_eq!(memcg.check(), []);
    prop_assert_eq!(memcg.zombies(), 0);
    Ok(())
}

proptest! {
    #[test]
    fn a_shared_hierarchy_counts_what_the_model_counts(
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        run(Hierarchy::Share, Offline::Reparent, ops)?;
    }

    #[test]
    fn zombies_count_what_the_model_counts(ops in proptest::collection::vec(op(), 1..120)) {
        run(Hierarchy::Share, Offline::Zombie, ops)?;
    }

    #[test]
    fn walled_groups_count_what_the_model_counts(
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        run(Hierarchy::Wall, Offline::Reparent, ops)?;
    }
}
