//! The thread of a job: moves bytes between its buffers and the client's descriptors and makes the
//! reports. It never blocks but in `poll`, so one slow stream does not hold up the others.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::job::Job;
use super::{Jobs, Progress};

/// Whom the thread reports to.
pub(super) type Observer = Box<dyn FnMut(Progress) + Send>;

/// What to wait for and what to do in one round.
#[derive(Debug, Default)]
struct Round {
    /// Outputs (0 and 1) that have bytes for the client.
    has_output: [bool; 2],
    /// Bytes of standard input to read.
    wanted: Option<usize>,
}

/// Starts the thread.
///
/// # Errors
/// The system's, when there is no thread left.
pub(super) fn start(jobs: Arc<Jobs>, job: Arc<Job>, observer: Observer) -> std::io::Result<()> {
    let name = format!("job-{}", job.id.get());
    let thread = std::thread::Builder::new().name(name).stack_size(128 << 10);
    // Detached: it ends with the job, and `Jobs::wait_idle` waits for that.
    thread.spawn(move || run(&jobs, &job, observer)).map(drop)
}

fn run(jobs: &Jobs, job: &Job, mut observer: Observer) {
    let mut is_start_reported = false;
    loop {
        let (round, tid, end) = {
            let state = job.state();
            let has_output = state.outputs.each_ref().map(|output| !output.is_empty());
            let wanted = if state.end.is_none() { state.input.wanted() } else { None };
            (Round { has_output, wanted }, state.tid, state.end.clone())
        };
        if let Some(tid) = tid.filter(|_| !is_start_reported) {
            is_start_reported = true;
            observer(Progress::Started(tid));
        }
        if let Some(end) = end.filter(|_| round.has_output == [false; 2]) {
            // No thread of the guest finds the job any more, and then nothing can be added to it.
            jobs.forget(job.id);
            observer(end);
            return;
        }
        if work(job, &round) {
            jobs.stream_ready(job.id);
        }
    }
}

/// Waits for one of the descriptors and serves those that are ready. Returns whether the guest
/// should try its streams again.
fn work(job: &Job, round: &Round) -> bool {
    let [input, outputs @ ..] = &job.stdio;
    let mut ready = [false; 3];
    let mut waits = vec![(&job.bell, PollFlags::IN, None)];
    if round.wanted.is_some() {
        waits.push((input, PollFlags::IN, Some(0)));
    }
    for (index, output) in outputs.iter().enumerate().filter(|(index, _)| round.has_output[*index])
    {
        waits.push((output, PollFlags::OUT, Some(index + 1)));
    }
    let mut polled: Vec<_> =
        waits.iter().map(|(file, flags, _)| PollFd::new(*file, *flags)).collect();
    match poll(&mut polled, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => log::error!("job {}: poll: {error}", job.id.get()),
    }
    let mut bell_rang = false;
    for (poll, (_, _, stream)) in polled.iter().zip(&waits) {
        let is_ready = !poll.revents().is_empty();
        match stream {
            Some(stream) => ready[*stream] = is_ready,
            None => bell_rang = is_ready,
        }
    }
    if bell_rang {
        // EAGAIN cannot matter: nobody else reads the bell.
        let _ = rustix::io::read(&job.bell, &mut [0; 8]);
    }
    let mut has_news = false;
    if let Some(count) = round.wanted.filter(|_| ready[0]) {
        has_news |= fill(job, input, count);
    }
    for (index, output) in outputs.iter().enumerate().filter(|(index, _)| ready[index + 1]) {
        has_news |= drain(job, output, index);
    }
    has_news
}

/// Reads what the guest asked for. Returns whether it can try again.
fn fill(job: &Job, input: &OwnedFd, count: usize) -> bool {
    let mut buffer = vec![0; count];
    let count = match rustix::io::read(input, &mut buffer) {
        Ok(count) => count,
        Err(Errno::INTR | Errno::AGAIN) => return false,
        // EIO: the terminal hung up. Whatever it is, there will be no more.
        Err(_) => 0,
    };
    job.state().input.fill(&buffer[..count]);
    true
}

/// Writes one piece that a ready pipe takes at once. Returns whether the guest can try again.
fn drain(job: &Job, output: &OwnedFd, index: usize) -> bool {
    let piece = job.state().outputs[index].front().to_vec();
    match rustix::io::write(output, &piece) {
        Ok(count) => job.state().outputs[index].pop(count),
        Err(Errno::INTR | Errno::AGAIN) => false,
        Err(error) => {
            log::debug!("job {}: output {}: {error}", job.id.get(), index + 1);
            job.state().outputs[index].close()
        }
    }
}
