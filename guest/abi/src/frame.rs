//! One 64-bit entry of the frame table for each guest frame, kept by the guest, read by the host.

/// What a frame is used for. The guest sets it before it lets anyone touch the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Not handed out.
    Free = 0,
    /// Anonymous memory of tasks.
    Anon = 1,
    /// Page cache of a file of the host.
    File = 2,
    /// Shared memory and files of tmpfs.
    Shmem = 3,
    /// The kernel's own memory.
    Kernel = 4,
    /// A page table.
    PageTable = 5,
    /// Part of a huge page.
    Huge = 6,
}

impl FrameKind {
    /// Decodes the kind; an unknown number is `None`.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Free),
            1 => Some(Self::Anon),
            2 => Some(Self::File),
            3 => Some(Self::Shmem),
            4 => Some(Self::Kernel),
            5 => Some(Self::PageTable),
            6 => Some(Self::Huge),
            _ => None,
        }
    }
}

/// An entry of the frame table: bits 0-7 the kind, bits 8-15 flags, bits 16-31 the kmem id of a
/// kernel frame that is accounted, bits 32-63 the map count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameEntry(pub u64);

impl FrameEntry {
    /// Flag: the frame is locked in memory and must not be evicted.
    pub const LOCKED: u8 = 1;

    /// Makes an entry of `kind`, mapped `mapcount` times, without flags.
    #[must_use]
    pub const fn new(kind: FrameKind, mapcount: u32) -> Self {
        Self(kind as u64 | (mapcount as u64) << 32)
    }

    /// The kind, or `None` where the guest wrote an unknown number.
    #[must_use]
    pub const fn kind(self) -> Option<FrameKind> {
        FrameKind::from_bits(self.0.to_le_bytes()[0])
    }

    /// Flags, an or of [`Self::LOCKED`] and nothing else today.
    #[must_use]
    pub const fn flags(self) -> u8 {
        self.0.to_le_bytes()[1]
    }

    /// How many page-table entries of tasks point at the frame.
    #[must_use]
    pub const fn mapcount(self) -> u32 {
        let b = self.0.to_le_bytes();
        u32::from_le_bytes([b[4], b[5], b[6], b[7]])
    }

    /// The kmem id of the cgroup that pays for a kernel frame; 0 = it is not accounted.
    #[must_use]
    pub const fn kmem(self) -> u16 {
        let b = self.0.to_le_bytes();
        u16::from_le_bytes([b[2], b[3]])
    }

    /// The same entry, paid for by the cgroup of this kmem id.
    #[must_use]
    pub const fn with_kmem(self, id: u16) -> Self {
        Self(self.0 & !0xffff_0000 | (id as u64) << 16)
    }

    /// The same entry with another map count.
    #[must_use]
    pub const fn with_mapcount(self, mapcount: u32) -> Self {
        Self(self.0 & 0xffff_ffff | (mapcount as u64) << 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_kind_and_mapcount_apart() {
        let entry = FrameEntry::new(FrameKind::Shmem, 7).with_mapcount(u32::MAX);
        assert_eq!(entry.kind(), Some(FrameKind::Shmem));
        assert_eq!(entry.mapcount(), u32::MAX);
        assert_eq!((entry.flags(), entry.kmem()), (0, 0));
        let entry = entry.with_kmem(u16::MAX).with_mapcount(1);
        assert_eq!((entry.kind(), entry.flags()), (Some(FrameKind::Shmem), 0));
        assert_eq!((entry.kmem(), entry.mapcount()), (u16::MAX, 1));
    }

    #[test]
    fn an_unknown_kind_is_none() {
        assert_eq!(FrameEntry(7).kind(), None);
        assert_eq!(FrameEntry(0xff).kind(), None);
    }
}
