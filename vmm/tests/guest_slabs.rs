//! The guest kernel's slabs, run here: objects are made and freed while groups are removed and leave
//! their caches to their parents, or stay, at random, against a model that looks everything up anew.
//!
//! The guest's own files are compiled in; the classes are made up, the pages are numbers.

#![forbid(unsafe_code)]

extern crate alloc;

#[path = "../../guest/kernel/src/kmem/list.rs"]
mod list;
#[path = "../../guest/kernel/src/number.rs"]
#[expect(dead_code, reason = "only some of the guest's numbers are used here")]
mod number;
#[path = "../../guest/kernel/src/kmem/slab.rs"]
mod slab;

use std::collections::BTreeMap;

use class::{CLASSES, Class};
use number::Gfn;
use slab::Slabs;

/// As the guest names a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KmemId(u16);

impl KmemId {
    const NOBODY: Self = Self(0);
}

/// Three kinds of objects: many, few and one in a slab.
mod class {
    pub(crate) const CLASSES: usize = 3;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Class(pub(crate) usize);

    impl Class {
        pub(crate) fn all() -> impl Iterator<Item = Self> {
            (0..CLASSES).map(Self)
        }

        pub(crate) const fn index(self) -> usize {
            self.0
        }

        pub(crate) const fn size(self) -> usize {
            [64, 1000, 4096][self.0]
        }

        pub(crate) const fn per_slab(self) -> usize {
            4096 / self.size()
        }
    }
}

const IDS: u16 = 7;

/// What has become of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Live,
    Left(usize),
    Retired,
}

#[derive(Debug)]
struct Account {
    id: KmemId,
    life: Life,
}

#[derive(Debug)]
struct Page {
    class: Class,
    account: usize,
    used: Vec<bool>,
}

/// Accounts are never forgotten, and everything is looked up by walking.
#[derive(Debug, Default)]
struct Model {
    accounts: Vec<Account>,
    pages: BTreeMap<u64, Page>,
}

impl Model {
    fn live(&self, id: KmemId) -> Option<usize> {
        self.accounts.iter().position(|account| account.id == id && account.life == Life::Live)
    }

    fn live_or_new(&mut self, id: KmemId) -> usize {
        self.live(id).unwrap_or_else(|| {
            self.accounts.push(Account { id, life: Life::Live });
            self.accounts.len() - 1
        })
    }

    fn holder(&self, account: usize) -> usize {
        match self.accounts[account].life {
            Life::Left(heir) => self.holder(heir),
            Life::Live | Life::Retired => account,
        }
    }

    fn pages_of(&self, account: usize, class: Class) -> impl Iterator<Item = &Page> {
        let pages = self.pages.values();
        pages.filter(move |page| page.class == class && self.holder(page.account) == account)
    }

    fn has_room(&self, account: usize, class: Class) -> bool {
        self.pages_of(account, class).any(|page| page.used.contains(&false))
    }

    /// Whether an id is not given out again yet: objects of a removed group are left.
    fn is_pinned(&self, id: KmemId) -> bool {
        let mut accounts = self.accounts.iter().enumerate();
        accounts.any(|(at, one)| one.id == id && one.life == Life::Retired && self.is_kept(at))
    }

    /// Pages and, by way of their heirs, accounts that keep a retired account.
    fn is_kept(&self, account: usize) -> bool {
        self.pages.values().any(|page| self.holder(page.account) == account)
    }
}

/// Both sides, and the seed that led here.
#[derive(Debug)]
struct Both {
    slabs: Slabs,
    model: Model,
    next_gfn: u64,
    random: u64,
}

impl Both {
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % bound
    }

    fn id(&mut self) -> KmemId {
        KmemId((1..=IDS).nth(number::index(self.below(IDS.into()))).expect("an id"))
    }

    fn make(&mut self) {
        let (id, class) = (self.id(), Class(number::index(self.below(CLASSES as u64))));
        if self.model.is_pinned(id) {
            return;
        }
        let account = self.model.live_or_new(id);
        let had_room = self.model.has_room(account, class);
        let place = self.slabs.take(id, class);
        assert_eq!(place.is_some(), had_room, "a slab with room is used");
        let gpa = place.unwrap_or_else(|| {
            self.next_gfn += 1;
            self.slabs.add(id, class, Gfn(self.next_gfn));
            let used = vec![false; class.per_slab()];
            self.model.pages.insert(self.next_gfn, Page { class, account, used });
            self.slabs.take(id, class).expect("a new slab has room")
        });
        let page = self.model.pages.get_mut(&Gfn::of(gpa).0).expect("a page of a slab");
        let object = number::index(gpa % 4096) / class.size();
        assert!(page.class == class && !page.used[object], "the object is free");
        assert_eq!(number::index(gpa % 4096) % class.size(), 0);
        page.used[object] = true;
        let account = page.account;
        assert_eq!(self.model.accounts[self.model.holder(account)].id, id, "the payer's own");
    }

    /// Frees an object, whoever it was made for.
    fn free(&mut self) {
        let count = self.model.pages.len() as u64;
        if count == 0 {
            return;
        }
        let at = number::index(self.below(count));
        let gfn = *self.model.pages.keys().nth(at).expect("so many pages");
        let page = self.model.pages.get_mut(&gfn).expect("it is there");
        let object = page.used.iter().position(|used| *used).expect("an empty page is gone");
        page.used[object] = false;
        let (is_empty, account) = (!page.used.contains(&true), page.account);
        let gpa = Gfn(gfn).gpa() + (object * page.class.size()) as u64;
        let holder = self.model.holder(account);
        let Account { id, life } = self.model.accounts[holder];
        if is_empty {
            self.model.pages.remove(&gfn);
        }
        let freed = self.slabs.free(gpa);
        let payer = if life == Life::Live { id } else { KmemId::NOBODY };
        assert_eq!(freed.page, is_empty.then_some((Gfn(gfn), payer)));
        let is_gone = is_empty && life == Life::Retired && !self.model.is_kept(holder);
        assert_eq!(freed.gone, is_gone.then_some(id));
    }

    /// A group is removed, and another one inherits.
    fn inherit(&mut self) {
        let (id, heir) = (self.id(), self.id());
        if id == heir || self.model.is_pinned(heir) {
            return;
        }
        self.slabs.inherit(id, heir);
        if let Some(gone) = self.model.live(id) {
            let heir = self.model.live_or_new(heir);
            self.model.accounts[gone].life = Life::Left(heir);
        }
    }

    /// A group is removed, and nobody inherits.
    fn retire(&mut self) {
        let id = self.id();
        let account = self.model.live(id);
        let is_kept = account.is_some_and(|account| self.model.is_kept(account));
        assert_eq!(self.slabs.retire(id), !is_kept);
        if let Some(account) = account {
            self.model.accounts[account].life = Life::Retired;
        }
    }

    fn compare(&self) {
        for id in (1..=IDS).map(KmemId) {
            let figures = self.slabs.figures(id);
            let account = self.model.live(id);
            for class in Class::all() {
                let found = figures.iter().find(|figures| figures.class == class);
                let found = found.map_or((0, 0), |figures| (figures.active, figures.slabs));
                let pages = || account.into_iter().flat_map(|at| self.model.pages_of(at, class));
                let used = |page: &Page| page.used.iter().filter(|used| **used).count() as u64;
                let expected = (pages().map(used).sum(), pages().count() as u64);
                assert_eq!(found, expected, "{id:?} {class:?}");
            }
        }
    }
}

#[test]
fn objects_freed_while_groups_go_are_found_in_the_cache_of_who_has_inherited() {
    for seed in 1..=300 {
        let (slabs, model) = (Slabs::new(), Model::default());
        let mut both = Both { slabs, model, next_gfn: 100, random: seed };
        for _ in 0..400 {
            match both.below(20) {
                0 => both.inherit(),
                1 => both.retire(),
                2..11 => both.make(),
                _ => both.free(),
            }
            both.compare();
        }
        while !both.model.pages.is_empty() {
            both.free();
        }
        both.compare();
    }
}
