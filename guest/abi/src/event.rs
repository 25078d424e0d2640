//! Events from the host to the guest: one word each in the event ring.
//!
//! Bits 0-7 the kind, bits 8-31 a small argument, bits 32-63 a task or job id. The host writes the
//! slot, then the head, then sets `EVENTS_PENDING` and kicks the vCPU. A full ring makes the host
//! keep the event until there is room.

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// A task must die now, as if by SIGKILL; id = tid. Sent after an out-of-memory decision.
    Kill = 1,
    /// A signal for a task; id = tid, argument = signal number. Sent by `vmcg exec` on Ctrl-C.
    Signal = 2,
    /// A job can be fetched.
    Job = 3,
    /// A stream that answered "would block" can be tried again; id = job.
    Stream = 4,
    /// A task must not run until `Wake`; id = tid.
    Wait = 5,
    /// A task may run again; id = tid.
    Wake = 6,
    /// The machine is going down: kill every task, then call `SHUTDOWN`.
    Shutdown = 7,
    /// The terminal of a job has another size; id = job.
    Window = 8,
    /// A task is in another cgroup; id = tid, argument = the kmem id of that cgroup.
    KmemMoved = 9,
    /// The cgroup with the kmem id in `argument` was removed; id = the kmem id of who inherits what
    /// it owns (0 = who is not accounted), or `u32::MAX`: nobody, it stays until it owns nothing.
    KmemOffline = 10,
    /// The host wants to know of the caches of the cgroup with the kmem id in `argument`: call
    /// `KmemCaches`.
    KmemCaches = 11,
    /// Objects that are only cached on behalf of the cgroup with the kmem id in `argument` shall be
    /// given up; id = how many at most.
    KmemShrink = 12,
}

/// A decoded event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// A signal number, a kmem id, or 0.
    pub argument: u16,
    /// Task, job or kmem id.
    pub id: u32,
}

impl Event {
    /// Packs the event into a word.
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.kind as u64 | (self.argument as u64) << 8 | (self.id as u64) << 32
    }

    /// Unpacks a word; `None` for an unknown kind.
    #[must_use]
    pub const fn from_word(word: u64) -> Option<Self> {
        let b = word.to_le_bytes();
        let kind = match b[0] {
            1 => EventKind::Kill,
            2 => EventKind::Signal,
            3 => EventKind::Job,
            4 => EventKind::Stream,
            5 => EventKind::Wait,
            6 => EventKind::Wake,
            7 => EventKind::Shutdown,
            8 => EventKind::Window,
            9 => EventKind::KmemMoved,
            10 => EventKind::KmemOffline,
            11 => EventKind::KmemCaches,
            12 => EventKind::KmemShrink,
            _ => return None,
        };
        let argument = u16::from_le_bytes([b[1], b[2]]);
        Some(Self { kind, argument, id: u32::from_le_bytes([b[4], b[5], b[6], b[7]]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_the_ring() {
        let event = Event { kind: EventKind::Signal, argument: 64, id: u32::MAX };
        assert_eq!(Event::from_word(event.to_word()), Some(event));
        assert_eq!(Event::from_word(0), None);
    }
}
