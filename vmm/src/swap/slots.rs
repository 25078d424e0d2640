//! Which places of the swap device are in use.

/// A place for one page on the swap device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u32);

impl Slot {
    /// Names the slot with this number.
    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number: the slot's place on the device, in pages.
    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    /// The slot `distance` places further; `None` beyond the largest number.
    pub(crate) fn after(self, distance: usize) -> Option<Self> {
        Some(Self(self.0.checked_add(u32::try_from(distance).ok()?)?))
    }
}

/// A bit for each slot, set while it is in use. Slots are handed out in order round the device, so
/// that pages written together lie together.
#[derive(Debug)]
pub(crate) struct Slots {
    words: Vec<u64>,
    count: u32,
    used: u32,
    /// Where the search for the next free slot begins.
    cursor: u32,
}

impl Slots {
    /// So many slots, all free.
    pub(crate) fn new(count: u32) -> Self {
        let words = usize::try_from(count.div_ceil(64)).expect("numbers of slots are indices");
        Self { words: vec![0; words], count, used: 0, cursor: 0 }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// How many are in use.
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// Takes the next free slot; `None` when all are in use.
    pub(crate) fn take(&mut self) -> Option<Slot> {
        if self.used == self.count {
            return None;
        }
        let slot = self.free_from(self.cursor).or_else(|| self.free_from(0))?;
        let (word, bit) = place(slot);
        self.words[word] |= bit;
        self.used += 1;
        self.cursor = slot.0 + 1;
        Some(slot)
    }

    /// Gives a slot back; false when it was not in use.
    pub(crate) fn give(&mut self, slot: Slot) -> bool {
        if !self.is_used(slot) {
            return false;
        }
        let (word, bit) = place(slot);
        self.words[word] &= !bit;
        self.used -= 1;
        if self.used == 0 {
            self.cursor = 0;
        }
        true
    }

    /// Runs of free slots: the first of each, and how many there are.
    pub(crate) fn free_runs(&self) -> Vec<(Slot, u32)> {
        let mut runs: Vec<(Slot, u32)> = Vec::new();
        for number in (0..self.count).filter(|&number| !self.is_used(Slot(number))) {
            match runs.last_mut() {
                Some((first, count)) if first.0 + *count == number => *count += 1,
                _ => runs.push((Slot(number), 1)),
            }
        }
        runs
    }

    /// Tells whether a slot is in use.
    pub(crate) fn is_used(&self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        slot.0 < self.count && self.words[word] & bit != 0
    }

    /// The first free slot at or after `from`.
    fn free_from(&self, from: u32) -> Option<Slot> {
        let (first, bit) = place(Slot(from));
        for (index, word) in self.words.iter().enumerate().skip(first) {
            // Slots before `from` in its own word do not count as free.
            let taken = if index == first { word | (bit - 1) } else { *word };
            if taken != u64::MAX {
                let number = index * 64 + taken.trailing_ones() as usize;
                let slot = u32::try_from(number).ok().filter(|&number| number < self.count);
                return slot.map(Slot);
            }
        }
        None
    }
}

fn place(slot: Slot) -> (usize, u64) {
    (usize::try_from(slot.0 / 64).expect("numbers of slots are indices"), 1 << (slot.0 % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_handed_out_in_order_round_the_device() {
        let mut slots = Slots::new(130);
        let all: Vec<u32> = std::iter::from_fn(|| slots.take()).map(Slot::get).collect();
        assert_eq!(all, (0..130).collect::<Vec<_>>());
        assert_eq!((slots.used(), slots.take()), (130, None));
        for number in [3, 129, 64] {
            assert!(slots.give(Slot::new(number)));
            assert!(!slots.give(Slot::new(number)), "once only");
        }
        let again: Vec<u32> = std::iter::from_fn(|| slots.take()).map(Slot::get).collect();
        assert_eq!(again, [3, 64, 129]);
    }

    #[test]
    fn the_search_goes_on_where_it_stopped() {
        let mut slots = Slots::new(10);
        let [first, second] = [slots.take().unwrap(), slots.take().unwrap()];
        slots.give(first);
        assert_eq!(slots.take(), Some(Slot::new(2)));
        assert!(!slots.is_used(first));
        assert_eq!(slots.free_runs(), [(first, 1), (Slot::new(3), 7)]);
        [1, 2].into_iter().for_each(|number| assert!(slots.give(Slot::new(number))));
        assert_eq!((slots.take(), second), (Some(first), Slot::new(1)), "none was in use");
    }

    #[test]
    fn a_number_beyond_the_device_is_no_slot_in_use() {
        let mut slots = Slots::new(1);
        assert!(!slots.is_used(Slot::new(1)));
        assert!(!slots.give(Slot::new(63)));
        assert_eq!(Slots::new(0).take(), None);
    }
}
