//! What a group has counters for.

/// One counter of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Backed pages: user memory, and kernel memory where it is accounted.
    Memory,
    /// Backed pages plus swapped-out ones.
    Memsw,
    /// Kernel memory; also part of `Memory`.
    Kmem,
    /// TCP buffers; not part of `Memory`.
    Tcp,
    /// Huge pages of one size; not part of `Memory`. Counted in 4 KiB pages like everything else.
    Huge(HugeSize, HugeUse),
}

/// A huge page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HugeSize {
    /// 2 MiB.
    Mb2,
    /// 1 GiB.
    Gb1,
}

/// The moment at which a huge page is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HugeUse {
    /// At the fault (Linux 3.6): over the limit is SIGBUS.
    Fault,
    /// At the reservation (Linux 5.7 `rsvd`): over the limit is ENOMEM from mmap.
    Rsvd,
    /// At mmap, as the 2012 posting had it, under its own `memory.hugetlb` names.
    Seed,
}

impl Resource {
    /// Number of counters in a group.
    pub(crate) const COUNT: usize = 10;

    /// Number of those that count pages of the common size; they come first.
    pub(crate) const PAGES: usize = 4;

    /// Every resource, in the order in which a group keeps them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Memory,
        Self::Memsw,
        Self::Kmem,
        Self::Tcp,
        Self::Huge(HugeSize::Mb2, HugeUse::Fault),
        Self::Huge(HugeSize::Mb2, HugeUse::Rsvd),
        Self::Huge(HugeSize::Mb2, HugeUse::Seed),
        Self::Huge(HugeSize::Gb1, HugeUse::Fault),
        Self::Huge(HugeSize::Gb1, HugeUse::Rsvd),
        Self::Huge(HugeSize::Gb1, HugeUse::Seed),
    ];

    /// Position of the counter in a group. `Memory` and `Memsw` are neighbours: they share a cache
    /// line, and every charge touches both.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Memory => 0,
            Self::Memsw => 1,
            Self::Kmem => 2,
            Self::Tcp => 3,
            Self::Huge(HugeSize::Mb2, HugeUse::Fault) => 4,
            Self::Huge(HugeSize::Mb2, HugeUse::Rsvd) => 5,
            Self::Huge(HugeSize::Mb2, HugeUse::Seed) => 6,
            Self::Huge(HugeSize::Gb1, HugeUse::Fault) => 7,
            Self::Huge(HugeSize::Gb1, HugeUse::Rsvd) => 8,
            Self::Huge(HugeSize::Gb1, HugeUse::Seed) => 9,
        }
    }

    /// Number of pages a limit of this counter is rounded down to.
    pub(crate) const fn granule(self) -> u64 {
        match self {
            Self::Huge(size, _) => size.pages().get(),
            Self::Memory | Self::Memsw | Self::Kmem | Self::Tcp => 1,
        }
    }
}

impl HugeSize {
    /// Every size, smallest first.
    pub const ALL: [Self; 2] = [Self::Mb2, Self::Gb1];

    /// Number of 4 KiB pages in one huge page.
    #[must_use]
    pub const fn pages(self) -> crate::Pages {
        match self {
            Self::Mb2 => crate::Pages::new(512),
            Self::Gb1 => crate::Pages::new(262_144),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Resource;

    #[test]
    fn every_resource_has_its_own_place() {
        for (place, resource) in Resource::ALL.into_iter().enumerate() {
            assert_eq!(resource.index(), place);
        }
    }
}
