//! Owner slots: what stands between a frame and the group that pays for it.
//!
//! The idea is that of Linux's `obj_cgroup` (v5.9, "reparent = rewrite one pointer") and of
//! union-find: every group has a slot; when a group goes, its slot is redirected to its parent's,
//! and the frames that name it find the new owner through it. A slot lives until nobody names it.
//! A move in progress has a slot of its own, which is redirected to the destination when the move
//! succeeds and to the source when it does not: either way in one step, whatever was moved.

/// Number of an owner slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(u32);

impl SlotId {
    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    fn place(self) -> usize {
        usize::try_from(self.0).expect("slot numbers are indices")
    }
}

/// Whom a slot stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The group with this index.
    Group(u32),
    /// A move into the group with index `group`; `transit` is its number.
    Transit {
        /// Index of the destination.
        group: u32,
        /// Number of the move.
        transit: u32,
    },
}

impl Holder {
    /// Index of the group that pays.
    pub(crate) const fn group(self) -> u32 {
        match self {
            Self::Group(group) | Self::Transit { group, .. } => group,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Held(Holder),
    Redirected(SlotId),
    Free,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    state: State,
    /// Frames, tokens and slots that name this slot, plus one for its living holder.
    refs: u32,
}

/// All owner slots.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    slots: Vec<Slot>,
    free: Vec<SlotId>,
}

impl Owners {
    /// Makes a slot that `holder` holds one reference to; `None` when `slots_max` are in use.
    pub(crate) fn create(&mut self, holder: Holder, slot_max: u32) -> Option<SlotId> {
        let slot = Slot { state: State::Held(holder), refs: 1 };
        if let Some(id) = self.free.pop() {
            self.slots[id.place()] = slot;
            return Some(id);
        }
        let id = SlotId(u32::try_from(self.slots.len()).ok()?);
        if id.get() > slot_max {
            return None;
        }
        self.slots.push(slot);
        Some(id)
    }

    /// Adds `n` references.
    pub(crate) fn get(&mut self, id: SlotId, n: u32) {
        self.slots[id.place()].refs += n;
    }

    /// Drops one reference; returns the holder of a slot that nobody names any more.
    pub(crate) fn put(&mut self, id: SlotId) -> Option<Holder> {
        self.put_many(id, 1)
    }

    /// Drops `n` references; returns the holder of a slot that nobody names any more.
    pub(crate) fn put_many(&mut self, mut id: SlotId, mut n: u32) -> Option<Holder> {
        loop {
            let slot = &mut self.slots[id.place()];
            slot.refs = slot.refs.checked_sub(n).expect("slot counts who names it");
            n = 1;
            if slot.refs > 0 {
                return None;
            }
            let state = std::mem::replace(&mut slot.state, State::Free);
            self.free.push(id);
            match state {
                State::Redirected(next) => id = next,
                State::Held(holder) => return Some(holder),
                State::Free => unreachable!("a free slot has no references"),
            }
        }
    }

    /// Lets `id` stand for whatever `to` stands for. The holder's own reference is dropped.
    pub(crate) fn redirect(&mut self, id: SlotId, to: SlotId) {
        debug_assert_ne!(id, to, "a slot is not its own successor");
        self.get(to, 1);
        self.slots[id.place()].state = State::Redirected(to);
        // The slot is redirected, hence no holder can come back.
        let holder = self.put(id);
        debug_assert!(holder.is_none(), "a redirected slot has no holder");
    }

    /// Returns the slot that `id` leads to, and its holder.
    #[inline]
    pub(crate) fn resolve(&self, mut id: SlotId) -> (SlotId, Holder) {
        loop {
            match self.slots[id.place()].state {
                State::Held(holder) => return (id, holder),
                State::Redirected(next) => id = next,
                State::Free => unreachable!("a named slot is in use"),
            }
        }
    }

    /// Same as [`Owners::resolve`], and shortens the way for the next time (path halving).
    #[inline]
    pub(crate) fn resolve_mut(&mut self, mut id: SlotId) -> (SlotId, Holder) {
        loop {
            let next = match self.slots[id.place()].state {
                State::Held(holder) => return (id, holder),
                State::Redirected(next) => next,
                State::Free => unreachable!("a named slot is in use"),
            };
            if let State::Redirected(after) = self.slots[next.place()].state {
                self.get(after, 1);
                self.slots[id.place()].state = State::Redirected(after);
                // `next` still has a successor, which keeps its holder alive.
                let holder = self.put(next);
                debug_assert!(holder.is_none(), "a redirected slot has no holder");
            }
            id = next_of(&self.slots[id.place()]);
        }
    }

    /// Returns one more than the highest slot number ever used.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("slot numbers fit the frame table")
    }

    /// Returns the references of every slot in use, for verification.
    pub(crate) fn references(&self) -> impl Iterator<Item = (SlotId, u32, Option<SlotId>)> {
        (0..).map(SlotId).zip(&self.slots).filter_map(|(id, slot)| match slot.state {
            State::Held(_) => Some((id, slot.refs, None)),
            State::Redirected(next) => Some((id, slot.refs, Some(next))),
            State::Free => None,
        })
    }
}

/// Where a slot that was just seen to be redirected leads.
fn next_of(slot: &Slot) -> SlotId {
    match slot.state {
        State::Redirected(next) => next,
        State::Held(_) | State::Free => unreachable!("the slot is redirected"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Holder, Owners, SlotId};

    const MAX: u32 = 100;

    #[test]
    fn a_redirected_slot_leads_to_the_new_holder_and_goes_with_its_last_reference() {
        let mut owners = Owners::default();
        let a = owners.create(Holder::Group(1), MAX).unwrap();
        let b = owners.create(Holder::Group(2), MAX).unwrap();
        owners.get(a, 1);
        owners.redirect(a, b);
        assert_eq!(owners.resolve(a), (b, Holder::Group(2)));
        assert_eq!(owners.put(a), None);
        assert_eq!(owners.references().collect::<Vec<_>>(), [(b, 1, None)]);
    }

    #[test]
    fn a_long_chain_is_halved_by_looking_it_up() {
        let mut owners = Owners::default();
        let ids: Vec<SlotId> = (0..8)
            .map(|n| {
                let id = owners.create(Holder::Group(n), MAX).unwrap();
                owners.get(id, 1);
                id
            })
            .collect();
        for pair in ids.windows(2) {
            owners.redirect(pair[0], pair[1]);
        }
        for _ in 0..4 {
            assert_eq!(owners.resolve_mut(ids[0]).1, Holder::Group(7));
        }
        let first = owners.references().next().unwrap();
        assert_eq!(first.2, Some(ids[7]));
        for id in &ids {
            owners.put(*id);
        }
        assert_eq!(owners.references().count(), 1);
    }

    #[test]
    fn slots_are_used_again_and_their_number_is_bounded() {
        let mut owners = Owners::default();
        let a = owners.create(Holder::Group(1), 0).unwrap();
        assert_eq!(owners.create(Holder::Group(2), 0), None);
        assert_eq!(owners.put(a), Some(Holder::Group(1)));
        assert_eq!(owners.create(Holder::Group(2), 0), Some(a));
    }
}
