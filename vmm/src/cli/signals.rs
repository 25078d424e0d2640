//! Signals to this process, handed to a function on a thread of their own.

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;

use super::error::Error;

/// Signals that end a machine.
pub(super) const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
/// Signals that a program's client passes on to it.
pub(super) const FORWARDED: [i32; 6] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];

/// The signal that tells of a terminal's new size.
pub(super) const RESIZED: i32 = SIGWINCH;

/// Signals that no longer end this process, and wait for someone to handle them.
#[derive(Debug)]
pub(super) struct Held(Signals);

/// Holds `signals` from now on, so that none of them ends a half-made machine.
///
/// # Errors
/// When there is no descriptor left.
pub(super) fn hold(signals: &[i32]) -> Result<Held, Error> {
    Signals::new(signals).map(Held).map_err(Error::system("watch for signals"))
}

impl Held {
    /// Calls `handle` for each signal that waits or arrives.
    ///
    /// # Errors
    /// When there is no thread left.
    pub(super) fn handle(self, mut handle: impl FnMut(u16) + Send + 'static) -> Result<(), Error> {
        let Self(mut signals) = self;
        let thread = std::thread::Builder::new().name("signals".to_owned());
        let handling = thread.spawn(move || {
            for signal in signals.forever().filter_map(|signal| u16::try_from(signal).ok()) {
                handle(signal);
            }
        });
        handling.map(drop).map_err(Error::system("make a thread for signals"))
    }
}
