//! select() and pselect6(): waiting on sets of descriptors.

use alloc::vec;
use alloc::vec::Vec;

use super::super::request::{Outcome, Request};
use super::super::time::{timespec_ns, timeval_ns};
use super::{event, finish, look, start_mask, start_timeout};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::number::{index, low_i32};

/// Descriptors in a word of a set.
const WORD_BITS: u64 = 64;
/// Descriptors that are looked at, at most.
const COUNT_MAX: u64 = 65536;

/// The three sets, in the order of the arguments, and the events that put a descriptor into each.
const SETS: [u16; 3] = [
    event::IN | event::READ_NORMAL | event::HANG_UP | event::ERROR,
    event::OUT | event::WRITE_NORMAL | event::ERROR,
    // Nothing here has exceptional conditions.
    0,
];

/// select(count, read, write, exceptional, timeout). The time left is not written back.
pub(super) fn select(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let timeout_gva = request.args[4];
    if timeout_gva != 0 {
        let timeout_ns = timeval_ns(&kernel.user(request.tid), timeout_gva)?;
        start_timeout(kernel, request, Some(timeout_ns));
    }
    do_select(kernel, request)
}

/// pselect6(count, read, write, exceptional, timeout, (mask, mask size))
pub(super) fn pselect6(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [_, _, _, _, timeout_gva, mask_gva] = request.args;
    let user = kernel.user(request.tid);
    if timeout_gva != 0 {
        let timeout_ns = timespec_ns(&user, timeout_gva)?;
        start_timeout(kernel, request, Some(timeout_ns));
    }
    if mask_gva != 0 {
        let mask = user.read_word(mask_gva)?;
        let len = user.read_word(mask_gva.wrapping_add(8))?;
        start_mask(kernel, request, mask, len)?;
    }
    do_select(kernel, request)
}

fn do_select(kernel: &mut Kernel, request: &Request) -> Result<Outcome, Errno> {
    let count = u64::try_from(low_i32(request.args[0])).map_err(|_| Errno::EINVAL)?;
    let count = count.min(COUNT_MAX);
    let len = index(count.div_ceil(WORD_BITS)) * 8;
    let user = kernel.user(request.tid);
    let mut asked = Vec::new();
    for gva in &request.args[1..4] {
        asked.push(if *gva == 0 { vec![0; len] } else { user.read_vec(*gva, len)? });
    }
    let mut found = vec![vec![0_u8; len]; SETS.len()];
    let mut keys = Vec::new();
    let mut ready = 0;
    for fd in 0..count {
        let (byte, bit) = (index(fd / 8), 1_u8 << (fd % 8));
        if asked.iter().all(|set| set[byte] & bit == 0) {
            continue;
        }
        let events = look(kernel, request, fd, &mut keys);
        if events & event::INVALID != 0 {
            return Err(Errno::EBADF);
        }
        for (set, wanted) in SETS.iter().enumerate() {
            if asked[set][byte] & bit != 0 && events & wanted != 0 {
                found[set][byte] |= bit;
                ready += 1;
            }
        }
    }
    let outcome = finish(kernel, request, ready, keys);
    // The sets stay as they were asked for while the call waits.
    if matches!(outcome, Outcome::Done(_)) {
        for (gva, set) in request.args[1..4].iter().zip(&found) {
            if *gva != 0 {
                user.write(*gva, set)?;
            }
        }
    }
    Ok(outcome)
}
