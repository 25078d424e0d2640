//! Swap: pages that were evicted, on a device that is slower, smaller and less reliable than memory.
//!
//! Pages are collected in a small buffer and written many at a time, in the order of their slots. A
//! page leaves the buffer when the device has taken it, and not before: a device that is full or
//! fails keeps the buffer full, nothing more is stored, and nothing is lost. Reading brings along the
//! slots behind the one wanted, since pages evicted together are often wanted together; what was read
//! ahead is dropped when its slot is given back. Both buffers are bounded, whatever the guest does.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::io;

mod device;
mod faulty;
mod slots;

pub(crate) use device::{Page, SwapDevice, SwapFile};
pub(crate) use faulty::Faulty;
pub(crate) use slots::Slot;
use slots::Slots;

/// Pages written together, at most: more would make the guest stand still for too long.
const BATCH_PAGES: usize = 32;
/// Pages read together, at most.
const AHEAD_PAGES: usize = 16;
/// How often a read is tried before the content counts as lost.
const READ_TRIES: u32 = 8;

/// Why a page was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// Every slot is in use.
    Full,
    /// The device does not take what waits to be written.
    Failing,
}

/// What the swap device did and how full it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SwapFigures {
    /// Slots there are.
    pub(crate) slots: u64,
    /// Slots in use.
    pub(crate) used: u64,
    /// Pages written to the device.
    pub(crate) written: u64,
    /// Pages read from it, those read ahead included.
    pub(crate) read: u64,
    /// Writes and reads that failed.
    pub(crate) failures: u64,
    /// The last failure, until the device works again.
    pub(crate) failure: Option<String>,
}

/// Pages on their way, with their slots.
#[derive(Debug, Default)]
struct Buffer {
    slots: Vec<Slot>,
    pages: Vec<Page>,
}

impl Buffer {
    fn position(&self, slot: Slot) -> Option<usize> {
        self.slots.iter().position(|&other| other == slot)
    }

    fn push(&mut self, slot: Slot, page: &Page) {
        self.slots.push(slot);
        self.pages.push(page.clone());
    }

    fn remove(&mut self, at: usize) -> Page {
        self.slots.remove(at);
        self.pages.remove(at)
    }
}

/// The swap of a machine.
#[derive(Debug)]
pub(crate) struct Swap {
    device: Box<dyn SwapDevice>,
    slots: Slots,
    /// Stored, but not written yet.
    waiting: Buffer,
    /// Read, but not wanted yet.
    ahead: Buffer,
    /// A slot was given back since the disk was last given back what free slots hold.
    has_freed: bool,
    /// Checksums of used slots; kept in debug builds only.
    sums: HashMap<Slot, u64>,
    figures: SwapFigures,
}

impl Swap {
    /// Swap with so many slots on a device.
    pub(crate) fn new(device: Box<dyn SwapDevice>, slots: u32) -> Self {
        Self {
            device,
            slots: Slots::new(slots),
            waiting: Buffer::default(),
            ahead: Buffer::default(),
            has_freed: false,
            sums: HashMap::new(),
            figures: SwapFigures::default(),
        }
    }

    /// What it did so far, and how full it is.
    pub(crate) fn figures(&self) -> SwapFigures {
        let (slots, used) = (self.slots.count(), self.slots.used());
        SwapFigures { slots: slots.into(), used: used.into(), ..self.figures.clone() }
    }

    /// Keeps the content of a page; returns where.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is kept then.
    pub(crate) fn store(&mut self, page: &Page) -> Result<Slot, StoreError> {
        if self.waiting.slots.len() >= BATCH_PAGES && !self.write_some() {
            return Err(StoreError::Failing);
        }
        let slot = self.slots.take().ok_or(StoreError::Full)?;
        self.waiting.push(slot, page);
        if cfg!(debug_assertions) {
            self.sums.insert(slot, checksum(page));
        }
        Ok(slot)
    }

    /// Reads what a slot keeps. The slot stays in use.
    ///
    /// # Errors
    /// The device's, after several tries.
    pub(crate) fn load(&mut self, slot: Slot, into: &mut Page) -> io::Result<()> {
        if let Some(at) = self.waiting.position(slot) {
            into.0 = self.waiting.pages[at].0;
        } else if let Some(at) = self.ahead.position(slot) {
            into.0 = self.ahead.remove(at).0;
        } else {
            self.read(slot, into)?;
        }
        match self.sums.get(&slot) {
            Some(&sum) if sum != checksum(into) => {
                Err(io::Error::other(format!("slot {} has another content", slot.get())))
            }
            _ => Ok(()),
        }
    }

    /// Gives a slot back: its content is not wanted any more.
    pub(crate) fn discard(&mut self, slot: Slot) {
        if let Some(at) = self.waiting.position(slot) {
            self.waiting.remove(at);
        }
        if let Some(at) = self.ahead.position(slot) {
            self.ahead.remove(at);
        }
        self.sums.remove(&slot);
        self.has_freed = true;
        let was_used = self.slots.give(slot);
        debug_assert!(was_used, "a slot is given back once");
    }

    /// Writes some of what waits; false when nothing was written. A disk that is full may still hold
    /// what nobody wants any more: that is given back, and the write tried again.
    fn write_some(&mut self) -> bool {
        self.waiting.slots.is_empty() || self.write_run() || self.trim() && self.write_run()
    }

    /// Gives the disk back what free slots hold; false when none was freed since the last time.
    fn trim(&mut self) -> bool {
        if !std::mem::take(&mut self.has_freed) {
            return false;
        }
        for (first, count) in self.slots.free_runs() {
            if let Err(why) = self.device.trim(first, count) {
                self.note_failure("trim", &why);
                return false;
            }
        }
        true
    }

    /// Writes the run of consecutive slots at the head of what waits.
    fn write_run(&mut self) -> bool {
        let Some(&first) = self.waiting.slots.first() else { return false };
        let following = self.waiting.slots.iter().enumerate();
        let run = following.take_while(|&(at, slot)| first.after(at) == Some(*slot)).count();
        match self.device.write(first, &self.waiting.pages[..run]) {
            Ok(written) => {
                let written = written.min(run);
                self.waiting.slots.drain(..written);
                self.waiting.pages.drain(..written);
                self.figures.written += written as u64;
                self.note_success();
                written > 0
            }
            Err(why) => {
                self.note_failure("write to", &why);
                false
            }
        }
    }

    /// Reads a slot from the device, and the used ones that follow it.
    fn read(&mut self, slot: Slot, into: &mut Page) -> io::Result<()> {
        let is_wanted =
            |slot: Slot| self.slots.is_used(slot) && self.waiting.position(slot).is_none();
        let following = (1..AHEAD_PAGES).map_while(|distance| slot.after(distance));
        let mut count = 1 + following.take_while(|&slot| is_wanted(slot)).count();
        let mut pages = vec![Page::ZERO; count];
        for tries_left in (0..READ_TRIES).rev() {
            match self.device.read(slot, &mut pages[..count]) {
                Ok(read) => {
                    count = read.min(count);
                    break;
                }
                Err(why) => {
                    self.note_failure("read from", &why);
                    if tries_left == 0 {
                        return Err(why);
                    }
                    // What is bad may be one of those read ahead.
                    count = 1;
                }
            }
        }
        self.figures.read += count as u64;
        into.0 = pages[0].0;
        self.ahead = Buffer::default();
        for (distance, page) in pages[..count].iter().enumerate().skip(1) {
            if let Some(slot) = slot.after(distance) {
                self.ahead.push(slot, page);
            }
        }
        Ok(())
    }

    fn note_success(&mut self) {
        if self.figures.failure.take().is_some() {
            log::info!("swap works again");
        }
    }

    /// Counts a failure; says so in the log when the device worked before.
    fn note_failure(&mut self, what: &str, why: &io::Error) {
        self.figures.failures += 1;
        let failure = format!("cannot {what} swap: {why}");
        if self.figures.failure.is_none() {
            log::warn!("{failure}");
        }
        self.figures.failure = Some(failure);
    }
}

fn checksum(page: &Page) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&page.0);
    hasher.finish()
}

#[cfg(test)]
mod tests;
