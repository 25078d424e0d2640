//! The image of a program: its segments and those of its dynamic linker, mapped.

use alloc::rc::Rc;
use alloc::vec::Vec;

use vmcg_abi::layout::{PAGE_SIZE, TASK_END};

use super::elf::{Elf, Segment};
use super::{Program, Unloadable};
use crate::errno::Errno;
use crate::file;
use crate::kernel::Kernel;
use crate::memory::area::{Area, Backing, Rights, Role};
use crate::memory::object::Object;
use crate::memory::space::{LOWEST, SharedSpace};
use crate::memory::user::UserMemory;
use crate::number::{Tid, index, page_ceil};

/// Where a relocatable program goes (Linux: ELF_ET_DYN_BASE, without randomisation).
const RELOCATABLE_BASE: u64 = 0x5555_5555_4000;
/// Bytes of a stack before it grows.
const STACK_START: u64 = 32 * PAGE_SIZE;
/// Room left below the stack's top for its growth, at least and at most (Linux: mmap_base).
const STACK_ROOM_MIN: u64 = 128 << 20;
const STACK_ROOM_MAX: u64 = TASK_END / 6 * 5;
/// Gap below that room (Linux: stack_guard_gap).
const STACK_GAP: u64 = 256 * PAGE_SIZE;

/// What the first stack and the first registers are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image {
    /// Where execution starts: the dynamic linker if there is one.
    pub(super) start: u64,
    /// The program's own entry point.
    pub(super) entry: u64,
    /// Address of the program headers, and their number.
    pub(super) headers_gva: u64,
    pub(super) headers: u64,
    /// Where the dynamic linker was loaded; 0 = there is none.
    pub(super) linker_base: u64,
    pub(super) stack_top: u64,
}

impl Image {
    /// Maps a program, its dynamic linker and a stack into an empty space.
    pub(super) fn load(
        kernel: &mut Kernel,
        tid: Tid,
        space: &SharedSpace,
        program: &Program,
    ) -> Result<Self, Unloadable> {
        let elf = Elf::parse(&program.object)?;
        let path = elf.interpreter.as_deref();
        let linker = path.map(|path| file::open_program(kernel, tid, path)).transpose()?;
        map_stack(space, &elf)?;
        let bias = if elf.is_relocatable { RELOCATABLE_BASE - elf.span().start } else { 0 };
        map_elf(space, &elf, bias, &program.object, &program.path)?;
        let heap_start = elf.span().end + bias;
        space.borrow_mut().heap = heap_start..heap_start;
        let entry = elf.entry.wrapping_add(bias);
        let mut image = Self {
            start: entry,
            entry,
            headers_gva: elf.headers_gva.wrapping_add(bias),
            headers: elf.headers,
            linker_base: 0,
            stack_top: TASK_END,
        };
        if let Some(path) = &elf.interpreter {
            let linker = linker.as_ref().ok_or(Errno::ELIBBAD)?;
            image.linker_base = load_linker(space, &linker.object, path, &mut image.start)?;
        }
        Ok(image)
    }
}

/// Maps the dynamic linker; answers its load bias and sets where execution starts.
fn load_linker(
    space: &SharedSpace,
    object: &Rc<Object>,
    path: &[u8],
    start: &mut u64,
) -> Result<u64, Unloadable> {
    let elf = Elf::parse(object).map_err(|_| Errno::ELIBBAD)?;
    let span = elf.span();
    let base = space.borrow_mut().find_free(span.end - span.start)?;
    let bias = if elf.is_relocatable { base - span.start } else { 0 };
    map_elf(space, &elf, bias, object, path)?;
    *start = elf.entry.wrapping_add(bias);
    Ok(bias)
}

/// Adds the stack's area and says where mappings go.
fn map_stack(space: &SharedSpace, elf: &Elf) -> Result<(), Errno> {
    let mut space = space.borrow_mut();
    let room = space.stack_max.clamp(STACK_ROOM_MIN, STACK_ROOM_MAX);
    space.mmap_top = (TASK_END - room - STACK_GAP) & !(PAGE_SIZE - 1);
    let rights = Rights { can_execute: elf.has_executable_stack, ..Rights::READ_WRITE };
    let start = TASK_END - STACK_START.min(space.stack_max.max(PAGE_SIZE) & !(PAGE_SIZE - 1));
    space.map_at(start, Area::anon(TASK_END, rights, Role::Stack))
}

/// Maps every segment.
fn map_elf(
    space: &SharedSpace,
    elf: &Elf,
    bias: u64,
    object: &Rc<Object>,
    path: &[u8],
) -> Result<(), Unloadable> {
    let path: Rc<[u8]> = Rc::from(path);
    let moved: Vec<Segment> = elf
        .segments
        .iter()
        .map(|segment| Segment { gva: segment.gva.wrapping_add(bias), ..*segment })
        .collect();
    for segment in moved {
        let pages = segment.pages();
        let is_free = space.borrow().areas.is_free(&pages);
        if pages.start < LOWEST || pages.end > TASK_END || !is_free {
            return Err(Unloadable::Misplaced);
        }
        map_segment(space, &segment, object, &path)?;
    }
    Ok(())
}

/// Maps the part of a segment that is in the file, then the part that starts as zeros.
fn map_segment(
    space: &SharedSpace,
    segment: &Segment,
    object: &Rc<Object>,
    path: &Rc<[u8]>,
) -> Result<(), Errno> {
    let pages = segment.pages();
    let file_end = segment.gva + segment.file_len;
    let file_pages_end = page_ceil(file_end).ok_or(Errno::ENOEXEC)?;
    let mut zeros_start = pages.start;
    if segment.file_len > 0 {
        let area = Area {
            backing: Backing::Object {
                object: object.clone(),
                offset: segment.offset - segment.gva % PAGE_SIZE,
                path: path.clone(),
            },
            ..Area::anon(file_pages_end, segment.rights, Role::Plain)
        };
        space.borrow_mut().map_at(pages.start, area)?;
        zeros_start = file_pages_end;
        if segment.memory_len > segment.file_len && segment.rights.can_write {
            // To the page's end, not the segment's: the dynamic linker allocates from what follows
            // its data and expects zeros (Linux v6.12 fs/binfmt_elf.c padzero).
            UserMemory::new(space.clone()).zero(file_end, index(file_pages_end - file_end))?;
        }
    }
    if zeros_start < pages.end {
        let area = Area::anon(pages.end, segment.rights, Role::Plain);
        space.borrow_mut().map_at(zeros_start, area)?;
    }
    Ok(())
}
