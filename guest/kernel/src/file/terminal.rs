//! The terminal of a job: its settings, what was typed, and whom its keys signal.
//!
//! The client's own terminal is in raw mode while the job runs, so that echo, editing of lines and
//! signals are made here, as the settings say ([`discipline`]).
//!
//! Source: Linux v6.12 include/uapi/asm-generic/termbits.h, drivers/tty/n_tty.c and tty_io.c.

mod discipline;
mod settings;

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::{Tid, index};
use crate::signal::{Signal, SignalInfo, send_process};
use crate::{host, physical};
use discipline::Effects;
pub(crate) use settings::SETTINGS_LEN;
use settings::{Settings, control, local, output};
use vmcg_abi::call::stream::TERMINAL;

/// Bytes a program's write shows at a time: what they become, twice as much at most, is a write that
/// the host takes whole or not at all.
pub(crate) const PIECE_LEN: usize = 2048;
/// Bytes that can be typed before a program reads them; more are lost (N_TTY_BUF_SIZE).
const TYPED_MAX: usize = 4096;

/// Whether what was typed is thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// It is.
    Yes,
    /// It stays.
    No,
}

/// A terminal as programs see it.
#[derive(Debug, Default)]
pub(crate) struct Terminal {
    settings: Settings,
    /// The process group that its signals go to, once a program chose one.
    pub(crate) foreground: Option<Tid>,
    /// The line that is being typed.
    line: Vec<u8>,
    /// What can be read: whole lines, or what came in raw mode. An empty line is an end of file.
    lines: VecDeque<VecDeque<u8>>,
    /// The next character is taken as it is.
    is_quoting: bool,
    /// The client's terminal is gone.
    is_ended: bool,
    /// A key has stopped the output.
    pub(crate) is_stopped: bool,
    /// When something was typed last, in nanoseconds since boot.
    typed_ns: u64,
    /// The timer of the read that is about to be made has run out (VTIME).
    pub(crate) is_late: bool,
    /// Rows and columns that a program set (TIOCSWINSZ).
    pub(crate) window: Option<(u16, u16)>,
}

impl Terminal {
    /// Its `struct termios`.
    pub(crate) fn settings(&self) -> &[u8; SETTINGS_LEN] {
        &self.settings.bytes
    }

    /// Changes the settings.
    pub(crate) fn set(&mut self, bytes: [u8; SETTINGS_LEN], flush: Flush) {
        self.settings = Settings { bytes };
        if flush == Flush::Yes {
            self.flush();
        }
        if !self.settings.has_local(local::CANONICAL) && !self.line.is_empty() {
            self.end_line();
        }
    }

    /// Nothing more can be read: every read is told the end.
    pub(crate) fn end(&mut self) {
        self.flush();
        self.is_ended = true;
    }

    /// Throws away what was typed.
    pub(crate) fn flush(&mut self) {
        self.line.clear();
        self.lines.clear();
    }

    /// Makes the line that is being typed readable.
    fn end_line(&mut self) {
        self.lines.push_back(core::mem::take(&mut self.line).into());
    }

    /// Bytes that can be read.
    pub(crate) fn unread(&self) -> u64 {
        self.lines.iter().map(|line| line.len() as u64).sum()
    }

    /// Whether a read would not wait.
    pub(crate) fn can_read(&self) -> bool {
        self.is_ended || !self.lines.is_empty()
    }

    /// When a read of raw mode gives up (VTIME): after its start where none is asked for (VMIN), else
    /// after the last character, once there is one.
    pub(crate) fn read_deadline(&self, now: u64, set_before: Option<u64>) -> Option<u64> {
        const TENTH_NS: u64 = 100_000_000;
        let timer = u64::from(self.settings.character(control::TIME)) * TENTH_NS;
        let has_least = self.settings.character(control::MIN) > 0;
        match has_least {
            _ if timer == 0 || self.settings.has_local(local::CANONICAL) => None,
            false => set_before.or(Some(now.saturating_add(timer))),
            true if self.unread() > 0 => Some(self.typed_ns.saturating_add(timer)),
            true => None,
        }
    }

    /// Reads one line, or in raw mode what there is; `None` where the caller waits for more.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Option<usize> {
        if self.settings.has_local(local::CANONICAL) {
            let Some(line) = self.lines.front_mut() else {
                return self.is_ended.then_some(0);
            };
            let len = fill(into, line);
            if line.is_empty() {
                self.lines.pop_front();
            }
            return Some(len);
        }
        let least = usize::from(self.settings.character(control::MIN)).min(into.len());
        let has_timer = self.settings.character(control::TIME) > 0;
        let least = if has_timer { least.max(1) } else { least };
        let is_late = core::mem::take(&mut self.is_late);
        if index(self.unread()) < least.min(into.len()) && !self.is_ended && !is_late {
            return None;
        }
        let mut done = 0;
        while let Some(line) = self.lines.front_mut()
            && done < into.len()
        {
            done += fill(&mut into[done..], line);
            if line.is_empty() {
                self.lines.pop_front();
            }
        }
        Some(done)
    }

    /// What a program's output looks like on a terminal in raw mode.
    pub(crate) fn shown(&self, bytes: &[u8]) -> Vec<u8> {
        if !self.settings.has_output(output::PROCESSED | output::NEWLINE_RETURNS) {
            return bytes.to_vec();
        }
        let mut shown = Vec::with_capacity(bytes.len() + bytes.len() / 8);
        for &byte in bytes {
            if byte == b'\n' {
                shown.push(b'\r');
            }
            shown.push(byte);
        }
        shown
    }
}

/// Moves the first bytes of a line.
fn fill(into: &mut [u8], line: &mut VecDeque<u8>) -> usize {
    let len = into.len().min(line.len());
    for (place, byte) in into.iter_mut().zip(line.drain(..len)) {
        *place = byte;
    }
    len
}

/// Writes to the stream of a job that is its terminal; a piece of up to 4096 bytes goes whole.
pub(crate) fn display(job: u32, bytes: &[u8]) -> Result<(), Errno> {
    // All that the terminal shows goes one way, so that it keeps its order.
    let Some(number) =
        [1, 2].into_iter().find(|&number| host::stream_kind(job, number) == TERMINAL)
    else {
        return Ok(());
    };
    host::stream_write(job, number, physical::gpa_of(bytes), bytes.len() as u64).map(drop)
}

/// Makes the terminal of a job that has one, with the job's first process in the foreground.
pub(crate) fn start(kernel: &mut Kernel, job: u32, first: Tid) {
    if host::stream_kind(job, 0) == TERMINAL {
        kernel.files.terminal_mut(job).foreground = Some(first);
        // Asking for input is what makes the host listen, also while no program reads: for Ctrl-C.
        take_input(kernel, job);
    }
}

/// Takes what was typed at the terminal of a job, if it has one.
pub(crate) fn take_input(kernel: &mut Kernel, job: u32) {
    const LOOK_LEN: usize = 512;
    if !kernel.files.has_terminal(job) || kernel.files.terminal_mut(job).is_ended {
        return;
    }
    let mut bytes = vec![0; LOOK_LEN];
    loop {
        let gpa = physical::gpa_of_mut(bytes.as_mut_slice());
        let len = match host::stream_read(job, gpa, LOOK_LEN as u64) {
            Err(Errno::EAGAIN) => return,
            Ok(0) | Err(_) => {
                kernel.files.terminal_mut(job).is_ended = true;
                return;
            }
            Ok(len) => index(len).min(LOOK_LEN),
        };
        let now = kernel.clock.now();
        let terminal = kernel.files.terminal_mut(job);
        terminal.typed_ns = now;
        let mut effects = Effects::default();
        for &byte in &bytes[..len] {
            terminal.type_character(byte, &mut effects);
        }
        for piece in terminal.shown(&effects.echo).chunks(PIECE_LEN) {
            // A client that takes nothing misses the echo.
            let _ = display(job, piece);
        }
        for signal in effects.signals {
            signal_foreground(kernel, job, signal);
        }
    }
}

/// The client's terminal has another size, which goes before what a program set.
pub(crate) fn resize(kernel: &mut Kernel, job: u32) {
    kernel.files.terminal_mut(job).window = None;
    signal_foreground(kernel, job, Signal::WINCH);
}

/// Sends a signal to every process in the foreground of a job's terminal.
pub(crate) fn signal_foreground(kernel: &mut Kernel, job: u32, signal: Signal) {
    let Some(foreground) = kernel.files.foreground(job) else { return };
    signal_group(kernel, job, foreground, signal);
}

fn signal_group(kernel: &mut Kernel, job: u32, group: Tid, signal: Signal) {
    let processes = kernel.processes.values();
    let members = processes.filter(|process| process.job == job && process.group == group);
    let members: Vec<Tid> = members.map(|process| process.id).collect();
    for member in members {
        // Only real-time signals can be refused, and these are none.
        send_process(kernel, member, SignalInfo::kernel(signal));
    }
}

/// The first process of a job has ended: its terminal leaves those in the foreground.
pub(crate) fn hang_up(kernel: &mut Kernel, job: u32) {
    signal_foreground(kernel, job, Signal::HUP);
    signal_foreground(kernel, job, Signal::CONT);
}

/// Whether a task may read its job's terminal now. In the background it may not: it is sent SIGTTIN,
/// or told EIO where that would not stop it.
pub(crate) fn may_read(kernel: &mut Kernel, tid: Tid, job: u32) -> Result<bool, Errno> {
    let Some(foreground) = kernel.files.foreground(job) else { return Ok(true) };
    let group = kernel.process_of(tid).group;
    if group == foreground || kernel.process_of(tid).job != job {
        return Ok(true);
    }
    let task = kernel.task(tid);
    let is_ignored = task.handlers.borrow().get(Signal::TTIN).is_ignore();
    if is_ignored || task.signals.blocked.contains(Signal::TTIN) {
        return Err(Errno::EIO);
    }
    signal_group(kernel, job, group, Signal::TTIN);
    Ok(false)
}
