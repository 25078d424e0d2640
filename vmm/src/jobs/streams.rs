//! The buffers between the guest's calls and the client's descriptors. Pure state, no I/O.

use std::collections::VecDeque;

use super::StreamError;

/// Bytes an output holds, as a pipe of Linux does.
const CAPACITY: usize = 64 << 10;
/// A write up to this long is taken whole or not at all, so lines of several writers do not mix:
/// `PIPE_BUF`, Linux v6.12 include/uapi/linux/limits.h.
pub(super) const ATOMIC: usize = 4096;
/// Bytes read from the client at a time.
const READ_MAX: usize = 64 << 10;

/// Standard output or error.
#[derive(Debug, Default)]
pub(super) struct Output {
    buffer: VecDeque<u8>,
    is_closed: bool,
    has_waiter: bool,
}

impl Output {
    /// Takes bytes from the guest; returns how many.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<usize, StreamError> {
        if self.is_closed {
            return Err(StreamError::Closed);
        }
        let room = CAPACITY - self.buffer.len();
        let needed = if bytes.len() <= ATOMIC { bytes.len() } else { 1 };
        if room < needed {
            self.has_waiter = true;
            return Err(StreamError::WouldBlock);
        }
        let taken = room.min(bytes.len());
        self.buffer.extend(&bytes[..taken]);
        Ok(taken)
    }

    /// The next bytes for the client, in one piece.
    pub(super) fn front(&self) -> &[u8] {
        let front = self.buffer.as_slices().0;
        &front[..front.len().min(ATOMIC)]
    }

    /// Whether the client has all of it.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The client took `count` bytes. Returns whether a writer that waits should try again.
    pub(super) fn pop(&mut self, count: usize) -> bool {
        self.buffer.drain(..count.min(self.buffer.len()));
        let has_room = self.buffer.len() <= CAPACITY / 2;
        has_room && std::mem::take(&mut self.has_waiter)
    }

    /// Nobody reads any more. Returns whether a writer that waits should hear of it.
    pub(super) fn close(&mut self) -> bool {
        self.is_closed = true;
        self.buffer.clear();
        std::mem::take(&mut self.has_waiter)
    }
}

/// Standard input.
#[derive(Debug, Default)]
pub(super) enum Input {
    /// Nobody wants any.
    #[default]
    Idle,
    /// A program waits for at most so many bytes.
    Wanted(usize),
    /// Read for it and not fetched yet; never empty.
    Ready(VecDeque<u8>),
    /// The end was reached; the next read says so.
    End,
    /// The client is gone; every read says so.
    Closed,
}

impl Input {
    /// Gives bytes to the guest, or notes that it wants some.
    pub(super) fn take(&mut self, into: &mut [u8]) -> Result<usize, StreamError> {
        if into.is_empty() {
            return Ok(0);
        }
        match self {
            Self::Idle | Self::Wanted(_) => {
                *self = Self::Wanted(into.len().min(READ_MAX));
                Err(StreamError::WouldBlock)
            }
            Self::Ready(bytes) => {
                let count = bytes.len().min(into.len());
                for (slot, byte) in into.iter_mut().zip(bytes.drain(..count)) {
                    *slot = byte;
                }
                if bytes.is_empty() {
                    *self = Self::Idle;
                }
                Ok(count)
            }
            Self::End => {
                // Not for good: a terminal goes on after Ctrl-D.
                *self = Self::Idle;
                Ok(0)
            }
            Self::Closed => Ok(0),
        }
    }

    /// How many bytes to read from the client now, if any are wanted.
    pub(super) fn wanted(&self) -> Option<usize> {
        if let Self::Wanted(count) = self { Some(*count) } else { None }
    }

    /// The client gave `bytes`; none at its end.
    pub(super) fn fill(&mut self, bytes: &[u8]) {
        if matches!(self, Self::Wanted(_)) {
            *self = if bytes.is_empty() {
                Self::End
            } else {
                Self::Ready(bytes.iter().copied().collect())
            };
        }
    }

    /// The client is gone. Returns whether a reader waits.
    pub(super) fn close(&mut self) -> bool {
        let has_waiter = self.wanted().is_some();
        *self = Self::Closed;
        has_waiter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_write_is_taken_whole_or_not_at_all() {
        let mut output = Output::default();
        assert_eq!(output.push(&vec![b'x'; CAPACITY - 10]), Ok(CAPACITY - 10));
        assert_eq!(output.push(&[b'y'; 11]), Err(StreamError::WouldBlock));
        assert_eq!(output.push(&[b'y'; ATOMIC + 1]), Ok(10));
    }

    #[test]
    fn a_waiting_writer_is_told_once_when_half_is_free() {
        let mut output = Output::default();
        output.push(&vec![b'x'; CAPACITY]).unwrap();
        assert_eq!(output.push(b"y"), Err(StreamError::WouldBlock));
        assert!(!output.pop(1));
        assert!(output.pop(CAPACITY / 2));
        assert!(!output.pop(1));
    }

    #[test]
    fn a_closed_output_tells_its_waiter_and_refuses() {
        let mut output = Output::default();
        output.push(&vec![b'x'; CAPACITY]).unwrap();
        assert_eq!(output.push(b"y"), Err(StreamError::WouldBlock));
        assert!(output.close());
        assert!(output.is_empty());
        assert_eq!(output.push(b"y"), Err(StreamError::Closed));
    }

    #[test]
    fn input_is_wanted_only_after_someone_asked() {
        let mut input = Input::default();
        assert_eq!(input.wanted(), None);
        assert_eq!(input.take(&mut [0; 5]), Err(StreamError::WouldBlock));
        assert_eq!(input.wanted(), Some(5));
        input.fill(b"abc");
        assert_eq!(input.wanted(), None);
        let mut two = [0; 2];
        assert_eq!(input.take(&mut two), Ok(2));
        assert_eq!(&two, b"ab");
        assert_eq!(input.take(&mut two), Ok(1));
        assert_eq!(input.take(&mut two), Err(StreamError::WouldBlock));
    }

    #[test]
    fn the_end_of_input_is_said_once_for_each_read() {
        let mut input = Input::default();
        assert_eq!(input.take(&mut [0; 5]), Err(StreamError::WouldBlock));
        input.fill(b"");
        assert_eq!(input.take(&mut [0; 5]), Ok(0));
        assert_eq!(input.take(&mut [0; 5]), Err(StreamError::WouldBlock));
        assert!(input.close());
        assert_eq!(input.take(&mut [0; 5]), Ok(0));
    }
}
