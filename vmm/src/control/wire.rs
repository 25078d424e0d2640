//! Lines of JSON over a Unix socket, with descriptors.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest line, in bytes: a list of a hundred thousand tasks fits.
const LINE_BYTES_MAX: usize = 32 << 20;
/// Most descriptors with one line.
const FILES_MAX: usize = 4;
/// Bytes asked from the socket at a time.
const READ_BYTES: usize = 16 << 10;

/// Why a message was not sent or received.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The socket failed.
    #[error("control socket: {0}")]
    Socket(#[from] std::io::Error),
    /// The other side speaks differently.
    #[error(
        "the other side of the control socket speaks another language ({0}): use the same vmcg on both sides"
    )]
    Language(#[from] serde_json::Error),
    /// No line ends.
    #[error("a message on the control socket is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: UnixStream,
    buffer: Vec<u8>,
    // Bytes at the start of `buffer` known to hold no line end.
    searched: usize,
    files: VecDeque<OwnedFd>,
}

impl Wire {
    /// Wraps a connected socket.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new(), searched: 0, files: VecDeque::new() }
    }

    /// The socket itself.
    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// A second end for sending from another thread.
    ///
    /// # Errors
    /// [`WireError::Socket`] when there is no descriptor left.
    pub fn sender(&self) -> Result<Self, WireError> {
        Ok(Self::new(self.stream.try_clone()?))
    }

    /// Receives the next message; `None` when the other side has ended the connection.
    ///
    /// # Errors
    /// [`WireError`]; the connection is of no more use then.
    pub fn receive<M: DeserializeOwned>(&mut self) -> Result<Option<M>, WireError> {
        loop {
            let rest = &self.buffer[self.searched..];
            if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=self.searched + end).collect();
                self.searched = 0;
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(WireError::TooLong);
            }
            if self.receive_bytes()? == 0 {
                return Ok(None);
            }
        }
    }

    /// Takes the oldest descriptor received.
    pub fn take_file(&mut self) -> Option<OwnedFd> {
        self.files.pop_front()
    }

    fn receive_bytes(&mut self) -> Result<usize, WireError> {
        let mut bytes = [0; READ_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let count = loop {
            let mut into = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match recvmsg(&self.stream, &mut into, &mut ancillary, flags) {
                Ok(message) => break message.bytes,
                Err(Errno::INTR) => {}
                // A client that is killed with replies unread resets the connection.
                Err(Errno::CONNRESET) => break 0,
                Err(error) => return Err(WireError::Socket(error.into())),
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files.take(FILES_MAX));
            }
        }
        self.files.truncate(FILES_MAX);
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Sends a message with descriptors, at most four.
    ///
    /// # Errors
    /// [`WireError::Socket`], for example when the other side has gone.
    pub fn send<M: Serialize>(
        &self,
        message: &M,
        files: &[BorrowedFd<'_>],
    ) -> Result<(), WireError> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut rest = line.as_slice();
        let mut files = files;
        while !rest.is_empty() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
                return Err(WireError::TooLong);
            }
            let from = [IoSlice::new(rest)];
            match sendmsg(&self.stream, &from, &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    rest = &rest[count..];
                    files = &[];
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(WireError::Socket(error.into())),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (Wire, Wire) {
        let (a, b) = UnixStream::pair().unwrap();
        (Wire::new(a), Wire::new(b))
    }

    #[test]
    fn messages_arrive_in_order_with_their_descriptors() {
        let (here, mut there) = pair();
        let (reader, mut writer) = std::io::pipe().unwrap();
        here.send(&"first", &[reader.as_fd()]).unwrap();
        here.send(&vec![2, 3], &[]).unwrap();
        assert_eq!(there.receive::<String>().unwrap().unwrap(), "first");
        assert_eq!(there.receive::<Vec<u8>>().unwrap().unwrap(), [2, 3]);
        let mut received = File::from(there.take_file().unwrap());
        assert!(there.take_file().is_none());
        drop(reader);
        writer.write_all(b"x").unwrap();
        drop(writer);
        let mut text = String::new();
        received.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }

    #[test]
    fn a_long_message_arrives_whole() {
        let (here, mut there) = pair();
        let long = "y".repeat(3 << 20);
        let copy = long.clone();
        let sending = std::thread::spawn(move || here.send(&copy, &[]));
        assert_eq!(there.receive::<String>().unwrap().unwrap(), long);
        sending.join().unwrap().unwrap();
    }

    #[test]
    fn the_end_of_a_connection_is_no_message() {
        let (here, mut there) = pair();
        drop(here);
        assert_eq!(there.receive::<String>().unwrap(), None);
        assert!(matches!(there.send(&1, &[]), Err(WireError::Socket(_))));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let (mut here, mut there) = pair();
        here.stream.write_all(b"{nonsense\n").unwrap();
        assert!(matches!(there.receive::<String>(), Err(WireError::Language(_))));
    }
}
