//! Several messages with one call.
//!
//! Differs from Linux: only the first message is waited for.

use super::super::request::{Outcome, Request};
use super::message::{flag, recvmsg, sendmsg};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::low_u32;

/// Bytes of a `struct mmsghdr`, and where in it the length of the message is.
const HEADER_LEN: u64 = 64;
const LEN_AT: u64 = 56;
/// Most messages one call moves (UIO_MAXIOV).
const MESSAGES_MAX: u64 = 1024;

type Handler = fn(&mut Kernel, &mut Request) -> Result<Outcome, Errno>;

/// sendmmsg(fd, messages, count, flags)
pub(super) fn sendmmsg(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let flags = u64::from(low_u32(request.args[3]));
    each(kernel, request, flags, sendmsg)
}

/// recvmmsg(fd, messages, count, flags, timeout)
pub(super) fn recvmmsg(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let flags = low_u32(request.args[3]) & !flag::WAIT_FOR_ONE;
    each(kernel, request, flags.into(), recvmsg)
}

fn each(
    kernel: &mut Kernel,
    request: &mut Request,
    flags: u64,
    handler: Handler,
) -> Result<Outcome, Errno> {
    let [fd, messages_gva, count, ..] = request.args;
    let count = u64::from(low_u32(count)).min(MESSAGES_MAX);
    let mut done = 0;
    while done < count {
        let gva = messages_gva.wrapping_add(done * HEADER_LEN);
        let waits = if done == 0 { 0 } else { u64::from(flag::NOT_WAITING) };
        let args = [fd, gva, flags | waits, 0, 0, 0];
        let mut one = Request { args, ..*request };
        let moved = handler(kernel, &mut one);
        request.progress = if done == 0 { one.progress } else { 0 };
        match moved {
            Ok(Outcome::Done(len)) => {
                let user = kernel.user(request.tid);
                user.write_half(gva.wrapping_add(LEN_AT), low_u32(len))?;
                (done, request.progress) = (done + 1, 0);
            }
            Ok(outcome) => return Ok(outcome),
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(Outcome::Done(done))
}
