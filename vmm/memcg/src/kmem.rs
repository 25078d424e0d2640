//! Kernel memory: charged before it is touched, so that the guest kernel can refuse an allocation
//! instead of having to kill somebody.
//!
//! The machine holds a [`Held`] for each group whose kernel memory the guest accounts. Pages are
//! charged to it in batches; when the guest touches a kernel frame, the frame takes one page over.

use std::collections::BTreeMap;

use crate::frames::{Flag, Frame};
use crate::owners::SlotId;
use crate::walk::{Chain, KERNEL};
use crate::{ChargeError, Error, Gfn, GroupId, Held, Kind, Memcg, Pages, Resource};

/// Pages charged ahead, by owner slot.
#[derive(Debug, Default)]
pub(crate) struct Ahead(BTreeMap<u32, u64>);

impl Ahead {
    fn add(&mut self, slot: SlotId, pages: u64) {
        *self.0.entry(slot.get()).or_default() += pages;
    }

    fn sub(&mut self, slot: SlotId, pages: u64) {
        let booked = self.0.entry(slot.get()).or_default();
        *booked = booked.checked_sub(pages).expect("what is held was charged ahead");
        if *booked == 0 {
            self.0.remove(&slot.get());
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlotId, u64)> {
        self.0.iter().map(|(slot, pages)| (SlotId::new(*slot), *pages))
    }
}

impl Memcg {
    /// Begins to account kernel memory of a group: the result holds no page yet. It is given back
    /// with [`Memcg::uncharge_held`]; until then a removed group that left a zombie stays.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn hold_kmem(&mut self, group: GroupId) -> Result<Held, Error> {
        let index = self.groups.index(group)?;
        Ok(self.new_held(index, Resource::Kmem, Pages::ZERO))
    }

    /// Charges `pages` more to `held`: to kmem, then memory and memsw, of whoever owns it by now and
    /// of everyone above.
    ///
    /// # Errors
    /// [`ChargeError::Refused`] at a limit, [`ChargeError::Dead`] when the owner is a zombie. Nothing
    /// changed but a failure count.
    pub fn try_charge_ahead(&mut self, held: &mut Held, pages: Pages) -> Result<(), ChargeError> {
        let (_, holder) = self.owners.resolve_mut(held.slot);
        if !self.groups.at(holder.group()).is_live() {
            return Err(ChargeError::Dead);
        }
        self.try_charge_chain(Chain::whole(holder.group()), KERNEL, pages.get())?;
        self.book_ahead(held, pages.get());
        Ok(())
    }

    /// Returns how many pages could be charged to `held` before a limit refuses.
    #[must_use]
    pub fn room_ahead(&self, held: &Held) -> Pages {
        let (_, holder) = self.owners.resolve(held.slot);
        Pages::new(self.room_for(Chain::whole(holder.group()), KERNEL))
    }

    /// Same as [`Memcg::try_charge_ahead`], whatever the limits say: for a frame that was touched
    /// without leave. Pages over a limit are counted as overshoot.
    pub fn charge_ahead(&mut self, held: &mut Held, pages: Pages) {
        let (_, holder) = self.owners.resolve_mut(held.slot);
        let over = self.charge_chain(Chain::whole(holder.group()), KERNEL, pages.get());
        self.book(holder.group(), |_, events| events.overshoot += over);
        self.book_ahead(held, pages.get());
    }

    /// Gives back up to `pages` of what is charged ahead; returns how many it were.
    pub fn uncharge_part(&mut self, held: &mut Held, pages: Pages) -> Pages {
        let pages = pages.min(held.pages);
        self.uncharge_ahead(held, pages.get());
        held.pages = Pages::new(held.pages.get() - pages.get());
        pages
    }

    /// Lets a kernel frame that was touched take over one page of `held`.
    ///
    /// # Errors
    /// [`ChargeError::AlreadyCharged`], [`ChargeError::NoSuchFrame`]; [`ChargeError::Dead`] when
    /// nothing is held. Nothing changed then.
    pub fn take_over(&mut self, held: &mut Held, gfn: Gfn, kind: Kind) -> Result<(), ChargeError> {
        if self.frames.get(gfn)?.is_charged() {
            return Err(ChargeError::AlreadyCharged(gfn));
        }
        let rest = held.pages.get().checked_sub(1).ok_or(ChargeError::Dead)?;
        held.pages = Pages::new(rest);
        self.ahead.sub(held.slot, 1);
        let frame = Frame::new(kind, held.slot).with(Flag::Kmem);
        self.owners.get(held.slot, 1);
        self.count(frame, |gauges, events| {
            gauges.sub_ahead(1);
            gauges.add(frame);
            events.pgpgin += 1;
        });
        self.frames.set(gfn, frame);
        Ok(())
    }

    /// Returns the group that pays for `held` by now: a removed one if it left a zombie.
    #[must_use]
    pub fn payer_of(&self, held: &Held) -> GroupId {
        let (_, holder) = self.owners.resolve(held.slot);
        self.groups.at(holder.group()).id
    }

    /// Returns whether a group is, or lies above, the one that pays for `held` by now. That one may have
    /// been removed.
    #[must_use]
    pub fn is_charged_with(&self, group: GroupId, held: &Held) -> bool {
        let (_, holder) = self.owners.resolve(held.slot);
        let above = |index: &u32| self.groups.at(*index).parent;
        let mut chain = std::iter::successors(Some(holder.group()), above);
        self.groups.index(group).is_ok_and(|wanted| chain.any(|index| index == wanted))
    }

    fn book_ahead(&mut self, held: &mut Held, pages: u64) {
        let (_, holder) = self.owners.resolve_mut(held.slot);
        held.pages = Pages::new(held.pages.get() + pages);
        self.ahead.add(held.slot, pages);
        self.book(holder.group(), |gauges, _| gauges.add_ahead(pages));
    }

    /// Takes `pages` charged ahead off the books and counters.
    pub(crate) fn uncharge_ahead(&mut self, held: &Held, pages: u64) {
        let (_, holder) = self.owners.resolve_mut(held.slot);
        self.uncharge_chain(Chain::whole(holder.group()), KERNEL, pages);
        self.ahead.sub(held.slot, pages);
        self.book(holder.group(), |gauges, _| gauges.sub_ahead(pages));
    }
}

#[cfg(test)]
mod tests {
    use crate::{ChargeError, Config, Gfn, Kind, Memcg, Offline, Pages, Resource, fixture};

    const A: Gfn = Gfn::new(0);

    fn usage(m: &Memcg, group: crate::GroupId) -> [u64; 3] {
        [Resource::Kmem, Resource::Memory, Resource::Memsw]
            .map(|resource| m.counter(group, resource).unwrap().usage().get())
    }

    #[test]
    fn a_frame_takes_over_what_was_charged_ahead() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        m.set_limit(a, Resource::Kmem, Pages::new(4)).unwrap();
        let mut held = m.hold_kmem(a).unwrap();
        m.try_charge_ahead(&mut held, Pages::new(3)).unwrap();
        assert_eq!((usage(&m, a), usage(&m, m.root())), ([3; 3], [3; 3]));
        m.take_over(&mut held, A, Kind::PageTable).unwrap();
        assert_eq!((usage(&m, a), held.pages()), ([3; 3], Pages::new(2)));
        assert_eq!(m.take_over(&mut held, A, Kind::Kernel), Err(ChargeError::AlreadyCharged(A)));
        assert_eq!((m.owner(A), m.check()), (Some(a), vec![]));
        m.uncharge_held(held);
        assert!(m.uncharge(A));
        assert_eq!((usage(&m, a), m.check()), ([0; 3], vec![]));
    }

    #[test]
    fn the_limit_of_any_level_refuses_and_kmem_comes_first() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        m.set_limit(a, Resource::Kmem, Pages::new(3)).unwrap();
        let b = m.create(a, "b").unwrap();
        let c = m.create(b, "c").unwrap();
        m.set_limit(b, Resource::Memory, Pages::new(2)).unwrap();
        m.set_limit(c, Resource::Kmem, Pages::new(1)).unwrap();
        let mut held = [a, b, c].map(|group| m.hold_kmem(group).unwrap());
        let refused = |group, resource| Err(ChargeError::Refused { group, resource });
        let mut charge = |m: &mut Memcg, which: usize, pages| {
            m.try_charge_ahead(&mut held[which], Pages::new(pages))
        };
        assert_eq!(charge(&mut m, 2, 1 << 40), refused(c, Resource::Kmem));
        assert_eq!(charge(&mut m, 2, 2), refused(c, Resource::Kmem));
        charge(&mut m, 2, 1).unwrap();
        charge(&mut m, 1, 1).unwrap();
        assert_eq!(charge(&mut m, 1, 1), refused(b, Resource::Memory));
        charge(&mut m, 0, 1).unwrap();
        assert_eq!(charge(&mut m, 0, 1), refused(a, Resource::Kmem));
        assert_eq!([a, b, c].map(|group| usage(&m, group)), [[3; 3], [2; 3], [1; 3]]);
        let failures = |group, resource| m.counter(group, resource).unwrap().failcnt();
        assert_eq!([a, c].map(|group| failures(group, Resource::Kmem)), [1, 2]);
        assert_eq!(failures(b, Resource::Memory), 1);
        held.into_iter().for_each(|held| m.uncharge_held(held));
        assert_eq!((usage(&m, a), m.check()), ([0; 3], vec![]));
    }

    #[test]
    fn what_is_held_for_a_removed_group_is_its_parents() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        let mut held = m.hold_kmem(b).unwrap();
        m.try_charge_ahead(&mut held, Pages::new(2)).unwrap();
        m.take_over(&mut held, A, Kind::Kernel).unwrap();
        let before = usage(&m, a);
        m.remove(b).unwrap();
        assert_eq!((usage(&m, a), m.payer_of(&held)), (before, a));
        m.try_charge_ahead(&mut held, Pages::ONE).unwrap();
        assert_eq!((usage(&m, a), m.check()), ([3; 3], vec![]));
        m.uncharge(A);
        m.uncharge_held(held);
        assert_eq!((usage(&m, a), m.check()), ([0; 3], vec![]));
    }

    #[test]
    fn a_zombie_is_charged_nothing_more_and_goes_when_nothing_is_held_for_it() {
        let config = Config { offline: Offline::Zombie, ..fixture::config(8) };
        let mut m = Memcg::new(config).unwrap();
        let a = m.create(m.root(), "a").unwrap();
        let mut held = m.hold_kmem(a).unwrap();
        m.try_charge_ahead(&mut held, Pages::new(2)).unwrap();
        let other = m.create(m.root(), "other").unwrap();
        m.remove(a).unwrap();
        assert_eq!(m.try_charge_ahead(&mut held, Pages::ONE), Err(ChargeError::Dead));
        assert_eq!((m.zombies(), m.check()), (1, vec![]));
        // Pressure above it finds it still.
        let found = [m.root(), other, a].map(|group| m.is_charged_with(group, &held));
        assert_eq!(found, [true, false, false]);
        assert_eq!(m.uncharge_part(&mut held, Pages::new(9)), Pages::new(2));
        m.uncharge_held(held);
        assert_eq!((m.zombies(), usage(&m, m.root()), m.check()), (0, [0; 3], vec![]));
    }
}
