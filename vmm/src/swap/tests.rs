//! Swap on devices that work, fail and fill up.

use super::*;

/// A device in memory.
#[derive(Debug, Default)]
struct Memory(HashMap<Slot, Page>);

impl SwapDevice for Memory {
    fn write(&mut self, first: Slot, pages: &[Page]) -> io::Result<usize> {
        for (at, page) in pages.iter().enumerate() {
            self.0.insert(first.after(at).unwrap(), page.clone());
        }
        Ok(pages.len())
    }

    fn read(&mut self, first: Slot, pages: &mut [Page]) -> io::Result<usize> {
        for (at, page) in pages.iter_mut().enumerate() {
            let kept = self.0.get(&first.after(at).unwrap());
            *page = kept.cloned().unwrap_or(Page::ZERO);
        }
        Ok(pages.len())
    }

    fn trim(&mut self, first: Slot, count: u32) -> io::Result<()> {
        self.0.retain(|slot, _| !(first.get()..first.get() + count).contains(&slot.get()));
        Ok(())
    }
}

/// A device that has room for so many pages.
#[derive(Debug)]
struct Small(Memory, usize);

impl SwapDevice for Small {
    fn write(&mut self, first: Slot, pages: &[Page]) -> io::Result<usize> {
        let is_full = self.0.0.len() + pages.len() > self.1;
        if is_full { Err(rustix::io::Errno::NOSPC.into()) } else { self.0.write(first, pages) }
    }

    fn read(&mut self, first: Slot, pages: &mut [Page]) -> io::Result<usize> {
        self.0.read(first, pages)
    }

    fn trim(&mut self, first: Slot, count: u32) -> io::Result<()> {
        self.0.trim(first, count)
    }
}

/// A device that takes nothing.
#[derive(Debug)]
struct Broken;

impl SwapDevice for Broken {
    fn write(&mut self, _first: Slot, _pages: &[Page]) -> io::Result<usize> {
        Err(rustix::io::Errno::NOSPC.into())
    }

    fn read(&mut self, _first: Slot, _pages: &mut [Page]) -> io::Result<usize> {
        Err(rustix::io::Errno::IO.into())
    }

    fn trim(&mut self, _first: Slot, _count: u32) -> io::Result<()> {
        Err(rustix::io::Errno::IO.into())
    }
}

/// A page that says which one it is.
fn page(number: u64) -> Page {
    let mut page = Page::ZERO;
    page.0[..8].copy_from_slice(&number.to_le_bytes());
    page.0[4088..].copy_from_slice(&(!number).to_le_bytes());
    page
}

#[track_caller]
fn expect(swap: &mut Swap, slot: Slot, number: u64) {
    let mut read = Page::ZERO;
    swap.load(slot, &mut read).unwrap();
    assert!(read.0 == page(number).0, "slot {} has page {number}", slot.get());
}

#[test]
fn what_is_stored_can_be_loaded_whether_written_yet_or_not() {
    let mut swap = Swap::new(Box::<Memory>::default(), 100);
    let slots: Vec<Slot> = (0..100).map(|number| swap.store(&page(number)).unwrap()).collect();
    assert_eq!(swap.store(&page(100)), Err(StoreError::Full));
    for (slot, number) in slots.iter().zip(0..) {
        expect(&mut swap, *slot, number);
    }
    let figures = swap.figures();
    assert_eq!((figures.slots, figures.used, &figures.failure), (100, 100, &None));
    assert!(figures.written >= 64 && figures.read >= figures.written, "{figures:?}");
    slots.into_iter().for_each(|slot| swap.discard(slot));
    assert_eq!(swap.figures().used, 0);
}

#[test]
fn a_slot_that_is_used_again_has_the_new_content_although_the_old_one_was_read_ahead() {
    let mut swap = Swap::new(Box::<Memory>::default(), 64);
    let slots: Vec<Slot> = (0..64).map(|number| swap.store(&page(number)).unwrap()).collect();
    expect(&mut swap, slots[0], 0);
    swap.discard(slots[1]);
    let again = swap.store(&page(1000)).unwrap();
    assert_eq!(again, slots[1]);
    expect(&mut swap, again, 1000);
    expect(&mut swap, slots[2], 2);
}

#[test]
fn a_device_that_takes_nothing_stops_storing_and_loses_nothing() {
    let mut swap = Swap::new(Box::new(Broken), 1000);
    let stored: Vec<Slot> = (0..).map_while(|number| swap.store(&page(number)).ok()).collect();
    assert_eq!(stored.len(), BATCH_PAGES);
    assert_eq!(swap.store(&page(0)), Err(StoreError::Failing));
    for (slot, number) in stored.iter().zip(0..) {
        expect(&mut swap, *slot, number);
    }
    assert!(swap.figures().failure.unwrap().starts_with("cannot write to swap: "));
    swap.discard(stored[3]);
    assert!(swap.store(&page(77)).is_ok(), "room in the buffer is room");
}

#[test]
fn a_full_disk_gets_back_what_nobody_wants_before_it_is_given_up() {
    let mut swap = Swap::new(Box::new(Small(Memory::default(), 100)), 10_000);
    let mut kept: Vec<(Slot, u64)> = Vec::new();
    for number in 0..5000 {
        kept.push((swap.store(&page(number)).unwrap(), number));
        if kept.len() > 60 {
            let (slot, number) = kept.remove(0);
            expect(&mut swap, slot, number);
            swap.discard(slot);
        }
    }
    assert!(swap.figures().failures > 0 && swap.figures().failure.is_none());
}

#[test]
fn a_read_that_fails_to_the_end_is_an_error() {
    let mut swap = Swap::new(Box::<Memory>::default(), 100);
    let slots: Vec<Slot> = (0..40).map(|number| swap.store(&page(number)).unwrap()).collect();
    swap.device = Box::new(Broken);
    assert!(swap.load(slots[0], &mut page(0)).is_err());
    assert_eq!(swap.figures().failures, u64::from(READ_TRIES));
    expect(&mut swap, slots[39], 39);
}

#[test]
fn a_content_that_changed_on_the_device_is_noticed() {
    let mut swap = Swap::new(Box::<Memory>::default(), 100);
    let slots: Vec<Slot> = (0..40).map(|number| swap.store(&page(number)).unwrap()).collect();
    swap.device.write(slots[0], &[page(99)]).unwrap();
    assert!(swap.load(slots[0], &mut page(0)).is_err());
    expect(&mut swap, slots[1], 1);
}

#[test]
fn random_failures_lose_no_page() {
    let mut swap = Swap::new(Box::new(Faulty::new(Memory::default(), 20)), 300);
    let mut kept: Vec<(Slot, u64)> = Vec::new();
    // A fixed sequence of pseudo-random numbers: a failure can be repeated.
    let mut state = 1_u64;
    let mut random = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from((state >> 33) % bound).unwrap()
    };
    let mut refused = 0;
    for number in 0..20_000 {
        match random(3) {
            0 | 1 => match swap.store(&page(number)) {
                Ok(slot) => kept.push((slot, number)),
                Err(_) => refused += 1,
            },
            _ if kept.is_empty() => {}
            _ => {
                let at = random(kept.len() as u64);
                let (slot, number) = kept.swap_remove(at);
                expect(&mut swap, slot, number);
                swap.discard(slot);
            }
        }
    }
    assert!(refused > 0 && swap.figures().failures > 100, "{:?}", swap.figures());
    for (slot, number) in kept {
        expect(&mut swap, slot, number);
    }
}
