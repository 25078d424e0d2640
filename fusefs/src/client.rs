//! The process behind a request, seen through /proc. FUSE names it by its thread id.
//!
//! fuser answers the kernel's interrupt messages with "not supported", upon which the kernel lets
//! a signalled writer wait for its answer. Asking /proc whether a signal is pending gives the same
//! answer without them. Differs from Linux: a signal is noticed between two steps of the work.

use std::fs;

/// The thread that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    tid: u32,
    uid: u32,
    gid: u32,
    /// Who opened the file it writes to.
    opener: u32,
}

impl Client {
    /// Names the sender of a request.
    pub(crate) fn new(request: &fuser::Request) -> Self {
        let uid = request.uid();
        Self { tid: request.pid(), uid, gid: request.gid(), opener: uid }
    }

    /// Same, with a file that was opened by somebody else, perhaps.
    pub(crate) const fn with_file_of(self, opener: u32) -> Self {
        Self { opener, ..self }
    }

    /// The user id it has for file systems.
    pub(crate) const fn uid(self) -> u32 {
        self.uid
    }

    /// The user id of who opened the file that is written.
    pub(crate) const fn opener(self) -> u32 {
        self.opener
    }

    /// The group id it has for file systems.
    pub(crate) const fn gid(self) -> u32 {
        self.gid
    }

    /// Tells whether a signal waits for it that it neither blocks nor ignores. A client that has
    /// gone away counts as signalled: nobody waits for the answer.
    pub(crate) fn is_interrupted(self) -> bool {
        let Ok(status) = fs::read_to_string(format!("/proc/{}/status", self.tid)) else {
            return true;
        };
        let mask = |name| hex_field(&status, name).unwrap_or(0);
        let pending = mask("SigPnd:") | mask("ShdPnd:");
        pending & !mask("SigBlk:") & !mask("SigIgn:") != 0
    }

    /// Id of its process, for a pidfd; none when it has gone away.
    pub(crate) fn process(self) -> Option<i32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.tid)).ok()?;
        field(&status, "Tgid:")?.parse().ok()
    }
}

/// Returns the value on the line of `status` that begins with `name`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Reads a signal mask out of `status`.
fn hex_field(status: &str, name: &str) -> Option<u64> {
    u64::from_str_radix(field(status, name)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{Client, hex_field};

    #[test]
    fn this_process_is_not_interrupted_and_a_missing_one_is() {
        let here = Client { tid: std::process::id(), uid: 0, gid: 0, opener: 0 };
        assert!(!here.is_interrupted());
        assert_eq!(here.process().map(i32::unsigned_abs), Some(std::process::id()));
        // Thread ids end below 2^22.
        let nobody = Client { tid: u32::MAX, ..here };
        assert!(nobody.is_interrupted());
        assert_eq!(nobody.process(), None);
    }

    #[test]
    fn signal_masks_are_hexadecimal() {
        assert_eq!(hex_field("Name:\tx\nSigPnd:\t0000000000000200\n", "SigPnd:"), Some(0x200));
        assert_eq!(hex_field("Name:\tx\n", "SigPnd:"), None);
    }
}
