//! Jobs: programs of the host that were asked to run in the guest, and their standard streams.
//!
//! The machine's call handler takes jobs and moves bytes without ever blocking. Each job has one
//! thread (`pump`) that does the reading and writing on the client's own descriptors, which stay
//! as they are: nothing sets `O_NONBLOCK` on them, and standard input is read only while a program
//! waits for it, so what a program leaves unread is still there for the next one.
//!
//! The locks here are leaves: events are sent, and observers called, with none of them held.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use memcg::{GroupId, Tid};
use vmcg_abi::call::job as descriptor;
use vmcg_abi::event::{Event, EventKind};
use vmcg_abi::layout::CALL_BUFFER_LEN;

mod job;
mod pump;
mod spec;
mod streams;

use job::Job;
pub use spec::{
    JobDescriptor, JobId, JobSpec, Program, Progress, StreamError, SubmitError, Window,
};

/// Most jobs at a time.
pub const JOBS_MAX: usize = 1024;

type Sender = Box<dyn Fn(Event) + Send + Sync>;

/// All jobs of a machine.
#[derive(Default)]
pub struct Jobs {
    sender: OnceLock<Sender>,
    table: Mutex<Table>,
    // Signalled when a job leaves the table.
    left: Condvar,
}

#[derive(Default)]
struct Table {
    jobs: HashMap<JobId, Arc<Job>>,
    queue: VecDeque<(JobId, Program)>,
    last: u32,
    is_closed: bool,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").field("running", &self.table().jobs.len()).finish_non_exhaustive()
    }
}

/// The client's side.
impl Jobs {
    /// Says where events for the guest go. Only the first call counts; events before it are lost.
    pub fn connect(&self, sender: impl Fn(Event) + Send + Sync + 'static) {
        // A second connection would be a second machine, and there is one.
        let _ = self.sender.set(Box::new(sender));
    }

    /// Takes a job and tells the guest. `observer` is called from the job's own thread.
    ///
    /// # Errors
    /// [`SubmitError`]; the job does not exist then, and `observer` is never called.
    pub fn submit(
        self: &Arc<Self>,
        spec: JobSpec,
        observer: impl FnMut(Progress) + Send + 'static,
    ) -> Result<JobId, SubmitError> {
        self.submit_in_window(spec, None, observer)
    }

    /// The same for a job whose streams are a terminal of this size, which the client has put into
    /// raw mode. Without a window, the guest takes a terminal for a pipe.
    ///
    /// # Errors
    /// As [`Jobs::submit`].
    pub fn submit_in_window(
        self: &Arc<Self>,
        spec: JobSpec,
        window: Option<Window>,
        observer: impl FnMut(Progress) + Send + 'static,
    ) -> Result<JobId, SubmitError> {
        examine(&spec.program)?;
        let mut table = self.table();
        if table.is_closed || table.jobs.len() >= JOBS_MAX {
            return Err(SubmitError::TooMany(table.jobs.len()));
        }
        let id = loop {
            table.last = table.last.checked_add(1).unwrap_or(1);
            let id = JobId::new(table.last);
            if !table.jobs.contains_key(&id) {
                break id;
            }
        };
        let job = Arc::new(Job::new(id, spec.group, spec.stdio, window)?);
        pump::start(Arc::clone(self), Arc::clone(&job), Box::new(observer))?;
        table.jobs.insert(id, job);
        table.queue.push_back((id, spec.program));
        drop(table);
        self.send(EventKind::Job, 0, 0);
        Ok(id)
    }

    /// The job's terminal has another size.
    pub fn resize(&self, id: JobId, window: Window) {
        if self.find(id).is_some_and(|job| job.set_window(window)) {
            self.send(EventKind::Window, 0, id.get());
        }
    }

    /// Sends a signal to the job's first task; before that exists, as soon as it does.
    pub fn signal(&self, id: JobId, signal: u16) {
        let Some(job) = self.find(id) else { return };
        if let Some(tid) = job.signal(signal) {
            self.signal_task(tid, signal);
        }
    }

    /// The client is gone: nothing more is read or written for the job, and its first task is
    /// killed.
    pub fn hang_up(&self, id: JobId) {
        let Some(job) = self.find(id) else { return };
        let was_queued = {
            let mut table = self.table();
            let before = table.queue.len();
            table.queue.retain(|(queued, _)| *queued != id);
            before != table.queue.len()
        };
        if job.hang_up() {
            self.send(EventKind::Stream, 0, id.get());
        }
        if was_queued {
            job.end(Progress::Ended(SIGKILL.into()));
        } else {
            self.signal(id, SIGKILL);
        }
    }

    /// Ends every job with `reason` and takes no more: the machine is gone.
    pub fn fail_all(&self, reason: &str) {
        let mut table = self.table();
        table.is_closed = true;
        table.queue.clear();
        let jobs: Vec<_> = table.jobs.values().cloned().collect();
        drop(table);
        for job in jobs {
            job.end(Progress::Failed { errno: libc::EIO, reason: reason.to_owned() });
        }
    }

    /// Waits until no job is left, at most `limit`; returns whether that came about.
    pub fn wait_idle(&self, limit: Duration) -> bool {
        let table = self.table();
        let (table, _) = self
            .left
            .wait_timeout_while(table, limit, |table| !table.jobs.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        table.jobs.is_empty()
    }

    /// How many jobs there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table().jobs.len()
    }
}

/// The guest's side: never blocks, ignores jobs that do not exist.
impl Jobs {
    /// Takes the next job from the queue.
    #[must_use]
    pub fn fetch(&self) -> Option<JobDescriptor> {
        let (id, program) = self.table().queue.pop_front()?;
        let Program { file, path, cwd, argv, envp } = program;
        Some(JobDescriptor { id, program: file, path, cwd, argv, envp })
    }

    /// The group in which the job's first task starts.
    #[must_use]
    pub fn group(&self, id: JobId) -> Option<GroupId> {
        self.find(id).map(|job| job.group)
    }

    /// The job's program runs as task `tid`. Signals sent before are sent on now.
    pub fn started(&self, id: JobId, tid: Tid) {
        let Some(job) = self.find(id) else { return };
        for signal in job.started(tid) {
            self.signal_task(tid, signal);
        }
    }

    /// The job's program could not be run.
    pub fn failed(&self, id: JobId, errno: i32, reason: &str) {
        if let Some(job) = self.find(id) {
            job.end(Progress::Failed { errno, reason: reason.to_owned() });
        }
    }

    /// The job's first task ended. Its streams are closed once what it wrote is written.
    pub fn done(&self, id: JobId, wait_status: u32) {
        if let Some(job) = self.find(id) {
            job.end(Progress::Ended(wait_status));
        }
    }

    /// Takes bytes for standard output (1) or error (2); returns how many.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn stream_write(&self, id: JobId, stream: u8, bytes: &[u8]) -> Result<usize, StreamError> {
        let job = self.find(id).ok_or(StreamError::NoSuchJob)?;
        job.write(stream, bytes)
    }

    /// Gives bytes of standard input; returns how many, 0 at its end.
    ///
    /// # Errors
    /// [`StreamError`]; after `WouldBlock` at most `into.len()` bytes are read from the client.
    pub fn stream_read(&self, id: JobId, into: &mut [u8]) -> Result<usize, StreamError> {
        let job = self.find(id).ok_or(StreamError::NoSuchJob)?;
        job.read(into)
    }

    /// The size of the job's terminal, if it has one.
    #[must_use]
    pub fn window(&self, id: JobId) -> Option<Window> {
        self.find(id)?.state().window
    }

    /// What the client's stream 0, 1 or 2 is: one of [`vmcg_abi::call::stream`].
    #[must_use]
    pub fn stream_kind(&self, id: JobId, stream: u8) -> i64 {
        let kind = self.find(id).and_then(|job| job.kinds.get(usize::from(stream)).copied());
        kind.unwrap_or(vmcg_abi::call::stream::PIPE)
    }
}

impl Jobs {
    /// Tells the guest to try a stream of the job again.
    fn stream_ready(&self, id: JobId) {
        self.send(EventKind::Stream, 0, id.get());
    }

    /// Forgets a job whose last report has been made.
    fn forget(&self, id: JobId) {
        self.table().jobs.remove(&id);
        self.left.notify_all();
    }

    fn signal_task(&self, tid: Tid, signal: u16) {
        let kind = if signal == SIGKILL { EventKind::Kill } else { EventKind::Signal };
        self.send(kind, signal, tid.get());
    }

    fn send(&self, kind: EventKind, argument: u16, id: u32) {
        if let Some(sender) = self.sender.get() {
            sender(Event { kind, argument, id });
        }
    }

    fn find(&self, id: JobId) -> Option<Arc<Job>> {
        self.table().jobs.get(&id).cloned()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Number of SIGKILL: Linux v6.12 include/uapi/asm-generic/signal.h.
const SIGKILL: u16 = 9;

/// Checks what would not survive the way to the guest.
fn examine(program: &Program) -> Result<(), SubmitError> {
    let strings =
        || [&program.path, &program.cwd].into_iter().chain(&program.argv).chain(&program.envp);
    if program.argv.is_empty() || strings().any(|string| string.contains(&0)) {
        return Err(SubmitError::BadString);
    }
    let bytes = descriptor::WORDS * 8 + strings().map(|string| string.len() + 1).sum::<usize>();
    if bytes as u64 > CALL_BUFFER_LEN {
        return Err(SubmitError::TooLong { bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
