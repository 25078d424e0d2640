//! An open file. It keeps the content it was last shown, because a reader that comes in pieces
//! must see one consistent text.

use std::sync::{Mutex, MutexGuard, PoisonError};

use memcg::GroupId;

use crate::control_file::ControlFile;

/// One open file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// The group whose file it is.
    pub(crate) group: GroupId,
    /// Which file of the group.
    pub(crate) file: &'static ControlFile,
    /// User id of who opened it.
    pub(crate) opener: u32,
    snapshot: Mutex<Snapshot>,
}

/// What an open file shows.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    content: String,
    /// Where the last read ended; none before the first one.
    read_end: Option<u64>,
}

impl OpenFile {
    /// Opens a file of a group for a user.
    pub(crate) fn new(group: GroupId, file: &'static ControlFile, opener: u32) -> Self {
        Self { group, file, opener, snapshot: Mutex::default() }
    }

    /// Locks what the file shows. Readers of one open file take turns, as on kernfs.
    pub(crate) fn snapshot(&self) -> MutexGuard<'_, Snapshot> {
        // A panic while the text was made leaves a text; the next read at 0 replaces it.
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    /// Tells whether a read at `offset` needs new content: at the beginning, and wherever the last
    /// read did not end (Linux v6.18 fs/seq_file.c `seq_read_iter`).
    pub(crate) fn needs_content(&self, offset: u64) -> bool {
        offset == 0 || self.read_end != Some(offset)
    }

    /// Tells whether anything was read yet.
    pub(crate) const fn was_read(&self) -> bool {
        self.read_end.is_some()
    }

    /// Replaces the content by what `make` writes into an empty string.
    ///
    /// # Errors
    /// Those of `make`; the file has no content then.
    pub(crate) fn renew<E>(
        &mut self,
        make: impl FnOnce(&mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        self.content.clear();
        let made = make(&mut self.content);
        if made.is_err() {
            self.content.clear();
        }
        made
    }

    /// Returns at most `size` bytes from `offset` on, and remembers where they end.
    pub(crate) fn read(&mut self, offset: u64, size: u32) -> &[u8] {
        let bytes = self.content.as_bytes();
        let begin = usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
        let wanted = usize::try_from(size).unwrap_or(usize::MAX);
        let piece = &bytes[begin..begin.saturating_add(wanted).min(bytes.len())];
        let length = u64::try_from(piece.len()).expect("a length fits into 64 bits");
        self.read_end = Some(offset.saturating_add(length));
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshot;

    fn shown(text: &str) -> Snapshot {
        Snapshot { content: text.to_owned(), ..Snapshot::default() }
    }

    #[test]
    fn a_sequential_reader_finishes_what_it_started() {
        let mut snapshot = shown("12345\n");
        assert!(snapshot.needs_content(0));
        assert_eq!(snapshot.read(0, 4), b"1234");
        assert!(!snapshot.needs_content(4));
        assert_eq!(snapshot.read(4, 100), b"5\n");
        assert!(!snapshot.needs_content(6));
        assert_eq!(snapshot.read(6, 100), b"");
    }

    #[test]
    fn a_reader_that_jumps_gets_new_content() {
        let mut snapshot = shown("12345\n");
        snapshot.read(0, 3);
        assert!(snapshot.needs_content(4));
        assert!(snapshot.needs_content(0));
        assert_eq!(snapshot.read(u64::MAX, 1), b"");
    }

    #[test]
    fn a_failed_renewal_leaves_no_half_made_text() {
        let mut snapshot = shown("old");
        let failed = snapshot.renew(|content| {
            content.push_str("half");
            Err("gone")
        });
        assert_eq!(failed, Err("gone"));
        assert_eq!(snapshot.read(0, 10), b"");
    }
}
