//! Slabs: pages of objects of one kind for one group, and the caches they belong to.
//!
//! A slab names an account, and finds its cache through it. When a group is removed and its parent
//! inherits, its account gets an heir and its lists are joined to the heir's: one pointer and one
//! splice a class, however many slabs there are. What is freed later is taken off the heir's cache,
//! and the host takes the page off the parent's charge. An account lives until nothing names it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::KmemId;
use super::class::{CLASSES, Class};
use super::list::{Lists, Place};
use crate::number::{Gfn, PAGE_LEN, index};

/// A page of objects.
#[derive(Debug)]
struct Slab {
    gfn: Gfn,
    /// Index of the account it was made for.
    owner: usize,
    class: Class,
    /// One bit for each object: set = in use.
    used: u64,
}

/// A group's objects of one kind.
#[derive(Debug, Clone, Copy)]
struct Cache {
    /// Slabs that have room.
    partial: Place,
    slabs: u64,
    /// Objects in use.
    active: u64,
}

/// The caches of a group.
#[derive(Debug)]
struct Account {
    id: KmemId,
    /// Who has inherited it.
    heir: Option<usize>,
    /// Slabs and accounts that name it.
    names: usize,
    caches: [Cache; CLASSES],
}

/// What a cache holds, for `memory.kmem.slabinfo`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheFigures {
    pub(crate) class: Class,
    /// Objects in use.
    pub(crate) active: u64,
    /// Pages.
    pub(crate) slabs: u64,
}

/// What else is free after an object was freed.
#[derive(Debug)]
pub(crate) struct Freed {
    /// Its page, which is empty now, and the group that goes on paying for it; nobody where that is
    /// gone.
    pub(crate) page: Option<(Gfn, KmemId)>,
    /// The account that goes with it, where it was kept for its objects only.
    pub(crate) gone: Option<KmemId>,
}

/// Every slab.
#[derive(Debug)]
pub(crate) struct Slabs {
    slabs: Lists<Slab>,
    by_frame: BTreeMap<Gfn, Place>,
    accounts: Vec<Option<Account>>,
    free: Vec<usize>,
    by_id: BTreeMap<KmemId, usize>,
}

impl Slabs {
    /// No slab.
    pub(crate) const fn new() -> Self {
        Self {
            slabs: Lists::new(),
            by_frame: BTreeMap::new(),
            accounts: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
        }
    }

    /// Address of an object that is free already, if the payer has one.
    pub(crate) fn take(&mut self, payer: KmemId, class: Class) -> Option<u64> {
        let account = self.account(payer);
        let cache = self.cache_mut(account, class);
        let partial = cache.partial;
        let place = self.slabs.first(partial)?;
        self.cache_mut(account, class).active += 1;
        let slab = self.slabs.get_mut(place);
        let object = slab.used.trailing_ones();
        slab.used |= 1 << object;
        let (gpa, used) = (slab.gfn.gpa(), slab.used.count_ones());
        if index(u64::from(used)) == class.per_slab() {
            self.slabs.unlink(place);
        }
        Some(gpa + u64::from(object) * class.size() as u64)
    }

    /// Adds an empty slab to a payer's cache.
    pub(crate) fn add(&mut self, payer: KmemId, class: Class, gfn: Gfn) {
        let account = self.account(payer);
        let place = self.slabs.insert(Slab { gfn, owner: account, class, used: 0 });
        self.by_frame.insert(gfn, place);
        let cache = self.cache_mut(account, class);
        cache.slabs += 1;
        let partial = cache.partial;
        self.slabs.push_front(partial, place);
        self.account_mut(account).names += 1;
    }

    /// Takes an object back that was freed.
    pub(crate) fn free(&mut self, gpa: u64) -> Freed {
        let place = self.by_frame.get(&Gfn::of(gpa)).copied().expect("an object lies in a slab");
        let slab = self.slabs.get_mut(place);
        let class = slab.class;
        let object = index(gpa % PAGE_LEN as u64) / class.size();
        assert!(slab.used >> object & 1 == 1, "an object is freed once");
        let was_full = index(u64::from(slab.used.count_ones())) == class.per_slab();
        slab.used &= !(1 << object);
        let (gfn, owner, is_empty) = (slab.gfn, slab.owner, slab.used == 0);
        let holder = self.holder(owner);
        let cache = self.cache_mut(holder, class);
        cache.active -= 1;
        let partial = cache.partial;
        if !is_empty {
            if was_full {
                self.slabs.push_front(partial, place);
            }
            return Freed { page: None, gone: None };
        }
        self.cache_mut(holder, class).slabs -= 1;
        self.slabs.remove(place);
        self.by_frame.remove(&gfn);
        let id = self.account_mut(holder).id;
        let payer = if self.by_id.get(&id) == Some(&holder) { id } else { KmemId::NOBODY };
        Freed { page: Some((gfn, payer)), gone: self.forget_name(owner) }
    }

    /// What the caches of a group hold.
    pub(crate) fn figures(&self, id: KmemId) -> Vec<CacheFigures> {
        let account = self.by_id.get(&id).and_then(|account| self.accounts[*account].as_ref());
        let Some(account) = account else { return Vec::new() };
        Class::all()
            .map(|class| {
                let cache = account.caches[class.index()];
                CacheFigures { class, active: cache.active, slabs: cache.slabs }
            })
            .filter(|figures| figures.slabs > 0)
            .collect()
    }

    /// Lets `heir` inherit the caches of `id`.
    pub(crate) fn inherit(&mut self, id: KmemId, heir: KmemId) {
        let Some(gone) = self.by_id.remove(&id) else { return };
        let heir = self.account(heir);
        for class in Class::all() {
            let Cache { partial, slabs, active } = *self.cache_mut(gone, class);
            let cache = self.cache_mut(heir, class);
            cache.slabs += slabs;
            cache.active += active;
            let to = cache.partial;
            self.slabs.splice(partial, to);
            *self.cache_mut(gone, class) = Cache { partial, slabs: 0, active: 0 };
        }
        self.account_mut(gone).heir = Some(heir);
        self.account_mut(heir).names += 1;
        self.account_mut(gone).names += 1;
        self.forget_name(gone);
    }

    /// Nobody will allocate for `id` any more; false when objects of it are left.
    pub(crate) fn retire(&mut self, id: KmemId) -> bool {
        let Some(gone) = self.by_id.remove(&id) else { return true };
        self.account_mut(gone).names += 1;
        self.forget_name(gone).is_some()
    }

    /// The account of a payer, made if there is none.
    fn account(&mut self, id: KmemId) -> usize {
        if let Some(&account) = self.by_id.get(&id) {
            return account;
        }
        let caches =
            [(); CLASSES].map(|()| Cache { partial: self.slabs.new_list(), slabs: 0, active: 0 });
        let made = Some(Account { id, heir: None, names: 0, caches });
        let account = if let Some(account) = self.free.pop() {
            self.accounts[account] = made;
            account
        } else {
            self.accounts.push(made);
            self.accounts.len() - 1
        };
        self.by_id.insert(id, account);
        account
    }

    /// Who holds what an account was made for: itself, or who inherited last.
    fn holder(&self, mut account: usize) -> usize {
        while let Some(heir) = self.accounts[account].as_ref().and_then(|account| account.heir) {
            account = heir;
        }
        account
    }

    /// One name less for an account; it goes with the last one unless its group lives. Answers the id
    /// of an account that went without an heir.
    fn forget_name(&mut self, mut account: usize) -> Option<KmemId> {
        loop {
            let this = self.account_mut(account);
            this.names -= 1;
            let (id, heir) = (this.id, this.heir);
            if this.names > 0 || self.by_id.get(&id) == Some(&account) {
                return None;
            }
            for class in Class::all() {
                let partial = self.cache_mut(account, class).partial;
                self.slabs.remove(partial);
            }
            self.accounts[account] = None;
            self.free.push(account);
            match heir {
                Some(heir) => account = heir,
                None => return Some(id),
            }
        }
    }

    fn account_mut(&mut self, account: usize) -> &mut Account {
        self.accounts[account].as_mut().expect("what is named is there")
    }

    fn cache_mut(&mut self, account: usize, class: Class) -> &mut Cache {
        &mut self.account_mut(account).caches[class.index()]
    }
}
