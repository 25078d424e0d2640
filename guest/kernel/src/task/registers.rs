//! The registers of a task as the trap entry leaves them.

/// Flags a program may set itself: arithmetic, direction, trap, alignment, id.
const USER_FLAGS: u64 = 0x0024_0dd5;
/// Bit 1 is always set; interrupts are on in ring 3.
const FIXED_FLAGS: u64 = 0x0202;

/// General registers. The order is the trap entry's (trap/entry.rs).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Registers {
    pub(crate) r15: u64,
    pub(crate) r14: u64,
    pub(crate) r13: u64,
    pub(crate) r12: u64,
    pub(crate) rbp: u64,
    pub(crate) rbx: u64,
    pub(crate) r11: u64,
    pub(crate) r10: u64,
    pub(crate) r9: u64,
    pub(crate) r8: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
    pub(crate) rsi: u64,
    pub(crate) rdi: u64,
    pub(crate) rax: u64,
    pub(crate) rip: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
}

impl Registers {
    /// The flags with which the task may run: what it must not choose is overruled.
    pub(crate) const fn safe_flags(&self) -> u64 {
        self.rflags & USER_FLAGS | FIXED_FLAGS
    }
}
