//! Calls to the host: one function for each call of the contract.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use vmcg_abi::call::{Call, memory, stat};
use vmcg_abi::layout::{CALL_BUFFER_GPA, CALL_BUFFER_LEN, SHARED_GPA};
use vmcg_abi::page::shared;

use crate::errno::Errno;
use crate::file::uapi::Owner;
use crate::kmem::KmemId;
use crate::number::{Gfn, Tid, index};
use crate::{physical, trap};

/// Where a path's last symbolic link leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// To its target.
    Yes,
    /// Nowhere: the link itself is opened.
    No,
}

/// What the host says about a file of the share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostStat {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) mode: u32,
    pub(crate) nlink: u64,
    pub(crate) owner: Owner,
    pub(crate) size: u64,
    pub(crate) mtime_s: u64,
    pub(crate) mtime_ns: u64,
}

/// Reads a word of the shared page.
pub(crate) fn shared_word(word: usize) -> u64 {
    physical::word(SHARED_GPA + word as u64 * 8)
}

/// Writes a word of the shared page.
pub(crate) fn set_shared_word(word: usize, value: u64) {
    physical::set_word(SHARED_GPA + word as u64 * 8, value);
}

/// Makes a call and waits for its answer.
pub(crate) fn call(call: Call, arguments: &[u64]) -> Result<u64, Errno> {
    set_shared_word(shared::CALL, call as u64);
    for (slot, argument) in arguments.iter().enumerate() {
        set_shared_word(shared::CALL_ARGUMENTS + slot, *argument);
    }
    trap::call_host();
    Errno::check(shared_word(shared::CALL_RESULT))
}

/// Puts a string into the call buffer, cut to its length; answers the length.
fn fill_buffer(bytes: &[u8]) -> u64 {
    let len = bytes.len().min(index(CALL_BUFFER_LEN));
    physical::write(CALL_BUFFER_GPA, &bytes[..len]);
    len as u64
}

/// Copies the first bytes of the call buffer.
pub(crate) fn buffer(len: u64) -> Vec<u8> {
    let mut bytes = vec![0; index(len.min(CALL_BUFFER_LEN))];
    physical::read(CALL_BUFFER_GPA, &mut bytes);
    bytes
}

/// Reads a word of the call buffer.
pub(crate) fn buffer_word(word: usize) -> u64 {
    physical::word(CALL_BUFFER_GPA + word as u64 * 8)
}

/// Writes a line to the kernel's log.
pub(crate) fn log(line: &str) {
    // A log that cannot be written is not worth stopping for.
    let _ = call(Call::Log, &[physical::gpa_of(line), line.len() as u64]);
}

/// Reports why the kernel cannot go on.
pub(crate) fn panic(reason: &str) -> ! {
    loop {
        // The call does not return; a host that answers all the same is asked again.
        let _ = call(Call::Panic, &[physical::gpa_of(reason), reason.len() as u64]);
    }
}

/// Ends the machine.
pub(crate) fn shutdown() -> ! {
    loop {
        // As for `panic`.
        let _ = call(Call::Shutdown, &[]);
    }
}

/// Sleeps until an event or until `deadline` in nanoseconds since boot.
pub(crate) fn idle(deadline: Option<u64>) {
    // The answer says nothing: whoever woke us is found in the event ring.
    let _ = call(Call::Idle, &[deadline.unwrap_or(u64::MAX)]);
}

/// Nanoseconds since boot, and since 1970.
pub(crate) fn clock() -> (u64, u64) {
    let since_boot = call(Call::Clock, &[]).unwrap_or(0);
    (since_boot, buffer_word(0))
}

/// Fills a range with random bytes.
pub(crate) fn random(gpa: u64, len: u64) -> Result<(), Errno> {
    call(Call::Random, &[gpa, len]).map(drop)
}

/// What the host says of memory, as the words of [`memory`].
pub(crate) fn memory_info() -> [u64; memory::WORDS] {
    // It has an answer; zeros would be shown.
    let _ = call(Call::MemoryInfo, &[]);
    core::array::from_fn(buffer_word)
}

/// Tells the host that a task finds no frame; false when nobody can be killed for it.
pub(crate) fn out_of_frames(tid: Tid) -> bool {
    call(Call::OutOfFrames, &[tid.word()]).is_ok()
}

/// Makes the host take back every frame in the free ring.
pub(crate) fn drain_free() {
    // Frames taken are seen in the ring's tail.
    let _ = call(Call::DrainFree, &[]);
}

/// A task was made; refused, it must not run. Answers who pays for its kernel memory.
pub(crate) fn task_new(
    tid: Tid,
    process: Tid,
    parent: Tid,
    root: Gfn,
    job: u32,
) -> Result<KmemId, Errno> {
    call(Call::TaskNew, &[tid.word(), process.word(), parent.word(), root.0, u64::from(job)])
        .map(KmemId::from_word)
}

/// Asks leave to use a page for kernel memory of a group.
pub(crate) fn kmem_charge(payer: KmemId, has_names: bool) -> Result<(), Errno> {
    call(Call::KmemCharge, &[u64::from(payer.0), u64::from(has_names)]).map(drop)
}

/// Whose cached objects would help against the last refusal.
pub(crate) fn kmem_refused() -> Vec<KmemId> {
    let count = index(buffer_word(0)).min(index(CALL_BUFFER_LEN) / 8 - 1);
    (1..=count).map(|slot| KmemId::from_word(buffer_word(slot))).collect()
}

/// Tells that cached objects of a group were given up, and whether it has more.
pub(crate) fn kmem_shrunk(id: KmemId, has_more: bool) {
    // The host only notes it.
    let _ = call(Call::KmemShrunk, &[u64::from(id.0), u64::from(has_more)]);
}

/// Tells that a group is not named any more.
pub(crate) fn kmem_gone(id: KmemId) {
    // The host said before that the group is gone: it has nothing to refuse.
    let _ = call(Call::KmemGone, &[u64::from(id.0)]);
}

/// Tells what the caches of a group hold.
pub(crate) fn kmem_caches(id: KmemId, count: usize, words: &[u64]) {
    for (slot, word) in words.iter().enumerate() {
        physical::set_word(CALL_BUFFER_GPA + slot as u64 * 8, *word);
    }
    // A host that did not ask says so; then nobody waits for it.
    let _ = call(Call::KmemCaches, &[u64::from(id.0), count as u64]);
}

/// A task has new page tables and a new name.
pub(crate) fn task_exec(tid: Tid, root: Gfn, name: &[u8]) {
    let len = fill_buffer(name);
    // The host has nothing to refuse here.
    let _ = call(Call::TaskExec, &[tid.word(), root.0, len]);
}

/// A task has ended.
pub(crate) fn task_exit(tid: Tid, status: u32) {
    // As for `task_exec`.
    let _ = call(Call::TaskExit, &[tid.word(), u64::from(status)]);
}

/// A task asked for a system call that does not exist.
pub(crate) fn unknown_syscall(tid: Tid, number: u64) {
    // A statistic, nothing more.
    let _ = call(Call::UnknownSyscall, &[tid.word(), number]);
}

/// What /proc/PID/cgroup says of a task.
pub(crate) fn task_group(tid: Tid) -> Result<Vec<u8>, Errno> {
    call(Call::TaskGroup, &[tid.word()]).map(buffer)
}

/// Fetches a job's descriptor, if there is a job.
pub(crate) fn job_fetch() -> Option<Vec<u8>> {
    call(Call::JobFetch, &[]).ok().map(buffer)
}

/// A job's program runs.
pub(crate) fn job_started(job: u32, tid: Tid) {
    // The host only notes it.
    let _ = call(Call::JobStarted, &[u64::from(job), tid.word()]);
}

/// A job's program cannot run.
pub(crate) fn job_failed(job: u32, errno: Errno, reason: &str) {
    let len = fill_buffer(reason.as_bytes());
    // The host only notes it.
    let _ = call(Call::JobFailed, &[u64::from(job), u64::from(errno.number()), len]);
}

/// A job's first process has ended.
pub(crate) fn job_done(job: u32, status: u32) {
    // The host only notes it.
    let _ = call(Call::JobDone, &[u64::from(job), u64::from(status)]);
}

/// Writes to a job's output; answers the bytes taken.
pub(crate) fn stream_write(job: u32, stream: u64, gpa: u64, len: u64) -> Result<u64, Errno> {
    call(Call::StreamWrite, &[u64::from(job), stream, gpa, len])
}

/// Reads a job's input; answers the bytes read, 0 at its end.
pub(crate) fn stream_read(job: u32, gpa: u64, len: u64) -> Result<u64, Errno> {
    call(Call::StreamRead, &[u64::from(job), gpa, len])
}

/// What a job's stream is: a number of [`vmcg_abi::call::stream`].
pub(crate) fn stream_kind(job: u32, stream: u64) -> i64 {
    call(Call::StreamKind, &[u64::from(job), stream]).unwrap_or(0).cast_signed()
}

/// Rows and columns of a job's terminal, if it has one.
pub(crate) fn stream_window(job: u32) -> Option<(u16, u16)> {
    let [r0, r1, c0, c1, ..] = call(Call::StreamWindow, &[u64::from(job)]).ok()?.to_le_bytes();
    Some((u16::from_le_bytes([r0, r1]), u16::from_le_bytes([c0, c1])))
}

/// The running task.
fn current() -> u64 {
    shared_word(shared::CURRENT_TID)
}

/// Charges pages of a file or private mapping to the running task; answers how many nobody was charged
/// for before.
pub(crate) fn huge_reserve(map: u64, kind: u64, pages: &Range<u64>) -> Result<u64, Errno> {
    call(Call::HugeReserve, &[current(), map, kind, pages.start, pages.end])
}

/// Gives the charges of pages of a file or private mapping back.
pub(crate) fn huge_release(map: u64, pages: &Range<u64>) {
    // What was never charged has nothing to give back.
    let _ = call(Call::HugeRelease, &[map, pages.start, pages.end]);
}

/// Has a huge page charged to the running task and backed.
pub(crate) fn huge_fault(first: Gfn) -> Result<(), Errno> {
    call(Call::HugeFault, &[current(), first.0]).map(drop)
}

/// Gives a huge page back.
pub(crate) fn huge_free(first: Gfn) {
    // A page the host cannot take back stays charged, and is refused when it is asked for again.
    let _ = call(Call::HugeFree, &[first.0]);
}

/// What a path of the share leads to.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A file, by its handle; and its path without symbolic links, where that is another one.
    File(u64, HostStat, Option<Box<[u8]>>),
    /// This path, which lies in a tree that the guest has itself.
    Elsewhere(Vec<u8>),
}

/// Looks an absolute path up in the share.
pub(crate) fn file_open(path: &[u8], follow: Follow) -> Result<Opened, Errno> {
    if path.len() > index(CALL_BUFFER_LEN) {
        return Err(Errno::ENAMETOOLONG);
    }
    let len = fill_buffer(path);
    match call(Call::FileOpen, &[len, u64::from(follow == Follow::No)]) {
        Ok(handle) => {
            const STAT_LEN: usize = stat::WORDS * 8;
            let real_len = buffer_word(stat::REAL_LEN);
            let real = (real_len != 0).then(|| buffer(real_len.saturating_add(STAT_LEN as u64)));
            let real = real.and_then(|bytes| bytes.get(STAT_LEN..).map(Box::from));
            Ok(Opened::File(handle, buffered_stat(), real))
        }
        Err(Errno::EXDEV) => {
            let answer = buffer(buffer_word(0).saturating_add(8));
            Ok(Opened::Elsewhere(answer.get(8..).unwrap_or_default().to_vec()))
        }
        Err(errno) => Err(errno),
    }
}

/// The description of a file that the last call left in the buffer.
fn buffered_stat() -> HostStat {
    HostStat {
        dev: buffer_word(stat::DEV),
        ino: buffer_word(stat::INO),
        mode: u32::try_from(buffer_word(stat::MODE)).unwrap_or(0),
        nlink: buffer_word(stat::NLINK),
        owner: Owner::from_word(buffer_word(stat::OWNER)),
        size: buffer_word(stat::SIZE),
        mtime_s: buffer_word(stat::MTIME_S),
        mtime_ns: buffer_word(stat::MTIME_NS),
    }
}

/// Forgets a handle.
pub(crate) fn file_close(handle: u64) {
    // A handle the host does not know is forgotten already.
    let _ = call(Call::FileClose, &[handle]);
}

/// Reads from a file into a guest-physical range.
pub(crate) fn file_read(handle: u64, offset: u64, gpa: u64, len: u64) -> Result<u64, Errno> {
    call(Call::FileRead, &[handle, offset, gpa, len])
}

/// Directory entries from a cookie on, packed as [`vmcg_abi::call::entry`] says.
pub(crate) fn file_readdir(handle: u64, cookie: u64) -> Result<Vec<u8>, Errno> {
    call(Call::FileReaddir, &[handle, cookie]).map(buffer)
}

/// The target of a symbolic link.
pub(crate) fn file_readlink(handle: u64) -> Result<Vec<u8>, Errno> {
    call(Call::FileReadlink, &[handle]).map(buffer)
}
