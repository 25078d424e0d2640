//! The settings of a terminal, and what their bits are called.

/// Bytes of the kernel's `struct termios`: four words of flags, the line discipline, 19 characters.
pub(crate) const SETTINGS_LEN: usize = FLAG_WORDS * 4 + 1 + 19;
const FLAG_WORDS: usize = 4;
/// Where the control characters begin.
const CHARACTERS: usize = FLAG_WORDS * 4 + 1;

/// Flags of what is typed (`c_iflag`).
pub(super) mod input {
    pub(in super::super) const NEWLINE_TO_RETURN: u32 = 0o100;
    pub(in super::super) const IGNORE_RETURN: u32 = 0o200;
    pub(in super::super) const RETURN_TO_NEWLINE: u32 = 0o400;
    /// IXON: keys stop the output and let it go on.
    pub(in super::super) const STOPS_OUTPUT: u32 = 0o2000;
    /// IXANY: any key lets it go on.
    pub(in super::super) const ANY_STARTS: u32 = 0o4000;
    pub(in super::super) const UTF8: u32 = 0o40000;
}

/// Flags of what is shown (`c_oflag`).
pub(super) mod output {
    pub(in super::super) const PROCESSED: u32 = 0o1;
    pub(in super::super) const NEWLINE_RETURNS: u32 = 0o4;
}

/// Flags of the line discipline (`c_lflag`).
pub(super) mod local {
    pub(in super::super) const SIGNALS: u32 = 0o1;
    pub(in super::super) const CANONICAL: u32 = 0o2;
    pub(in super::super) const ECHO: u32 = 0o10;
    pub(in super::super) const ECHO_ERASE: u32 = 0o20;
    pub(in super::super) const ECHO_NEWLINE: u32 = 0o100;
    pub(in super::super) const NO_FLUSH: u32 = 0o200;
    pub(in super::super) const ECHO_CONTROL: u32 = 0o1000;
    pub(in super::super) const EXTENDED: u32 = 0o100_000;
}

/// Places of the control characters.
pub(super) mod control {
    pub(in super::super) const INTERRUPT: usize = 0;
    pub(in super::super) const QUIT: usize = 1;
    pub(in super::super) const ERASE: usize = 2;
    pub(in super::super) const KILL: usize = 3;
    pub(in super::super) const END: usize = 4;
    pub(in super::super) const TIME: usize = 5;
    pub(in super::super) const MIN: usize = 6;
    pub(in super::super) const START: usize = 8;
    pub(in super::super) const STOP: usize = 9;
    pub(in super::super) const SUSPEND: usize = 10;
    pub(in super::super) const END_OF_LINE: usize = 11;
    pub(in super::super) const ERASE_WORD: usize = 14;
    pub(in super::super) const QUOTE: usize = 15;
}

/// A `struct termios`.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) bytes: [u8; SETTINGS_LEN],
}

impl Settings {
    fn word(&self, place: usize) -> u32 {
        let words = self.bytes.as_chunks::<4>().0;
        u32::from_le_bytes(words.get(place).copied().unwrap_or_default())
    }

    /// Whether all of these input flags are set.
    pub(super) fn has_input(&self, flags: u32) -> bool {
        self.word(0) & flags == flags
    }

    /// Whether all of these output flags are set.
    pub(super) fn has_output(&self, flags: u32) -> bool {
        self.word(1) & flags == flags
    }

    /// Whether all of these local flags are set.
    pub(super) fn has_local(&self, flags: u32) -> bool {
        self.word(3) & flags == flags
    }

    /// A control character.
    pub(super) fn character(&self, place: usize) -> u8 {
        self.bytes[CHARACTERS + place]
    }

    /// Whether `byte` is this control character; 0 means that there is none.
    pub(super) fn is(&self, place: usize, byte: u8) -> bool {
        byte != 0 && self.character(place) == byte
    }
}

impl Default for Settings {
    /// Those of a Linux terminal (tty_std_termios), with IUTF8, as terminal emulators have it.
    fn default() -> Self {
        /// ICRNL | IXON | IUTF8, OPOST | ONLCR, B38400 | CS8 | CREAD | HUPCL, and ISIG | ICANON | ECHO |
        /// ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN.
        const FLAGS: [u32; FLAG_WORDS] = [0x4500, 0x5, 0x4bf, 0x8a3b];
        /// INTR, QUIT, ERASE, KILL, EOF, TIME, MIN, SWTC, START, STOP, SUSP, EOL, REPRINT, DISCARD,
        /// WERASE, LNEXT, EOL2 (INIT_C_CC).
        const DEFAULTS: [u8; 17] = [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0];
        let mut bytes = [0; SETTINGS_LEN];
        for (place, flags) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(FLAGS) {
            *place = flags.to_le_bytes();
        }
        bytes[CHARACTERS..CHARACTERS + DEFAULTS.len()].copy_from_slice(&DEFAULTS);
        Self { bytes }
    }
}
