//! Everything privileged the guest needs, laid out by the host before the first instruction.
//!
//! The guest kernel has no boot code in ring 0: the host writes descriptor tables and the page
//! tables of the kernel's own address space (where a virtual address is the guest-physical one),
//! loads the kernel's ELF image, and starts the vCPU at its entry point in ring 3.

use std::io::Cursor;
use std::ops::Range;

use linux_loader::loader::{Elf, KernelLoader};
use memcg::HugeSize;
use vm_memory::Address;
use vmcg_abi::layout::{
    CALL_BUFFER_GPA, DESCRIPTORS_GPA, DESCRIPTORS_GVA, EVENT_RING_GPA, EVENT_RING_SLOTS,
    FAULT_STACK_TOP, FREE_RING_GPA, FREE_RING_SLOTS, IDENTITY_GPA, KERNEL_CR3, KERNEL_CS,
    PAGE_SIZE, SHARED_GPA, STUB_STRIDE, STUBS_GVA, STUBS_KERNEL_GPA, STUBS_TASK_GPA, SYSCALL_GPA,
    SYSCALL_GVA, TASK_TOP_GPA, TRAP_GPA, TRAP_GVA, TRAP_STACK_TOP, TSS_SELECTOR, VECTORS,
};
use vmcg_abi::page::{boot, shared};

use crate::error::MachineError;
use crate::frame_space::FrameSpace;
use crate::huge::Pools;
use crate::memory::GuestMemory;

/// The guest kernel's ELF image, built by build.rs.
const KERNEL_IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-kernel"));

/// Offset of the GDT in the descriptor page.
const GDT: u64 = 0;
/// Entries of the GDT, two of them the TSS descriptor.
const GDT_ENTRIES: u16 = 10;
/// Offset of the TSS in the descriptor page.
const TSS: u64 = 0x100;
/// Bytes of a 64-bit TSS without an I/O map, less one.
const TSS_LIMIT: u32 = 0x67;
/// Offset of the IDT in the descriptor page.
const IDT: u64 = 0x200;
/// Bytes of the IDT, less one.
const IDT_LIMIT: u16 = 33 * 16 - 1;

const PRESENT_WRITABLE: u64 = 0b011;
const USER: u64 = 0b100;
const LARGE: u64 = 1 << 7;
const LARGE_PAGE_SIZE: u64 = 2 << 20;

const _: () = assert!(IDT + VECTORS * 16 <= PAGE_SIZE);
const _: () = assert!(IDT_LIMIT as u64 == VECTORS * 16 - 1);

/// What the boot page tells the guest besides its memory.
#[derive(Debug, Clone)]
pub(crate) struct BootFacts {
    /// Rate of the time-stamp counter.
    pub(crate) tsc_khz: u32,
    /// Huge pages set aside.
    pub(crate) huge: Pools,
    /// Memory and swap beside its frames.
    pub(crate) space: FrameSpace,
    /// Whether `syscall` enters ring 0 here.
    pub(crate) direct_syscall: bool,
    /// Seed of the guest's own random numbers.
    pub(crate) random: [u64; 2],
}

/// Where things came to lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BootLayout {
    /// First instruction of the guest kernel.
    pub(crate) entry: u64,
    /// Frame table of the guest.
    pub(crate) frame_table_gpa: u64,
    /// First frame the guest may hand out; those below are never given back.
    pub(crate) first_free_gfn: u64,
}

/// Table registers of the vCPU, as written by [`lay_out`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptors {
    /// Base and limit of the GDT.
    pub(crate) gdt: (u64, u16),
    /// Base and limit of the IDT.
    pub(crate) idt: (u64, u16),
    /// Base and limit of the TSS.
    pub(crate) tss: (u64, u32),
}

/// The descriptor tables' place; they are the same in every machine.
pub(crate) const DESCRIPTORS: Descriptors = Descriptors {
    gdt: (DESCRIPTORS_GVA + GDT, GDT_ENTRIES * 8 - 1),
    idt: (DESCRIPTORS_GVA + IDT, IDT_LIMIT),
    tss: (DESCRIPTORS_GVA + TSS, TSS_LIMIT),
};

/// Frames that loading the kernel (`image`, or the one in the binary) will write: those of its
/// segments with content. None where the image is not what it should be, which [`lay_out`] tells.
pub(crate) fn image_frames(image: Option<&[u8]>) -> Vec<Range<u64>> {
    let image = image.unwrap_or(KERNEL_IMAGE);
    segments(image).unwrap_or_default()
}

/// The program headers of a 64-bit ELF file (System V gABI, "Program Header"): e_phoff is at 32,
/// e_phnum at 56; a header of 56 bytes has p_paddr at 24 and p_filesz at 32.
fn segments(image: &[u8]) -> Option<Vec<Range<u64>>> {
    let word = |at: usize| {
        let bytes = image.get(at..at.checked_add(8)?)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let first = usize::try_from(word(32)?).ok()?;
    let count = usize::try_from(word(56)? & 0xffff).ok()?;
    let frames = |number: usize| {
        let header = first.checked_add(number * 56)?;
        let start = word(header.checked_add(24)?)?;
        let end = start.checked_add(word(header.checked_add(32)?)?)?;
        Some(start / PAGE_SIZE..end.div_ceil(PAGE_SIZE))
    };
    (0..count).map(frames).collect()
}

/// Loads the kernel (`image`, or the one in the binary) and writes tables and the boot page.
///
/// # Errors
/// When the embedded image is not the ELF it should be or does not fit into guest memory.
pub(crate) fn lay_out(
    memory: &GuestMemory,
    image: Option<&[u8]>,
    facts: &BootFacts,
) -> Result<BootLayout, MachineError> {
    let image = image.unwrap_or(KERNEL_IMAGE);
    let loaded = Elf::load(memory.map(), None, &mut Cursor::new(image), None)
        .map_err(|why| MachineError::KernelImage { why: why.to_string() })?;
    let entry = loaded.kernel_load.raw_value();
    let frame_table_gpa = loaded.kernel_end.next_multiple_of(PAGE_SIZE);
    let table_end = (frame_table_gpa + memory.frames() * 8).next_multiple_of(PAGE_SIZE);
    let layout = BootLayout { entry, frame_table_gpa, first_free_gfn: table_end / PAGE_SIZE };
    if table_end >= facts.space.memory_bytes {
        return Err(MachineError::KernelImage { why: "it does not fit into memory".into() });
    }
    write_descriptors(memory);
    write_page_tables(memory);
    write_boot_page(memory, facts, &layout);
    pin_rings(memory);
    Ok(layout)
}

/// Writes `value` as word `index` of the table at `gpa`.
fn put(memory: &GuestMemory, gpa: u64, index: u64, value: u64) {
    memory.set_word(gpa, usize::try_from(index).expect("a table has 512 entries"), value);
}

/// GDT, TSS and IDT: SDM volume 3A, 3.4.5, 7.7 and 6.14.1.
fn write_descriptors(memory: &GuestMemory) {
    let gdt = DESCRIPTORS_GPA + GDT;
    put(memory, gdt, 2, 0x00af_9b00_0000_ffff); // ring-0 code, 64-bit
    put(memory, gdt, 3, 0x00cf_9300_0000_ffff); // ring-0 data
    put(memory, gdt, 5, 0x00cf_f300_0000_ffff); // ring-3 data
    put(memory, gdt, 6, 0x00af_fb00_0000_ffff); // ring-3 code, 64-bit
    let tss = DESCRIPTORS_GVA + TSS;
    let low =
        u64::from(TSS_LIMIT) | (tss & 0xff_ffff) << 16 | 0x8b << 40 | (tss >> 24 & 0xff) << 56;
    put(memory, gdt, u64::from(TSS_SELECTOR) / 8, low);
    put(memory, gdt, u64::from(TSS_SELECTOR) / 8 + 1, tss >> 32);

    // The TSS's pointers are at odd multiples of four: written as the words they straddle.
    let (trap, fault) = (TRAP_GVA + TRAP_STACK_TOP, TRAP_GVA + FAULT_STACK_TOP);
    let tss = DESCRIPTORS_GPA + TSS;
    for (offset, value) in [(4, trap), (36, trap), (44, fault)] {
        memory.write(tss + offset, &value.to_le_bytes()).expect("the TSS lies in guest memory");
    }
    let no_io_map = u16::try_from(TSS_LIMIT + 1).expect("a TSS is short");
    memory.write(tss + 102, &no_io_map.to_le_bytes()).expect("the TSS lies in guest memory");

    for vector in 0..VECTORS {
        let handler = STUBS_GVA + vector * STUB_STRIDE;
        let ist: u64 = if vector == 8 { 2 } else { 1 };
        // int3 and into may be executed by ring 3; everything else is the CPU's to raise.
        let attributes: u64 = if vector == 3 || vector == 4 { 0xee } else { 0x8e };
        let low = handler & 0xffff
            | u64::from(KERNEL_CS) << 16
            | ist << 32
            | attributes << 40
            | (handler >> 16 & 0xffff) << 48;
        put(memory, DESCRIPTORS_GPA + IDT, vector * 2, low);
        put(memory, DESCRIPTORS_GPA + IDT, vector * 2 + 1, handler >> 32);
    }
}

/// The kernel's address space and the tables behind the last PML4 slot of every task's.
fn write_page_tables(memory: &GuestMemory) {
    // Kernel: PML4, PDPT, PT of the first 2 MiB (page 0 stays unmapped), then one PD a GiB.
    let (pdpt, first_pt) = (KERNEL_CR3 + 0x1000, KERNEL_CR3 + 0x2000);
    put(memory, KERNEL_CR3, 0, pdpt | PRESENT_WRITABLE | USER);
    let large_pages = memory.bytes().div_ceil(LARGE_PAGE_SIZE);
    for gib in 0..large_pages.div_ceil(512) {
        let table = IDENTITY_GPA + gib * PAGE_SIZE;
        put(memory, pdpt, gib, table | PRESENT_WRITABLE | USER);
        for index in 0..512.min(large_pages - gib * 512) {
            let gpa = (gib * 512 + index) * LARGE_PAGE_SIZE;
            put(memory, table, index, gpa | PRESENT_WRITABLE | USER | LARGE);
        }
    }
    put(memory, IDENTITY_GPA, 0, first_pt | PRESENT_WRITABLE | USER);
    for index in 1..512 {
        put(memory, first_pt, index, (index * PAGE_SIZE) | PRESENT_WRITABLE | USER);
    }
    let kernel_top = KERNEL_CR3 + 0x3000;
    write_top(memory, kernel_top, STUBS_KERNEL_GPA);
    put(memory, KERNEL_CR3, 511, kernel_top | PRESENT_WRITABLE | USER);
    write_top(memory, TASK_TOP_GPA, STUBS_TASK_GPA);
}

/// PDPT at `gpa`, PD and PT behind it: the window at TOP_GVA, with `stubs` as its page of stubs.
fn write_top(memory: &GuestMemory, gpa: u64, stubs: u64) {
    let (pd, pt) = (gpa + 0x1000, gpa + 0x2000);
    put(memory, gpa, TRAP_GVA >> 30 & 511, pd | PRESENT_WRITABLE | USER);
    put(memory, pd, TRAP_GVA >> 21 & 511, pt | PRESENT_WRITABLE | USER);
    let pages = [
        (TRAP_GVA, TRAP_GPA | PRESENT_WRITABLE),
        (DESCRIPTORS_GVA, DESCRIPTORS_GPA | PRESENT_WRITABLE),
        (STUBS_GVA, stubs | PRESENT_WRITABLE),
        (SYSCALL_GVA, SYSCALL_GPA | 1 | USER),
    ];
    for (gva, entry) in pages {
        put(memory, pt, gva >> 12 & 511, entry);
    }
}

fn write_boot_page(memory: &GuestMemory, facts: &BootFacts, layout: &BootLayout) {
    let words = [
        (boot::VERSION, vmcg_abi::VERSION),
        (boot::RAM_BYTES, memory.bytes()),
        (boot::FRAME_TABLE_GPA, layout.frame_table_gpa),
        (boot::FIRST_FREE_GFN, layout.first_free_gfn),
        (boot::TSC_KHZ, u64::from(facts.tsc_khz)),
        (
            boot::HUGE_FRAMES,
            (facts.huge.mb2.end - facts.huge.mb2.start) / HugeSize::Mb2.pages().get(),
        ),
        (boot::HUGE_FIRST_GFN, facts.huge.mb2.start),
        (
            boot::GIGANTIC_FRAMES,
            (facts.huge.gb1.end - facts.huge.gb1.start) / HugeSize::Gb1.pages().get(),
        ),
        (boot::DIRECT_SYSCALL, u64::from(facts.direct_syscall)),
        (boot::MEMORY_BYTES, facts.space.memory_bytes),
        (boot::SWAP_BYTES, facts.space.swap_bytes),
        (boot::RANDOM, facts.random[0]),
        (boot::RANDOM + 1, facts.random[1]),
    ];
    for (index, value) in words {
        memory.set_word(vmcg_abi::layout::BOOT_GPA, index, value);
    }
}

/// Touches the pages through which host and guest talk, so that the host never faults on them
/// while it holds a lock.
fn pin_rings(memory: &GuestMemory) {
    memory.set_shared(shared::DEADLINE, u64::MAX);
    let pages = [
        (SHARED_GPA, 1),
        (CALL_BUFFER_GPA, 4),
        (FREE_RING_GPA, FREE_RING_SLOTS * 4 / PAGE_SIZE),
        (EVENT_RING_GPA, EVENT_RING_SLOTS * 8 / PAGE_SIZE),
    ];
    for (gpa, count) in pages {
        for page in 0..count {
            memory.set_word(gpa + page * PAGE_SIZE, 511, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_frames_begin_where_it_is_linked() {
        let frames = image_frames(None);
        assert_eq!(frames[0].start, vmcg_abi::layout::KERNEL_GPA / PAGE_SIZE);
        assert!(frames.iter().all(|range| range.end - range.start < 1024), "{frames:?}");
    }

    #[test]
    fn a_file_that_is_no_image_has_no_frames() {
        for bad in [&[][..], &[0xff; 64], &[0; 64], &KERNEL_IMAGE[..70]] {
            assert_eq!(image_frames(Some(bad)), []);
        }
    }
}
