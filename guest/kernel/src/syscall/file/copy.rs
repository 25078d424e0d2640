//! Moving bytes from one descriptor to another without the program touching them.

use alloc::vec;

use super::super::request::{Outcome, Request};
use super::file_of;
use super::transfer::{CHUNK_LEN, broken_pipe, wait_for};
use crate::errno::Errno;
use crate::file::OpenFile;
use crate::file::open_file::Transfer;
use crate::kernel::Kernel;
use crate::number::index;

/// Where a call reads or writes: at an offset in the program's memory, or at the file's own.
struct Place {
    /// Address of the offset, or 0.
    offset_gva: u64,
    start: u64,
}

impl Place {
    fn new(kernel: &Kernel, request: &Request, file: &OpenFile, gva: u64) -> Result<Self, Errno> {
        let start = match gva {
            0 => file.offset.get(),
            _ if !file.is_seekable() => return Err(Errno::ESPIPE),
            _ => kernel.user(request.tid).read_word(gva)?,
        };
        Ok(Self { offset_gva: gva, start })
    }

    /// Notes that `done` bytes were moved.
    fn finish(
        &self,
        kernel: &Kernel,
        request: &Request,
        file: &OpenFile,
        done: usize,
    ) -> Result<(), Errno> {
        let end = self.start + done as u64;
        if self.offset_gva != 0 {
            return kernel.user(request.tid).write_word(self.offset_gva, end);
        }
        if file.is_seekable() {
            file.offset.set(end);
        }
        Ok(())
    }
}

/// sendfile(out, in, offset, count)
pub(super) fn sendfile(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [out, source, offset_gva, count, ..] = request.args;
    copy(kernel, request, [source, offset_gva], [out, 0], count)
}

/// copy_file_range(in, in offset, out, out offset, count, flags)
pub(super) fn copy_file_range(
    kernel: &mut Kernel,
    request: &mut Request,
) -> Result<Outcome, Errno> {
    let [source, source_gva, out, out_gva, count, flags] = request.args;
    if flags != 0 || file_of(kernel, request, out)?.size().is_none() {
        return Err(Errno::EINVAL);
    }
    copy(kernel, request, [source, source_gva], [out, out_gva], count)
}

fn copy(
    kernel: &mut Kernel,
    request: &mut Request,
    [source_fd, source_gva]: [u64; 2],
    [out_fd, out_gva]: [u64; 2],
    count: u64,
) -> Result<Outcome, Errno> {
    let source = file_of(kernel, request, source_fd)?;
    let out = file_of(kernel, request, out_fd)?;
    if !source.can_read() || !out.can_write() {
        return Err(Errno::EBADF);
    }
    // What has no length cannot be read again where the other side did not take all of it.
    source.size().ok_or(Errno::EINVAL)?;
    let from = Place::new(kernel, request, &source, source_gva)?;
    let to = Place::new(kernel, request, &out, out_gva)?;
    let count = index(count.min(i64::MAX.cast_unsigned()));
    let mut buffer = vec![0; count.min(CHUNK_LEN)];
    let mut done = index(request.progress);
    while done < count {
        let want = (count - done).min(CHUNK_LEN);
        let len = match source.read(kernel, &mut buffer[..want], from.start + done as u64)? {
            Transfer::Done(0) | Transfer::Wait(_) => break,
            Transfer::Done(len) => len,
        };
        match out.write(kernel, &buffer[..len], to.start + done as u64) {
            Ok(Transfer::Done(len)) => done += len,
            Ok(Transfer::Wait(key)) => {
                let outcome = wait_for(request, &out, key, done)?;
                if matches!(outcome, Outcome::Done(_)) {
                    break;
                }
                return Ok(outcome);
            }
            Err(_) if done > 0 => break,
            Err(errno) => {
                if errno == Errno::EPIPE {
                    broken_pipe(kernel, request.tid);
                }
                return Err(errno);
            }
        }
    }
    from.finish(kernel, request, &source, done)?;
    to.finish(kernel, request, &out, done)?;
    Ok(Outcome::Done(done as u64))
}
