//! What a row of the table of control files can say. The rows are in `files.rs`.

use memcg::{Abi, Config, Error, GroupId, Hierarchy, Memcg, Pages, Resource, Settings};

use crate::errno::Result;
use crate::files::FILES;
use crate::service::Service;
use crate::writing::Writing;

/// A control file: everything that makes it different from the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ControlFile {
    /// Full name, as a user types it.
    pub(crate) name: &'static str,
    /// Permission bits of a new one.
    pub(crate) mode: u16,
    /// Which file contracts have it.
    pub(crate) shown: Shown,
    /// Which directories have it.
    pub(crate) place: Place,
    /// What a reader gets.
    pub(crate) read: Read,
    /// What a writer does.
    pub(crate) write: Write,
    /// Writing may have to wait for the guest, so that it gets a thread of its own.
    pub(crate) pauses: bool,
}

/// Which file contracts have a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// All of them.
    Always,
    /// Only the classic one.
    Classic,
    /// Only the classic one, with limits that nest as walls.
    ClassicWall,
    /// Only today's.
    Linux618,
}

/// Which directories have a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// All of them.
    Everywhere,
    /// The root of the hierarchy.
    Root,
}

/// What a reader gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Read {
    /// EINVAL, as from a kernel file without a read handler.
    Refused,
    /// One number of one counter.
    Counter(Resource, Field),
    /// One number of the settings.
    Number(fn(&Settings) -> u64),
    /// One size of the settings, in bytes.
    Size(fn(&Settings) -> Pages),
    /// Text made from the accounting.
    Text(fn(&Memcg, GroupId, &mut String) -> std::result::Result<(), Error>),
    /// Text made from what else the file system and the machine know.
    Own(fn(&Service, GroupId, &mut String) -> Result<()>),
}

/// A number of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// Bytes charged now.
    Usage,
    /// The most that may be charged.
    Limit,
    /// The highest usage so far.
    MaxUsage,
    /// Number of refusals.
    Failcnt,
}

/// What a writer does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
    /// EINVAL, as from a kernel file without a write handler.
    Refused,
    /// Sets the limit of a counter.
    Limit(Resource),
    /// Sets a size.
    Size(fn(&mut Memcg, GroupId, Pages) -> std::result::Result<(), Error>),
    /// Sets a number.
    Number(fn(&mut Memcg, GroupId, u64) -> std::result::Result<(), Error>),
    /// Resets a number of a counter, whatever is written.
    Reset(Resource, Field),
    /// Does something of its own.
    Call(fn(&Writing<'_>) -> Result<()>),
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row(u8);

impl Row {
    /// Returns every row.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..u8::MAX).map_while(Self::of_number)
    }

    /// Returns the row with this number, if there is one.
    pub(crate) fn of_number(number: u8) -> Option<Self> {
        (usize::from(number) < FILES.len()).then_some(Self(number))
    }

    /// Returns the number of the row.
    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    /// Returns what the row says.
    pub(crate) fn file(self) -> &'static ControlFile {
        &FILES[usize::from(self.0)]
    }
}

impl ControlFile {
    /// Tells whether a machine of this sort has the file.
    pub(crate) fn is_shown(&self, config: Config) -> bool {
        let is_classic = config.abi == Abi::Classic;
        match self.shown {
            Shown::Always => true,
            Shown::Classic => is_classic,
            Shown::ClassicWall => is_classic && config.hierarchy == Hierarchy::Wall,
            Shown::Linux618 => !is_classic,
        }
    }
}
