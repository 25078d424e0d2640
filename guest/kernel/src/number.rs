//! Conversions between integers, and the newtypes for the numbers that must not be mixed up.

use vmcg_abi::layout::PAGE_SIZE;

/// Page size as a length in memory.
pub(crate) const PAGE_LEN: usize = 4096;

/// Id of a task (a thread), unique among living tasks. A process has the id of its first task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tid(pub(crate) u32);

impl Tid {
    /// The kernel's own stand-in for init: parent of jobs, reaper of orphans; never runs.
    pub(crate) const INIT: Self = Self(1);

    /// The id as a system call returns it.
    pub(crate) const fn word(self) -> u64 {
        self.0 as u64
    }

    /// The id a program named, if it can be one.
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        match low_i32(word) {
            id if id > 0 => Some(Self(id.cast_unsigned())),
            _ => None,
        }
    }
}

/// Number of a frame of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Gfn(pub(crate) u64);

impl Gfn {
    /// Guest-physical address of the frame's first byte.
    pub(crate) const fn gpa(self) -> u64 {
        self.0 * PAGE_SIZE
    }

    /// The frame that holds a guest-physical address.
    pub(crate) const fn of(gpa: u64) -> Self {
        Self(gpa / PAGE_SIZE)
    }
}

/// A word as a length or an index.
pub(crate) const fn index(word: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "the kernel runs on x86-64 only")]
    {
        word as usize
    }
}

/// The low half of a word, as system calls take an unsigned int.
pub(crate) const fn low_u32(word: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the high half is dropped on purpose")]
    {
        word as u32
    }
}

/// The low half of a word, as system calls take an int.
pub(crate) const fn low_i32(word: u64) -> i32 {
    low_u32(word).cast_signed()
}

/// The lowest byte of a word.
pub(crate) const fn low_u8(word: u64) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "the high bytes are dropped on purpose")]
    {
        word as u8
    }
}

/// Rounds down to a page boundary.
pub(crate) const fn page_floor(value: u64) -> u64 {
    value & !(PAGE_SIZE - 1)
}

/// Rounds up to a page boundary; `None` where that overflows.
pub(crate) fn page_ceil(value: u64) -> Option<u64> {
    value.checked_add(PAGE_SIZE - 1).map(page_floor)
}
