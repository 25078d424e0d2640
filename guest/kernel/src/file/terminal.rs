//! What is kept of a job's terminal.
//!
//! Source: Linux v6.12 include/uapi/asm-generic/termbits.h, drivers/tty/tty_io.c (tty_std_termios).

use crate::number::Tid;

/// Bytes of the kernel's `struct termios`: four words of flags, the line discipline, 19 characters.
pub(crate) const SETTINGS_LEN: usize = 4 * 4 + 1 + 19;

/// A `struct winsize` of 24 rows and 80 columns: the host does not tell the real size.
pub(crate) const WINDOW: [u8; 8] = [24, 0, 80, 0, 0, 0, 0, 0];

/// A terminal as programs see it.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    /// Its `struct termios`.
    pub(crate) settings: [u8; SETTINGS_LEN],
    /// The process group that its signals go to, once a program chose one.
    pub(crate) foreground: Option<Tid>,
}

impl Default for Terminal {
    fn default() -> Self {
        /// ICRNL | IXON, OPOST | ONLCR, B38400 | CS8 | CREAD | HUPCL, and ISIG | ICANON | ECHO |
        /// ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN.
        const FLAGS: [u32; 4] = [0x500, 0x5, 0x4bf, 0x8a3b];
        /// INTR, QUIT, ERASE, KILL, EOF, TIME, MIN, SWTC, START, STOP, SUSP, EOL, REPRINT, DISCARD,
        /// WERASE, LNEXT, EOL2 (INIT_C_CC).
        const CHARACTERS: [u8; 17] = [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0];
        let mut settings = [0; SETTINGS_LEN];
        for (place, flags) in settings.as_chunks_mut::<4>().0.iter_mut().zip(FLAGS) {
            *place = flags.to_le_bytes();
        }
        settings[17..17 + CHARACTERS.len()].copy_from_slice(&CHARACTERS);
        Self { settings, foreground: None }
    }
}
