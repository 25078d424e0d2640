//! Circular lists of numbered places: taking one out, and joining two lists, costs the same however
//! long they are.

use alloc::vec::Vec;

use crate::number::index;

/// A place: a member of a list, or a list itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u32);

impl Place {
    const fn index(self) -> usize {
        index(self.0 as u64)
    }
}

#[derive(Debug)]
struct Slot<T> {
    before: Place,
    after: Place,
    value: Option<T>,
}

/// Values at places, and the lists they are in.
#[derive(Debug)]
pub(crate) struct Lists<T> {
    slots: Vec<Slot<T>>,
    free: Vec<Place>,
}

impl<T> Lists<T> {
    /// No place.
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// A new empty list.
    pub(crate) fn new_list(&mut self) -> Place {
        self.add(None)
    }

    /// A place for a value, in no list.
    pub(crate) fn insert(&mut self, value: T) -> Place {
        self.add(Some(value))
    }

    fn add(&mut self, value: Option<T>) -> Place {
        if let Some(place) = self.free.pop() {
            self.slots[place.index()] = Slot { before: place, after: place, value };
            return place;
        }
        let place = Place(u32::try_from(self.slots.len()).expect("places fit guest memory"));
        self.slots.push(Slot { before: place, after: place, value });
        place
    }

    /// Gives a place back, which leaves the list it is in. Answers its value.
    pub(crate) fn remove(&mut self, place: Place) -> Option<T> {
        self.unlink(place);
        self.free.push(place);
        self.slots[place.index()].value.take()
    }

    /// The value at a place, to be changed.
    pub(crate) fn get_mut(&mut self, place: Place) -> &mut T {
        self.slots[place.index()].value.as_mut().expect("the place of a member holds a value")
    }

    /// The first member of a list.
    pub(crate) fn first(&self, list: Place) -> Option<Place> {
        Some(self.slots[list.index()].after).filter(|first| *first != list)
    }

    /// The last member of a list.
    pub(crate) fn last(&self, list: Place) -> Option<Place> {
        Some(self.slots[list.index()].before).filter(|last| *last != list)
    }

    /// Makes a member that is in no list the first of one.
    pub(crate) fn push_front(&mut self, list: Place, member: Place) {
        let after = self.slots[list.index()].after;
        self.join(list, member);
        self.join(member, after);
    }

    /// Takes a member out of its list.
    pub(crate) fn unlink(&mut self, member: Place) {
        let Slot { before, after, .. } = self.slots[member.index()];
        self.join(before, after);
        self.join(member, member);
    }

    /// Moves all members of a list behind those of another.
    pub(crate) fn splice(&mut self, from: Place, to: Place) {
        let (Some(first), Some(last)) = (self.first(from), self.last(from)) else { return };
        self.join(self.slots[to.index()].before, first);
        self.join(last, to);
        self.join(from, from);
    }

    fn join(&mut self, before: Place, after: Place) {
        self.slots[before.index()].after = after;
        self.slots[after.index()].before = before;
    }
}
