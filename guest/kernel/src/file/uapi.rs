//! Numbers and records of the file system calls.
//!
//! Source: Linux v6.12 include/uapi/asm-generic/fcntl.h, include/uapi/linux/stat.h,
//! arch/x86/include/uapi/asm/stat.h, include/uapi/linux/fcntl.h.

use crate::number::low_u32;

/// Flags of open() and of an open file.
pub(crate) mod open {
    /// Bits of the access mode.
    pub(crate) const ACCESS_MODE: u32 = 3;
    /// Only reads.
    pub(crate) const READ_ONLY: u32 = 0;
    /// Only writes.
    pub(crate) const WRITE_ONLY: u32 = 1;
    /// Both.
    pub(crate) const READ_WRITE: u32 = 2;
    pub(crate) const CREATE: u32 = 0o100;
    pub(crate) const EXCLUSIVE: u32 = 0o200;
    pub(crate) const TRUNCATE: u32 = 0o1000;
    pub(crate) const APPEND: u32 = 0o2000;
    pub(crate) const NON_BLOCKING: u32 = 0o4000;
    /// Compatibility: set on every file of a 64-bit program.
    pub(crate) const LARGE_FILE: u32 = 0o100_000;
    pub(crate) const DIRECTORY: u32 = 0o200_000;
    pub(crate) const NO_FOLLOW: u32 = 0o400_000;
    pub(crate) const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    pub(crate) const PATH: u32 = 0o10_000_000;
    /// An unnamed file; its bits hold DIRECTORY too.
    pub(crate) const TEMPORARY: u32 = 0o20_200_000;
    /// What F_GETFL tells: the rest applies to the open() alone.
    pub(crate) const STATUS: u32 =
        ACCESS_MODE | APPEND | NON_BLOCKING | LARGE_FILE | PATH | DIRECTORY;
    /// What F_SETFL may change.
    pub(crate) const CHANGEABLE: u32 = APPEND | NON_BLOCKING;
}

/// Flags and special descriptors of the *at calls.
pub(crate) mod at {
    /// The working directory, as a descriptor.
    pub(crate) const CWD: i32 = -100;
    pub(crate) const SYMLINK_NOFOLLOW: u32 = 0x100;
    pub(crate) const REMOVEDIR: u32 = 0x200;
    pub(crate) const EMPTY_PATH: u32 = 0x1000;
}

/// Events of poll() (Linux v6.12 include/uapi/asm-generic/poll.h).
pub(crate) mod poll {
    pub(crate) const IN: u16 = 1;
    pub(crate) const OUT: u16 = 4;
    pub(crate) const ERROR: u16 = 8;
    pub(crate) const HANG_UP: u16 = 0x10;
    /// The descriptor is not open.
    pub(crate) const INVALID: u16 = 0x20;
    pub(crate) const READ_NORMAL: u16 = 0x40;
    pub(crate) const WRITE_NORMAL: u16 = 0x100;
    /// The other side of a socket sends no more (POLLRDHUP).
    pub(crate) const HALF_CLOSED: u16 = 0x2000;
    /// Told whether asked for or not.
    pub(crate) const ALWAYS: u16 = ERROR | HANG_UP | INVALID;
}

/// Types of files, in `st_mode`.
pub(crate) mod mode {
    pub(crate) const TYPE: u32 = 0o170_000;
    pub(crate) const FIFO: u32 = 0o010_000;
    pub(crate) const CHARACTER: u32 = 0o020_000;
    pub(crate) const DIRECTORY: u32 = 0o040_000;
    pub(crate) const BLOCK: u32 = 0o060_000;
    pub(crate) const REGULAR: u32 = 0o100_000;
    pub(crate) const LINK: u32 = 0o120_000;
    pub(crate) const SOCKET: u32 = 0o140_000;
    /// Permission bits, with set-id and sticky.
    pub(crate) const PERMISSIONS: u32 = 0o7777;
}

/// The type of a directory entry (`d_type`) is the type in `st_mode`, shifted down.
pub(crate) const fn entry_type(mode: u32) -> u8 {
    (((mode & mode::TYPE) >> 12) & 0xf).to_le_bytes()[0]
}

/// Bytes of a `struct stat`.
pub(crate) const STAT_LEN: usize = 144;
/// Bytes of a `struct statx`.
pub(crate) const STATX_LEN: usize = 256;
/// Bytes of a `struct statfs`.
pub(crate) const STATFS_LEN: usize = 120;
/// Bytes of a page and of a block of every file system here.
const BLOCK_LEN: u64 = 4096;
/// Unit of `st_blocks`.
pub(crate) const SECTOR_LEN: u64 = 512;
/// STATX_BASIC_STATS.
const STATX_MASK: u32 = 0x7ff;

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Owner {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Owner {
    /// As the host and the kernel's interface have it: the group in the upper half.
    pub(crate) fn from_word(word: u64) -> Self {
        Self { user: low_u32(word), group: low_u32(word >> 32) }
    }
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stat {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) mode: u32,
    pub(crate) nlink: u64,
    pub(crate) owner: Owner,
    /// Device number of a device file.
    pub(crate) rdev: u64,
    pub(crate) size: u64,
    /// What it takes to store it, in units of 512 bytes.
    pub(crate) blocks: u64,
    /// In what lengths it is best read and written; 0 stands for a page.
    pub(crate) block_len: u64,
    /// Last change, in nanoseconds since 1970; the other times are told to be the same.
    pub(crate) mtime_ns: u64,
}

impl Stat {
    /// The `struct stat`.
    pub(crate) fn to_bytes(self) -> [u8; STAT_LEN] {
        let mut bytes = [0; STAT_LEN];
        let [seconds, nanos] = self.time();
        put(&mut bytes, 0, self.dev);
        put(&mut bytes, 8, self.ino);
        put(&mut bytes, 16, self.nlink);
        put(&mut bytes, 24, u64::from(self.mode) | u64::from(self.owner.user) << 32);
        put(&mut bytes, 32, u64::from(self.owner.group));
        put(&mut bytes, 40, self.rdev);
        put(&mut bytes, 48, self.size);
        put(&mut bytes, 56, self.block_len());
        put(&mut bytes, 64, self.blocks);
        for at in [72, 88, 104] {
            put(&mut bytes, at, seconds);
            put(&mut bytes, at + 8, nanos);
        }
        bytes
    }

    /// The `struct statx`, with the basic fields.
    pub(crate) fn to_statx_bytes(self) -> [u8; STATX_LEN] {
        let mut bytes = [0; STATX_LEN];
        let [seconds, nanos] = self.time();
        put(&mut bytes, 0, u64::from(STATX_MASK) | self.block_len() << 32);
        put(&mut bytes, 16, self.nlink & 0xffff_ffff | u64::from(self.owner.user) << 32);
        // stx_mode is 16 bits at 28, and 0 follows.
        put(&mut bytes, 24, u64::from(self.owner.group) | u64::from(self.mode) << 32);
        put(&mut bytes, 32, self.ino);
        put(&mut bytes, 40, self.size);
        put(&mut bytes, 48, self.blocks);
        // Access, birth, change and modification time are 16 bytes each from 64 on; birth is unknown.
        for at in [64, 96, 112] {
            put(&mut bytes, at, seconds);
            put(&mut bytes, at + 8, nanos);
        }
        put(&mut bytes, 128, device_halves(self.rdev));
        put(&mut bytes, 136, device_halves(self.dev));
        bytes
    }

    const fn block_len(&self) -> u64 {
        if self.block_len == 0 { BLOCK_LEN } else { self.block_len }
    }

    /// The time as seconds and nanoseconds.
    fn time(&self) -> [u64; 2] {
        const NS_PER_S: u64 = 1_000_000_000;
        [self.mtime_ns / NS_PER_S, self.mtime_ns % NS_PER_S]
    }

    /// Whether the file is a directory.
    pub(crate) const fn is_directory(&self) -> bool {
        self.mode & mode::TYPE == mode::DIRECTORY
    }

    /// Whether the file is a symbolic link.
    pub(crate) const fn is_link(&self) -> bool {
        self.mode & mode::TYPE == mode::LINK
    }

    /// Whether the file is a regular one.
    pub(crate) const fn is_regular(&self) -> bool {
        self.mode & mode::TYPE == mode::REGULAR
    }
}

/// Composes a device number (Linux v6.12 include/linux/kdev_t.h, new_encode_dev).
pub(crate) const fn device(major: u64, minor: u64) -> u64 {
    minor & 0xff | (major & 0xfff) << 8 | (minor & !0xff) << 12
}

/// A device number as statx tells it: major in the low half, minor in the high one.
const fn device_halves(device: u64) -> u64 {
    let major = device >> 8 & 0xfff;
    let minor = device & 0xff | device >> 12 & 0xf_ff00;
    major | minor << 32
}

/// The `struct statfs` of a file system with `blocks` blocks of a length, `free` of them free.
pub(crate) fn statfs_bytes((kind, len): (u64, u64), blocks: u64, free: u64) -> [u8; STATFS_LEN] {
    const NAME_MAX: u64 = 255;
    let mut bytes = [0; STATFS_LEN];
    let words = [kind, len, blocks, free, free, blocks, free, 0, NAME_MAX, len, 0];
    for (i, word) in words.into_iter().enumerate() {
        put(&mut bytes, i * 8, word);
    }
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

const _: () = assert!(entry_type(mode::DIRECTORY) == 4 && entry_type(mode::REGULAR) == 8);
const _: () =
    assert!(device(1, 3) == 0x103 && device_halves(device(136, 0x345)) == 136 | 0x345 << 32);
const _: () = assert!(open::TEMPORARY & open::DIRECTORY != 0);
