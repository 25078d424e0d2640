//! The first steps: stack, trap frames, heap, frames, clock; then the loop that never ends.
#![expect(unsafe_code, reason = "the entry point sets the stack pointer")]

use alloc::format;
use core::arch::global_asm;
use core::panic::PanicInfo;

use vmcg_abi::VERSION;
use vmcg_abi::frame::{FrameEntry, FrameKind};
use vmcg_abi::layout::{BOOT_GPA, PAGE_SIZE};
use vmcg_abi::page::boot;

use crate::kernel::Kernel;
use crate::memory::frames::Frames;
use crate::memory::huge::map::HugeMemory;
use crate::memory::huge::{HugePools, HugeSize};
use crate::number::Gfn;
use crate::time::Clock;
use crate::{heap, host, physical, schedule, trap};

/// Bytes of the kernel's only stack.
const STACK_LEN: usize = 128 << 10;
/// Largest heap.
const HEAP_MAX: u64 = 64 << 20;
/// Smallest heap.
const HEAP_MIN: u64 = 2 << 20;

global_asm!(
    ".pushsection .text.kernel_entry, \"ax\", @progbits",
    ".globl kernel_entry",
    "kernel_entry:",
    "    lea rsp, [rip + kernel_stack + {stack_len}]",
    "    xor ebp, ebp",
    "    call {main}",
    "    ud2",
    ".popsection",
    ".pushsection .bss.kernel_stack, \"aw\", @nobits",
    ".balign 4096",
    "kernel_stack:",
    "    .skip {stack_len}",
    ".popsection",
    stack_len = const STACK_LEN,
    main = sym main,
);

/// A word of the boot page.
fn boot_word(word: usize) -> u64 {
    physical::word(BOOT_GPA + word as u64 * 8)
}

/// Starts the kernel.
extern "sysv64" fn main() -> ! {
    if boot_word(boot::VERSION) != VERSION {
        host::panic("the host speaks another version of the contract");
    }
    trap::start();
    let (frames, huge) = start_memory();
    let clock = Clock::start(boot_word(boot::TSC_KHZ));
    let mut kernel = Kernel::new(frames, huge, clock);
    schedule::run(&mut kernel)
}

/// Sets the heap aside and hands the rest of memory to the frame allocator.
fn start_memory() -> (Frames, HugeMemory) {
    let ram_bytes = boot_word(boot::RAM_BYTES);
    let huge_first = Gfn(boot_word(boot::HUGE_FIRST_GFN));
    let huge_counts = [boot_word(boot::HUGE_FRAMES), boot_word(boot::GIGANTIC_FRAMES)];
    let sizes = HugeSize::ALL.iter().zip(huge_counts);
    let huge_frames: u64 = sizes.map(|(size, count)| size.frames() * count).sum();
    let frame_table_gpa = boot_word(boot::FRAME_TABLE_GPA);
    let heap_gpa = Gfn(boot_word(boot::FIRST_FREE_GFN)).gpa();
    let [memory_bytes, swap_bytes] = [boot_word(boot::MEMORY_BYTES), boot_word(boot::SWAP_BYTES)];
    // With a bit for each frame on top, however many there are.
    let bits_len = ram_bytes / PAGE_SIZE / 8;
    let heap_len = (memory_bytes / 16).clamp(HEAP_MIN, HEAP_MAX) + bits_len;
    let heap_len = heap_len.next_multiple_of(PAGE_SIZE);
    // Single frames start at a multiple of a run, so that runs are aligned groups.
    let first = Gfn((heap_gpa + heap_len).div_ceil(PAGE_SIZE * 16) * 16);
    for gfn in Gfn::of(heap_gpa).0..first.0 {
        let entry = FrameEntry::new(FrameKind::Kernel, 0);
        physical::set_word(frame_table_gpa + gfn * 8, entry.0);
    }
    heap::start(heap_gpa, heap_len);
    let aside = huge_first.0..huge_first.0 + huge_frames;
    let frames = Frames::new(frame_table_gpa, first, Gfn::of(ram_bytes), aside);
    frames.plan((memory_bytes + swap_bytes) / PAGE_SIZE, memory_bytes / PAGE_SIZE / 2);
    let pools = HugePools::new(&frames, huge_first, huge_counts);
    (frames, HugeMemory::new(pools))
}

/// Reports a broken invariant of the kernel; nothing a program does may lead here.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // A second panic, while this text is made, is reported without it.
    host::panic(&format!("{info}"))
}
