//! The gate a vCPU passes before it enters the guest.
//!
//! Other threads never touch the vCPU: they leave word here (an event, a tick, a wish to pause, an
//! order to stop) and kick. The vCPU's thread reads it before each entry and writes events into
//! the guest's ring itself, so that nobody races the guest for the ring's head.
//!
//! A kick sets `immediate_exit` and then sends a signal. Whether the thread is in KVM_RUN or just
//! about to enter it, it comes back at once; the signal's handler does nothing.
#![expect(unsafe_code, reason = "kicks a thread by signal and sets immediate_exit in its kvm_run")]

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use vmcg_abi::event::Event;
use vmcg_abi::layout::{EVENT_RING_GPA, EVENT_RING_SLOTS};
use vmcg_abi::page::shared;

use crate::memory::GuestMemory;

/// What became of waiting for the guest kernel to come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It asks for work.
    Ready,
    /// The machine went down first, on request or by a failure.
    Stopped,
    /// It did not get there in time.
    Late,
}

/// What the vCPU is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Enter the guest.
    Enter,
    /// Leave the run loop.
    Stop,
}

/// The vCPU's thread and its kvm_run, while it runs.
struct Vcpu {
    thread: libc::pthread_t,
    immediate_exit: *mut u8,
}

// SAFETY: the pointer is only used for one atomic byte, which any thread may write; `detach`
// removes it before the mapping goes away.
unsafe impl Send for Vcpu {}

#[derive(Default)]
struct State {
    vcpu: Option<Vcpu>,
    events: VecDeque<Event>,
    tick: bool,
    pauses: u32,
    is_parked: bool,
    is_idle: bool,
    has_booted: bool,
    is_stopping: bool,
    has_debts: bool,
}

/// The gate of the machine's one vCPU.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    /// Told when the vCPU idles while pages wait to follow a task, and at the end.
    can_settle: Condvar,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

/// The guest stands still while this lives.
#[derive(Debug)]
pub(crate) struct Paused<'a>(&'a Gate);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.pauses -= 1;
        if state.is_parked && state.pauses == 0 {
            drop(state);
            self.0.changed.notify_all();
        }
    }
}

/// Signal used for kicks.
pub(crate) fn kick_signal() -> i32 {
    vmm_sys_util::signal::SIGRTMIN()
}

impl Gate {
    /// Registers the calling thread as the vCPU's; `immediate_exit` is the byte in its kvm_run,
    /// valid until [`Self::detach`].
    pub(crate) fn attach(&self, immediate_exit: *mut u8) {
        // SAFETY: pthread_self has no conditions.
        let thread = unsafe { libc::pthread_self() };
        self.lock().vcpu = Some(Vcpu { thread, immediate_exit });
    }

    /// Forgets the vCPU's thread, and lets everybody go who waits for it.
    pub(crate) fn detach(&self) {
        let mut state = self.lock();
        state.vcpu = None;
        state.is_stopping = true;
        drop(state);
        self.changed.notify_all();
        self.can_settle.notify_all();
    }

    /// Queues an event for the guest.
    pub(crate) fn send(&self, event: Event) {
        let mut state = self.lock();
        state.events.push_back(event);
        self.kick(&state);
    }

    /// Tells the guest that a time slice is over.
    pub(crate) fn tick(&self) {
        let mut state = self.lock();
        state.tick = true;
        self.kick(&state);
    }

    /// Waits up to `grace` for the vCPU to leave by itself, then makes it leave its loop.
    pub(crate) fn stop_after(&self, grace: Duration) {
        let state = self.lock();
        let mut state = self
            .changed
            .wait_timeout_while(state, grace, |state| state.vcpu.is_some() && !state.is_stopping)
            .expect("no thread panics with the gate locked")
            .0;
        state.is_stopping = true;
        self.kick(&state);
    }

    /// Waits until the vCPU stands still outside the guest. Faults are still served meanwhile.
    /// Caller holds no lock. One that idles stands still already, and parks before it goes on.
    pub(crate) fn pause(&self) -> Paused<'_> {
        let mut state = self.lock();
        state.pauses += 1;
        let runs = |state: &State| state.vcpu.is_some() && !state.is_parked && !state.is_idle;
        if runs(&state) {
            self.kick(&state);
        }
        while runs(&state) {
            state = self.changed.wait(state).expect("no thread panics with the gate locked");
        }
        Paused(self)
    }

    /// Parks while somebody wants the guest to stand still, then hands over what waits.
    pub(crate) fn pass(&self, memory: &GuestMemory) -> Pass {
        let mut state = self.park(self.lock());
        if state.is_stopping {
            return Pass::Stop;
        }
        state.clear_immediate_exit();
        state.deliver(memory);
        Pass::Enter
    }

    /// Sleeps until something waits for the guest, or until `deadline`.
    pub(crate) fn idle(&self, deadline: Option<Instant>) {
        let mut state = self.lock();
        state.is_idle = true;
        if state.has_debts {
            self.can_settle.notify_all();
        }
        loop {
            state = self.park(state);
            if state.is_stopping || state.tick || !state.events.is_empty() {
                break;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            state = match left {
                None => self.changed.wait(state).expect("no thread panics with the gate locked"),
                Some(Duration::ZERO) => break,
                Some(left) => {
                    self.changed
                        .wait_timeout(state, left)
                        .expect("no thread panics with the gate locked")
                        .0
                }
            };
        }
        state.is_idle = false;
        drop(state);
        self.changed.notify_all();
    }

    /// The guest kernel is up: it asked for work.
    pub(crate) fn note_boot(&self) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.has_booted, true) {
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Waits until the guest kernel is up; false when it does not come up within `limit`.
    pub(crate) fn wait_boot(&self, limit: Duration) -> Readiness {
        let state = self.lock();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, limit, |state| !state.has_booted && !state.is_stopping)
            .expect("no thread panics with the gate locked");
        match (state.has_booted, state.is_stopping) {
            (true, _) => Readiness::Ready,
            (false, true) => Readiness::Stopped,
            (false, false) => Readiness::Late,
        }
    }

    /// Waits for `slice`, and longer while the vCPU is idle; false when the machine stops.
    pub(crate) fn sleep_while_busy(&self, slice: Duration) -> bool {
        let end = Instant::now() + slice;
        let mut state = self.lock();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if state.is_stopping {
                return false;
            }
            if left.is_zero() && !state.is_idle {
                return true;
            }
            let wait = if state.is_idle { Duration::from_secs(1) } else { left };
            state = self
                .changed
                .wait_timeout(state, wait)
                .expect("no thread panics with the gate locked")
                .0;
        }
    }

    /// Notes whether pages wait to follow a task.
    pub(crate) fn set_debts(&self, has_debts: bool) {
        self.lock().has_debts = has_debts;
        self.can_settle.notify_all();
    }

    /// Waits for `slice`, and then until the vCPU idles and pages wait to follow a task; false when
    /// the machine stops.
    pub(crate) fn sleep_until_idle(&self, slice: Duration) -> bool {
        let poisoned = "no thread panics with the gate locked";
        let state = self.lock();
        let is_running = |state: &mut State| !state.is_stopping;
        let slept = self.can_settle.wait_timeout_while(state, slice, is_running);
        let state = slept.expect(poisoned).0;
        let must_wait =
            |state: &mut State| !(state.is_stopping || state.is_idle && state.has_debts);
        !self.can_settle.wait_while(state, must_wait).expect(poisoned).is_stopping
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the gate locked")
    }

    fn park<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.pauses > 0 && !state.is_stopping {
            if !state.is_parked {
                state.is_parked = true;
                self.changed.notify_all();
            }
            state = self.changed.wait(state).expect("no thread panics with the gate locked");
        }
        state.is_parked = false;
        state
    }

    fn kick(&self, state: &State) {
        self.changed.notify_all();
        if let Some(vcpu) = &state.vcpu {
            vcpu.exit_at_once(1);
            // SAFETY: the thread is alive: it detaches, under this lock, before it ends.
            unsafe { libc::pthread_kill(vcpu.thread, kick_signal()) };
        }
    }
}

impl State {
    fn clear_immediate_exit(&self) {
        if let Some(vcpu) = &self.vcpu {
            vcpu.exit_at_once(0);
        }
    }

    /// Moves waiting events into the guest's ring, as many as fit. Called on the vCPU's thread
    /// while the guest stands still.
    fn deliver(&mut self, memory: &GuestMemory) {
        if self.tick {
            self.tick = false;
            memory.set_shared(shared::TICK, 1);
        }
        if self.events.is_empty() {
            return;
        }
        let mut head = memory.shared(shared::EVENT_HEAD);
        // The tail is the guest's: a wrong one makes the ring look full or loses its own events.
        let tail = memory.shared(shared::EVENT_TAIL);
        while head.wrapping_sub(tail) < EVENT_RING_SLOTS
            && let Some(event) = self.events.pop_front()
        {
            let slot = EVENT_RING_GPA + head % EVENT_RING_SLOTS * 8;
            memory.set_word(slot, 0, event.to_word());
            head = head.wrapping_add(1);
        }
        memory.set_shared(shared::EVENT_HEAD, head);
        memory.set_shared(shared::EVENTS_PENDING, 1);
    }
}

impl Vcpu {
    fn exit_at_once(&self, value: u8) {
        // SAFETY: the byte lives as long as the vCPU is attached, and is only written atomically.
        let byte = unsafe { AtomicU8::from_ptr(self.immediate_exit) };
        byte.store(value, Ordering::SeqCst);
    }
}
