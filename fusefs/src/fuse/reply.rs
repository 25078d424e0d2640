//! Answers that several messages have in common.

use std::time::{Duration, SystemTime};

use fuser::{Errno, FileAttr, PollEvents, ReplyAttr, ReplyEmpty, ReplyXattr, TimeOrNow};

use crate::errno::Result;

/// What a control file is always ready for.
pub(super) const READY: PollEvents = PollEvents::POLLIN
    .union(PollEvents::POLLOUT)
    .union(PollEvents::POLLRDNORM)
    .union(PollEvents::POLLWRNORM);

/// How long the kernel may keep what never changes behind its back: the files of a group, and all
/// attributes.
pub(super) const FOREVER: Duration = Duration::from_secs(3600);

/// Sends what stat(2) shows.
pub(super) fn attributes(attributes: Result<FileAttr>, reply: ReplyAttr) {
    match attributes {
        Ok(attributes) => reply.attr(&FOREVER, &attributes),
        Err(errno) => reply.error(errno),
    }
}

/// Sends success or an error.
pub(super) fn empty(result: Result<()>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

/// Sends an extended attribute the way the caller asked for: only its size, or all of it.
pub(super) fn label(value: Result<Vec<u8>>, size: u32, reply: ReplyXattr) {
    let value = match value {
        Ok(value) => value,
        Err(errno) => return reply.error(errno),
    };
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    if size == 0 {
        reply.size(length);
    } else if size < length {
        reply.error(Errno::ERANGE);
    } else {
        reply.data(&value);
    }
}

/// The moment that a client means.
pub(super) fn moment(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}
