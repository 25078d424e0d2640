//! The parts of an ELF file that matter for running it (System V ABI, gABI 4.1 and its x86-64 part).

use alloc::vec;
use alloc::vec::Vec;

use vmcg_abi::layout::{PAGE_SIZE, TASK_END};

use super::Unloadable;
use crate::errno::Errno;
use crate::memory::area::Rights;
use crate::memory::object::Object;
use crate::number::{index, page_ceil, page_floor};

/// Bytes of the file header and of a program header.
const HEADER_LEN: usize = 64;
const SEGMENT_LEN: usize = 56;
/// Program headers a file may have: what fits a page, as in Linux.
const SEGMENTS_MAX: usize = 4096 / SEGMENT_LEN;
/// The first bytes: magic, 64 bits, little endian, version 1.
const IDENT: [u8; 7] = [0x7f, b'E', b'L', b'F', 2, 1, 1];
const TYPE_EXEC: u64 = 2;
const TYPE_DYN: u64 = 3;
const MACHINE_X86_64: u64 = 62;
const SEGMENT_LOAD: u64 = 1;
const SEGMENT_INTERP: u64 = 3;
const SEGMENT_PHDR: u64 = 6;
const SEGMENT_STACK: u64 = 0x6474_e551;
/// Longest path of a dynamic linker.
const PATH_MAX: u64 = 4096;

/// A part of the file that is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) rights: Rights,
    pub(super) offset: u64,
    /// Where it goes, before the load bias.
    pub(super) gva: u64,
    pub(super) file_len: u64,
    pub(super) memory_len: u64,
}

impl Segment {
    /// Pages it takes.
    pub(super) fn pages(&self) -> core::ops::Range<u64> {
        let end = page_ceil(self.gva + self.memory_len).unwrap_or(u64::MAX);
        page_floor(self.gva)..end
    }
}

/// An ELF file.
#[derive(Debug)]
pub(super) struct Elf {
    /// It may be loaded anywhere.
    pub(super) is_relocatable: bool,
    pub(super) entry: u64,
    pub(super) segments: Vec<Segment>,
    pub(super) interpreter: Option<Vec<u8>>,
    /// Where its program headers lie in memory, before the load bias; 0 = nowhere.
    pub(super) headers_gva: u64,
    pub(super) headers: u64,
    pub(super) has_executable_stack: bool,
}

/// A little-endian number of `len` bytes at an offset of a header.
fn number(bytes: &[u8], offset: usize, len: usize) -> u64 {
    let mut word = [0; 8];
    word[..len].copy_from_slice(&bytes[offset..offset + len]);
    u64::from_le_bytes(word)
}

/// Reads exactly `len` bytes of the file.
fn read(object: &Object, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    match object.read(offset, &mut bytes)? {
        read if read == len => Ok(bytes),
        _ => Err(Errno::ENOEXEC),
    }
}

impl Elf {
    /// Reads the headers. ENOEXEC for anything that is not a program for this machine.
    pub(super) fn parse(object: &Object) -> Result<Self, Unloadable> {
        let header = read(object, 0, HEADER_LEN)?;
        let kind = number(&header, 16, 2);
        let is_program = header.starts_with(&IDENT)
            && matches!(kind, TYPE_EXEC | TYPE_DYN)
            && number(&header, 18, 2) == MACHINE_X86_64
            && number(&header, 54, 2) == SEGMENT_LEN as u64;
        let headers = number(&header, 56, 2);
        if !is_program || headers == 0 || headers > SEGMENTS_MAX as u64 {
            return Err(Errno::ENOEXEC.into());
        }
        let table_offset = number(&header, 32, 8);
        let table = read(object, table_offset, index(headers) * SEGMENT_LEN)?;
        let mut elf = Self {
            is_relocatable: kind == TYPE_DYN,
            entry: number(&header, 24, 8),
            segments: Vec::new(),
            interpreter: None,
            headers_gva: 0,
            headers,
            has_executable_stack: false,
        };
        for row in table.chunks_exact(SEGMENT_LEN) {
            elf.add(object, row)?;
        }
        elf.find_headers(table_offset);
        elf.check()?;
        elf.check_file(object.size())?;
        Ok(elf)
    }

    /// Takes in a program header.
    fn add(&mut self, object: &Object, row: &[u8]) -> Result<(), Errno> {
        let flags = number(row, 4, 4);
        let segment = Segment {
            rights: Rights {
                can_read: flags & 7 != 0,
                can_write: flags & 2 != 0,
                can_execute: flags & 1 != 0,
            },
            offset: number(row, 8, 8),
            gva: number(row, 16, 8),
            file_len: number(row, 32, 8),
            memory_len: number(row, 40, 8),
        };
        match number(row, 0, 4) {
            SEGMENT_LOAD if segment.memory_len > 0 => self.segments.push(segment),
            SEGMENT_INTERP => {
                if !(2..=PATH_MAX).contains(&segment.file_len) {
                    return Err(Errno::ENOEXEC);
                }
                let mut path = read(object, segment.offset, index(segment.file_len))?;
                path.truncate(path.iter().position(|byte| *byte == 0).ok_or(Errno::ENOEXEC)?);
                self.interpreter = Some(path);
            }
            SEGMENT_PHDR => self.headers_gva = segment.gva,
            SEGMENT_STACK => self.has_executable_stack = segment.rights.can_execute,
            _ => {}
        }
        Ok(())
    }

    /// Finds the program headers in a segment where no PT_PHDR names them.
    fn find_headers(&mut self, table_offset: u64) {
        if self.headers_gva != 0 {
            return;
        }
        let holds = |segment: &&Segment| {
            segment.offset <= table_offset && table_offset < segment.offset + segment.file_len
        };
        if let Some(segment) = self.segments.iter().find(holds) {
            self.headers_gva = table_offset - segment.offset + segment.gva;
        }
    }

    /// Checks that the segments make sense: in order, aligned as the file, within a task's space.
    fn check(&self) -> Result<(), Unloadable> {
        let mut end = 0;
        for segment in &self.segments {
            let last = segment.gva.checked_add(segment.memory_len);
            if last.is_none_or(|last| last > TASK_END) {
                return Err(Unloadable::Misplaced);
            }
            let is_sound = segment.file_len <= segment.memory_len
                && segment.offset % PAGE_SIZE == segment.gva % PAGE_SIZE
                && segment.offset.checked_add(segment.file_len).is_some()
                && segment.pages().start >= end;
            if !is_sound {
                return Err(Errno::ENOEXEC.into());
            }
            end = segment.pages().end;
        }
        if self.segments.is_empty() { Err(Errno::ENOEXEC.into()) } else { Ok(()) }
    }

    /// EIO where the file ends before its segments do.
    fn check_file(&self, size: u64) -> Result<(), Errno> {
        let is_whole = |segment: &Segment| segment.offset + segment.file_len <= size;
        if self.segments.iter().all(is_whole) { Ok(()) } else { Err(Errno::EIO) }
    }

    /// From the first page to the end of the last, before the load bias.
    pub(super) fn span(&self) -> core::ops::Range<u64> {
        let start = self.segments.first().map_or(0, |segment| segment.pages().start);
        let end = self.segments.last().map_or(0, |segment| segment.pages().end);
        start..end
    }
}
