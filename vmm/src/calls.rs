//! Calls of the guest kernel: decoded, checked, answered. See `vmcg_abi::call` for what each means.
//!
//! The guest is not trusted: a call with arguments that cannot be true gets an error number, and
//! nothing of it has happened.

use memcg::Tid;
use rustix::io::Errno;
use vmcg_abi::call::{ARGUMENTS_MAX, Call, job as descriptor};
use vmcg_abi::layout::{CALL_BUFFER_GPA, CALL_BUFFER_LEN};
use vmcg_abi::page::shared;

use crate::error::MachineError;
use crate::huge;
use crate::jobs::{JobId, StreamError};
use crate::kmem;
use crate::machine::{Accounting, Machine};
use crate::memory::BadRange;
use crate::share::Share;
use crate::slabs;

mod files;
mod tasks;

/// Whether the vCPU goes on.
#[derive(Debug)]
pub(crate) enum Flow {
    /// Enter the guest again.
    Continue,
    /// Leave the run loop with this result.
    Stop(Result<(), MachineError>),
}

/// What a handler answers: a value, or a Linux error number.
type Answer = Result<u64, Errno>;

/// Longest line of the guest's log, longest panic text and most bytes of one random fill.
const TEXT_MAX: u64 = 4096;
/// Most bytes one stream or file call moves.
const TRANSFER_MAX: u64 = 1 << 20;

/// Handles the call whose number and arguments are in the shared page.
pub(crate) fn handle(machine: &Machine, share: &mut Share) -> Flow {
    let number = machine.memory.shared(shared::CALL);
    let a: [u64; ARGUMENTS_MAX] =
        std::array::from_fn(|index| machine.memory.shared(shared::CALL_ARGUMENTS + index));
    let call = Call::from_number(number);
    machine.stats.call(call);
    let answer = match call {
        Some(Call::Shutdown) => return Flow::Stop(Ok(())),
        Some(Call::Panic) => {
            let text = text(machine, a[0], a[1]).unwrap_or_else(|_| "(no text)".into());
            return Flow::Stop(Err(MachineError::Guest(format!("its kernel panicked: {text}"))));
        }
        Some(call) => dispatch(machine, share, call, a),
        None => Err(Errno::NOSYS),
    };
    let word = match answer {
        Ok(value) => value,
        Err(errno) => {
            if errno != Errno::AGAIN {
                log::debug!("guest call {number} {a:x?}: {errno}");
            }
            i64::from(errno.raw_os_error()).wrapping_neg().cast_unsigned()
        }
    };
    machine.memory.set_shared(shared::CALL_RESULT, word);
    Flow::Continue
}

fn dispatch(machine: &Machine, share: &mut Share, call: Call, a: [u64; ARGUMENTS_MAX]) -> Answer {
    match call {
        Call::Log => log_line(machine, a[0], a[1]),
        Call::Idle => idle(machine, a[0]),
        Call::Clock => clock(machine),
        Call::Random => random(machine, a[0], a[1]),
        Call::DrainFree => Ok(machine.drain_free(&mut machine.lock())),
        Call::MemoryInfo => {
            let words = machine.memory_info();
            put_buffer(machine, &words.map(u64::to_le_bytes).concat())?;
            Ok(0)
        }
        Call::OutOfFrames => machine.out_of_frames(tid(a[0])?),
        Call::TaskNew => tasks::start(machine, a),
        Call::TaskExec => tasks::exec(machine, a),
        Call::TaskExit => tasks::exit(machine, a[0]),
        Call::UnknownSyscall => tasks::unknown_syscall(machine, a[0], a[1]),
        Call::TaskGroup => tasks::group(machine, a[0]),
        Call::JobFetch => job_fetch(machine, share),
        Call::JobStarted => {
            machine.timings.mark("program loaded");
            machine.jobs.started(job(a[0])?, tid(a[1])?);
            Ok(0)
        }
        Call::JobFailed => {
            let reason = text(machine, CALL_BUFFER_GPA, a[2])?;
            let errno = i32::try_from(a[1]).map_err(|_| Errno::INVAL)?;
            machine.jobs.failed(job(a[0])?, errno, &reason);
            Ok(0)
        }
        Call::JobDone => {
            let status = u32::try_from(a[1]).map_err(|_| Errno::INVAL)?;
            machine.timings.mark("program run");
            machine.jobs.done(job(a[0])?, status);
            Ok(0)
        }
        Call::StreamWrite => stream_write(machine, a),
        Call::StreamRead => stream_read(machine, a),
        Call::StreamKind => {
            let stream = u8::try_from(a[1]).map_err(|_| Errno::BADF)?;
            Ok(machine.jobs.stream_kind(job(a[0])?, stream).cast_unsigned())
        }
        Call::StreamWindow => {
            let window = machine.jobs.window(job(a[0])?).ok_or(Errno::NOTTY)?;
            Ok(u64::from(window.rows) | u64::from(window.columns) << 16)
        }
        Call::FileOpen => files::open(machine, share, a[0], a[1]),
        Call::FileClose => share.close(a[0]).map(|()| 0),
        Call::FileRead => files::read(machine, share, a),
        Call::FileReaddir => files::readdir(machine, share, a[0], a[1]),
        Call::FileReadlink => {
            let target = share.readlink(a[0])?;
            put_buffer(machine, &target)
        }
        Call::HugeReserve | Call::HugeRelease | Call::HugeFault | Call::HugeFree => {
            huge::calls::answer(machine, call, a)
        }
        Call::KmemCharge => kmem::charge(machine, a[0], a[1] == 1),
        Call::KmemShrunk => kmem::shrunk(machine, a[0], a[1] == 1),
        Call::KmemGone => kmem::gone(machine, a[0]),
        Call::KmemCaches => slabs::answer(machine, a[0], a[1]),
        Call::Shutdown | Call::Panic => Err(Errno::INVAL),
    }
}

fn log_line(machine: &Machine, gpa: u64, len: u64) -> Answer {
    log::info!("guest: {}", text(machine, gpa, len)?);
    Ok(0)
}

/// The guest kernel is up. Whoever waits for that may look at the timings at once.
fn note_boot(machine: &Machine) {
    machine.timings.mark("guest kernel");
    machine.gate.note_boot();
}

fn idle(machine: &Machine, deadline: u64) -> Answer {
    note_boot(machine);
    // An event that was delivered after the guest last looked must not wait for the next one.
    if machine.memory.shared(shared::EVENTS_PENDING) == 0 {
        machine.gate.idle(machine.instant(deadline));
    }
    Ok(0)
}

fn clock(machine: &Machine) -> Answer {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| Errno::INVAL)?;
    let realtime = u64::try_from(since_epoch.as_nanos()).map_err(|_| Errno::OVERFLOW)?;
    machine.memory.set_word(CALL_BUFFER_GPA, 0, realtime);
    Ok(machine.nanoseconds())
}

fn random(machine: &Machine, gpa: u64, len: u64) -> Answer {
    let mut bytes = vec![0; length(len, TEXT_MAX)?];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if filled != bytes.len() {
        return Err(Errno::AGAIN);
    }
    machine.memory.write(gpa, &bytes)?;
    Ok(0)
}

/// Packs the next job as `vmcg_abi::call::job` describes it.
fn job_fetch(machine: &Machine, share: &mut Share) -> Answer {
    note_boot(machine);
    let Some(next) = machine.jobs.fetch() else { return Err(Errno::AGAIN) };
    let id = next.id;
    let Some((program, size)) = share.insert(next.program) else {
        let reason = "the guest cannot open the program's file";
        machine.jobs.failed(id, Errno::MFILE.raw_os_error(), reason);
        return job_fetch(machine, share);
    };
    let group = machine.jobs.group(id);
    let kmem_id = group.map_or(0, |group| {
        let mut accounting = machine.lock();
        let Accounting { memcg, kmem, .. } = &mut *accounting;
        kmem.of_group(memcg, group)
    });
    let (argc, envc) = (next.argv.len() as u64, next.envp.len() as u64);
    let words: [u64; descriptor::WORDS] =
        [u64::from(id.get()), program, size, argc, envc, u64::from(kmem_id)];
    let mut packed: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    for string in [&next.path, &next.cwd].into_iter().chain(&next.argv).chain(&next.envp) {
        packed.extend_from_slice(string);
        packed.push(0);
    }
    match put_buffer(machine, &packed) {
        Ok(len) => Ok(len),
        Err(errno) => {
            share.close(program)?;
            let reason = "arguments and environment are longer than the guest takes (16 KiB)";
            machine.jobs.failed(id, Errno::TOOBIG.raw_os_error(), reason);
            log::debug!("job {} refused: {errno}", id.get());
            job_fetch(machine, share)
        }
    }
}

/// job, stream, gpa, length.
fn stream_write(machine: &Machine, a: [u64; ARGUMENTS_MAX]) -> Answer {
    let stream = u8::try_from(a[1]).map_err(|_| Errno::BADF)?;
    let bytes = bytes(machine, a[2], a[3].min(TRANSFER_MAX))?;
    Ok(machine.jobs.stream_write(job(a[0])?, stream, &bytes)? as u64)
}

/// job, gpa, length.
fn stream_read(machine: &Machine, a: [u64; ARGUMENTS_MAX]) -> Answer {
    let mut bytes = vec![0; length(a[2].min(TRANSFER_MAX), TRANSFER_MAX)?];
    machine.memory.slice(a[1], a[2].min(TRANSFER_MAX))?;
    let len = machine.jobs.stream_read(job(a[0])?, &mut bytes)?;
    files::fill(machine, a[1], &bytes[..len])?;
    Ok(len as u64)
}

fn put_buffer(machine: &Machine, bytes: &[u8]) -> Answer {
    if bytes.len() as u64 > CALL_BUFFER_LEN {
        return Err(Errno::TOOBIG);
    }
    machine.memory.write(CALL_BUFFER_GPA, bytes)?;
    Ok(bytes.len() as u64)
}

fn bytes(machine: &Machine, gpa: u64, len: u64) -> Result<Vec<u8>, Errno> {
    machine.memory.slice(gpa, len)?;
    let mut bytes = vec![0; length(len, TRANSFER_MAX)?];
    machine.memory.read(gpa, &mut bytes)?;
    Ok(bytes)
}

fn text(machine: &Machine, gpa: u64, len: u64) -> Result<String, Errno> {
    let bytes = bytes(machine, gpa, len.min(TEXT_MAX))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end().chars().map(|c| if c.is_control() { '?' } else { c }).collect())
}

fn length(len: u64, max: u64) -> Result<usize, Errno> {
    if len > max {
        return Err(Errno::INVAL);
    }
    usize::try_from(len).map_err(|_| Errno::INVAL)
}

fn tid(word: u64) -> Result<Tid, Errno> {
    u32::try_from(word).ok().filter(|&id| id != 0).map(Tid::new).ok_or(Errno::INVAL)
}

fn job(word: u64) -> Result<JobId, Errno> {
    u32::try_from(word).ok().filter(|&id| id != 0).map(JobId::new).ok_or(Errno::INVAL)
}

impl From<BadRange> for Errno {
    fn from(_: BadRange) -> Self {
        Self::FAULT
    }
}

impl From<StreamError> for Errno {
    fn from(why: StreamError) -> Self {
        match why {
            StreamError::WouldBlock => Self::AGAIN,
            StreamError::Closed => Self::PIPE,
            StreamError::NoSuchJob => Self::BADF,
        }
    }
}
