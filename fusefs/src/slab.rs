//! Numbered places for what is open; numbers are used again.

use std::sync::{Arc, PoisonError, RwLock};

/// Things with a number each.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    table: RwLock<Table<T>>,
}

#[derive(Debug)]
struct Table<T> {
    places: Vec<Option<Arc<T>>>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { table: RwLock::new(Table { places: Vec::new(), free: Vec::new() }) }
    }
}

impl<T> Slab<T> {
    /// Keeps `thing`; returns its number.
    pub(crate) fn insert(&self, thing: T) -> u64 {
        let thing = Some(Arc::new(thing));
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let place = if let Some(place) = table.free.pop() {
            table.places[place] = thing;
            place
        } else {
            table.places.push(thing);
            table.places.len() - 1
        };
        u64::try_from(place).expect("an index fits into 64 bits")
    }

    /// Finds the thing with this number.
    pub(crate) fn get(&self, number: u64) -> Option<Arc<T>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.places.get(usize::try_from(number).ok()?)?.clone()
    }

    /// Forgets the thing with this number.
    pub(crate) fn remove(&self, number: u64) {
        let Ok(place) = usize::try_from(number) else { return };
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.places.get_mut(place).and_then(Option::take).is_some() {
            table.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn a_number_is_used_again_only_after_removal() {
        let slab = Slab::default();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_ne!(a, b);
        slab.remove(a);
        slab.remove(a);
        assert_eq!(slab.get(a), None);
        assert_eq!(slab.insert("c"), a);
        assert_ne!(slab.insert("d"), a);
        assert_eq!(slab.get(b).as_deref(), Some(&"b"));
        assert_eq!(slab.get(u64::MAX), None);
    }
}
