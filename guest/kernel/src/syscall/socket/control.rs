//! Control messages: open files as passengers (SCM_RIGHTS), and who the sender is (SCM_CREDENTIALS).
//!
//! Source: Linux v6.12 include/linux/socket.h, net/core/scm.c.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::super::file::{file_of, install};
use super::super::request::Request;
use super::{CREDENTIALS_LEN, credentials};
use crate::errno::Errno;
use crate::file::OpenFile;
use crate::kernel::Kernel;
use crate::number::{Tid, index, low_u32};

/// Open files one message takes along (SCM_MAX_FD).
const FILES_MAX: usize = 253;
/// Bytes of a `struct cmsghdr`.
const HEADER_LEN: usize = 16;
/// The level and type of a control message with descriptors, in its header's second word.
const SOL_SOCKET_RIGHTS: u64 = 1 | 1 << 32;
/// The same of one that names the sender.
const SOL_SOCKET_CREDENTIALS: u64 = 1 | 2 << 32;

/// The open files that control messages name.
pub(super) fn passengers(
    kernel: &Kernel,
    request: &Request,
    control_gva: u64,
    control_len: u64,
) -> Result<Vec<Rc<OpenFile>>, Errno> {
    /// Linux: net.core.optmem_max.
    const CONTROL_MAX: u64 = 131_072;
    if control_gva == 0 || control_len == 0 {
        return Ok(Vec::new());
    }
    if control_len > CONTROL_MAX {
        return Err(Errno::ENOBUFS);
    }
    let bytes = kernel.user(request.tid).read_vec(control_gva, index(control_len))?;
    let mut files = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((header, _)) = rest.split_first_chunk::<HEADER_LEN>() {
        let word = |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| header[at + i]));
        let len = index(word(0));
        let data = rest.get(HEADER_LEN..len).ok_or(Errno::EINVAL)?;
        let kind = word(8);
        rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
        if kind == SOL_SOCKET_CREDENTIALS && data.len() >= CREDENTIALS_LEN {
            // There is one user, and the sender is told as it is.
            continue;
        }
        if kind != SOL_SOCKET_RIGHTS {
            return Err(Errno::EINVAL);
        }
        for fd in data.as_chunks::<4>().0 {
            files.push(file_of(kernel, request, u64::from(u32::from_le_bytes(*fd)))?);
        }
    }
    if files.len() > FILES_MAX {
        return Err(Errno::EINVAL);
    }
    Ok(files)
}

/// Where the descriptors of files that came along go.
pub(super) struct Seats {
    pub(super) gva: u64,
    /// Bytes there.
    pub(super) room: usize,
    /// O_CLOEXEC, or nothing.
    pub(super) on_exec: u32,
    /// The process to tell (SCM_CREDENTIALS).
    pub(super) sender: Option<Tid>,
}

/// Gives files that came along their descriptors, after the sender where that is wanted; answers the
/// bytes of control messages written, and whether there was no room for all. What finds no place is
/// closed.
pub(super) fn seat(
    kernel: &mut Kernel,
    request: &Request,
    files: Vec<Rc<OpenFile>>,
    seats: &Seats,
) -> Result<(usize, bool), Errno> {
    let mut written = 0;
    let mut is_cut = false;
    if let Some(pid) = seats.sender {
        let message = control(SOL_SOCKET_CREDENTIALS, &credentials(Some(pid)));
        is_cut = seats.room < message.len();
        if !is_cut {
            kernel.user(request.tid).write(seats.gva, &message)?;
            written = message.len().next_multiple_of(8).min(seats.room);
        }
    }
    let count = (seats.room - written).saturating_sub(HEADER_LEN) / size_of::<u32>();
    is_cut |= files.len() > count;
    let mut descriptors = Vec::new();
    for file in files.into_iter().take(count) {
        let Ok(fd) = install(kernel, request, file, seats.on_exec) else { break };
        descriptors.extend_from_slice(&low_u32(fd).to_le_bytes());
    }
    crate::file::wake_dropped(kernel);
    if descriptors.is_empty() {
        return Ok((written, is_cut));
    }
    let message = control(SOL_SOCKET_RIGHTS, &descriptors);
    kernel.user(request.tid).write(seats.gva.wrapping_add(written as u64), &message)?;
    Ok(((written + message.len().next_multiple_of(8)).min(seats.room), is_cut))
}

/// A control message.
fn control(kind: u64, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + data.len());
    bytes.extend_from_slice(&((HEADER_LEN + data.len()) as u64).to_le_bytes());
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(data);
    bytes
}
