//! The alternate stack of a task, as sigaltstack() sets it.
//!
//! Source: Linux v6.12 include/uapi/linux/signal.h, `stack_t` and SS_*.

use crate::errno::Errno;
use crate::number::low_u32;

/// Bytes of a `stack_t`.
pub(crate) const STACK_LEN: usize = 24;

/// The task runs on the stack now.
const SS_ONSTACK: u32 = 1;
/// There is no alternate stack.
const SS_DISABLE: u32 = 2;
/// The stack is switched off while a handler runs on it.
const SS_AUTODISARM: u32 = 1 << 31;
/// Smallest stack that is accepted.
const MINSIGSTKSZ: u64 = 2048;

/// An alternate stack; `size` 0 when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AlternateStack {
    base: u64,
    size: u64,
    is_disarmed_on_use: bool,
}

impl AlternateStack {
    /// Reads a `stack_t`.
    pub(crate) fn from_bytes(bytes: &[u8; STACK_LEN]) -> Result<Self, Errno> {
        let (words, _) = bytes.as_chunks::<8>();
        let [base, flags, size] = [0, 1, 2].map(|i| u64::from_le_bytes(words[i]));
        let flags = low_u32(flags);
        match flags & !SS_AUTODISARM {
            SS_DISABLE => Ok(Self::default()),
            0 | SS_ONSTACK if size < MINSIGSTKSZ => Err(Errno::ENOMEM),
            0 | SS_ONSTACK => {
                Ok(Self { base, size, is_disarmed_on_use: flags & SS_AUTODISARM != 0 })
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// The `stack_t`, as seen from a task whose stack pointer is `rsp`.
    pub(crate) fn to_bytes(self, rsp: u64) -> [u8; STACK_LEN] {
        let state = match self.size {
            0 => SS_DISABLE,
            _ if self.contains(rsp) => SS_ONSTACK,
            _ => 0,
        };
        let flags = state | if self.is_disarmed_on_use { SS_AUTODISARM } else { 0 };
        let mut bytes = [0; STACK_LEN];
        bytes[..8].copy_from_slice(&self.base.to_le_bytes());
        bytes[8..12].copy_from_slice(&flags.to_le_bytes());
        bytes[16..].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }

    /// Whether a task with this stack pointer runs on the alternate stack.
    pub(crate) const fn contains(self, rsp: u64) -> bool {
        !self.is_disarmed_on_use && rsp > self.base && rsp - self.base <= self.size
    }

    /// Where a handler's stack starts when it is to run on the alternate stack.
    pub(crate) fn top_for(self, rsp: u64) -> Option<u64> {
        if self.size == 0 || self.contains(rsp) {
            return None;
        }
        self.base.checked_add(self.size)
    }

    /// The stack while a handler runs on it.
    #[must_use]
    pub(crate) fn while_used(self) -> Self {
        if self.is_disarmed_on_use { Self::default() } else { self }
    }
}
