//! Calls from the guest kernel to the host.
//!
//! The kernel writes the number and up to [`ARGUMENTS_MAX`] words into the shared page and executes
//! `int3` in its own address space. The answer is in `CALL_RESULT` when execution goes on: an i64,
//! negative values are Linux error numbers. Strings and tables go through the call buffer. A gpa
//! range named in an argument must lie in guest memory; the host checks, and answers -EFAULT.

/// Words of arguments a call may have.
pub const ARGUMENTS_MAX: usize = 6;

/// A call, by number. Arguments in order, then what the answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Call {
    /// gpa, length: a line of the kernel's log. Answer 0.
    Log = 1,
    /// gpa, length: the kernel cannot go on; the text says why. Does not return.
    Panic = 2,
    /// deadline (ns since boot, u64::MAX = none): sleeps until an event or the deadline. Answer 0.
    Idle = 3,
    /// No argument: nanoseconds since boot; CLOCK_REALTIME in ns is left in word 0 of the buffer.
    Clock = 4,
    /// gpa, length: fills with random bytes. Answer 0.
    Random = 5,
    /// No argument: takes everything from the free ring. Answer: frames taken.
    DrainFree = 6,
    /// Does not return: every task has ended.
    Shutdown = 7,
    /// No argument: what [`memory`] names is left in the buffer. Answer 0.
    MemoryInfo = 8,
    /// tid: every frame is in use, and the task needs one. Answer 0: some come back, as somebody is
    /// killed for it; -ENOMEM: there is nobody to kill.
    OutOfFrames = 9,

    /// tid, tgid, parent tid, root gfn of the page tables, job (0 = inherit): a task was made; it is
    /// in its parent's cgroup, or in the job's for a job's first task. Answer: the kmem id of its
    /// cgroup (0 = its kernel memory is not accounted), or an error, then the task must not run.
    TaskNew = 16,
    /// tid, new root gfn; the new name is in the buffer, length in argument 2. Answer 0.
    TaskExec = 17,
    /// tid, wait status. Its page tables are no longer scanned. Answer 0.
    TaskExit = 18,
    /// tid, system call number: a task asked for a call the kernel does not have. Answer 0.
    UnknownSyscall = 19,
    /// tid: what /proc/PID/cgroup says of its group is left in the buffer. Answer: its length.
    TaskGroup = 20,

    /// Answer: length of the job descriptor left in the buffer, -EAGAIN when there is none.
    JobFetch = 32,
    /// job, tid: the first task runs the program. Answer 0.
    JobStarted = 33,
    /// job, errno: the program could not be loaded; the reason's text is in the buffer, length in
    /// argument 2. Answer 0.
    JobFailed = 34,
    /// job, wait status of its first task. Answer 0.
    JobDone = 35,
    /// job, stream (1 or 2), gpa, length: writes. Answer: bytes taken, -EAGAIN, -EPIPE.
    StreamWrite = 36,
    /// job, gpa, length: reads standard input. Answer: bytes, 0 at the end, -EAGAIN.
    StreamRead = 37,
    /// job, stream: what it is. Answer: one of [`stream`].
    StreamKind = 38,
    /// job: the size of its terminal. Answer: rows | columns << 16, -ENOTTY when it has none.
    StreamWindow = 39,

    /// length of the absolute path in the buffer, flags (1 = do not follow a last symbolic link):
    /// looks it up in the share. Answer: a handle, or an error; a [`stat`] is left in the buffer, and
    /// behind it the path without symbolic links.
    /// -EXDEV: a symbolic link leads into one of `layout::GUEST_TREES`; the length of the path there
    /// is left in the buffer's first word, and the path behind it.
    FileOpen = 48,
    /// handle: forgets it. Answer 0.
    FileClose = 49,
    /// handle, offset, gpa, length: reads. Answer: bytes.
    FileRead = 50,
    /// handle, cookie (0 = start): entries (see [`entry`]) in the buffer. Answer: bytes, 0 at the end.
    FileReaddir = 51,
    /// handle of a symbolic link: the target is left in the buffer. Answer: its length.
    FileReadlink = 52,

    /// kmem id, 1 when objects are cached on its behalf: asks leave to use a page for kernel memory of a cgroup.
    /// Answer 0: leave for that page, and perhaps for more, is in `KMEM_STOCK`. -ENOMEM: a limit is
    /// in the way; the buffer holds a count and the kmem ids of those whose cached objects can be
    /// given up for it. -ESRCH: no cgroup has this id.
    KmemCharge = 80,
    /// kmem id that an event declared gone: the kernel will not name it again. Answer 0.
    KmemGone = 81,
    /// kmem id, caches: answers the event `KmemCaches`; a [`cache`] each is in the buffer. Answer 0.
    KmemCaches = 82,
    /// kmem id, 1 when more objects are cached on its behalf: answers the event `KmemShrink`. Answer 0.
    KmemShrunk = 83,

    /// tid, map, kind (see [`huge`]), first and end huge page of a range: charges those pages of the
    /// range that nobody is charged for to the task's group. Answer: how many they were; -ENOMEM over
    /// a limit, and then nothing changed.
    HugeReserve = 96,
    /// map, first and end huge page: gives their charges back. Answer: how many were charged.
    HugeRelease = 97,
    /// tid, first gfn of a huge page that nobody has: charges it to the task's group and backs it
    /// with zeros. Answer 0; -ENOMEM over the limit, and then nothing changed.
    HugeFault = 98,
    /// first gfn of a huge page: it is no longer used; its charge is given back. Answer 0.
    HugeFree = 99,
}

impl Call {
    /// Every call, for decoding and for tables.
    pub const ALL: [Self; 35] = [
        Self::Log,
        Self::Panic,
        Self::Idle,
        Self::Clock,
        Self::Random,
        Self::DrainFree,
        Self::Shutdown,
        Self::MemoryInfo,
        Self::OutOfFrames,
        Self::TaskNew,
        Self::TaskExec,
        Self::TaskExit,
        Self::UnknownSyscall,
        Self::TaskGroup,
        Self::JobFetch,
        Self::JobStarted,
        Self::JobFailed,
        Self::JobDone,
        Self::StreamWrite,
        Self::StreamRead,
        Self::StreamKind,
        Self::StreamWindow,
        Self::FileOpen,
        Self::FileClose,
        Self::FileRead,
        Self::FileReaddir,
        Self::FileReadlink,
        Self::KmemCharge,
        Self::KmemGone,
        Self::KmemCaches,
        Self::KmemShrunk,
        Self::HugeReserve,
        Self::HugeRelease,
        Self::HugeFault,
        Self::HugeFree,
    ];

    /// Decodes a number; `None` for an unknown one.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|&call| call as u64 == number)
    }
}

/// Words of [`Call::MemoryInfo`], all in pages.
pub mod memory {
    /// Memory there is.
    pub const TOTAL: usize = 0;
    /// Of it, what nothing is in.
    pub const FREE: usize = 1;
    /// Of it, what pages of files are in.
    pub const FILE: usize = 2;
    /// Of it, what shared memory and files in memory are in.
    pub const SHMEM: usize = 3;
    /// Of it, what private memory of tasks is in.
    pub const ANON: usize = 4;
    /// Swap there is.
    pub const SWAP: usize = 5;
    /// Of it, what nothing is in.
    pub const SWAP_FREE: usize = 6;
    /// Words in all.
    pub const WORDS: usize = 7;
}

/// Answers of [`Call::StreamKind`].
pub mod stream {
    /// A pipe, a socket or anything else without an end that could be seeked to.
    pub const PIPE: i64 = 0;
    /// A terminal in raw mode: echo, editing and signals are the guest's.
    pub const TERMINAL: i64 = 1;
    /// A regular file.
    pub const FILE: i64 = 2;
}

/// The kind of a range of huge pages, in [`Call::HugeReserve`].
pub mod huge {
    /// Pages of 2 MiB.
    pub const MB2: u64 = 0;
    /// Pages of 1 GiB.
    pub const GB1: u64 = 1;
    /// The low bits that hold the size.
    pub const SIZE: u64 = 0xff;
    /// Set: a private mapping of the task's process, whose charge moves with it.
    pub const PRIVATE: u64 = 0x100;
}

/// Words of a file's description in the call buffer, as 64-bit indices.
pub mod stat {
    /// Device number as in `struct stat`.
    pub const DEV: usize = 0;
    /// Inode number.
    pub const INO: usize = 1;
    /// File type and permission bits, as `st_mode`.
    pub const MODE: usize = 2;
    /// Link count.
    pub const NLINK: usize = 3;
    /// Bytes.
    pub const SIZE: usize = 4;
    /// Last modification, in seconds since 1970.
    pub const MTIME_S: usize = 5;
    /// Its nanoseconds.
    pub const MTIME_NS: usize = 6;
    /// Its user, and in the upper half its group.
    pub const OWNER: usize = 7;
    /// Bytes of the file's path without symbolic links, which follows; 0 = as it was asked for.
    pub const REAL_LEN: usize = 8;
    /// Words in all.
    pub const WORDS: usize = 9;
}

/// A job descriptor, in the call buffer.
///
/// Words 0-5 as named here, then strings, each ended by a NUL: the program's path, the working
/// directory, then `ARGC` arguments, then `ENVC` environment entries.
pub mod job {
    /// Job id, never 0.
    pub const ID: usize = 0;
    /// Handle of the program's file, as if opened by `FileOpen`.
    pub const PROGRAM: usize = 1;
    /// Size of the program's file in bytes.
    pub const SIZE: usize = 2;
    /// Number of arguments, the program's name included.
    pub const ARGC: usize = 3;
    /// Number of environment entries.
    pub const ENVC: usize = 4;
    /// Kmem id of the cgroup it starts in; 0 = its kernel memory is not accounted.
    pub const KMEM: usize = 5;
    /// Words before the strings.
    pub const WORDS: usize = 6;
}

/// A cache of kernel objects, in the call buffer: words, then its name.
pub mod cache {
    /// Objects in use.
    pub const ACTIVE: usize = 0;
    /// Slabs, a page each.
    pub const SLABS: usize = 1;
    /// Bytes an object takes.
    pub const OBJECT_LEN: usize = 2;
    /// First word of the name, which ends with a NUL.
    pub const NAME: usize = 3;
    /// Bytes of a name, its NUL included.
    pub const NAME_LEN: usize = 24;
    /// Words in all.
    pub const WORDS: usize = NAME + NAME_LEN / 8;
}

/// A directory entry in the buffer of `FileReaddir`: a packed sequence of
/// u64 inode, u64 next cookie, u8 type (as `d_type`), u8 length of the name, the name.
pub mod entry {
    /// Bytes before the name.
    pub const HEADER_LEN: usize = 18;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_decodes_to_itself() {
        for call in Call::ALL {
            assert_eq!(Call::from_number(call as u64), Some(call));
        }
        assert_eq!(Call::from_number(0), None);
        assert_eq!(Call::from_number(53), None);
    }
}
