//! Where everything lies in guest memory, drawn before it is defined.
//!
//! ```text
//! gpa       0  never mapped, never backed: a null pointer faults
//!      0x1000  boot page         words of page::boot, written by the host before the start
//!      0x2000  shared page       words of page::shared, both sides, all accesses atomic
//!      0x3000  trap page         where the CPU and the stubs leave and find frames
//!      0x4000  descriptor page   GDT, TSS, IDT, built by the host
//!      0x8000  call buffer       16 KiB of arguments and answers too long for a word
//!     0x10000  free ring         frame numbers (u32) the guest no longer uses
//!     0x18000  event ring        host -> guest
//!     0x20000  page tables       of the kernel's address space, built by the host
//!     0x30000  top of a task's address space: the tables behind PML4 slot 511
//!     0x40000  identity map      one page directory for each GiB of guest memory
//!    0x100000  guest kernel      ELF image: three stub pages first, then text, data, bss
//!   after it   frame table       one u64 for each frame of guest memory
//!   after it   free frames
//! ```

/// Directories at the root that programs see as the guest kernel makes them, not as the share does.
pub const GUEST_TREES: [&[u8]; 3] = [b"tmp", b"dev", b"proc"];

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;

/// Guest-physical address of the boot page.
pub const BOOT_GPA: u64 = 0x1000;
/// Guest-physical address of the shared page.
pub const SHARED_GPA: u64 = 0x2000;
/// Guest-physical address of the trap page.
pub const TRAP_GPA: u64 = 0x3000;
/// Guest-physical address of the descriptor page.
pub const DESCRIPTORS_GPA: u64 = 0x4000;
/// Guest-physical address of the call buffer.
pub const CALL_BUFFER_GPA: u64 = 0x8000;
/// Length of the call buffer in bytes.
pub const CALL_BUFFER_LEN: u64 = 0x4000;
/// Guest-physical address of the free ring, an array of [`FREE_RING_SLOTS`] u32.
pub const FREE_RING_GPA: u64 = 0x1_0000;
/// Slots in the free ring; a power of two.
pub const FREE_RING_SLOTS: u64 = 8192;
/// Guest-physical address of the event ring, an array of [`EVENT_RING_SLOTS`] u64.
pub const EVENT_RING_GPA: u64 = 0x1_8000;
/// Slots in the event ring; a power of two.
pub const EVENT_RING_SLOTS: u64 = 512;
/// Root page table (CR3) of the kernel's address space.
pub const KERNEL_CR3: u64 = 0x2_0000;
/// First of the page tables behind PML4 slot 511 of every task's address space.
pub const TASK_TOP_GPA: u64 = 0x3_0000;
/// First page directory of the identity map; one for each GiB of guest memory.
pub const IDENTITY_GPA: u64 = 0x4_0000;
/// Where the guest kernel's image is linked and loaded.
pub const KERNEL_GPA: u64 = 0x10_0000;
/// Largest guest memory the identity map's tables have room for: 192 GiB.
pub const RAM_BYTES_MAX: u64 = ((KERNEL_GPA - IDENTITY_GPA) / PAGE_SIZE) << 30;
/// Smallest guest memory that boots and leaves room for programs: 16 MiB.
pub const RAM_BYTES_MIN: u64 = 16 << 20;

/// Frame of the image mapped at [`STUBS_GVA`] in tasks' address spaces.
pub const STUBS_TASK_GPA: u64 = KERNEL_GPA;
/// Frame of the image mapped at [`STUBS_GVA`] in the kernel's address space.
pub const STUBS_KERNEL_GPA: u64 = KERNEL_GPA + 0x1000;
/// Frame of the image mapped at [`SYSCALL_GVA`], readable by ring 3.
pub const SYSCALL_GPA: u64 = KERNEL_GPA + 0x2000;

/// Base of the window, in every address space, that holds what ring 0 needs.
pub const TOP_GVA: u64 = 0xffff_ffff_fff0_0000;
/// Virtual address of the trap page (supervisor).
pub const TRAP_GVA: u64 = TOP_GVA + 0x3000;
/// Virtual address of the descriptor page (supervisor).
pub const DESCRIPTORS_GVA: u64 = TOP_GVA + 0x4000;
/// Virtual address of the page of trap stubs (supervisor).
pub const STUBS_GVA: u64 = TOP_GVA + 0x5000;
/// Virtual address that `syscall` jumps to where it stays in ring 3 (user-executable, an `int3`).
pub const SYSCALL_GVA: u64 = TOP_GVA + 0x6000;

/// Bytes a trap stub has; the stub of vector `v` is at `STUBS_GVA + v * STUB_STRIDE`.
pub const STUB_STRIDE: u64 = 64;
/// Vectors that have a stub: 32 exceptions and [`EVENT_VECTOR`].
pub const VECTORS: u64 = 33;
/// Offset in the page of stubs to which `syscall` jumps where it enters ring 0.
pub const DIRECT_STUB: u64 = 0x900;
/// The number with which the kernel is entered from there, where others are entered with a vector.
pub const DIRECT_VECTOR: u64 = VECTORS;
/// The one interrupt vector: "look at the shared page".
pub const EVENT_VECTOR: u64 = 32;

/// Offset in the trap page of the top of the stack (IST 1) on which every vector but #DF arrives.
pub const TRAP_STACK_TOP: u64 = 0x400;
/// Offset in the trap page of the top of the stack (IST 2) for #DF.
pub const FAULT_STACK_TOP: u64 = 0x600;
/// Offset of the entry frames: vector `v`, or [`DIRECT_VECTOR`], enters the kernel with the five words (rip, cs, rflags,
/// rsp, ss) at `ENTRY_FRAMES + v * ENTRY_FRAME_LEN`. The kernel fills them in when it boots.
pub const ENTRY_FRAMES: u64 = 0x800;
/// Bytes an entry frame takes.
pub const ENTRY_FRAME_LEN: u64 = 40;
/// Offset of the resume frame: the words cr3, rax, rip, cs, rflags, rsp, ss of the task that `ud2`
/// in the kernel's address space resumes. `syscall`, where it enters ring 0, resumes it too, and
/// reads three more: rcx, r11, and 0 when only `iretq` restores what is to be restored.
pub const RESUME_FRAME: u64 = 0x700;
/// Words of the resume frame.
pub const RESUME_WORDS: usize = 10;
/// Offset of the words rax, rsp, rcx, r11 of a task whose `syscall` entered ring 0.
pub const DIRECT_FRAME: u64 = 0x780;

/// Selector of ring-0 code.
pub const KERNEL_CS: u16 = 0x10;
/// Selector of ring-0 data.
pub const KERNEL_SS: u16 = 0x18;
/// Selector of ring-3 data, as in Linux.
pub const USER_SS: u16 = 0x2b;
/// Selector of ring-3 64-bit code, as in Linux.
pub const USER_CS: u16 = 0x33;
/// Selector of the task-state segment.
pub const TSS_SELECTOR: u16 = 0x40;

/// Port of guest calls: the kernel's `int3` stub writes EAX there.
pub const CALL_PORT: u8 = 0x50;
/// Port a kernel-space stub writes its vector to when the kernel itself trapped.
pub const BUG_PORT: u8 = 0x51;

/// First address a task may not map: the end of the lower canonical half, less one page.
pub const TASK_END: u64 = 0x7fff_ffff_f000;

const _: () = assert!(ENTRY_FRAMES + (DIRECT_VECTOR + 1) * ENTRY_FRAME_LEN <= PAGE_SIZE);
const _: () = assert!(VECTORS * STUB_STRIDE <= DIRECT_STUB);
const _: () = assert!(RESUME_FRAME + RESUME_WORDS as u64 * 8 <= DIRECT_FRAME);
const _: () = assert!(DIRECT_FRAME + 4 * 8 <= ENTRY_FRAMES);
const _: () = assert!(FREE_RING_GPA + FREE_RING_SLOTS * 4 <= EVENT_RING_GPA);
const _: () = assert!(EVENT_RING_GPA + EVENT_RING_SLOTS * 8 <= KERNEL_CR3);
