//! Traps: how a task enters the kernel, and what it came for.

mod entry;

use vmcg_abi::layout::{
    DIRECT_FRAME, DIRECT_VECTOR, ENTRY_FRAME_LEN, ENTRY_FRAMES, EVENT_VECTOR, RESUME_FRAME,
    RESUME_WORDS, SYSCALL_GVA, TRAP_GPA, TRAP_STACK_TOP, USER_CS, USER_SS,
};

pub(crate) use entry::call_host;

use crate::number::Gfn;
use crate::physical;
use crate::task::registers::Registers;

/// Why a task stopped running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trap {
    /// It made a system call; the registers are as the `syscall` instruction found them.
    Syscall,
    /// It touched an address it has no page for, or not with this right.
    PageFault {
        /// The address.
        gva: u64,
        /// Error code of the CPU (SDM 3A 4.7).
        code: u64,
    },
    /// Any other exception.
    Exception {
        /// Number of its vector.
        vector: u64,
    },
    /// The host wants the shared page looked at.
    Event,
}

/// Vector of a breakpoint.
pub(crate) const BREAKPOINT: u64 = 3;
/// Vector of a floating-point error of the x87.
pub(crate) const X87_ERROR: u64 = 16;
/// Vector of one of a vector instruction.
pub(crate) const VECTOR_ERROR: u64 = 19;
/// Vector of a general protection fault.
const GENERAL_PROTECTION: u64 = 13;
/// Addresses from here to the other are not canonical: nothing can be executed there.
const LOWER_END: u64 = 1 << 47;
const UPPER_START: u64 = 0xffff_8000_0000_0000;
/// Vector of a page fault.
const PAGE_FAULT: u64 = 14;
/// TF and RF.
const STEP_FLAGS: u64 = 1 << 8 | 1 << 16;
/// The frame that a trap leaves, counted in words down from the top of the trap stack.
const SS_RSP_RFLAGS_CS_RIP: [u64; 5] = [1, 2, 3, 4, 5];

/// Fills in where every vector enters the kernel.
pub(crate) fn start() {
    for vector in 0..=DIRECT_VECTOR {
        let frame = TRAP_GPA + ENTRY_FRAMES + vector * ENTRY_FRAME_LEN;
        let words = [
            entry::entries() + vector * 8,
            u64::from(USER_CS),
            0x2, // interrupts stay off in the kernel
            entry::entry_stack(),
            u64::from(USER_SS),
        ];
        for (slot, word) in words.into_iter().enumerate() {
            physical::set_word(frame + slot as u64 * 8, word);
        }
    }
}

/// Whether the CPU pushes an error code for a vector (SDM 3A table 6-1).
const fn has_error_code(vector: u64) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
}

/// Lets a task run, in the address space of `root`, until it traps.
pub(crate) fn run(registers: &mut Registers, root: Gfn) -> Trap {
    if (LOWER_END..UPPER_START).contains(&registers.rip) {
        // The stub's iretq would fault in ring 0; the task faults here instead.
        return Trap::Exception { vector: GENERAL_PROTECTION };
    }
    let frame: [u64; RESUME_WORDS] = [
        root.gpa(),
        registers.rax,
        registers.rip,
        u64::from(USER_CS),
        registers.safe_flags(),
        registers.rsp,
        u64::from(USER_SS),
        registers.rcx,
        registers.r11,
        u64::from(is_as_after_syscall(registers)),
    ];
    for (slot, word) in frame.into_iter().enumerate() {
        physical::set_word(TRAP_GPA + RESUME_FRAME + slot as u64 * 8, word);
    }
    let vector = entry::run(registers);
    read_frame(registers, vector)
}

/// Whether `sysret` restores everything: rcx and r11 are what it takes rip and the flags from. It
/// cannot set the flags with which a single step goes on.
const fn is_as_after_syscall(registers: &Registers) -> bool {
    let flags = registers.safe_flags();
    registers.rcx == registers.rip && registers.r11 == flags && flags & STEP_FLAGS == 0
}

/// A word of the trap frame.
fn frame_word(from_top: u64) -> u64 {
    physical::word(TRAP_GPA + TRAP_STACK_TOP - from_top * 8)
}

/// A word that `syscall` left where it enters ring 0.
fn direct_word(slot: u64) -> u64 {
    physical::word(TRAP_GPA + DIRECT_FRAME + slot * 8)
}

/// Completes the registers from the trap frame and decodes what happened.
fn read_frame(registers: &mut Registers, vector: u64) -> Trap {
    if vector == DIRECT_VECTOR {
        let [rax, rsp, rip, rflags] = [0, 1, 2, 3].map(direct_word);
        (registers.rax, registers.rsp) = (rax, rsp);
        (registers.rcx, registers.rip) = (rip, rip);
        (registers.r11, registers.rflags) = (rflags, rflags);
        return Trap::Syscall;
    }
    let [_, rsp, rflags, _, rip] = SS_RSP_RFLAGS_CS_RIP.map(frame_word);
    let has_code = has_error_code(vector);
    registers.rax = frame_word(if has_code { 7 } else { 6 });
    registers.rip = rip;
    registers.rflags = rflags;
    registers.rsp = rsp;
    match vector {
        BREAKPOINT if rip == SYSCALL_GVA + 1 => {
            registers.rip = registers.rcx;
            registers.rflags = registers.r11;
            Trap::Syscall
        }
        PAGE_FAULT => Trap::PageFault { gva: frame_word(8), code: frame_word(6) },
        EVENT_VECTOR => Trap::Event,
        _ => Trap::Exception { vector },
    }
}
