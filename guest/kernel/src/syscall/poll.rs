//! System calls: poll.

use super::Entry;

/// The group's rows of the table.
pub(crate) const CALLS: &[Entry] = &[];
