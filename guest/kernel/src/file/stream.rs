//! The streams of a job: what `vmcg exec` was given as standard input, output and error.

use alloc::collections::VecDeque;
use core::cell::Cell;

use super::open_file::{Readiness, Transfer};
use super::terminal;
use super::uapi::{Stat, device, mode};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::syscall::request::WaitKey;
use crate::{host, physical};
use vmcg_abi::call::stream::{FILE, TERMINAL};

/// Bytes read ahead when a program asks whether there is input.
const LOOKAHEAD_LEN: usize = 4096;

/// A stream of a job.
#[derive(Debug)]
pub(crate) struct Stream {
    job: u32,
    /// 0, 1 or 2.
    number: u64,
    /// What the host says it is, once it was asked.
    kind: Cell<Option<i64>>,
}

/// Input of a job that a poll() found and no read() has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Lookahead {
    bytes: VecDeque<u8>,
    is_ended: bool,
}

impl Stream {
    /// A stream; `number` is 0, 1 or 2.
    pub(crate) fn new(job: u32, number: u64) -> Self {
        Self { job, number, kind: Cell::new(None) }
    }

    /// The job it belongs to.
    pub(crate) fn job(&self) -> u32 {
        self.job
    }

    /// Its number, as the descriptor it first had.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.kind() == TERMINAL
    }

    /// Whether it is a regular file of the host.
    pub(crate) fn is_file(&self) -> bool {
        self.kind() == FILE
    }

    fn kind(&self) -> i64 {
        let kind = self.kind.get().unwrap_or_else(|| host::stream_kind(self.job, self.number));
        self.kind.set(Some(kind));
        kind
    }

    fn key(&self) -> WaitKey {
        WaitKey::Stream(self.job)
    }

    /// Reads standard input, or the terminal whichever stream it is.
    pub(crate) fn read(&self, kernel: &mut Kernel, into: &mut [u8]) -> Result<Transfer, Errno> {
        if self.is_terminal() {
            let read = kernel.files.terminal_mut(self.job).read(into);
            return Ok(read.map_or(Transfer::Wait(self.key()), Transfer::Done));
        }
        if let Some(ahead) = kernel.files.lookahead.get_mut(&self.job) {
            if !ahead.bytes.is_empty() {
                let len = into.len().min(ahead.bytes.len());
                for (place, byte) in into.iter_mut().zip(ahead.bytes.drain(..len)) {
                    *place = byte;
                }
                return Ok(Transfer::Done(len));
            }
            if ahead.is_ended {
                // The end is told once; a terminal may have more after it.
                ahead.is_ended = false;
                return Ok(Transfer::Done(0));
            }
        }
        match host::stream_read(self.job, physical::gpa_of_mut(into), into.len() as u64) {
            Ok(len) => Ok(Transfer::Done(crate::number::index(len).min(into.len()))),
            Err(Errno::EAGAIN) => Ok(Transfer::Wait(self.key())),
            Err(errno) => Err(errno),
        }
    }

    /// When a read of a terminal gives up; the read that follows knows whether it is late.
    pub(crate) fn start_read(&self, kernel: &mut Kernel, set_before: Option<u64>) -> Option<u64> {
        if !self.is_terminal() {
            return None;
        }
        let now = kernel.clock.now();
        let terminal = kernel.files.terminal_mut(self.job);
        let deadline = terminal.read_deadline(now, set_before);
        terminal.is_late = deadline.is_some_and(|deadline| now >= deadline);
        deadline
    }

    /// Writes. Standard input can be written where it is a terminal, as its output.
    pub(crate) fn write(&self, kernel: &mut Kernel, from: &[u8]) -> Result<Transfer, Errno> {
        if self.is_terminal() {
            return self.display(kernel, from);
        }
        let number = self.number.max(1);
        match host::stream_write(self.job, number, physical::gpa_of(from), from.len() as u64) {
            Ok(len) => Ok(Transfer::Done(crate::number::index(len).min(from.len()))),
            Err(Errno::EAGAIN) => Ok(Transfer::Wait(self.key())),
            Err(errno) => Err(errno),
        }
    }

    /// Writes to the terminal a piece that the host takes whole or not at all.
    fn display(&self, kernel: &mut Kernel, from: &[u8]) -> Result<Transfer, Errno> {
        let taken = from.len().min(terminal::PIECE_LEN);
        let terminal = kernel.files.terminal_mut(self.job);
        if terminal.is_stopped {
            return Ok(Transfer::Wait(self.key()));
        }
        let shown = terminal.shown(&from[..taken]);
        match terminal::display(self.job, &shown) {
            Ok(()) => Ok(Transfer::Done(taken)),
            Err(Errno::EAGAIN) => Ok(Transfer::Wait(self.key())),
            Err(errno) => Err(errno),
        }
    }

    /// What poll() says. Asking for input is reading it: what comes is kept for the next read.
    ///
    /// Output always counts as ready; a write may wait all the same.
    pub(crate) fn readiness(&self, kernel: &mut Kernel) -> Readiness {
        if self.is_terminal() {
            let can_read = kernel.files.terminal_mut(self.job).can_read();
            return Readiness { can_read, can_write: true, ..Readiness::default() };
        }
        if self.number != 0 {
            return Readiness { can_write: true, ..Readiness::default() };
        }
        let ahead = kernel.files.lookahead.entry(self.job).or_default();
        if ahead.bytes.is_empty() && !ahead.is_ended {
            let mut bytes = [0_u8; LOOKAHEAD_LEN];
            let gpa = physical::gpa_of_mut(&mut bytes);
            if let Ok(len) = host::stream_read(self.job, gpa, LOOKAHEAD_LEN as u64) {
                let len = crate::number::index(len).min(LOOKAHEAD_LEN);
                ahead.bytes.extend(&bytes[..len]);
                ahead.is_ended = len == 0;
            }
        }
        let can_read = !ahead.bytes.is_empty() || ahead.is_ended;
        Readiness { can_read, ..Readiness::default() }
    }

    /// Bytes of input that can be read without asking the host.
    pub(crate) fn read_ahead(&self, kernel: &mut Kernel) -> u64 {
        if self.is_terminal() {
            return kernel.files.terminal_mut(self.job).unread();
        }
        kernel.files.lookahead.get(&self.job).map_or(0, |ahead| ahead.bytes.len() as u64)
    }

    /// What waiters for a change of readiness wait for.
    pub(crate) fn wait_key(&self) -> WaitKey {
        self.key()
    }

    /// What fstat() says.
    pub(crate) fn stat(&self) -> Stat {
        /// Major number of pseudo-terminals.
        const PTS: u64 = 136;
        let (mode, rdev) = match self.kind() {
            TERMINAL => (mode::CHARACTER | 0o620, device(PTS, 0)),
            FILE => (mode::REGULAR | 0o644, 0),
            _ => (mode::FIFO | 0o600, 0),
        };
        let ino = 3 + self.number;
        Stat { dev: 0x18, ino, mode, nlink: 1, rdev, ..Stat::default() }
    }
}
