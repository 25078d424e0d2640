//! System calls that make pipes and event counters.

use super::Entry;
use super::file::install;
use super::request::{Outcome, Request};
use crate::errno::Errno;
use crate::file::event::{EventCounter, Taking};
use crate::file::open_file::Body;
use crate::file::uapi::open;
use crate::file::{OpenFile, pipe, table_of, wake_dropped};
use crate::kernel::Kernel;
use crate::number::low_u32;

/// The group's rows of the table.
pub(crate) const CALLS: &[Entry] = &[
    (22, "pipe", pipe),
    (284, "eventfd", eventfd),
    (290, "eventfd2", eventfd2),
    (293, "pipe2", pipe2),
];

/// pipe(descriptors)
fn pipe(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    make_pipe(kernel, request, 0)
}

/// pipe2(descriptors, flags)
fn pipe2(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let flags = low_u32(request.args[1]);
    if flags & !(open::CLOSE_ON_EXEC | open::NON_BLOCKING) != 0 {
        return Err(Errno::EINVAL);
    }
    make_pipe(kernel, request, flags)
}

fn make_pipe(kernel: &mut Kernel, request: &Request, flags: u32) -> Result<Outcome, Errno> {
    let wait_id = kernel.new_wait_id();
    let (reader, writer) = pipe::new(&kernel.frames, wait_id, kernel.files.dropped())?;
    let path = alloc::format!("pipe:[{wait_id}]").into_bytes();
    let end = |end, access| OpenFile::new(Body::Pipe(end), access | flags, path.clone());
    let reader = kernel.frames.new_rc(end(reader, open::READ_ONLY))?;
    let writer = kernel.frames.new_rc(end(writer, open::WRITE_ONLY))?;
    let reader = install(kernel, request, reader, flags)?;
    let writer = install(kernel, request, writer, flags);
    let table = table_of(kernel, request.tid);
    let made = writer.and_then(|writer| {
        let pair = reader | writer << 32;
        let written = kernel.user(request.tid).write_word(request.args[0], pair);
        if written.is_err() {
            table.borrow_mut().remove(writer)?;
        }
        written
    });
    if made.is_err() {
        table.borrow_mut().remove(reader)?;
        wake_dropped(kernel);
    }
    made.map(|()| Outcome::Done(0))
}

/// eventfd(value)
fn eventfd(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    make_counter(kernel, request, 0)
}

/// eventfd2(value, flags)
fn eventfd2(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    make_counter(kernel, request, low_u32(request.args[1]))
}

fn make_counter(kernel: &mut Kernel, request: &Request, flags: u32) -> Result<Outcome, Errno> {
    const SEMAPHORE: u32 = 1;
    if flags & !(SEMAPHORE | open::CLOSE_ON_EXEC | open::NON_BLOCKING) != 0 {
        return Err(Errno::EINVAL);
    }
    let taking = if flags & SEMAPHORE == 0 { Taking::Everything } else { Taking::One };
    let value = u64::from(low_u32(request.args[0]));
    let body = Body::Event(EventCounter::new(kernel.new_wait_id(), value, taking));
    let file = OpenFile::new(body, open::READ_WRITE | flags, b"anon_inode:[eventfd]".to_vec());
    let file = kernel.frames.new_rc(file)?;
    install(kernel, request, file, flags).map(Outcome::Done)
}
