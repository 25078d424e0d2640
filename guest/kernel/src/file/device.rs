//! The files of /dev.

use super::uapi::{Stat, device, mode};
use crate::errno::Errno;
use crate::{host, physical};

/// Random bytes the host gives at a time.
const RANDOM_MAX: usize = 4096;

/// A character device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    /// Takes everything, gives nothing.
    Null,
    /// Gives zeros.
    Zero,
    /// Gives zeros, takes nothing.
    Full,
    /// Gives random bytes.
    Random,
    /// The same, under its other name.
    Urandom,
}

/// What a name in /dev stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceEntry {
    /// A device of its own.
    Device(Device),
    /// The terminal of the process's job.
    Terminal,
    /// A symbolic link.
    Link(&'static [u8]),
}

/// Every name in /dev.
pub(crate) const ENTRIES: &[(&[u8], DeviceEntry)] = &[
    (b"null", DeviceEntry::Device(Device::Null)),
    (b"zero", DeviceEntry::Device(Device::Zero)),
    (b"full", DeviceEntry::Device(Device::Full)),
    (b"random", DeviceEntry::Device(Device::Random)),
    (b"urandom", DeviceEntry::Device(Device::Urandom)),
    (b"tty", DeviceEntry::Terminal),
    (b"fd", DeviceEntry::Link(b"/proc/self/fd")),
    (b"stdin", DeviceEntry::Link(b"/proc/self/fd/0")),
    (b"stdout", DeviceEntry::Link(b"/proc/self/fd/1")),
    (b"stderr", DeviceEntry::Link(b"/proc/self/fd/2")),
];

/// The entry of a name.
pub(crate) fn entry(name: &[u8]) -> Option<DeviceEntry> {
    ENTRIES.iter().find(|(entry, _)| *entry == name).map(|&(_, entry)| entry)
}

impl Device {
    /// Fills the buffer; answers the bytes filled.
    pub(crate) fn read(self, into: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Null => return Ok(0),
            Self::Zero | Self::Full => into.fill(0),
            Self::Random | Self::Urandom => {
                for piece in into.chunks_mut(RANDOM_MAX) {
                    host::random(physical::gpa_of_mut(piece), piece.len() as u64)?;
                }
            }
        }
        Ok(into.len())
    }

    /// Takes bytes; answers how many.
    pub(crate) fn write(self, len: usize) -> Result<usize, Errno> {
        if self == Self::Full { Err(Errno::ENOSPC) } else { Ok(len) }
    }

    /// Its number among the devices of major 1 (Linux v6.12 Documentation/admin-guide/devices.txt).
    const fn minor(self) -> u64 {
        match self {
            Self::Null => 3,
            Self::Zero => 5,
            Self::Full => 7,
            Self::Random => 8,
            Self::Urandom => 9,
        }
    }

    /// The device of a number as mknod() takes it.
    pub(crate) fn of_number(number: u64) -> Option<Self> {
        let all = [Self::Null, Self::Zero, Self::Full, Self::Random, Self::Urandom];
        all.into_iter().find(|known| known.stat().rdev == number)
    }

    /// What stat() says.
    pub(crate) fn stat(self) -> Stat {
        let mode = mode::CHARACTER | 0o666;
        let minor = self.minor();
        Stat { dev: 5, ino: minor, mode, nlink: 1, rdev: device(1, minor), ..Stat::default() }
    }
}
