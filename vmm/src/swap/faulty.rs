//! A swap device that fails now and then, to test that no page is lost by it.

use std::io;

use super::device::{Page, SwapDevice};
use super::slots::Slot;

/// Failures a device has: input/output error and no space left.
const FAILURES: [rustix::io::Errno; 2] = [rustix::io::Errno::IO, rustix::io::Errno::NOSPC];

/// Wraps a device: of a hundred calls so many fail, and as many do only part of what was asked.
#[derive(Debug)]
pub(crate) struct Faulty<D> {
    device: D,
    percent: u64,
    /// State of the generator of pseudo-random numbers.
    state: u64,
}

impl<D: SwapDevice> Faulty<D> {
    /// Lets `percent` of the calls of `device` fail.
    pub(crate) fn new(device: D, percent: u64) -> Self {
        Self { device, percent, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// A number below `bound` (Marsaglia's xorshift64).
    fn random(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) % bound
    }

    /// How much of `count` pages is done this time.
    fn share(&mut self, count: usize) -> io::Result<usize> {
        let dice = self.random(100);
        if dice < self.percent {
            let which = usize::from(self.random(2) == 1);
            return Err(FAILURES[which].into());
        }
        Ok(if dice < 2 * self.percent { count.div_ceil(2) } else { count })
    }
}

impl<D: SwapDevice> SwapDevice for Faulty<D> {
    fn write(&mut self, first: Slot, pages: &[Page]) -> io::Result<usize> {
        let count = self.share(pages.len())?;
        self.device.write(first, &pages[..count])
    }

    fn read(&mut self, first: Slot, pages: &mut [Page]) -> io::Result<usize> {
        let count = self.share(pages.len())?;
        self.device.read(first, &mut pages[..count])
    }

    fn trim(&mut self, first: Slot, count: u32) -> io::Result<()> {
        self.device.trim(first, count)
    }
}
