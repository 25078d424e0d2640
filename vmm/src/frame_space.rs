//! How many frames the guest has, and how many of them may be in memory at once.
//!
//! A frame keeps its number while its content is in swap or dropped, so the guest has more frames than
//! `--memory` has pages: as many as memory and swap hold together, and as many again as memory holds
//! for pages of files that were dropped and zeros that were evicted. What the host backs is bounded by
//! `--memory` all the same ([`crate::shortage`]). A frame that is never used costs nothing but address
//! space: every table with an entry a frame is backed where it is touched.

use vmcg_abi::layout::{PAGE_SIZE, RAM_BYTES_MAX, RAM_BYTES_MIN};

use crate::error::MachineError;

/// The frames of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameSpace {
    /// What `--memory` says.
    pub(crate) memory_bytes: u64,
    /// What `--swap` says.
    pub(crate) swap_bytes: u64,
    /// What the guest has frames for.
    pub(crate) frame_bytes: u64,
}

impl FrameSpace {
    /// Decides how many frames there are for so much memory and swap.
    ///
    /// # Errors
    /// When that is less than a guest needs, or more than it has page tables for.
    pub(crate) fn plan(memory_bytes: u64, swap_bytes: u64) -> Result<Self, MachineError> {
        let is_possible = (RAM_BYTES_MIN..=RAM_BYTES_MAX).contains(&memory_bytes);
        if !is_possible || !memory_bytes.is_multiple_of(PAGE_SIZE) {
            return Err(MachineError::MemorySize { bytes: memory_bytes, min: "16M", max: "192G" });
        }
        let both = memory_bytes.saturating_add(swap_bytes / PAGE_SIZE * PAGE_SIZE);
        if both > RAM_BYTES_MAX {
            return Err(MachineError::SwapSize { bytes: swap_bytes, memory_bytes, max: "192G" });
        }
        let frame_bytes = both.saturating_add(memory_bytes).min(RAM_BYTES_MAX);
        Ok(Self { memory_bytes, swap_bytes, frame_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: u64 = 1 << 30;

    #[test]
    fn there_are_frames_for_memory_twice_and_for_swap_as_far_as_page_tables_go() {
        let frames = |memory, swap| FrameSpace::plan(memory, swap).unwrap().frame_bytes;
        assert_eq!(frames(G, 0), 2 * G);
        assert_eq!(frames(G, 3 * G), 5 * G);
        assert_eq!(frames(G, 3 * G + 5), 5 * G);
        assert_eq!(frames(191 * G, G), 192 * G);
    }

    #[test]
    fn what_has_no_frames_is_refused() {
        for (memory, swap) in
            [(G + 1, 0), (1 << 20, 0), (193 * G, 0), (191 * G, 2 * G), (G, u64::MAX)]
        {
            assert!(FrameSpace::plan(memory, swap).is_err(), "{memory} {swap}");
        }
    }
}
