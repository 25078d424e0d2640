//! `vmcg exec`.

use std::fs::File;
use std::io::{stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

use vmm::control::protocol::{Exec, Reply, Request};
use vmm::control::wire::Wire;
use vmm::jobs::Program;

use super::error::Error;
use super::terminal::{RawTerminal, window};
use super::{ExecArgs, client, output, program, signals};

/// Runs a program in a running machine and ends as it does.
///
/// # Errors
/// When there is no such machine, group or program.
pub(super) fn run(args: &ExecArgs) -> Result<ExitCode, Error> {
    let Program { file, path, cwd, argv, envp } = program::open(&args.program)?;
    let shown = String::from_utf8_lossy(&path).into_owned();
    let name = &args.named.name;
    let mut wire = client::connect(name)?;
    let sender = wire.sender()?;
    if !args.detach {
        // Before the program can start, so that no signal finds nobody.
        let mut held = signals::FORWARDED.to_vec();
        held.extend(args.terminal.then_some(signals::RESIZED));
        signals::hold(&held)?.handle(move |signal| forward(&sender, signal))?;
    }
    // Dropped on every way out, which gives the terminal back as it was.
    let raw = if args.terminal { Some(RawTerminal::enter()?) } else { None };
    let request = Request::Exec(Exec {
        group: args.cgroup.clone(),
        path,
        cwd,
        argv,
        envp,
        is_detached: args.detach,
        window: raw.as_ref().map(|_| window()),
    });
    send(&wire, &request, &file, args.detach)?;
    loop {
        match client::receive(&mut wire, name)? {
            Reply::Started { tid } if args.detach => {
                output::print(&format_args!("{tid}\n"))?;
                return Ok(ExitCode::SUCCESS);
            }
            Reply::Started { .. } => {}
            Reply::Ended { wait_status } => return Ok(exit_code(wait_status)),
            Reply::Failed { reason, .. } => {
                return Err(Error::NotRun { program: shown, reason });
            }
            _ => return Err(Error::Unexpected(name.clone())),
        }
    }
}

/// The exit status of a shell: the program's, or 128 and the number of the signal that ended it.
pub(super) fn exit_code(wait_status: u32) -> ExitCode {
    let [low, high, ..] = wait_status.to_le_bytes();
    let signal = low & 0x7f;
    ExitCode::from(if signal == 0 { high } else { 128 + signal })
}

fn send(wire: &Wire, request: &Request, program: &File, is_detached: bool) -> Result<(), Error> {
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(Error::system("open /dev/null"))?;
    let null = null.as_fd();
    let (input, output, error) = (stdin(), stdout(), stderr());
    let stdio: [BorrowedFd<'_>; 3] = if is_detached {
        [null, null, null]
    } else {
        [input.as_fd(), output.as_fd(), error.as_fd()]
    };
    Ok(wire.send(request, &[program.as_fd(), stdio[0], stdio[1], stdio[2]])?)
}

fn forward(machine: &Wire, signal: u16) {
    let is_resized = i32::from(signal) == signals::RESIZED;
    let request = if is_resized { Request::Resize(window()) } else { Request::Signal(signal) };
    if let Err(error) = machine.send(&request, &[]) {
        log::debug!("signal {signal} came too late: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_a_shell() {
        assert_eq!(exit_code(0), ExitCode::from(0));
        assert_eq!(exit_code(7 << 8), ExitCode::from(7));
        assert_eq!(exit_code(9), ExitCode::from(137));
        assert_eq!(exit_code(11 | 0x80), ExitCode::from(139));
    }
}
