//! The words of the boot page and of the shared page, as indices of 64-bit words.

/// Words of the boot page: written once by the host, only read by the guest.
pub mod boot {
    /// [`crate::VERSION`].
    pub const VERSION: usize = 0;
    /// Bytes that the guest has frames for, from address 0: more than it may have in memory at once.
    pub const RAM_BYTES: usize = 1;
    /// Guest-physical address of the frame table.
    pub const FRAME_TABLE_GPA: usize = 2;
    /// First frame number that is free when the kernel starts.
    pub const FIRST_FREE_GFN: usize = 3;
    /// Time-stamp counter rate in kHz.
    pub const TSC_KHZ: usize = 4;
    /// Huge pages of 2 MiB set aside.
    pub const HUGE_FRAMES: usize = 5;
    /// 1 where `syscall` enters ring 0, at [`crate::layout::DIRECT_STUB`] of the stubs.
    pub const DIRECT_SYSCALL: usize = 6;
    /// First frame of the huge pages set aside: those of 2 MiB, then those of 1 GiB.
    pub const HUGE_FIRST_GFN: usize = 7;
    /// 16 random bytes for the kernel's own use (two words).
    pub const RANDOM: usize = 8;
    /// Huge pages of 1 GiB set aside.
    pub const GIGANTIC_FRAMES: usize = 10;
    /// Bytes of memory: the host backs no more frames than that at once.
    pub const MEMORY_BYTES: usize = 11;
    /// Bytes of swap that the host has.
    pub const SWAP_BYTES: usize = 12;
}

/// Words of the shared page. Each is written by one side only, named in its line.
pub mod shared {
    /// Guest: id of the task for which memory is touched from now on; 0 = nobody, the kernel.
    pub const CURRENT_TID: usize = 0;
    /// Host sets 1, guest clears before it looks: there is something in the event ring.
    pub const EVENTS_PENDING: usize = 1;
    /// Host sets 1, guest clears: the time slice is over.
    pub const TICK: usize = 2;
    /// Guest: tasks ready to run; the host ticks while there are two or more.
    pub const RUNNABLE: usize = 3;
    /// Guest: frames ever pushed to the free ring; slot = value modulo ring size.
    pub const FREE_HEAD: usize = 4;
    /// Host: frames ever taken from the free ring. A slot below it may be handed out again.
    pub const FREE_TAIL: usize = 5;
    /// Guest: frames it has handed out again; the ring is full when HEAD - REUSED = slots.
    pub const FREE_REUSED: usize = 6;
    /// Host: events ever queued.
    pub const EVENT_HEAD: usize = 7;
    /// Guest: events ever taken.
    pub const EVENT_TAIL: usize = 8;
    /// Guest: when it wants a tick although fewer than two tasks are ready, in nanoseconds since
    /// boot as `Clock` counts them; `u64::MAX` = never. For sleepers beside a running task.
    pub const DEADLINE: usize = 9;
    /// Guest: 1 while the memory it touches is touched by a system call of the current task, else 0.
    pub const IN_SYSTEM_CALL: usize = 10;
    /// Host sets 1, guest clears before each system call: a page was charged over a limit whose group
    /// lets nobody be killed. The call is to fail with ENOMEM before it touches another page.
    pub const MEMORY_REFUSED: usize = 11;
    /// Both: leave to use pages for kernel memory. Bits 0-31 pages, bits 32-47 the kmem id they are
    /// for. The host sets it in `KmemCharge`; the guest takes one off, atomically, for each page it
    /// then touches; the host takes the rest back, atomically, at any time.
    pub const KMEM_STOCK: usize = 12;
    /// Guest: number of the call it makes ([`crate::call`]).
    pub const CALL: usize = 16;
    /// Guest: first of the call's arguments; [`crate::call::ARGUMENTS_MAX`] words.
    pub const CALL_ARGUMENTS: usize = 17;
    /// Host: the answer; as i64, negative values are Linux error numbers.
    pub const CALL_RESULT: usize = 24;
    /// Guest: page faults of tasks handled.
    pub const PAGE_FAULTS: usize = 32;
    /// Guest: system calls of tasks handled.
    pub const SYSTEM_CALLS: usize = 33;
    /// Guest: switches from one task to another.
    pub const TASK_SWITCHES: usize = 34;
    /// Guest: frames handed out and not given back.
    pub const FRAMES_IN_USE: usize = 35;
    /// Both: the first of [`KMEM_KEPT_SLOTS`] words, each 0 or the number of a frame of kernel memory
    /// that is empty, and kept backed and charged to be used again. The guest puts a number where 0
    /// is, and takes it out again, atomically. The host may do so at any time: it first sets
    /// [`KMEM_KEPT_TAKING`] in the word, then takes the frame back as one of the free ring, and then
    /// writes 0.
    pub const KMEM_KEPT: usize = 64;
    /// Words at [`KMEM_KEPT`].
    pub const KMEM_KEPT_SLOTS: usize = 32;
    /// Bit of a word at [`KMEM_KEPT`]: the host is taking the frame back.
    pub const KMEM_KEPT_TAKING: u64 = 1 << 63;
}
