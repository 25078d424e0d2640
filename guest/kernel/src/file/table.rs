//! A process's descriptors.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::open_file::OpenFile;
use super::stream::Stream;
use crate::errno::Errno;
use crate::heap;
use crate::number::index;

/// Descriptors a process may have whatever its limit says (Linux: fs.nr_open).
pub(crate) const DESCRIPTORS_MAX: u64 = 1 << 20;
/// Descriptors of a chunk.
const CHUNK_LEN: usize = 64;

/// A descriptor's file and its one flag of its own.
#[derive(Debug, Clone)]
struct Slot {
    file: Rc<OpenFile>,
    is_closed_on_exec: bool,
}

/// What happens to a descriptor at an exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnExec {
    /// It stays open.
    Keep,
    /// It is closed.
    Close,
}

impl OnExec {
    /// From a flag that says so.
    pub(crate) const fn close_if(is_closed: bool) -> Self {
        if is_closed { Self::Close } else { Self::Keep }
    }
}

/// Descriptors that follow each other.
#[derive(Debug, Clone)]
struct Chunk {
    slots: [Option<Slot>; CHUNK_LEN],
    used: usize,
}

impl Chunk {
    const EMPTY: Self = Self { slots: [const { None }; CHUNK_LEN], used: 0 };

    /// The lowest free slot from `from` on.
    fn free(&self, from: usize) -> Option<usize> {
        if self.used == CHUNK_LEN {
            return None;
        }
        (from..CHUNK_LEN).find(|&slot| self.slots[slot].is_none())
    }
}

/// Descriptors by number. Only chunks in which one was ever used take memory.
#[derive(Debug, Default)]
pub(crate) struct FileTable {
    chunks: Vec<Option<Box<Chunk>>>,
}

impl FileTable {
    /// The descriptors 0, 1 and 2 of a job's first process.
    pub(crate) fn for_job(job: u32) -> Self {
        let mut chunk = Chunk::EMPTY;
        for (number, slot) in (0..3).zip(&mut chunk.slots) {
            let file = Rc::new(OpenFile::stream(Stream::new(job, number)));
            *slot = Some(Slot { file, is_closed_on_exec: false });
            chunk.used += 1;
        }
        Self { chunks: [Some(Box::new(chunk))].into() }
    }

    /// What a forked process starts with: descriptors of its own for the same open files. ENOMEM
    /// where the heap has no room for them.
    pub(crate) fn for_fork(&self) -> Result<Self, Errno> {
        let count = self.chunks.iter().flatten().count();
        if !heap::has_room(count * size_of::<Chunk>() + size_of_val(&*self.chunks)) {
            return Err(Errno::ENOMEM);
        }
        Ok(Self { chunks: self.chunks.clone() })
    }

    /// Takes out the next file from descriptor `from` on that an exec closes, and moves `from` on.
    pub(crate) fn take_closed_on_exec(&mut self, from: &mut u64) -> Option<Rc<OpenFile>> {
        while let Some(fd) = self.next_used(*from) {
            *from = fd + 1;
            if self.slot(fd).is_ok_and(|slot| slot.is_closed_on_exec) {
                return self.remove(fd).ok();
            }
        }
        None
    }

    /// The open file of a descriptor.
    pub(crate) fn get(&self, fd: u64) -> Result<Rc<OpenFile>, Errno> {
        self.slot(fd).map(|slot| slot.file.clone())
    }

    /// What an exec does to a descriptor.
    pub(crate) fn on_exec(&self, fd: u64) -> Result<OnExec, Errno> {
        self.slot(fd).map(|slot| OnExec::close_if(slot.is_closed_on_exec))
    }

    /// Changes what an exec does to a descriptor.
    pub(crate) fn set_on_exec(&mut self, fd: u64, on_exec: OnExec) -> Result<(), Errno> {
        let (chunk, slot) = place(fd);
        let chunk = self.chunks.get_mut(chunk).and_then(Option::as_mut).ok_or(Errno::EBADF)?;
        let slot = chunk.slots[slot].as_mut().ok_or(Errno::EBADF)?;
        slot.is_closed_on_exec = on_exec == OnExec::Close;
        Ok(())
    }

    /// Gives a file the lowest free descriptor from `from` on and below `limit`.
    pub(crate) fn add(
        &mut self,
        file: Rc<OpenFile>,
        on_exec: OnExec,
        from: u64,
        limit: u64,
    ) -> Result<u64, Errno> {
        let fd = self.lowest_free(from);
        if fd >= limit {
            return Err(Errno::EMFILE);
        }
        self.put(fd, file, on_exec)?;
        Ok(fd)
    }

    fn lowest_free(&self, from: u64) -> u64 {
        let (mut chunk, mut slot) = place(from);
        while let Some(Some(full)) = self.chunks.get(chunk) {
            if let Some(free) = full.free(slot) {
                slot = free;
                break;
            }
            (chunk, slot) = (chunk + 1, 0);
        }
        number(chunk, slot)
    }

    /// Gives a file this descriptor, whose former file is closed. The caller has checked the limit.
    /// ENOMEM where the heap has no room for it.
    pub(crate) fn put(
        &mut self,
        fd: u64,
        file: Rc<OpenFile>,
        on_exec: OnExec,
    ) -> Result<(), Errno> {
        let (chunk, slot) = place(fd);
        if self.chunks.get(chunk).is_none_or(Option::is_none) {
            let more = (chunk + 1).saturating_sub(self.chunks.len());
            let list_len = size_of::<Option<Box<Chunk>>>() * (self.chunks.len() + more);
            if !heap::has_room(size_of::<Chunk>() + 2 * list_len) {
                return Err(Errno::ENOMEM);
            }
            self.chunks.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.chunks.resize(self.chunks.len() + more, None);
        }
        let chunk = self.chunks[chunk].get_or_insert_with(|| Box::new(Chunk::EMPTY));
        let slot = &mut chunk.slots[slot];
        chunk.used += usize::from(slot.is_none());
        *slot = Some(Slot { file, is_closed_on_exec: on_exec == OnExec::Close });
        Ok(())
    }

    /// Closes a descriptor.
    pub(crate) fn remove(&mut self, fd: u64) -> Result<Rc<OpenFile>, Errno> {
        let (chunk, slot) = place(fd);
        let chunk = self.chunks.get_mut(chunk).and_then(Option::as_mut).ok_or(Errno::EBADF)?;
        let slot = chunk.slots[slot].take().ok_or(Errno::EBADF)?;
        chunk.used -= 1;
        Ok(slot.file)
    }

    /// The first descriptor in use from `from` on.
    pub(crate) fn next_used(&self, from: u64) -> Option<u64> {
        let (first, slot) = place(from);
        let chunks = self.chunks.iter().enumerate().skip(first);
        let mut chunks = chunks.filter_map(|(at, chunk)| Some((at, chunk.as_ref()?)));
        chunks.find_map(|(at, chunk)| {
            let start = if at == first { slot } else { 0 };
            let used = (start..CHUNK_LEN).find(|&slot| chunk.slots[slot].is_some())?;
            Some(number(at, used))
        })
    }

    /// The descriptors in use. They may be so many that no list of them fits into the heap.
    pub(crate) fn used(&self) -> impl Iterator<Item = u64> {
        core::iter::successors(self.next_used(0), |fd| self.next_used(fd + 1))
    }

    fn slot(&self, fd: u64) -> Result<&Slot, Errno> {
        let (chunk, slot) = place(fd);
        let chunk = self.chunks.get(chunk).and_then(Option::as_ref).ok_or(Errno::EBADF)?;
        chunk.slots[slot].as_ref().ok_or(Errno::EBADF)
    }
}

/// The chunk and the slot of a descriptor as system calls take it: an int, where negative ones name
/// no file.
fn place(fd: u64) -> (usize, usize) {
    let fd = index(fd & 0xffff_ffff);
    (fd / CHUNK_LEN, fd % CHUNK_LEN)
}

/// The descriptor of a slot.
fn number(chunk: usize, slot: usize) -> u64 {
    (chunk * CHUNK_LEN + slot) as u64
}
