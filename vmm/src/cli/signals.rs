//! Signals to this process, handed to a function on a thread of their own.

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::error::Error;

/// Signals that end a machine.
pub(super) const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
/// Signals that a program's client passes on to it.
pub(super) const FORWARDED: [i32; 6] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];

/// Calls `handle` for each of `signals` that arrives from now on.
///
/// # Errors
/// When there is no thread or descriptor left.
pub(super) fn watch(
    signals: &[i32],
    mut handle: impl FnMut(u16) + Send + 'static,
) -> Result<(), Error> {
    let mut arriving = Signals::new(signals).map_err(Error::system("watch for signals"))?;
    let thread = std::thread::Builder::new().name("signals".to_owned());
    let watching = thread.spawn(move || {
        for signal in arriving.forever().filter_map(|signal| u16::try_from(signal).ok()) {
            handle(signal);
        }
    });
    watching.map(drop).map_err(Error::system("make a thread for signals"))
}
