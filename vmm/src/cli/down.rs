//! `vmcg down`.

use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};
use vmm::control::protocol::{Reply, Request};

use super::client;
use super::error::Error;

/// How long a machine may take to end.
const LIMIT_S: u64 = 15;

/// Asks the machine to end and waits until its process has.
///
/// # Errors
/// When there is no such machine, or it does not end.
pub(super) fn run(name: &str) -> Result<ExitCode, Error> {
    let mut wire = client::connect(name)?;
    let peer = rustix::net::sockopt::socket_peercred(wire.stream())
        .map_err(|why| Error::System { what: "find the machine's process", why: why.into() })?;
    let Ok(process) = pidfd_open(peer.pid, PidfdFlags::empty()) else {
        // It went while we were looking.
        return Err(Error::WentAway(name.to_owned()));
    };
    wire.send(&Request::Down, &[])?;
    match client::receive(&mut wire, name) {
        Ok(Reply::Ending) | Err(Error::WentAway(_)) => {}
        Ok(_) => return Err(Error::Unexpected(name.to_owned())),
        Err(error) => return Err(error),
    }
    let limit = Timespec { tv_sec: LIMIT_S.cast_signed(), tv_nsec: 0 };
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    let count = poll(&mut ended, Some(&limit))
        .map_err(|why| Error::System { what: "wait for the machine", why: why.into() })?;
    if count == 0 {
        let process = peer.pid.as_raw_nonzero().get();
        return Err(Error::StillThere { name: name.to_owned(), process, seconds: LIMIT_S });
    }
    Ok(ExitCode::SUCCESS)
}
