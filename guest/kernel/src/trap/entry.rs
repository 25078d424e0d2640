//! The way between a task and the kernel: the stubs of ring 0, and both directions of the switch.
//!
//! Code and data of ring 0 are the three pages of section `.stubs` (vmcg_abi::layout). A stub loads
//! CR3, and the page it runs in changes under it: execution goes on at the same offset of the other
//! stub page. Task-space stub of a vector: save rax (and for a page fault CR2, which ring 3 cannot
//! read), load the kernel's CR3; the kernel-space page then pops the entry frame into ring 3.
//! Kernel-space stubs: `int3` calls the host, `ud2` pops the resume frame, all else is a bug.
//!
//! Where `syscall` enters ring 0 it is the way of a task into the kernel, without a vector, and the
//! kernel's way to resume a task: KVM leaves the guest at every `ud2` there, to look at it. It finds
//! no stack: rsp goes into the trap page. Nothing can interrupt these stubs, since `syscall` clears
//! the interrupt flag.
#![expect(unsafe_code, reason = "the trap entry is assembly and shares two statics with Rust")]

use core::arch::{asm, global_asm};

use vmcg_abi::layout::{
    BOOT_GPA, BUG_PORT, CALL_PORT, DIRECT_FRAME, DIRECT_STUB, DIRECT_VECTOR, ENTRY_FRAME_LEN,
    ENTRY_FRAMES, KERNEL_CR3, RESUME_FRAME, STUB_STRIDE, TRAP_GVA, VECTORS,
};
use vmcg_abi::page::boot;

use crate::physical;
use crate::task::registers::Registers;

global_asm!(
    ".pushsection .stubs, \"ax\", @progbits",
    // Task-space page.
    "stubs_task:",
    ".set vector, 0",
    ".rept {vectors}",
    "    .org stubs_task + vector * {stride}",
    "    .if vector == 8",
    "        mov al, 8",
    "        out {bug}, al",
    "        hlt",
    "    .elseif vector == 6",
    "        jmp 2f",
    "        .org stubs_task + vector * {stride} + 11", // where `ud2` of the kernel arrives
    "        pop rax",
    "        iretq",
    "        .org stubs_task + vector * {stride} + 16",
    "2:      push rax",
    "        mov eax, {kernel_cr3}",
    "        mov cr3, rax",
    "    .elseif vector == 14",
    "        push rax",
    "        mov rax, cr2",
    "        push rax",
    "        mov eax, {kernel_cr3}",
    "        mov cr3, rax",
    "    .else",
    "        push rax",
    "        mov eax, {kernel_cr3}",
    "        mov cr3, rax",
    "    .endif",
    "    .set vector, vector + 1",
    ".endr",
    // `syscall` of a task: there is no stack yet.
    "    .org stubs_task + {direct}, 0xf4",
    "    mov [{direct_frame} + 8], rsp",
    "    mov [{direct_frame}], rax",
    "    mov eax, {kernel_cr3}",
    "    mov cr3, rax",
    // `syscall` of the kernel arrives here.
    "    .org stubs_task + {direct} + 0x80 + 11, 0xf4",
    "    mov rax, [{resume_frame} + 8]",
    "    cmp byte ptr [{resume_frame} + 72], 0",
    "    je 2f",
    "    mov rcx, [{resume_frame} + 16]",
    "    mov r11, [{resume_frame} + 32]",
    "    mov rsp, [{resume_frame} + 40]",
    "    sysretq",
    "2:  mov rcx, [{resume_frame} + 56]",
    "    mov r11, [{resume_frame} + 64]",
    "    mov rsp, {resume_frame} + 16",
    "    iretq",
    ".org stubs_task + 0x1000, 0xf4",
    // Kernel-space page.
    "stubs_kernel:",
    ".set vector, 0",
    ".rept {vectors}",
    "    .org stubs_kernel + vector * {stride}",
    "    .if vector == 3",
    "        out {call}, eax",
    "        iretq",
    "        .org stubs_kernel + vector * {stride} + 9",
    "    .elseif vector == 6",
    "        mov rsp, {resume_frame}",
    "        pop rax",
    "        mov cr3, rax",
    "        .org stubs_kernel + vector * {stride} + 25",
    "    .elseif vector == 14",
    "        mov al, 14",
    "        out {bug}, al",
    "        hlt",
    "        .org stubs_kernel + vector * {stride} + 13",
    "    .else",
    "        .byte 0xb0, vector", // mov al, vector
    "        out {bug}, al",
    "        hlt",
    "        .org stubs_kernel + vector * {stride} + 9",
    "    .endif",
    "    .byte 0x48, 0xc7, 0xc4", // mov rsp, sign-extended immediate
    "    .long ({entry_frames} + vector * 40) & 0xffffffff",
    "    iretq",
    "    .set vector, vector + 1",
    ".endr",
    // `syscall` of the kernel: all but rax, rcx and r11 are the task's already.
    "    .org stubs_kernel + {direct}, 0xf4",
    "    jmp 2f",
    "    .org stubs_kernel + {direct} + 24, 0xf4", // where `syscall` of a task arrives
    "    mov [{direct_frame} + 16], rcx",
    "    mov [{direct_frame} + 24], r11",
    "    mov rcx, [{direct_entry}]",
    "    mov rsp, [{direct_entry} + 24]",
    "    mov r11d, 2",
    "    sysretq",
    "    .org stubs_kernel + {direct} + 0x80, 0xf4",
    "2:  mov rax, [{resume_frame}]",
    "    mov cr3, rax",
    ".org stubs_kernel + 0x1000, 0xf4",
    // The page that `syscall` jumps to.
    "    int3",
    ".org stubs_kernel + 0x2000, 0xf4",
    ".popsection",
    vectors = const VECTORS,
    stride = const STUB_STRIDE,
    bug = const BUG_PORT,
    call = const CALL_PORT,
    kernel_cr3 = const KERNEL_CR3,
    resume_frame = const (TRAP_GVA + RESUME_FRAME).cast_signed(),
    entry_frames = const (TRAP_GVA + ENTRY_FRAMES).cast_signed(),
    direct = const DIRECT_STUB,
    direct_frame = const (TRAP_GVA + DIRECT_FRAME).cast_signed(),
    direct_entry = const (TRAP_GVA + ENTRY_FRAMES + DIRECT_VECTOR * ENTRY_FRAME_LEN).cast_signed(),
);

global_asm!(
    // Entry of each vector in the kernel's address space, ring 3: rsp is at the end of SAVED.
    ".balign 8",
    ".globl trap_entries",
    "trap_entries:",
    ".set vector, 0",
    ".rept {vectors} + 1",
    "    .balign 8",
    "    .byte 0x6a, vector", // push vector
    "    jmp 3f",
    "    .set vector, vector + 1",
    ".endr",
    "3:  push rdi",
    "    push rsi",
    "    push rdx",
    "    push rcx",
    "    push r8",
    "    push r9",
    "    push r10",
    "    push r11",
    "    push rbx",
    "    push rbp",
    "    push r12",
    "    push r13",
    "    push r14",
    "    push r15",
    "    mov rsp, [rip + {stack}]",
    "    pop r15",
    "    pop r14",
    "    pop r13",
    "    pop r12",
    "    pop rbp",
    "    pop rbx",
    "    ret",
    // fn enter_task(registers: *const Registers); returns when the task has trapped.
    ".globl enter_task",
    "enter_task:",
    "    push rbx",
    "    push rbp",
    "    push r12",
    "    push r13",
    "    push r14",
    "    push r15",
    "    mov [rip + {stack}], rsp",
    "    mov r15, [rdi]",
    "    mov r14, [rdi + 8]",
    "    mov r13, [rdi + 16]",
    "    mov r12, [rdi + 24]",
    "    mov rbp, [rdi + 32]",
    "    mov rbx, [rdi + 40]",
    "    mov r11, [rdi + 48]",
    "    mov r10, [rdi + 56]",
    "    mov r9, [rdi + 64]",
    "    mov r8, [rdi + 72]",
    "    mov rcx, [rdi + 80]",
    "    mov rdx, [rdi + 88]",
    "    mov rsi, [rdi + 96]",
    "    mov rdi, [rdi + 104]",
    "    cmp byte ptr [{is_direct}], 0",
    "    jne 2f",
    "    ud2",
    "2:  syscall",
    "    ud2",
    vectors = const VECTORS,
    stack = sym KERNEL_STACK,
    is_direct = const BOOT_GPA + boot::DIRECT_SYSCALL as u64 * 8,
);

/// The kernel's stack pointer while a task runs.
static mut KERNEL_STACK: u64 = 0;

/// Where a trap leaves the general registers; the vector lies in the place of rax.
static mut SAVED: [u64; SAVED_WORDS] = [0; SAVED_WORDS];
/// Registers from r15 to rdi, and the vector.
const SAVED_WORDS: usize = 15;

unsafe extern "sysv64" {
    fn enter_task(registers: *const Registers);
    static trap_entries: u8;
}

/// Address of the first vector's entry; the others follow at eight bytes each.
pub(super) fn entries() -> u64 {
    (&raw const trap_entries).expose_provenance() as u64
}

/// The stack pointer with which every vector enters.
pub(super) fn entry_stack() -> u64 {
    (&raw const SAVED).expose_provenance() as u64 + SAVED_WORDS as u64 * 8
}

/// Runs the task that the resume frame describes until it traps; answers the vector.
///
/// `registers` is updated but for rax, rip, rflags and rsp, which the trap page holds.
pub(super) fn run(registers: &mut Registers) -> u64 {
    // SAFETY: the assembly saves and restores what the calling convention asks for.
    unsafe { enter_task(registers) }
    let saved_gpa = entry_stack() - SAVED_WORDS as u64 * 8;
    let saved = |slot: u64| physical::word(saved_gpa + slot * 8);
    registers.r15 = saved(0);
    registers.r14 = saved(1);
    registers.r13 = saved(2);
    registers.r12 = saved(3);
    registers.rbp = saved(4);
    registers.rbx = saved(5);
    registers.r11 = saved(6);
    registers.r10 = saved(7);
    registers.r9 = saved(8);
    registers.r8 = saved(9);
    registers.rcx = saved(10);
    registers.rdx = saved(11);
    registers.rsi = saved(12);
    registers.rdi = saved(13);
    saved(14)
}

/// Makes the call that the shared page describes.
pub(crate) fn call_host() {
    // SAFETY: the stub and the host change no register; memory may change.
    unsafe { asm!("int3") }
}
