//! The client's own terminal while a program in the guest has it.

use std::io::{Stdin, stdin};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use vmm::jobs::Window;

use super::error::Error;

/// What a terminal that does not know its size is taken for.
const FALLBACK: Window = Window { rows: 24, columns: 80 };

/// The terminal in raw mode; dropping it gives the terminal back as it was.
#[derive(Debug)]
pub(super) struct RawTerminal {
    terminal: Stdin,
    before: Termios,
}

impl RawTerminal {
    /// Puts standard input into raw mode.
    ///
    /// # Errors
    /// [`Error::NoTerminal`] when it is none.
    pub(super) fn enter() -> Result<Self, Error> {
        let terminal = stdin();
        let before = tcgetattr(&terminal).map_err(|_| Error::NoTerminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw)
            .map_err(|why| Error::system("put the terminal into raw mode")(why.into()))?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before) {
            log::debug!("the terminal stays in raw mode: {error}");
        }
    }
}

/// The size of the terminal that standard input is.
pub(super) fn window() -> Window {
    match tcgetwinsize(stdin()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            Window { rows: size.ws_row, columns: size.ws_col }
        }
        _ => FALLBACK,
    }
}
