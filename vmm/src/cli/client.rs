//! Talking to a running machine.

use std::io;
use std::os::unix::net::UnixStream;

use vmm::control::protocol::{Reply, Request};
use vmm::control::wire::Wire;
use vmm::runtime::Directory;

use super::error::Error;

/// Connects to the machine `name`.
///
/// # Errors
/// [`Error::NoMachine`] names those that run instead.
pub(super) fn connect(name: &str) -> Result<Wire, Error> {
    let directory = Directory::open()?;
    let path = directory.files(name)?.socket();
    match UnixStream::connect(&path) {
        Ok(stream) => Ok(Wire::new(stream)),
        Err(why)
            if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
        {
            let living = directory.living()?;
            let others = if living.is_empty() {
                String::new()
            } else {
                format!(" (running: {})", living.join(", "))
            };
            Err(Error::NoMachine { name: name.to_owned(), others })
        }
        Err(why) => Err(Error::Unreachable { name: name.to_owned(), path, why }),
    }
}

/// Receives the next answer.
///
/// # Errors
/// [`Error::WentAway`] at the end of the connection, [`Error::Refused`] with the machine's reason.
pub(super) fn receive(wire: &mut Wire, name: &str) -> Result<Reply, Error> {
    match wire.receive()? {
        Some(Reply::Refused(reason)) => Err(Error::Refused(reason)),
        Some(reply) => Ok(reply),
        None => Err(Error::WentAway(name.to_owned())),
    }
}

/// Asks one question and returns the answer.
///
/// # Errors
/// As [`connect`] and [`receive`].
pub(super) fn ask(name: &str, request: &Request) -> Result<Reply, Error> {
    let mut wire = connect(name)?;
    wire.send(request, &[])?;
    receive(&mut wire, name)
}
