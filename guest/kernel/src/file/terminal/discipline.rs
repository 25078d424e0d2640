//! What becomes of a character that was typed: a signal, an edit of the line, or input; and its echo.

use alloc::vec::Vec;

use super::settings::{control, input, local};
use super::{TYPED_MAX, Terminal};
use crate::number::index;
use crate::signal::Signal;

/// What typing did besides changing the input.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// To be shown.
    pub(super) echo: Vec<u8>,
    /// To be sent to the foreground.
    pub(super) signals: Vec<Signal>,
}

impl Terminal {
    /// Takes one character.
    pub(super) fn type_character(&mut self, byte: u8, effects: &mut Effects) {
        if core::mem::take(&mut self.is_quoting) {
            self.insert(byte, effects);
            return;
        }
        let Some(byte) = self.translate(byte) else { return };
        if self.stops_or_starts(byte) {
            return;
        }
        if self.settings.has_local(local::SIGNALS)
            && let Some(signal) = self.signal_of(byte)
        {
            if !self.settings.has_local(local::NO_FLUSH) {
                self.flush();
            }
            self.echo(byte, effects);
            effects.signals.push(signal);
        } else if self.settings.has_local(local::CANONICAL) {
            self.edit(byte, effects);
        } else {
            self.insert(byte, effects);
        }
    }

    /// Stops the output or lets it go on (IXON); answers whether the key was for that.
    fn stops_or_starts(&mut self, byte: u8) -> bool {
        if !self.settings.has_input(input::STOPS_OUTPUT) {
            self.is_stopped = false;
            return false;
        }
        let stops = self.settings.is(control::STOP, byte);
        // One key may do both, in turn.
        let starts = self.settings.is(control::START, byte) && (self.is_stopped || !stops);
        if starts || self.settings.has_input(input::ANY_STARTS) && !stops {
            self.is_stopped = false;
        } else if stops {
            self.is_stopped = true;
        }
        stops || starts
    }

    /// Exchanges carriage return and newline as the settings say; `None` drops the character.
    fn translate(&self, byte: u8) -> Option<u8> {
        match byte {
            b'\r' if self.settings.has_input(input::IGNORE_RETURN) => None,
            b'\r' if self.settings.has_input(input::RETURN_TO_NEWLINE) => Some(b'\n'),
            b'\n' if self.settings.has_input(input::NEWLINE_TO_RETURN) => Some(b'\r'),
            byte => Some(byte),
        }
    }

    fn signal_of(&self, byte: u8) -> Option<Signal> {
        let keys = [
            (control::INTERRUPT, Signal::INT),
            (control::QUIT, Signal::QUIT),
            (control::SUSPEND, Signal::TSTP),
        ];
        keys.into_iter().find(|(place, _)| self.settings.is(*place, byte)).map(|(_, signal)| signal)
    }

    /// Takes a character of canonical mode.
    fn edit(&mut self, byte: u8, effects: &mut Effects) {
        let is_extended = self.settings.has_local(local::EXTENDED);
        if self.settings.is(control::ERASE, byte) {
            self.erase(effects);
        } else if self.settings.is(control::KILL, byte) {
            while self.erase(effects) {}
        } else if is_extended && self.settings.is(control::ERASE_WORD, byte) {
            self.erase_word(effects);
        } else if is_extended && self.settings.is(control::QUOTE, byte) {
            self.is_quoting = true;
        } else if self.settings.is(control::END, byte) {
            self.end_line();
        } else if byte == b'\n' || self.settings.is(control::END_OF_LINE, byte) {
            // The end of a line has room also where nothing else has.
            self.line.push(byte);
            let is_shown = self.settings.has_local(local::ECHO)
                || byte == b'\n' && self.settings.has_local(local::ECHO_NEWLINE);
            if is_shown {
                effects.echo.push(byte);
            }
            self.end_line();
        } else {
            self.insert(byte, effects);
        }
    }

    /// Adds a character to the line, or in raw mode to what can be read.
    fn insert(&mut self, byte: u8, effects: &mut Effects) {
        if index(self.unread()) + self.line.len() >= TYPED_MAX {
            return;
        }
        self.echo(byte, effects);
        self.line.push(byte);
        if !self.settings.has_local(local::CANONICAL) {
            match self.lines.back_mut() {
                Some(last) => last.extend(self.line.drain(..)),
                None => self.end_line(),
            }
        }
    }

    fn echo(&self, byte: u8, effects: &mut Effects) {
        if !self.settings.has_local(local::ECHO) {
            return;
        }
        if self.is_shown_as_two(byte) {
            effects.echo.extend([b'^', byte ^ 0x40]);
        } else {
            effects.echo.push(byte);
        }
    }

    /// Whether a character is echoed as `^X`.
    fn is_shown_as_two(&self, byte: u8) -> bool {
        let is_plain = matches!(byte, b'\t' | b'\n');
        byte.is_ascii_control() && !is_plain && self.settings.has_local(local::ECHO_CONTROL)
    }

    /// Takes back the last character of the line; false where there is none.
    fn erase(&mut self, effects: &mut Effects) -> bool {
        let Some(mut last) = self.line.pop() else { return false };
        while self.settings.has_input(input::UTF8) && is_continuation(last) {
            let Some(before) = self.line.pop() else { break };
            last = before;
        }
        if self.settings.has_local(local::ECHO | local::ECHO_ERASE) {
            let columns = if self.is_shown_as_two(last) { 2 } else { 1 };
            for _ in 0..columns {
                effects.echo.extend_from_slice(b"\x08 \x08");
            }
        }
        true
    }

    /// Takes back the last word and what follows it.
    fn erase_word(&mut self, effects: &mut Effects) {
        let is_space = |byte: &u8| byte.is_ascii_whitespace();
        while self.line.last().is_some_and(is_space) && self.erase(effects) {}
        while self.line.last().is_some_and(|byte| !is_space(byte)) && self.erase(effects) {}
    }
}

/// Whether a byte is a later one of a UTF-8 character.
fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}
