//! System calls: the table, and the way from a trap to a handler and back.

pub(crate) mod file;
pub(crate) mod futex;
pub(crate) mod identity;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod pipe;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod request;
pub(crate) mod scheduling;
pub(crate) mod segment;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod system;
pub(crate) mod time;

use crate::errno::Errno;
use crate::host;
use crate::kernel::Kernel;
use crate::number::Tid;
use crate::signal as signals;
use crate::task::Interrupted;
use request::{OnSignal, Outcome, Request, Wait};
use vmcg_abi::page::shared;

/// Does a system call.
pub(crate) type Handler = fn(&mut Kernel, &mut Request) -> Result<Outcome, Errno>;

/// A row of the table: number, name, handler.
pub(crate) type Entry = (u64, &'static str, Handler);

/// Every system call there is, by group.
pub(crate) const TABLE: &[&[Entry]] = &[
    file::CALLS,
    futex::CALLS,
    identity::CALLS,
    memory::CALLS,
    mount::CALLS,
    pipe::CALLS,
    poll::CALLS,
    process::CALLS,
    scheduling::CALLS,
    segment::CALLS,
    signal::CALLS,
    socket::CALLS,
    system::CALLS,
    time::CALLS,
];

/// Largest number looked up; calls beyond it do not exist.
const NUMBER_MAX: usize = 512;

/// The table by number, made once by the compiler.
const HANDLERS: [Option<Handler>; NUMBER_MAX] = by_number();

const fn by_number() -> [Option<Handler>; NUMBER_MAX] {
    let mut handlers = [None; NUMBER_MAX];
    let mut group = 0;
    while group < TABLE.len() {
        let mut row = 0;
        while row < TABLE[group].len() {
            let (number, _, handler) = TABLE[group][row];
            #[expect(clippy::cast_possible_truncation, reason = "numbers are small constants")]
            let slot = &mut handlers[number as usize];
            assert!(slot.is_none(), "a system call has one row");
            *slot = Some(handler);
            row += 1;
        }
        group += 1;
    }
    handlers
}

/// Does the system call that a task's registers ask for.
pub(crate) fn enter(kernel: &mut Kernel, tid: Tid) {
    host::set_shared_word(shared::SYSTEM_CALLS, host::shared_word(shared::SYSTEM_CALLS) + 1);
    let registers = &kernel.task(tid).registers;
    let args =
        [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9];
    let request = Request::new(tid, registers.rax, args);
    run(kernel, request);
}

/// Runs the handler of a call, for the first time or again.
pub(crate) fn run(kernel: &mut Kernel, mut request: Request) {
    static TABLE_BY_NUMBER: [Option<Handler>; NUMBER_MAX] = HANDLERS;
    let tid = request.tid;
    let number = usize::try_from(request.number).unwrap_or(NUMBER_MAX);
    let handler = TABLE_BY_NUMBER.get(number).copied().flatten();
    host::set_shared_word(shared::MEMORY_REFUSED, 0);
    host::set_shared_word(shared::IN_SYSTEM_CALL, 1);
    let answer = if let Some(handler) = handler {
        handler(kernel, &mut request)
    } else {
        host::unknown_syscall(tid, request.number);
        Err(Errno::ENOSYS)
    };
    host::set_shared_word(shared::IN_SYSTEM_CALL, 0);
    match answer {
        Ok(Outcome::Done(value)) => finish(kernel, tid, value),
        Ok(Outcome::Resume) => {}
        Ok(Outcome::Block(wait)) => block(kernel, request, wait),
        Err(errno) => finish(kernel, tid, errno.to_word()),
    }
}

/// Leaves the value of a call where the program finds it.
fn finish(kernel: &mut Kernel, tid: Tid, value: u64) {
    kernel.task_mut(tid).registers.rax = value;
}

/// Puts a task to sleep, unless a signal is waiting to be delivered: then the signal ends the call.
fn block(kernel: &mut Kernel, request: Request, wait: Wait) {
    let tid = request.tid;
    if wait.on_signal != OnSignal::Ignore && signals::has_deliverable(kernel, tid) {
        match wait.on_signal {
            OnSignal::Return(value) => finish(kernel, tid, value),
            on_signal => {
                kernel.task_mut(tid).interrupted = Some(Interrupted { request, on_signal });
            }
        }
        return;
    }
    kernel.task_mut(tid).request = Some(Request { woken: None, ..request });
    kernel.sleep(tid, wait);
}
