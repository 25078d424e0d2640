//! System calls: futexes.
//!
//! A futex is a word of memory. Private ones, and those in private memory, are known by address
//! space and address; those in shared memory by their object and the offset there.

mod vector;

use alloc::rc::Rc;

use vmcg_abi::layout::TASK_END;

use super::Entry;
use super::request::{OnSignal, Outcome, Request, Wait, WaitKey};
use super::time::timespec_ns;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::area::{Area, Backing};
use crate::number::{Tid, index, low_u32};
use crate::task::TaskState;

/// The group's rows.
pub(crate) const CALLS: &[Entry] = &[
    (202, "futex", futex), // partial: no priority inheritance
    (273, "set_robust_list", set_robust_list),
    (274, "get_robust_list", get_robust_list),
    (449, "futex_waitv", vector::futex_waitv), // partial: words of 32 bits
];

/// Operations and flags (Linux v6.12 include/uapi/linux/futex.h).
const WAIT: u64 = 0;
const WAKE: u64 = 1;
const REQUEUE: u64 = 3;
const CMP_REQUEUE: u64 = 4;
const WAKE_OP: u64 = 5;
const WAIT_BITSET: u64 = 9;
const WAKE_BITSET: u64 = 10;
const PRIVATE: u64 = 128;
const CLOCK_REALTIME: u64 = 256;
/// Every waiter and waker.
const ALL_BITS: u32 = u32::MAX;
/// Bytes of `struct robust_list_head`.
const ROBUST_HEAD_LEN: u64 = 24;
/// Bits of a lock word: the owner died; somebody waits; the owner's tid.
const OWNER_DIED: u32 = 0x4000_0000;
const HAS_WAITERS: u32 = 0x8000_0000;
const OWNER_MASK: u32 = 0x3fff_ffff;
/// Entries of a robust list that are looked at.
const ROBUST_MAX: usize = 2048;

fn futex(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [gva, operation, value, timeout_gva, second_gva, third] = request.args;
    if gva % 4 != 0 {
        return Err(Errno::EINVAL);
    }
    if gva >= TASK_END {
        return Err(Errno::EFAULT);
    }
    let count = index(value.min(i32::MAX as u64));
    let bits = low_u32(third);
    let count = match operation & !(PRIVATE | CLOCK_REALTIME) {
        WAIT => return wait(kernel, request, ALL_BITS),
        WAIT_BITSET | WAKE_BITSET if bits == 0 => return Err(Errno::EINVAL),
        WAIT_BITSET => return wait(kernel, request, bits),
        WAKE => wake(kernel, key(kernel, request.tid, gva, ALL_BITS), count),
        WAKE_BITSET => wake(kernel, key(kernel, request.tid, gva, bits), count),
        REQUEUE => requeue(kernel, request, count),
        CMP_REQUEUE => {
            if kernel.user(request.tid).read_half(gva)? != bits {
                return Err(Errno::EAGAIN);
            }
            requeue(kernel, request, count)
        }
        WAKE_OP => {
            let is_true = modify(kernel, request.tid, second_gva, bits)?;
            let mut woken = wake(kernel, key(kernel, request.tid, gva, ALL_BITS), count);
            if is_true {
                let second = key(kernel, request.tid, second_gva, ALL_BITS);
                // The fourth argument is a count here, not a timeout.
                woken += wake(kernel, second, index(timeout_gva));
            }
            woken
        }
        _ => return Err(Errno::ENOSYS),
    };
    Ok(Outcome::Done(count as u64))
}

/// What identifies the futex at an address of a task.
fn key(kernel: &Kernel, tid: Tid, gva: u64, bits: u32) -> WaitKey {
    let shared = &kernel.task(tid).space;
    let space = shared.borrow();
    if let Some((start, Area { backing: Backing::Object { object, offset, .. }, is_shared, .. })) =
        space.areas.find(gva)
        && *is_shared
    {
        return WaitKey::Futex { owner: object.id(), offset: offset + (gva - start), bits };
    }
    let owner = Rc::as_ptr(shared).expose_provenance() as u64;
    WaitKey::Futex { owner, offset: gva, bits }
}

/// Whether a waker's key reaches a waiter's.
fn is_same(waiter: &WaitKey, waker: &WaitKey) -> bool {
    match (waiter, waker) {
        (
            WaitKey::Futex { owner, offset, bits },
            WaitKey::Futex { owner: same_owner, offset: same_offset, bits: same_bits },
        ) => owner == same_owner && offset == same_offset && bits & same_bits != 0,
        _ => false,
    }
}

fn wait(kernel: &mut Kernel, request: &mut Request, bits: u32) -> Result<Outcome, Errno> {
    let [gva, operation, value, timeout_gva, ..] = request.args;
    let user = kernel.user(request.tid);
    if request.progress == 0 {
        if user.read_half(gva)? != low_u32(value) {
            return Err(Errno::EAGAIN);
        }
        if timeout_gva != 0 && request.deadline.is_none() {
            let time = timespec_ns(&user, timeout_gva)?;
            let is_relative = operation & !(PRIVATE | CLOCK_REALTIME) == WAIT;
            request.deadline = Some(match (is_relative, operation & CLOCK_REALTIME != 0) {
                (true, _) => kernel.clock.now().saturating_add(time),
                (false, true) => kernel.clock.boot_time_of(time),
                (false, false) => time,
            });
        }
        request.progress = 1;
    } else if request.woken.is_some() {
        return Ok(Outcome::Done(0));
    }
    if request.deadline.is_some_and(|deadline| kernel.clock.now() >= deadline) {
        return Err(Errno::ETIMEDOUT);
    }
    let on_signal = match request.deadline {
        Some(_) => OnSignal::RestartWithoutHandler,
        None => OnSignal::Restart,
    };
    let wait = Wait::on(key(kernel, request.tid, gva, bits)).with_deadline(request.deadline);
    Ok(Outcome::Block(wait.with_on_signal(on_signal)))
}

fn wake(kernel: &mut Kernel, waker: WaitKey, count: usize) -> usize {
    kernel.wake_some(count, |waiter| is_same(waiter, &waker))
}

/// Wakes waiters of a word of a task's memory.
pub(crate) fn wake_word(kernel: &mut Kernel, tid: Tid, gva: u64, count: usize) {
    wake(kernel, key(kernel, tid, gva, ALL_BITS), count);
}

/// Wakes some waiters and moves others to a second futex; answers both together.
fn requeue(kernel: &mut Kernel, request: &Request, wake_max: usize) -> usize {
    let [gva, _, _, move_max, second_gva, _] = request.args;
    let first = key(kernel, request.tid, gva, ALL_BITS);
    let woken = wake(kernel, first, wake_max);
    let WaitKey::Futex { owner: new_owner, offset: new_offset, .. } =
        key(kernel, request.tid, second_gva, ALL_BITS)
    else {
        return woken;
    };
    let mut moved = 0;
    for task in kernel.tasks.values_mut() {
        let TaskState::Blocked(wait) = &mut task.state else { continue };
        for waiter in wait.keys.iter_mut().filter(|waiter| is_same(waiter, &first)) {
            if moved < index(move_max)
                && let WaitKey::Futex { owner, offset, .. } = waiter
            {
                (*owner, *offset) = (new_owner, new_offset);
                moved += 1;
            }
        }
        // The call, made again for a signal, waits at its new place.
        if let Some(request) = &mut task.request
            && wait
                .keys
                .iter()
                .any(|key| matches!(key, WaitKey::Futex { offset, .. } if *offset == new_offset))
        {
            request.args[0] = second_gva;
        }
    }
    woken + moved
}

/// FUTEX_WAKE_OP: changes the second word; answers whether its old value passes the comparison.
fn modify(kernel: &Kernel, tid: Tid, gva: u64, encoded: u32) -> Result<bool, Errno> {
    let user = kernel.user(tid);
    let old = user.read_half(gva)?;
    let sign_extend = |field: u32| (field << 20).cast_signed() >> 20;
    let mut operand = sign_extend(encoded >> 12 & 0xfff);
    let comparand = sign_extend(encoded & 0xfff);
    if encoded >> 31 != 0 {
        operand = 1_i32.wrapping_shl(operand.cast_unsigned());
    }
    let operand = operand.cast_unsigned();
    let new = match encoded >> 28 & 7 {
        0 => operand,
        1 => old.wrapping_add(operand),
        2 => old | operand,
        3 => old & !operand,
        4 => old ^ operand,
        _ => return Err(Errno::ENOSYS),
    };
    user.write_half(gva, new)?;
    let old = old.cast_signed();
    match encoded >> 24 & 0xf {
        0 => Ok(old == comparand),
        1 => Ok(old != comparand),
        2 => Ok(old < comparand),
        3 => Ok(old <= comparand),
        4 => Ok(old > comparand),
        5 => Ok(old >= comparand),
        _ => Err(Errno::ENOSYS),
    }
}

fn set_robust_list(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [head_gva, len, ..] = request.args;
    if len != ROBUST_HEAD_LEN {
        return Err(Errno::EINVAL);
    }
    kernel.task_mut(request.tid).robust_list_gva = head_gva;
    Ok(Outcome::Done(0))
}

fn get_robust_list(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [id, head_gva, len_gva, ..] = request.args;
    let tid = Tid::from_word(id).unwrap_or(request.tid);
    let list = kernel.tasks.get(&tid).ok_or(Errno::ESRCH)?.robust_list_gva;
    let user = kernel.user(request.tid);
    user.write_word(len_gva, ROBUST_HEAD_LEN)?;
    user.write_word(head_gva, list)?;
    Ok(Outcome::Done(0))
}

/// Marks the robust locks of a task that ends as left behind, and wakes who waits for them.
pub(crate) fn release_robust_list(kernel: &mut Kernel, tid: Tid) {
    let head_gva = kernel.task(tid).robust_list_gva;
    if head_gva != 0 {
        // A list that cannot be read is the program's loss, as in Linux.
        let _ = walk_robust_list(kernel, tid, head_gva);
    }
}

fn walk_robust_list(kernel: &mut Kernel, tid: Tid, head_gva: u64) -> Result<(), Errno> {
    let user = kernel.user(tid);
    let word_offset = user.read_word(head_gva.wrapping_add(8))?;
    let mut entry = user.read_word(head_gva)? & !1;
    for _ in 0..ROBUST_MAX {
        if entry == head_gva {
            return Ok(());
        }
        let next = user.read_word(entry)? & !1;
        let word_gva = entry.wrapping_add(word_offset);
        let word = user.read_half(word_gva)?;
        if word & OWNER_MASK == tid.0 {
            user.write_half(word_gva, word & HAS_WAITERS | OWNER_DIED)?;
            if word & HAS_WAITERS != 0 {
                wake_word(kernel, tid, word_gva, 1);
            }
        }
        entry = next;
    }
    Ok(())
}
