//! Kernel memory at random: pages charged ahead, touched and freed, while groups are made and removed,
//! against a model in which a removed group's parent owns everything from one moment to the next.

use std::collections::BTreeMap;

use memcg::{
    Abi, ChargeError, Config, Gfn, GroupId, Held, Hierarchy, Kind, Memcg, Offline, Pages, Policy,
    Resource,
};
use proptest::prelude::{Strategy, prop_oneof};
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq, proptest};

const FRAMES: u64 = 64;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Makes a group, and an account of its kernel memory.
    Create {
        parent: usize,
    },
    /// Removes one: the switch, and the splice of its lists.
    Remove {
        group: usize,
    },
    Limit {
        group: usize,
        pages: u64,
    },
    /// Charges ahead for an account, of a living group or of a removed one.
    Charge {
        account: usize,
        pages: u64,
    },
    /// A frame takes one of the pages over.
    Touch {
        account: usize,
        gfn: u64,
    },
    /// Takes back what is charged ahead.
    Drain {
        account: usize,
        pages: u64,
    },
    /// Frees a frame, whoever owns it by now.
    Free {
        gfn: u64,
    },
    /// Frees frames of one account while its group is being removed: some before, the rest after.
    Race {
        group: usize,
        first: u64,
    },
    /// Gives an account up whose group is gone.
    Forget {
        account: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let one = || 0..8_usize;
    let gfn = || 0..FRAMES;
    prop_oneof![
        3 => one().prop_map(|parent| Op::Create { parent }),
        2 => one().prop_map(|group| Op::Remove { group }),
        2 => (one(), 0..FRAMES).prop_map(|(group, pages)| Op::Limit { group, pages }),
        6 => (one(), 1..9_u64).prop_map(|(account, pages)| Op::Charge { account, pages }),
        12 => (one(), gfn()).prop_map(|(account, gfn)| Op::Touch { account, gfn }),
        2 => (one(), 0..9_u64).prop_map(|(account, pages)| Op::Drain { account, pages }),
        5 => gfn().prop_map(|gfn| Op::Free { gfn }),
        2 => (one(), gfn()).prop_map(|(group, first)| Op::Race { group, first }),
        2 => one().prop_map(|account| Op::Forget { account }),
    ]
}

#[derive(Debug)]
struct Group {
    id: GroupId,
    parent: Option<usize>,
    limit: u64,
    is_alive: bool,
}

/// What a group is charged ahead; `owner` pays by now.
#[derive(Debug)]
struct Account {
    held: Held,
    group: usize,
    owner: usize,
    pages: u64,
}

/// Both sides: the accounting, and what it should say.
#[derive(Debug)]
struct Both {
    memcg: Memcg,
    groups: Vec<Group>,
    accounts: Vec<Account>,
    /// Owner of each frame.
    frames: BTreeMap<u64, usize>,
    inherits: bool,
}

impl Both {
    fn new(offline: Offline) -> Self {
        let (hierarchy, recharge, abi) = (Hierarchy::Share, Policy::Rollback, Abi::Classic);
        let config = Config { frames: FRAMES, hierarchy, recharge, offline, abi };
        let memcg = Memcg::new(config).unwrap();
        let limit = Pages::UNLIMITED.get();
        let root = Group { id: memcg.root(), parent: None, limit, is_alive: true };
        let inherits = offline == Offline::Reparent;
        Self { memcg, groups: vec![root], accounts: vec![], frames: BTreeMap::new(), inherits }
    }

    fn above(&self, group: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(group), |group| self.groups[*group].parent)
    }

    fn usage(&self, group: usize) -> u64 {
        let counts = |owner: &usize| self.above(*owner).any(|above| above == group);
        let frames = self.frames.values().filter(|owner| counts(owner)).count() as u64;
        let ahead = self.accounts.iter().filter(|account| counts(&account.owner));
        frames + ahead.map(|account| account.pages).sum::<u64>()
    }

    fn pick(&self, n: usize) -> usize {
        let alive: Vec<usize> =
            (0..self.groups.len()).filter(|group| self.groups[*group].is_alive).collect();
        alive[n % alive.len()]
    }

    fn perform(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Create { parent } => self.create(self.pick(parent)),
            Op::Remove { group } => self.remove(self.pick(group))?,
            Op::Limit { group, pages } => {
                let group = self.pick(group);
                let answer =
                    self.memcg.set_limit(self.groups[group].id, Resource::Kmem, Pages::new(pages));
                let may = group != 0 && self.usage(group) <= pages;
                prop_assert_eq!(answer.is_ok(), may);
                if may {
                    self.groups[group].limit = pages;
                }
            }
            Op::Free { gfn } => self.free(gfn)?,
            Op::Race { group, first } => {
                let group = self.pick(group);
                let of_group = self.frames.iter().filter(|(_, owner)| **owner == group);
                let frames: Vec<u64> = of_group.map(|(gfn, _)| *gfn).collect();
                let (before, after) = frames.split_at(frames.partition_point(|gfn| *gfn < first));
                before.iter().try_for_each(|gfn| self.free(*gfn))?;
                self.remove(group)?;
                after.iter().try_for_each(|gfn| self.free(*gfn))?;
            }
            _ if self.accounts.is_empty() => {}
            Op::Charge { account, pages } => self.charge(account % self.accounts.len(), pages)?,
            Op::Touch { account, gfn } => self.touch(account % self.accounts.len(), gfn)?,
            Op::Drain { account, pages } => {
                let at = account % self.accounts.len();
                let account = &mut self.accounts[at];
                let given = self.memcg.uncharge_part(&mut account.held, Pages::new(pages));
                prop_assert_eq!(given.get(), pages.min(account.pages));
                account.pages -= given.get();
            }
            Op::Forget { account } => {
                let at = account % self.accounts.len();
                if !self.groups[self.accounts[at].group].is_alive {
                    self.memcg.uncharge_held(self.accounts.swap_remove(at).held);
                }
            }
        }
        Ok(())
    }

    fn create(&mut self, parent: usize) {
        let name = self.groups.len().to_string();
        let id = self.memcg.create(self.groups[parent].id, &name).unwrap();
        let group = self.groups.len();
        let limit = Pages::UNLIMITED.get();
        self.groups.push(Group { id, parent: Some(parent), limit, is_alive: true });
        // Later, with children, it could not be activated.
        self.memcg.set_limit(id, Resource::Kmem, Pages::UNLIMITED).unwrap();
        let held = self.memcg.hold_kmem(id).unwrap();
        self.accounts.push(Account { held, group, owner: group, pages: 0 });
    }

    fn remove(&mut self, group: usize) -> Result<(), TestCaseError> {
        let has_children =
            self.groups.iter().any(|child| child.is_alive && child.parent == Some(group));
        let parent = self.groups[group].parent;
        let before = parent.map(|parent| self.usage(parent));
        let answer = self.memcg.remove(self.groups[group].id);
        prop_assert_eq!(answer.is_ok(), parent.is_some() && !has_children);
        let Some(parent) = parent.filter(|_| answer.is_ok()) else { return Ok(()) };
        self.groups[group].is_alive = false;
        if self.inherits {
            let frames = self.frames.values_mut();
            let owners = frames.chain(self.accounts.iter_mut().map(|account| &mut account.owner));
            owners.filter(|owner| **owner == group).for_each(|owner| *owner = parent);
        }
        prop_assert_eq!(Some(self.usage(parent)), before, "the parent's usage does not change");
        Ok(())
    }

    fn charge(&mut self, at: usize, pages: u64) -> Result<(), TestCaseError> {
        let owner = self.accounts[at].owner;
        let is_dead = !self.groups[owner].is_alive;
        let refuses = |group: &usize| self.usage(*group) + pages > self.groups[*group].limit;
        let refused = self.above(owner).find(refuses).map(|group| self.groups[group].id);
        let account = &mut self.accounts[at];
        let answer = self.memcg.try_charge_ahead(&mut account.held, Pages::new(pages));
        match (is_dead, refused) {
            (true, _) => prop_assert_eq!(answer, Err(ChargeError::Dead)),
            (false, Some(group)) => {
                let resource = Resource::Kmem;
                prop_assert_eq!(answer, Err(ChargeError::Refused { group, resource }));
            }
            (false, None) => {
                prop_assert_eq!(answer, Ok(()));
                account.pages += pages;
            }
        }
        Ok(())
    }

    fn touch(&mut self, at: usize, gfn: u64) -> Result<(), TestCaseError> {
        let account = &mut self.accounts[at];
        let answer = self.memcg.take_over(&mut account.held, Gfn::new(gfn), Kind::Kernel);
        let may = account.pages > 0 && !self.frames.contains_key(&gfn);
        prop_assert_eq!(answer.is_ok(), may);
        if may {
            account.pages -= 1;
            self.frames.insert(gfn, account.owner);
        }
        Ok(())
    }

    fn free(&mut self, gfn: u64) -> Result<(), TestCaseError> {
        let is_charged = self.frames.remove(&gfn).is_some();
        prop_assert_eq!(self.memcg.uncharge(Gfn::new(gfn)), is_charged);
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.memcg.check(), []);
        for (gfn, owner) in &self.frames {
            prop_assert_eq!(self.memcg.owner(Gfn::new(*gfn)), Some(self.groups[*owner].id));
        }
        for account in &self.accounts {
            let payer = self.memcg.payer_of(&account.held);
            prop_assert_eq!(payer, self.groups[account.owner].id);
        }
        for (number, group) in self.groups.iter().enumerate().filter(|(_, group)| group.is_alive) {
            for resource in [Resource::Kmem, Resource::Memory, Resource::Memsw] {
                let usage = self.memcg.counter(group.id, resource).unwrap().usage().get();
                prop_assert_eq!(usage, self.usage(number), "{:?}", resource);
            }
        }
        Ok(())
    }
}

fn run(offline: Offline, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mut both = Both::new(offline);
    for op in ops {
        both.perform(op)?;
        both.compare()?;
    }
    for gfn in 0..FRAMES {
        both.free(gfn)?;
    }
    for account in both.accounts {
        both.memcg.uncharge_held(account.held);
    }
    prop_assert_eq!(both.memcg.check(), []);
    prop_assert_eq!(both.memcg.zombies(), 0);
    let root = both.memcg.counter(both.memcg.root(), Resource::Kmem).unwrap();
    prop_assert!(root.usage().is_zero());
    Ok(())
}

proptest! {
    #[test]
    fn frees_that_race_with_a_removal_are_the_parents_from_the_switch_on(
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        run(Offline::Reparent, ops)?;
    }

    #[test]
    fn frees_of_a_dead_group_are_its_own_to_the_end(
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        run(Offline::Zombie, ops)?;
    }
}
