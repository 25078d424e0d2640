//! Bytes on their way through a pipe or a socket, in pieces that are charged to whoever put them in.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;

use super::Shortage;
use super::class::{ByteClass, Class};
use crate::memory::frames::Frames;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    pieces: VecDeque<Piece>,
    len: usize,
}

/// Bytes `start..end` of a place.
#[derive(Debug)]
struct Piece {
    place: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Bytes {
    /// Bytes in the queue.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts bytes in, all or none. New pieces are as long as the shortest class they fit, and no
    /// shorter than `least`.
    pub(crate) fn push(
        &mut self,
        frames: &Frames,
        from: &[u8],
        least: ByteClass,
    ) -> Result<(), Shortage> {
        let room = self.pieces.back().map_or(0, |last| last.place.len() - last.end);
        let (there, mut rest) = from.split_at(room.min(from.len()));
        let mut made = VecDeque::new();
        while !rest.is_empty() {
            let class = ByteClass::fitting(rest.len()).max(least);
            let place = vec_of(frames, class)?;
            let (now, later) = rest.split_at(rest.len().min(place.len()));
            let mut piece = Piece { place, start: 0, end: 0 };
            piece.fill(now);
            made.push_back(piece);
            rest = later;
        }
        if let Some(last) = self.pieces.back_mut() {
            last.fill(there);
        }
        self.pieces.append(&mut made);
        self.len += from.len();
        Ok(())
    }

    /// Copies bytes from the front, which stay; answers how many.
    pub(crate) fn peek(&self, into: &mut [u8]) -> usize {
        let mut copied = 0;
        for piece in &self.pieces {
            let bytes = &piece.place[piece.start..piece.end];
            let len = bytes.len().min(into.len() - copied);
            into[copied..copied + len].copy_from_slice(&bytes[..len]);
            copied += len;
        }
        copied
    }

    /// Drops bytes from the front, and the pieces that are empty then.
    pub(crate) fn drop_front(&mut self, len: usize) {
        let mut left = len.min(self.len);
        self.len -= left;
        while let Some(first) = self.pieces.front_mut() {
            let taken = left.min(first.end - first.start);
            first.start += taken;
            left -= taken;
            if first.start < first.end {
                return;
            }
            self.pieces.pop_front();
        }
        // An idle pipe costs no memory.
        self.pieces = VecDeque::new();
    }
}

impl Piece {
    /// Appends bytes there is room for.
    fn fill(&mut self, bytes: &[u8]) {
        self.place[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }
}

/// A place for bytes, charged to the current payer.
fn vec_of(frames: &Frames, class: ByteClass) -> Result<Box<[u8]>, Shortage> {
    let class = Class::from(class);
    frames.charged(class, || vec![0; class.size()].into_boxed_slice())
}
