//! Frames the guest has freed: taken from its ring, given back to the host, uncharged.

use std::sync::atomic::Ordering;

use memcg::Gfn;
use vmcg_abi::layout::{FREE_RING_GPA, FREE_RING_SLOTS, PAGE_SIZE, SHARED_GPA};
use vmcg_abi::page::shared;

use super::{Accounting, Machine};
use crate::stats::Stats;

impl Machine {
    /// Takes every frame number from the guest's free ring, uncharges the frames and gives their
    /// pages back; returns how many were taken. A number that cannot be right is counted and
    /// dropped.
    pub(crate) fn drain_free(&self, accounting: &mut Accounting) -> u64 {
        if self.frame_table().is_none() || !self.memory.is_backed(Gfn::new(SHARED_GPA / PAGE_SIZE))
        {
            return 0;
        }
        let head = self.memory.shared(shared::FREE_HEAD);
        let tail = self.memory.shared(shared::FREE_TAIL);
        let waiting = head.wrapping_sub(tail);
        if waiting == 0 {
            return 0;
        }
        if waiting > FREE_RING_SLOTS {
            Stats::count(&self.stats.guest_lies, 1);
            self.memory.set_shared(shared::FREE_TAIL, head);
            return 0;
        }
        let frames = (0..waiting).filter_map(|at| self.ring_entry(tail + at)).collect();
        self.take_back(accounting, frames);
        self.memory.set_shared(shared::FREE_TAIL, head);
        waiting
    }

    /// Gives the pages of frames back that the guest does not use any more, and uncharges them. Those
    /// that have none are left out. Answers how many were given back.
    pub(crate) fn take_back(&self, accounting: &mut Accounting, mut frames: Vec<u64>) -> u64 {
        frames.retain(|&gfn| {
            self.memory.is_backed(Gfn::new(gfn)) || accounting.contents.is_away(Gfn::new(gfn))
        });
        frames.sort_unstable();
        let named = frames.len();
        frames.dedup();
        // Nothing is handed out again before the host has taken it: it was freed twice.
        Stats::count(&self.stats.guest_lies, (named - frames.len()) as u64);
        let mut taken = 0;
        for run in frames.chunk_by(|a, b| a + 1 == *b) {
            let (Some(&first), Some(&last)) = (run.first(), run.last()) else { continue };
            if let Err(why) = self.memory.punch(first..last + 1) {
                // The frames stay charged: the host still backs them.
                log::error!("cannot give guest memory back: {why}");
                continue;
            }
            for gfn in run.iter().copied().map(Gfn::new) {
                accounting.memcg.uncharge(gfn);
                accounting.contents.forget(gfn);
            }
            taken += run.len() as u64;
        }
        Stats::count(&self.stats.frames_freed, taken);
        taken
    }

    /// The frame number in a slot of the free ring, if it is one the guest may free.
    fn ring_entry(&self, at: u64) -> Option<u64> {
        let mut bytes = [0; 4];
        self.memory.read(FREE_RING_GPA + at % FREE_RING_SLOTS * 4, &mut bytes).ok()?;
        let gfn = u64::from(u32::from_le_bytes(bytes));
        if !self.is_handed_out(Gfn::new(gfn)) {
            Stats::count(&self.stats.guest_lies, 1);
            return None;
        }
        Some(gfn)
    }

    /// Tells whether a frame is one the guest may hand out and free.
    pub(crate) fn is_handed_out(&self, gfn: Gfn) -> bool {
        let single = self.first_free.load(Ordering::Acquire)..self.memory.frames();
        single.contains(&gfn.get()) && !self.huge.contains(gfn.get())
    }
}
