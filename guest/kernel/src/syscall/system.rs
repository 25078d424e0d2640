//! System calls: the machine, limits, randomness.

use vmcg_abi::call::memory;
use vmcg_abi::layout::PAGE_SIZE;

use super::Entry;
use super::process::usage;
use super::request::{Outcome, Request};
use crate::errno::Errno;
use crate::file::table::DESCRIPTORS_MAX;
use crate::host;
use crate::kernel::Kernel;
use crate::memory::fault::Access;
use crate::number::{Tid, index, low_i32};
use crate::task::process::{LIMIT_FILES, LIMIT_SPACE, LIMIT_STACK, LIMITS};
use crate::time::SECOND_NS;

/// The group's rows.
pub(crate) const CALLS: &[Entry] = &[
    (63, "uname", uname),
    (97, "getrlimit", getrlimit),
    (98, "getrusage", getrusage), // partial: user time only
    (99, "sysinfo", sysinfo),
    (160, "setrlimit", setrlimit),
    (302, "prlimit64", prlimit64),
    (309, "getcpu", getcpu),
    (318, "getrandom", getrandom),
    (324, "membarrier", membarrier),
    (334, "rseq", rseq),
];

/// Bytes of a field of `struct utsname`.
const NAME_LEN: usize = 65;
/// System, node, release, version, machine, domain. The release is one whose calls glibc may expect.
const NAMES: [&[u8]; 6] = [b"Linux", b"vmcg", b"6.12.0-vmcg", b"#1 vmcg", b"x86_64", b"(none)"];

fn uname(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let mut bytes = [0; NAME_LEN * NAMES.len()];
    for (field, name) in bytes.chunks_exact_mut(NAME_LEN).zip(NAMES) {
        field[..name.len()].copy_from_slice(name);
    }
    kernel.user(request.tid).write(request.args[0], &bytes)?;
    Ok(Outcome::Done(0))
}

fn getcpu(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let user = kernel.user(request.tid);
    for gva in request.args[..2].iter().filter(|gva| **gva != 0) {
        user.write_half(*gva, 0)?;
    }
    Ok(Outcome::Done(0))
}

fn getrusage(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const SELF: i32 = 0;
    const CHILDREN: i32 = -1;
    const THREAD: i32 = 1;
    let process = kernel.process_of(request.tid);
    let ran_ns = match low_i32(request.args[0]) {
        SELF => process.ran_ns,
        THREAD => kernel.task(request.tid).ran_ns,
        CHILDREN => process.children_ran_ns,
        _ => return Err(Errno::EINVAL),
    };
    kernel.user(request.tid).write(request.args[1], &usage(ran_ns))?;
    Ok(Outcome::Done(0))
}

fn sysinfo(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let info = host::memory_info();
    let mut words = [0; 14];
    words[0] = kernel.clock.now() / SECOND_NS;
    let amounts = [memory::TOTAL, memory::FREE, memory::SHMEM].map(|word| info[word] * PAGE_SIZE);
    words[4..7].copy_from_slice(&amounts);
    words[8..10]
        .copy_from_slice(&[memory::SWAP, memory::SWAP_FREE].map(|word| info[word] * PAGE_SIZE));
    words[10] = kernel.processes.len() as u64 & 0xffff;
    words[13] = 1; // mem_unit
    kernel.user(request.tid).write_words(request.args[0], &words)?;
    Ok(Outcome::Done(0))
}

/// Index of a resource.
fn resource(number: u64) -> Result<usize, Errno> {
    Some(index(number)).filter(|number| *number < LIMITS).ok_or(Errno::EINVAL)
}

fn getrlimit(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let (soft, hard) = kernel.process_of(request.tid).limits[resource(request.args[0])?];
    kernel.user(request.tid).write_words(request.args[1], &[soft, hard])?;
    Ok(Outcome::Done(0))
}

fn setrlimit(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let process = kernel.task(request.tid).process;
    set_limit(kernel, request.tid, process, request.args[0], request.args[1])?;
    Ok(Outcome::Done(0))
}

fn prlimit64(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    let [id, number, new_gva, old_gva, ..] = request.args;
    let process = match Tid::from_word(id) {
        None if low_i32(id) == 0 => kernel.task(request.tid).process,
        Some(id) if kernel.processes.contains_key(&id) => id,
        _ => return Err(Errno::ESRCH),
    };
    let (soft, hard) =
        kernel.processes.get(&process).ok_or(Errno::ESRCH)?.limits[resource(number)?];
    if new_gva != 0 {
        set_limit(kernel, request.tid, process, number, new_gva)?;
    }
    if old_gva != 0 {
        kernel.user(request.tid).write_words(old_gva, &[soft, hard])?;
    }
    Ok(Outcome::Done(0))
}

fn set_limit(
    kernel: &mut Kernel,
    tid: Tid,
    process: Tid,
    number: u64,
    gva: u64,
) -> Result<(), Errno> {
    let resource = resource(number)?;
    let user = kernel.user(tid);
    let limit = (user.read_word(gva)?, user.read_word(gva.wrapping_add(8))?);
    if limit.0 > limit.1 {
        return Err(Errno::EINVAL);
    }
    if resource == LIMIT_FILES && limit.1 > DESCRIPTORS_MAX {
        return Err(Errno::EPERM);
    }
    let owner = kernel.processes.get_mut(&process).ok_or(Errno::ESRCH)?;
    owner.limits[resource] = limit;
    let threads = owner.threads.clone();
    for space in threads.iter().filter_map(|thread| kernel.tasks.get(thread)).map(|t| &t.space) {
        match resource {
            LIMIT_STACK => space.borrow_mut().stack_max = limit.0,
            LIMIT_SPACE => space.borrow_mut().total_max = limit.0,
            _ => {}
        }
    }
    Ok(())
}

fn getrandom(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    /// GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE: the host's source never blocks.
    const FLAGS: u64 = 7;
    let [gva, len, flags, ..] = request.args;
    if flags & !FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let user = kernel.user(request.tid);
    let len = index(len.min(0x7fff_f000));
    let mut done = 0;
    while done < len {
        match user.chunk(gva.wrapping_add(done as u64), len - done, Access::Write) {
            Ok((gpa, piece)) => {
                host::random(gpa, piece as u64)?;
                done += piece;
            }
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(Outcome::Done(done as u64))
}

/// One vCPU and a kernel entry on every switch: memory is in order without further ado.
fn membarrier(_kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const QUERY: u64 = 0;
    const GLOBAL: u64 = 1;
    const PRIVATE_EXPEDITED: u64 = 8;
    const REGISTER_PRIVATE_EXPEDITED: u64 = 16;
    match request.args[0] {
        QUERY => Ok(Outcome::Done(GLOBAL | PRIVATE_EXPEDITED | REGISTER_PRIVATE_EXPEDITED)),
        GLOBAL | PRIVATE_EXPEDITED | REGISTER_PRIVATE_EXPEDITED => Ok(Outcome::Done(0)),
        _ => Err(Errno::EINVAL),
    }
}

/// Restartable sequences are not there, and glibc does without them; known so that it does not
/// count as a call the kernel lacks.
fn rseq(_kernel: &mut Kernel, _request: &mut Request) -> Result<Outcome, Errno> {
    Err(Errno::ENOSYS)
}
