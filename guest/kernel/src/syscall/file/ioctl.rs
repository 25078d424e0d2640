//! ioctl(): what terminals, pipes and descriptors answer.
//!
//! Source: Linux v6.12 include/uapi/asm-generic/ioctls.h and termbits.h.

use super::super::request::{Outcome, Request, WaitKey};
use super::file_of;
use crate::errno::Errno;
use crate::file::open_file::Body;
use crate::file::stream::Stream;
use crate::file::table::OnExec;
use crate::file::terminal::{Flush, SETTINGS_LEN, hang_up, signal_foreground};
use crate::file::uapi::open;
use crate::file::{OpenFile, table_of};
use crate::host;
use crate::kernel::Kernel;
use crate::number::{Tid, low_u32};
use crate::signal::Signal;

/// Requests.
mod code {
    pub(super) const TCGETS: u32 = 0x5401;
    pub(super) const TCSETS: u32 = 0x5402;
    pub(super) const TCSETSW: u32 = 0x5403;
    pub(super) const TCSETSF: u32 = 0x5404;
    pub(super) const TCSBRK: u32 = 0x5409;
    pub(super) const TCFLSH: u32 = 0x540b;
    pub(super) const TIOCSCTTY: u32 = 0x540e;
    pub(super) const TIOCGPGRP: u32 = 0x540f;
    pub(super) const TIOCSPGRP: u32 = 0x5410;
    pub(super) const TIOCOUTQ: u32 = 0x5411;
    pub(super) const TIOCGWINSZ: u32 = 0x5413;
    pub(super) const TIOCSWINSZ: u32 = 0x5414;
    pub(super) const FIONREAD: u32 = 0x541b;
    pub(super) const FIONBIO: u32 = 0x5421;
    pub(super) const TIOCGSID: u32 = 0x5429;
    pub(super) const FIONCLEX: u32 = 0x5450;
    pub(super) const FIOCLEX: u32 = 0x5451;
}

/// The queue that TCFLSH does not find here.
const TCOFLUSH: u64 = 1;

/// ioctl(fd, request, argument)
pub(super) fn ioctl(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [fd, code, argument, ..] = request.args;
    let file = file_of(kernel, request, fd)?;
    if file.flags.get() & open::PATH != 0 {
        return Err(Errno::EBADF);
    }
    let user = kernel.user(request.tid);
    match low_u32(code) {
        code::FIOCLEX => {
            table_of(kernel, request.tid).borrow_mut().set_on_exec(fd, OnExec::Close)?;
        }
        code::FIONCLEX => {
            table_of(kernel, request.tid).borrow_mut().set_on_exec(fd, OnExec::Keep)?;
        }
        code::FIONBIO => {
            let kept = file.flags.get() & !open::NON_BLOCKING;
            let is_set = user.read_half(argument)? != 0;
            file.flags.set(if is_set { kept | open::NON_BLOCKING } else { kept });
        }
        code::FIONREAD => user.write_half(argument, unread(kernel, &file)?)?,
        code => {
            let Body::Stream(stream) = &file.body else {
                return Err(Errno::ENOTTY);
            };
            if !stream.is_terminal() {
                return Err(Errno::ENOTTY);
            }
            terminal(kernel, request, stream, code)?;
        }
    }
    Ok(Outcome::Done(0))
}

/// vhangup(): the terminal of the caller's job, if it has one, ends for all who use it.
pub(super) fn vhangup(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let job = kernel.process_of(request.tid).job;
    if kernel.files.has_terminal(job) {
        kernel.files.terminal_mut(job).end();
        hang_up(kernel, job);
        kernel.wake(WaitKey::Stream(job));
    }
    Ok(Outcome::Done(0))
}

/// Bytes that can be read without waiting.
fn unread(kernel: &mut Kernel, file: &OpenFile) -> Result<u32, Errno> {
    let len = match &file.body {
        Body::Pipe(end) => end.len() as u64,
        Body::Socket(socket) => socket.unread() as u64,
        Body::Stream(stream) => stream.read_ahead(kernel),
        _ => file.size().ok_or(Errno::ENOTTY)?.saturating_sub(file.offset.get()),
    };
    Ok(u32::try_from(len).unwrap_or(u32::MAX))
}

/// What a terminal answers. The host's terminal is in raw mode and stays so: the settings are for
/// the guest's own line discipline.
fn terminal(
    kernel: &mut Kernel,
    request: &Request,
    stream: &Stream,
    code: u32,
) -> Result<(), Errno> {
    let argument = request.args[2];
    let user = kernel.user(request.tid);
    let process = kernel.process_of(request.tid);
    let (own_group, session) = (process.group, process.session);
    let terminal = kernel.files.terminal_mut(stream.job());
    match code {
        code::TCGETS => user.write(argument, terminal.settings()),
        code::TCSETS | code::TCSETSW | code::TCSETSF => {
            let mut settings = [0; SETTINGS_LEN];
            user.read(argument, &mut settings)?;
            terminal.set(settings, if code == code::TCSETSF { Flush::Yes } else { Flush::No });
            Ok(())
        }
        code::TCFLSH if argument != TCOFLUSH => {
            terminal.flush();
            Ok(())
        }
        // Output is with the host already, which takes all of it.
        code::TCFLSH | code::TCSBRK => Ok(()),
        code::TIOCOUTQ => user.write_half(argument, 0),
        code::TIOCGWINSZ => {
            let window = terminal.window.or_else(|| host::stream_window(stream.job()));
            let (rows, columns) = window.unwrap_or_default();
            user.write_half(argument, u32::from(rows) | u32::from(columns) << 16)?;
            user.write_half(argument + 4, 0)
        }
        code::TIOCSWINSZ => {
            let [r0, r1, c0, c1] = user.read_half(argument)?.to_le_bytes();
            let window = (u16::from_le_bytes([r0, r1]), u16::from_le_bytes([c0, c1]));
            let former = terminal.window.or_else(|| host::stream_window(stream.job()));
            terminal.window = Some(window);
            if former != Some(window) {
                signal_foreground(kernel, stream.job(), Signal::WINCH);
            }
            Ok(())
        }
        code::TIOCGPGRP => user.write_half(argument, terminal.foreground.unwrap_or(own_group).0),
        code::TIOCSPGRP => {
            let group =
                Tid::from_word(u64::from(user.read_half(argument)?)).ok_or(Errno::EINVAL)?;
            terminal.foreground = Some(group);
            Ok(())
        }
        code::TIOCGSID => user.write_half(argument, session.0),
        code::TIOCSCTTY => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}
