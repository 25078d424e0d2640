//! Vector and floating-point state, saved and loaded with XSAVE in ring 3.
#![expect(unsafe_code, reason = "XSAVE and the segment-base instructions have no safe form")]

use alloc::boxed::Box;
use alloc::vec;
use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, _rdtsc};

use crate::kmem::Shortage;
use crate::kmem::class::Class;
use crate::memory::frames::Frames;
use crate::number::{PAGE_LEN, index};

/// XSAVE wants its area aligned so.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Offsets of the x87's control and status words in the legacy area.
const CONTROL: usize = 0;
const STATUS: usize = 2;
/// Offset of MXCSR in the legacy area (SDM 1, 13.4.1).
const MXCSR: usize = 24;
/// MXCSR and the x87 control word after a reset of Linux: every exception masked.
const MXCSR_START: u32 = 0x1f80;
const FCW_START: u16 = 0x037f;
/// Offset of XSTATE_BV, the bits of the components that the area holds.
const XSTATE_BV: usize = 512;

/// The extended state of a task, in the standard (not compacted) format of XSAVE.
#[derive(Debug)]
pub(crate) struct Extended {
    lines: Box<[Line]>,
}

impl Extended {
    /// The state in which a program starts, charged to nobody.
    pub(crate) fn new() -> Self {
        let mut state = Self { lines: empty_lines() };
        state.start();
        state
    }

    /// The state in which a program starts. It takes a page that the current payer is charged for, as
    /// the kernel stack of a task does in Linux.
    pub(crate) fn charged(frames: &Frames) -> Result<Self, Shortage> {
        let lines = if state_len() <= PAGE_LEN {
            frames.charged(Class::Stack, empty_lines)?
        } else {
            empty_lines()
        };
        let mut state = Self { lines };
        state.start();
        Ok(state)
    }

    /// The same state for a task that is made, charged as [`Extended::charged`] is.
    pub(crate) fn copy(&self, frames: &Frames) -> Result<Self, Shortage> {
        let mut copy = Self::charged(frames)?;
        copy.bytes_mut().copy_from_slice(self.bytes());
        Ok(copy)
    }

    /// Makes it the state in which a program starts.
    pub(crate) fn reset(&mut self) {
        self.bytes_mut().fill(0);
        self.start();
    }

    fn start(&mut self) {
        self.bytes_mut()[..2].copy_from_slice(&FCW_START.to_le_bytes());
        self.bytes_mut()[MXCSR..MXCSR + 4].copy_from_slice(&MXCSR_START.to_le_bytes());
        self.bytes_mut()[XSTATE_BV] = 3;
    }

    /// The area, for a signal frame.
    pub(crate) fn bytes(&self) -> &[u8] {
        let start = self.lines.as_ptr().cast();
        // SAFETY: lines are plain bytes without padding, and the borrow keeps them alive.
        unsafe { core::slice::from_raw_parts(start, self.lines.len() * 64) }
    }

    fn half(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes()[at], self.bytes()[at + 1]])
    }

    /// Exceptions of the x87 that were raised and are not masked, as its status word has them.
    pub(crate) fn raised_x87(&self) -> u16 {
        self.half(STATUS) & !self.half(CONTROL)
    }

    /// Exceptions of vector instructions that were raised and are not masked, as MXCSR has them.
    pub(crate) fn raised(&self) -> u16 {
        let mxcsr = self.half(MXCSR);
        mxcsr & !(mxcsr >> 7)
    }

    /// The area, to be filled from a signal frame; the header must be checked by `sanitise`.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, len) = (self.lines.as_mut_ptr().cast(), self.lines.len() * 64);
        // SAFETY: as for `bytes`, borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(start, len) }
    }

    /// Makes the area one that XRSTOR accepts, whatever a program wrote into it.
    pub(crate) fn sanitise(&mut self) {
        let allowed = enabled();
        let bytes = self.bytes_mut();
        let mut mxcsr = [0; 4];
        mxcsr.copy_from_slice(&bytes[MXCSR..MXCSR + 4]);
        let mxcsr = u32::from_le_bytes(mxcsr) & 0xffff;
        bytes[MXCSR..MXCSR + 4].copy_from_slice(&mxcsr.to_le_bytes());
        let mut present = [0; 8];
        present.copy_from_slice(&bytes[XSTATE_BV..XSTATE_BV + 8]);
        let present = u64::from_le_bytes(present) & allowed;
        bytes[XSTATE_BV..XSTATE_BV + 8].copy_from_slice(&present.to_le_bytes());
        bytes[XSTATE_BV + 8..XSTATE_BV + 64].fill(0);
    }

    /// Saves what the CPU holds.
    pub(crate) fn save(&mut self) {
        let area = self.lines.as_mut_ptr();
        // SAFETY: the area is aligned and as large as CPUID says for the enabled components.
        unsafe { asm!("xsave64 [{}]", in(reg) area, in("eax") !0_u32, in("edx") !0_u32) }
    }

    /// Loads the CPU. The kernel is compiled without vector registers, so it notices nothing.
    pub(crate) fn load(&self) {
        let area = self.lines.as_ptr();
        // SAFETY: the area came from `new`, `save` or `sanitise`, so its header is valid.
        unsafe { asm!("xrstor64 [{}]", in(reg) area, in("eax") !0_u32, in("edx") !0_u32) }
    }
}

/// Bytes of the area.
fn state_len() -> usize {
    // CPUID leaf 0xd, EBX: bytes for the components enabled in XCR0.
    index(u64::from(__cpuid_count(0xd, 0).ebx)).max(576).next_multiple_of(64)
}

fn empty_lines() -> Box<[Line]> {
    vec![Line([0; 64]); state_len() / 64].into_boxed_slice()
}

/// The components that the host enabled (XCR0).
pub(crate) fn enabled() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: CR4.OSXSAVE is set by the host before the kernel starts.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high) }
    u64::from(low) | u64::from(high) << 32
}

/// The task's FS and GS base as they are in the CPU.
pub(crate) fn segment_bases() -> (u64, u64) {
    let (fs, gs): (u64, u64);
    // SAFETY: CR4.FSGSBASE is set by the host before the kernel starts.
    unsafe { asm!("rdfsbase {}", "rdgsbase {}", out(reg) fs, out(reg) gs) }
    (fs, gs)
}

/// Loads FS and GS base; both must be canonical.
pub(crate) fn set_segment_bases(fs: u64, gs: u64) {
    // SAFETY: as for `segment_bases`; the kernel itself uses neither segment.
    unsafe { asm!("wrfsbase {}", "wrgsbase {}", in(reg) fs, in(reg) gs) }
}

/// The time-stamp counter.
pub(crate) fn time_stamp() -> u64 {
    // SAFETY: the instruction exists on every x86-64 CPU and is not restricted (CR4.TSD is 0).
    unsafe { _rdtsc() }
}
