//! The frame that a signal handler finds on its stack, and the way back from it.
//!
//! Source: Linux v6.12 arch/x86/include/uapi/asm/sigcontext.h, ucontext.h, arch/x86/kernel/signal_64.c
//! and arch/x86/kernel/fpu/signal.c.
//!
//! ```text
//! frame + 0    return address: the action's restorer
//!       + 8    ucontext: flags, link, stack_t, sigcontext_64, sigmask
//!       + 312  siginfo
//!       + 440  end; the extended state lies above it, aligned to 64
//! ```

use alloc::vec::Vec;

use super::info::{SIGINFO_LEN, SignalInfo};
use super::number::SignalSet;
use super::stack::{AlternateStack, STACK_LEN};
use crate::task::registers::Registers;
use vmcg_abi::layout::{USER_CS, USER_SS};

/// Bytes of a `struct rt_sigframe`.
pub(crate) const FRAME_LEN: usize = 440;
/// Bytes below the stack pointer that the ABI leaves to leaf functions.
pub(crate) const RED_ZONE: u64 = 128;

/// Offset of the ucontext.
pub(crate) const UCONTEXT: usize = 8;
/// Offset of `uc_stack`.
const STACK: usize = UCONTEXT + 16;
/// Offset of `uc_mcontext`.
const CONTEXT: usize = STACK + STACK_LEN;
/// Offset of the selectors cs, gs, fs, ss.
const SELECTORS: usize = CONTEXT + 18 * 8;
/// Offset of err, trapno, oldmask, cr2.
const TRAP_WORDS: usize = SELECTORS + 8;
/// Offset of the pointer to the extended state.
const FPSTATE: usize = TRAP_WORDS + 4 * 8;
/// Bytes of a `struct sigcontext_64`.
const CONTEXT_LEN: usize = 256;
/// Offset of `uc_sigmask`.
const MASK: usize = CONTEXT + CONTEXT_LEN;
/// Offset of the siginfo.
pub(crate) const SIGINFO: usize = MASK + 8;

const _: () = assert!(FPSTATE + 8 + 8 * 8 == MASK);
const _: () = assert!(SIGINFO == 312 && SIGINFO + SIGINFO_LEN == FRAME_LEN);

/// `uc_flags`: extended state present, ss saved, ss restored exactly.
const UC_FLAGS: u64 = 1 | 2 | 4;
/// Vector of a page fault, as `trapno`.
const PAGE_FAULT: u64 = 14;

/// Offset, in the legacy area, of the words that describe the extended state.
const SOFTWARE: usize = 464;
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Bytes of the legacy area and of the header behind it.
const LEGACY_LEN: usize = 512;
const HEADER_END: usize = LEGACY_LEN + 64;
/// The legacy area's components in XSTATE_BV: x87 and SSE.
const LEGACY_COMPONENTS: u64 = 3;

/// Everything a frame holds.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The action's restorer.
    pub(crate) restorer: u64,
    /// What was interrupted.
    pub(crate) registers: Registers,
    /// The alternate stack, as a `stack_t`.
    pub(crate) stack: [u8; STACK_LEN],
    /// Signals to be blocked again on return.
    pub(crate) mask: SignalSet,
    /// Address of the extended state, or 0.
    pub(crate) fpstate: u64,
}

impl Frame {
    /// The frame's bytes.
    pub(crate) fn to_bytes(&self, info: SignalInfo) -> [u8; FRAME_LEN] {
        let mut bytes = [0; FRAME_LEN];
        put_word(&mut bytes, 0, self.restorer);
        put_word(&mut bytes, UCONTEXT, UC_FLAGS);
        bytes[STACK..CONTEXT].copy_from_slice(&self.stack);
        for (i, value) in context_words(&self.registers).into_iter().enumerate() {
            put_word(&mut bytes, CONTEXT + i * 8, value);
        }
        bytes[SELECTORS..SELECTORS + 2].copy_from_slice(&USER_CS.to_le_bytes());
        bytes[SELECTORS + 6..SELECTORS + 8].copy_from_slice(&USER_SS.to_le_bytes());
        if let Some(address) = info.fault_address() {
            put_word(&mut bytes, TRAP_WORDS + 8, PAGE_FAULT);
            put_word(&mut bytes, TRAP_WORDS + 24, address);
        }
        put_word(&mut bytes, TRAP_WORDS + 16, self.mask.0);
        put_word(&mut bytes, FPSTATE, self.fpstate);
        put_word(&mut bytes, MASK, self.mask.0);
        bytes[SIGINFO..].copy_from_slice(&info.to_bytes());
        bytes
    }

    /// Reads a frame back. Selectors are not taken over: a task has only one choice of them.
    pub(crate) fn from_bytes(bytes: &[u8; FRAME_LEN]) -> Self {
        let mut registers = Registers::default();
        set_context_words(&mut registers, |i| word(bytes, CONTEXT + i * 8));
        let mut stack = [0; STACK_LEN];
        stack.copy_from_slice(&bytes[STACK..CONTEXT]);
        Self {
            restorer: word(bytes, 0),
            registers,
            stack,
            mask: SignalSet(word(bytes, MASK)).without(SignalSet::UNBLOCKABLE),
            fpstate: word(bytes, FPSTATE),
        }
    }
}

/// Where a frame and its extended state go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Address of the frame: 8 below a multiple of 16, as after a call.
    pub(crate) frame: u64,
    /// Address of the extended state, a multiple of 64.
    pub(crate) fpstate: u64,
}

impl Place {
    /// The place for a frame with `state_len` bytes of extended state; `None` when the stack
    /// pointer leaves no room.
    pub(crate) fn below(
        rsp: u64,
        alternate: Option<AlternateStack>,
        state_len: usize,
    ) -> Option<Self> {
        let top = match alternate.and_then(|stack| stack.top_for(rsp)) {
            Some(top) => top,
            None => rsp.checked_sub(RED_ZONE)?,
        };
        let fpstate = top.checked_sub(state_len as u64)? & !63;
        let frame = (fpstate.checked_sub(FRAME_LEN as u64)? & !15).checked_sub(8)?;
        Some(Self { frame, fpstate })
    }
}

/// The extended state as it goes to the stack: marked with its size at both ends.
pub(crate) fn marked_state(area: &[u8], components: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(area.len() + 4);
    bytes.extend_from_slice(area);
    let len = u32::try_from(area.len()).unwrap_or(u32::MAX);
    let put = |bytes: &mut Vec<u8>, at: usize, value: &[u8]| {
        bytes[at..at + value.len()].copy_from_slice(value);
    };
    put(&mut bytes, SOFTWARE, &FP_XSTATE_MAGIC1.to_le_bytes());
    put(&mut bytes, SOFTWARE + 4, &(len + 4).to_le_bytes());
    put(&mut bytes, SOFTWARE + 8, &components.to_le_bytes());
    put(&mut bytes, SOFTWARE + 16, &len.to_le_bytes());
    bytes.extend_from_slice(&FP_XSTATE_MAGIC2.to_le_bytes());
    bytes
}

/// Bytes of extended state behind a legacy area, if its marks say that there is more than that.
pub(crate) fn marked_len(legacy: &[u8; LEGACY_LEN], area_len: usize) -> usize {
    let half = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| legacy[at + i]));
    let len = half(SOFTWARE + 16) as usize;
    let is_whole = half(SOFTWARE) == FP_XSTATE_MAGIC1 && (HEADER_END..=area_len).contains(&len);
    if is_whole { len } else { LEGACY_LEN }
}

/// Completes an area of which only the legacy part was given: the other components are reset.
pub(crate) fn only_legacy(area: &mut [u8]) {
    area[LEGACY_LEN..].fill(0);
    area[LEGACY_LEN..LEGACY_LEN + 8].copy_from_slice(&LEGACY_COMPONENTS.to_le_bytes());
}

/// The registers in the order of `struct sigcontext_64`.
fn context_words(r: &Registers) -> [u64; 18] {
    [
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx,
        r.rax, r.rcx, r.rsp, r.rip, r.rflags,
    ]
}

/// The inverse of [`context_words`].
fn set_context_words(r: &mut Registers, word: impl Fn(usize) -> u64) {
    let places = [
        &mut r.r8,
        &mut r.r9,
        &mut r.r10,
        &mut r.r11,
        &mut r.r12,
        &mut r.r13,
        &mut r.r14,
        &mut r.r15,
        &mut r.rdi,
        &mut r.rsi,
        &mut r.rbp,
        &mut r.rbx,
        &mut r.rdx,
        &mut r.rax,
        &mut r.rcx,
        &mut r.rsp,
        &mut r.rip,
        &mut r.rflags,
    ];
    for (i, place) in places.into_iter().enumerate() {
        *place = word(i);
    }
}

fn put_word(bytes: &mut [u8; FRAME_LEN], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn word(bytes: &[u8; FRAME_LEN], at: usize) -> u64 {
    u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| bytes[at + i]))
}
