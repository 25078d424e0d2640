//! A process's descriptors.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::open_file::OpenFile;
use super::stream::Stream;
use crate::errno::Errno;
use crate::number::index;

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

/// Descriptors by number.
#[derive(Debug, Default)]
pub(crate) struct FileTable {
    slots: Vec<Option<Slot>>,
}

impl FileTable {
    /// The descriptors 0, 1 and 2 of a job's first process.
    pub(crate) fn for_job(job: u32) -> Self {
        let slot = |number| {
            let file = Rc::new(OpenFile::stream(Stream::new(job, number)));
            Some(Slot { file, is_closed_on_exec: false })
        };
        Self { slots: (0..3).map(slot).collect() }
    }

    /// What a forked process starts with: descriptors of its own for the same open files.
    pub(crate) fn for_fork(&self) -> Self {
        Self { slots: self.slots.clone() }
    }

    /// Closes what an exec closes.
    pub(crate) fn close_on_exec(&mut self) {
        for slot in &mut self.slots {
            if slot.as_ref().is_some_and(|slot| slot.is_closed_on_exec) {
                *slot = None;
            }
        }
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
        let slot = self.slots.get_mut(number(fd)).and_then(Option::as_mut).ok_or(Errno::EBADF)?;
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
        let free = (number(from)..self.slots.len()).find(|&fd| self.slots[fd].is_none());
        let fd = free.unwrap_or(self.slots.len().max(number(from))) as u64;
        if fd >= limit {
            return Err(Errno::EMFILE);
        }
        self.put(fd, file, on_exec);
        Ok(fd)
    }

    /// Gives a file this descriptor, whose former file is closed. The caller has checked the limit.
    pub(crate) fn put(&mut self, fd: u64, file: Rc<OpenFile>, on_exec: OnExec) {
        let fd = number(fd);
        if fd >= self.slots.len() {
            self.slots.resize(fd + 1, None);
        }
        self.slots[fd] = Some(Slot { file, is_closed_on_exec: on_exec == OnExec::Close });
    }

    /// Closes a descriptor.
    pub(crate) fn remove(&mut self, fd: u64) -> Result<Rc<OpenFile>, Errno> {
        let slot = self.slots.get_mut(number(fd)).and_then(Option::take);
        slot.map(|slot| slot.file).ok_or(Errno::EBADF)
    }

    /// The descriptors in use.
    pub(crate) fn used(&self) -> Vec<u64> {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_some());
        used.map(|(fd, _)| fd as u64).collect()
    }

    fn slot(&self, fd: u64) -> Result<&Slot, Errno> {
        self.slots.get(number(fd)).and_then(Option::as_ref).ok_or(Errno::EBADF)
    }
}

/// A descriptor as system calls take it: an int, where negative ones name no file.
fn number(fd: u64) -> usize {
    index(fd & 0xffff_ffff)
}
