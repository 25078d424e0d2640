//! Charges that no frame stands for: TCP buffers.
//!
//! Whoever charged such a thing keeps a [`Held`] and gives it back later, maybe long after the group
//! was removed: a `Held` names an owner slot, just as frames do.

use crate::owners::SlotId;
use crate::walk::Chain;
use crate::{ChargeError, GroupId, Memcg, Pages, Resource};

/// A charge that is to be given back with [`Memcg::uncharge_held`]. Dropping it leaks the charge.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a charge that is dropped is never given back"]
pub struct Held {
    pub(crate) slot: SlotId,
    resource: Resource,
    pub(crate) pages: Pages,
}

impl Held {
    /// What is charged.
    #[must_use]
    pub const fn resource(&self) -> Resource {
        self.resource
    }

    /// How much is charged.
    #[must_use]
    pub const fn pages(&self) -> Pages {
        self.pages
    }
}

impl Memcg {
    /// Charges `pages` of a resource that is not counted by frames.
    ///
    /// # Errors
    /// [`ChargeError::Refused`] at the limit, [`ChargeError::Dead`] when the group was removed.
    ///
    /// # Panics
    /// For memory and memsw, which are charged frame by frame, for kmem: see [`Memcg::hold_kmem`],
    /// and for huge pages: see [`Memcg::try_reserve_huge`].
    pub fn try_charge_held(
        &mut self,
        group: GroupId,
        resource: Resource,
        pages: Pages,
    ) -> Result<Held, ChargeError> {
        assert!(matches!(resource, Resource::Tcp), "{resource:?} is charged by frames or ranges");
        let index = self.groups.index(group).map_err(|_| ChargeError::Dead)?;
        self.try_charge_chain(Chain::whole(index), &[resource], pages.get())?;
        Ok(self.new_held(index, resource, pages))
    }

    /// Makes the value that stands for a charge of the group at `index`.
    pub(crate) fn new_held(&mut self, index: u32, resource: Resource, pages: Pages) -> Held {
        let slot = self.groups.at(index).slot;
        self.owners.get(slot, 1);
        self.tokens += 1;
        Held { slot, resource, pages }
    }

    /// Splits a part off a charge, for what is freed piece by piece; `None`, and nothing changed,
    /// when there is not so much.
    pub fn split_held(&mut self, held: &mut Held, pages: Pages) -> Option<Held> {
        let rest = held.pages.get().checked_sub(pages.get())?;
        held.pages = Pages::new(rest);
        self.owners.get(held.slot, 1);
        self.tokens += 1;
        Some(Held { slot: held.slot, resource: held.resource, pages })
    }

    /// Gives a charge back, to whoever owns it by now.
    #[expect(clippy::needless_pass_by_value, reason = "a charge is given back once")]
    pub fn uncharge_held(&mut self, held: Held) {
        let (_, holder) = self.owners.resolve_mut(held.slot);
        if held.resource == Resource::Kmem {
            self.uncharge_ahead(&held, held.pages.get());
        } else {
            let chain = Chain::whole(holder.group());
            self.uncharge_chain(chain, &[held.resource], held.pages.get());
        }
        self.tokens -= 1;
        self.put_slot(held.slot);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Pages, Resource, fixture};

    const TCP: Resource = Resource::Tcp;

    #[test]
    fn a_charge_is_given_back_to_whoever_inherited_it() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        m.set_limit(b, TCP, Pages::new(1024)).unwrap();
        let mut held = m.try_charge_held(b, TCP, Pages::new(1024)).unwrap();
        assert!(m.try_charge_held(b, TCP, Pages::new(512)).is_err());
        let half = m.split_held(&mut held, Pages::new(512)).unwrap();
        m.remove(b).unwrap();
        assert_eq!(m.counter(a, TCP).unwrap().usage(), Pages::new(1024));
        m.uncharge_held(held);
        m.uncharge_held(half);
        assert_eq!(m.counter(a, TCP).unwrap().usage(), Pages::ZERO);
        assert_eq!(m.check(), []);
    }
}
