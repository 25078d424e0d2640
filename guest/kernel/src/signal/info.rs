//! What a signal carries: `siginfo_t`.
//!
//! Source: Linux v6.12 include/uapi/asm-generic/siginfo.h.

use super::number::Signal;
use crate::number::Tid;

/// Bytes of a `siginfo_t`.
pub(crate) const SIGINFO_LEN: usize = 128;

/// Values of `si_code`.
pub(crate) mod code {
    /// Sent by kill().
    pub(crate) const USER: i32 = 0;
    /// Sent by the kernel.
    pub(crate) const KERNEL: i32 = 0x80;
    /// A timer of timer_create() expired.
    pub(crate) const TIMER: i32 = -2;
    /// Sent by tkill() or tgkill().
    pub(crate) const TKILL: i32 = -6;
    /// Illegal operand, for SIGILL.
    pub(crate) const ILL_ILLOPN: i32 = 2;
    /// Integer division by zero, for SIGFPE.
    pub(crate) const FPE_INTDIV: i32 = 1;
    /// Floating-point division by zero, for SIGFPE.
    pub(crate) const FPE_FLTDIV: i32 = 3;
    /// Floating-point overflow.
    pub(crate) const FPE_FLTOVF: i32 = 4;
    /// Floating-point underflow.
    pub(crate) const FPE_FLTUND: i32 = 5;
    /// An inexact result.
    pub(crate) const FPE_FLTRES: i32 = 6;
    /// An operation that has no result.
    pub(crate) const FPE_FLTINV: i32 = 7;
    /// Nothing is mapped there, for SIGSEGV.
    pub(crate) const SEGV_MAPERR: i32 = 1;
    /// The mapping does not permit it, for SIGSEGV.
    pub(crate) const SEGV_ACCERR: i32 = 2;
    /// Unaligned access, for SIGBUS.
    pub(crate) const BUS_ADRALN: i32 = 1;
    /// Beyond the end of a mapped file, for SIGBUS.
    pub(crate) const BUS_ADRERR: i32 = 2;
    /// Single step, for SIGTRAP.
    pub(crate) const TRAP_TRACE: i32 = 2;
    /// A child ended by itself, for SIGCHLD.
    pub(crate) const CLD_EXITED: i32 = 1;
    /// A child was ended by a signal.
    pub(crate) const CLD_KILLED: i32 = 2;
    /// A child was stopped.
    pub(crate) const CLD_STOPPED: i32 = 5;
    /// A stopped child goes on.
    pub(crate) const CLD_CONTINUED: i32 = 6;
}

/// The part of a `siginfo_t` that depends on where the signal comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The kernel, nothing more to say.
    Kernel,
    /// A task; the value is what sigqueue() passes along.
    Task {
        /// The sender's process.
        pid: Tid,
        /// Word of `union sigval`.
        value: u64,
    },
    /// A timer of timer_create().
    Timer {
        /// Its id.
        id: usize,
        /// How often it expired besides once.
        overrun: u64,
        /// Word of `union sigval`.
        value: u64,
    },
    /// A child that changed state.
    Child {
        /// The child.
        pid: Tid,
        /// Exit code or signal number.
        status: i32,
    },
    /// A fault at an address.
    Fault {
        /// The address, or the instruction's.
        address: u64,
    },
}

/// A signal on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignalInfo {
    /// Which signal.
    pub(crate) signal: Signal,
    /// `si_code`, see [`code`].
    pub(crate) code: i32,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

impl SignalInfo {
    /// A signal the kernel sends of itself.
    pub(crate) const fn kernel(signal: Signal) -> Self {
        Self { signal, code: code::KERNEL, origin: Origin::Kernel }
    }

    /// A signal a task sent.
    pub(crate) const fn task(signal: Signal, code: i32, pid: Tid) -> Self {
        Self { signal, code, origin: Origin::Task { pid, value: 0 } }
    }

    /// A fault of the task itself.
    pub(crate) const fn fault(signal: Signal, code: i32, address: u64) -> Self {
        Self { signal, code, origin: Origin::Fault { address } }
    }

    /// SIGCHLD for a child that changed state; `status` is its exit code or a signal number.
    pub(crate) const fn child(pid: Tid, code: i32, status: i32) -> Self {
        Self { signal: Signal::CHLD, code, origin: Origin::Child { pid, status } }
    }

    /// The address of a fault that has one.
    pub(crate) const fn fault_address(&self) -> Option<u64> {
        match self.origin {
            Origin::Fault { address } => Some(address),
            _ => None,
        }
    }

    /// The `siginfo_t`. Every user is 0, so `si_uid` always is.
    pub(crate) fn to_bytes(self) -> [u8; SIGINFO_LEN] {
        let mut bytes = [0; SIGINFO_LEN];
        put(&mut bytes, 0, &i32::from(self.signal.number()).to_le_bytes());
        put(&mut bytes, 8, &self.code.to_le_bytes());
        match self.origin {
            Origin::Kernel => {}
            Origin::Task { pid, value } => {
                put(&mut bytes, 16, &pid.0.to_le_bytes());
                put(&mut bytes, 24, &value.to_le_bytes());
            }
            Origin::Timer { id, overrun, value } => {
                let half = |number: u64| number.min(i32::MAX as u64).to_le_bytes();
                put(&mut bytes, 16, &half(id as u64)[..4]);
                put(&mut bytes, 20, &half(overrun)[..4]);
                put(&mut bytes, 24, &value.to_le_bytes());
            }
            Origin::Child { pid, status } => {
                put(&mut bytes, 16, &pid.0.to_le_bytes());
                put(&mut bytes, 24, &status.to_le_bytes());
            }
            Origin::Fault { address } => put(&mut bytes, 16, &address.to_le_bytes()),
        }
        bytes
    }
}

fn put(bytes: &mut [u8; SIGINFO_LEN], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}
