//! The kernel's way to a program's memory: a walk of its page tables, then the identity map.
//!
//! A bad pointer is EFAULT; a page that is not there yet is faulted in as if the program had
//! touched it. A system call that touched one for which a limit had no room, in a group that lets
//! nobody be killed, touches no more: ENOMEM.

use alloc::vec;
use alloc::vec::Vec;

use vmcg_abi::layout::{PAGE_SIZE, TASK_END};
use vmcg_abi::page::shared;

use super::fault::{Access, Fault};
use super::huge::Writing;
use super::space::SharedSpace;
use super::tables::{ACCESSED, DIRTY, Pte, USER};
use crate::errno::Errno;
use crate::number::{PAGE_LEN, index};
use crate::{host, physical};

/// A program's memory.
#[derive(Debug, Clone)]
pub(crate) struct UserMemory {
    space: SharedSpace,
}

impl UserMemory {
    /// The memory of an address space.
    pub(crate) fn new(space: SharedSpace) -> Self {
        Self { space }
    }

    /// The first physically contiguous piece of a range, at most up to the page's end.
    pub(crate) fn chunk(
        &self,
        gva: u64,
        len: usize,
        access: Access,
    ) -> Result<(u64, usize), Errno> {
        if gva >= TASK_END {
            return Err(Errno::EFAULT);
        }
        let within = gva % PAGE_SIZE;
        let gpa = self.translate(gva, access)?;
        Ok((gpa + within, len.min(PAGE_LEN - index(within))))
    }

    /// Guest-physical address of the page that holds `gva`.
    fn translate(&self, gva: u64, access: Access) -> Result<u64, Errno> {
        let mut space = self.space.borrow_mut();
        let allows = |pte: Pte| {
            pte.is_present() && pte.0 & USER != 0 && (access != Access::Write || pte.is_writable())
        };
        if !space.tables.slot(gva).is_some_and(|slot| allows(Pte(physical::word(slot)))) {
            let must_write = if access == Access::Write { Writing::Yes } else { Writing::No };
            if let Some(gpa) = space.tables.huge_gpa(gva, must_write) {
                return Ok(gpa);
            }
            space.fault(gva, access).map_err(|fault| match fault {
                Fault::Refused | Fault::NoMemory => Errno::ENOMEM,
                _ => Errno::EFAULT,
            })?;
            if let Some(gpa) = space.tables.huge_gpa(gva, must_write) {
                return Ok(gpa);
            }
        }
        let slot = space.tables.slot(gva).ok_or(Errno::EFAULT)?;
        let pte = Pte(physical::word(slot));
        let used = if access == Access::Write { ACCESSED | DIRTY } else { ACCESSED };
        if pte.0 & used != used {
            physical::set_word(slot, pte.0 | used);
        }
        Ok(pte.gfn().gpa())
    }

    /// Copies from the program.
    pub(crate) fn read(&self, gva: u64, into: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < into.len() {
            let gva = gva.checked_add(done as u64).ok_or(Errno::EFAULT)?;
            let (gpa, len) = self.chunk(gva, into.len() - done, Access::Read)?;
            physical::read(gpa, &mut into[done..done + len]);
            done += len;
            check_granted()?;
        }
        Ok(())
    }

    /// Copies to the program.
    pub(crate) fn write(&self, gva: u64, from: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < from.len() {
            let gva = gva.checked_add(done as u64).ok_or(Errno::EFAULT)?;
            let (gpa, len) = self.chunk(gva, from.len() - done, Access::Write)?;
            physical::write(gpa, &from[done..done + len]);
            done += len;
            check_granted()?;
        }
        Ok(())
    }

    /// Fills a range with zeros.
    pub(crate) fn zero(&self, gva: u64, len: usize) -> Result<(), Errno> {
        let mut done = 0;
        while done < len {
            let gva = gva.checked_add(done as u64).ok_or(Errno::EFAULT)?;
            let (gpa, piece) = self.chunk(gva, len - done, Access::Write)?;
            physical::zero(gpa, piece);
            done += piece;
            check_granted()?;
        }
        Ok(())
    }

    /// Reads a 64-bit word.
    pub(crate) fn read_word(&self, gva: u64) -> Result<u64, Errno> {
        let mut bytes = [0; 8];
        self.read(gva, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes a 64-bit word.
    pub(crate) fn write_word(&self, gva: u64, value: u64) -> Result<(), Errno> {
        self.write(gva, &value.to_le_bytes())
    }

    /// Reads a 32-bit word.
    pub(crate) fn read_half(&self, gva: u64) -> Result<u32, Errno> {
        let mut bytes = [0; 4];
        self.read(gva, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Writes a 32-bit word.
    pub(crate) fn write_half(&self, gva: u64, value: u32) -> Result<(), Errno> {
        self.write(gva, &value.to_le_bytes())
    }

    /// Writes consecutive 64-bit words.
    pub(crate) fn write_words(&self, gva: u64, words: &[u64]) -> Result<(), Errno> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.write(gva, &bytes)
    }

    /// Reads bytes into a new vector; callers bound the length.
    pub(crate) fn read_vec(&self, gva: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; len];
        self.read(gva, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a string up to its NUL, which is left out; ENAMETOOLONG when it has `max` bytes or more.
    pub(crate) fn read_c_string(&self, gva: u64, max: usize) -> Result<Vec<u8>, Errno> {
        let mut string = Vec::new();
        let mut gva = gva;
        loop {
            let (gpa, len) = self.chunk(gva, PAGE_LEN, Access::Read)?;
            let len = len.min(max - string.len());
            let start = string.len();
            string.resize(start + len, 0);
            physical::read(gpa, &mut string[start..]);
            check_granted()?;
            if let Some(end) = string[start..].iter().position(|byte| *byte == 0) {
                string.truncate(start + end);
                // Room for the rest of a page would stay with each of ten thousand short arguments.
                string.shrink_to_fit();
                return Ok(string);
            }
            if string.len() >= max {
                return Err(Errno::ENAMETOOLONG);
            }
            gva += len as u64;
        }
    }
}

/// ENOMEM when the host has found no room for a page that this system call touched.
pub(crate) fn check_granted() -> Result<(), Errno> {
    let is_refused = host::shared_word(shared::MEMORY_REFUSED) != 0;
    let is_call = host::shared_word(shared::IN_SYSTEM_CALL) != 0;
    if is_refused && is_call { Err(Errno::ENOMEM) } else { Ok(()) }
}
