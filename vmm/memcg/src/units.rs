//! Numbers that must not be mixed up: page counts, frame numbers, guest addresses, task ids.
//!
//! None of them has arithmetic operators: a frame number plus a page count means nothing, and a
//! sum of page counts belongs into a [`crate::Counter`], which knows its limit.

use std::fmt;

/// A number of 4 KiB pages. Bytes exist only at the edge, where control files are read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pages(u64);

impl Pages {
    /// No pages.
    pub const ZERO: Self = Self(0);
    /// One page.
    pub const ONE: Self = Self(1);
    /// The limit that is no limit: `PAGE_COUNTER_MAX` of Linux on 64-bit, `LONG_MAX / PAGE_SIZE`.
    pub const UNLIMITED: Self = Self(i64::MAX.unsigned_abs() / 4096);

    /// Makes a count of `count` pages.
    #[must_use]
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// Returns the count as a plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Tells whether this is no page at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Tells whether this limit lets everything pass.
    #[must_use]
    pub const fn is_unlimited(self) -> bool {
        self.0 >= Self::UNLIMITED.0
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pages", self.0)
    }
}

/// A guest frame number: a guest-physical address divided by 4096.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gfn(u64);

impl Gfn {
    /// Names the frame with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the frame's number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Gfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gfn {:#x}", self.0)
    }
}

/// A guest-virtual address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gva(u64);

impl Gva {
    /// The lowest address, where a scan begins.
    pub const ZERO: Self = Self(0);

    /// Names this address.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// Returns the address as a plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A task id of the guest. A thread-group id is the id of the group's leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(u32);

impl Tid {
    /// The guest's first task, which belongs to the root group for good.
    pub const INIT: Self = Self(1);

    /// Names the task with this id.
    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// Returns the id as a plain number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Pages;

    #[test]
    fn unlimited_is_what_linux_prints_divided_by_the_page_size() {
        assert_eq!(Pages::UNLIMITED.get() * 4096, 9_223_372_036_854_771_712);
    }
}
