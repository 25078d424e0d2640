//! The accounting lock, and what is told when it is released: listeners at control files hear of
//! what happened under the lock, and tasks that waited for memory go on, but never while it is held.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use fusefs::{Listeners, Pressure};
use memcg::{Crossing, GroupId, PressureLevel};
use vmcg_abi::event::{Event, EventKind};

use crate::gate::Gate;
use crate::machine::Accounting;

/// Something that clients of the control files may be listening for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// A group is out of memory: somebody in it is about to be killed.
    OutOfMemory(GroupId),
    /// A task of a group that wants to be told when it is empty has exited.
    TaskLeft(GroupId),
}

/// The accounting, locked. Dropping it releases the lock, then tells the news and lets go on whoever
/// waited for memory that there is now.
pub(crate) struct Locked<'a> {
    /// None only while this is dropped.
    guard: Option<MutexGuard<'a, Accounting>>,
    listeners: Option<&'a Listeners>,
    gate: &'a Gate,
}

impl<'a> Locked<'a> {
    pub(crate) const fn new(
        guard: MutexGuard<'a, Accounting>,
        listeners: Option<&'a Listeners>,
        gate: &'a Gate,
    ) -> Self {
        Self { guard: Some(guard), listeners, gate }
    }
}

impl fmt::Debug for Locked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").finish_non_exhaustive()
    }
}

impl Deref for Locked<'_> {
    type Target = Accounting;

    fn deref(&self) -> &Accounting {
        self.guard.as_ref().expect("the lock is held until this is dropped")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Accounting {
        self.guard.as_mut().expect("the lock is held until this is dropped")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(mut guard) = self.guard.take() else { return };
        let crossings = guard.memcg.take_crossings();
        let pressure = guard.memcg.take_pressure();
        let released = guard.memcg.take_oom_released();
        let news = std::mem::take(&mut guard.news);
        drop(guard);
        for tid in released {
            self.gate.send(Event { kind: EventKind::Wake, argument: 0, id: tid.get() });
        }
        if let Some(listeners) = self.listeners {
            tell(listeners, &crossings, &pressure, &news);
        }
    }
}

/// Tells in the order in which a program would see it: usage reaches a threshold before it is too
/// much. May take the lock again, and with it tell what others have caused meanwhile.
fn tell(
    listeners: &Listeners,
    crossings: &[Crossing],
    pressure: &[(GroupId, PressureLevel)],
    news: &[News],
) {
    listeners.crossed(crossings);
    for &(group, level) in pressure {
        listeners.pressure(group, of_level(level));
    }
    for &event in news {
        match event {
            News::OutOfMemory(group) => listeners.out_of_memory(group),
            News::TaskLeft(group) => listeners.task_left(group),
        }
    }
}

fn of_level(level: PressureLevel) -> Pressure {
    match level {
        PressureLevel::Low => Pressure::Low,
        PressureLevel::Medium => Pressure::Medium,
        PressureLevel::Critical => Pressure::Critical,
    }
}
