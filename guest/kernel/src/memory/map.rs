//! mmap, brk and madvise on an address space.

use core::ops::Range;

use vmcg_abi::layout::{PAGE_SIZE, TASK_END};

use super::area::{Area, Backing, Rights, Role};
use super::space::{LOWEST, Space};
use crate::errno::Errno;
use crate::number::{page_ceil, page_floor};

/// Where a mapping may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Anywhere; this address if it is free.
    Hint(u64),
    /// Here, in place of what is there.
    Fixed(u64),
    /// Here, if nothing is there.
    FixedIfFree(u64),
}

/// The pages of a range that a program named; EINVAL for what is not a range of pages.
pub(crate) fn page_range(start: u64, len: u64) -> Result<Range<u64>, Errno> {
    let len = page_ceil(len).ok_or(Errno::EINVAL)?;
    let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
    if !start.is_multiple_of(PAGE_SIZE) || end > TASK_END {
        return Err(Errno::EINVAL);
    }
    Ok(start..end)
}

impl Space {
    /// Finds a place for `len` bytes at a multiple of `align`, which `len` is a multiple of.
    pub(crate) fn place(
        &mut self,
        placement: Placement,
        len: u64,
        align: u64,
    ) -> Result<u64, Errno> {
        if len == 0 || len > TASK_END {
            return Err(if len == 0 { Errno::EINVAL } else { Errno::ENOMEM });
        }
        match placement {
            Placement::Hint(hint) => {
                let start = if align == PAGE_SIZE {
                    page_floor(hint)
                } else {
                    hint.checked_next_multiple_of(align).unwrap_or(0)
                };
                let range = start..start.saturating_add(len);
                if start >= LOWEST && range.end <= TASK_END && self.areas.is_free(&range) {
                    return Ok(start);
                }
                self.find_aligned(len, align)
            }
            Placement::Fixed(start) | Placement::FixedIfFree(start) => {
                if !start.is_multiple_of(align) {
                    return Err(Errno::EINVAL);
                }
                let end = start.checked_add(len).ok_or(Errno::ENOMEM)?;
                if end > TASK_END {
                    return Err(Errno::ENOMEM);
                }
                if start < LOWEST {
                    return Err(Errno::EPERM);
                }
                let is_free = self.areas.is_free(&(start..end));
                if placement == Placement::FixedIfFree(start) && !is_free {
                    return Err(Errno::EEXIST);
                }
                Ok(start)
            }
        }
    }

    /// Moves the end of the heap; answers where it is then, moved or not.
    pub(crate) fn set_heap_end(&mut self, end: u64) -> u64 {
        let (Some(old), Some(new)) = (page_ceil(self.heap.end), page_ceil(end)) else {
            return self.heap.end;
        };
        if end < self.heap.start || new > TASK_END {
            return self.heap.end;
        }
        if new < old {
            self.unmap(&(new..old));
        } else if new > old {
            let area = Area {
                is_locked: self.locks_future,
                ..Area::anon(new, Rights::READ_WRITE, Role::Heap)
            };
            let has_room = self.areas.is_free(&(old..new)) && self.check_room(new - old).is_ok();
            if !has_room || self.make_tables(&(old..new)).is_err() {
                return self.heap.end;
            }
            self.areas.insert(old, area);
        }
        self.heap.end = end;
        end
    }

    /// Drops the pages of a range (MADV_DONTNEED): private ones read as zeros or the file again.
    pub(crate) fn discard(&mut self, range: &Range<u64>) -> Result<(), Errno> {
        if self.areas_in(range).any(|(_, area)| area.is_locked) {
            return Err(Errno::EINVAL);
        }
        let result = self.check_mapped(range);
        for (start, area) in self.areas_in(range) {
            self.discard_huge(start, area, range);
        }
        self.unmap_pages(range);
        result
    }

    /// Gives back the pages of shared memory in a range (MADV_REMOVE).
    pub(crate) fn remove(&mut self, range: &Range<u64>) -> Result<(), Errno> {
        self.check_mapped(range)?;
        let parts: alloc::vec::Vec<(u64, Area)> =
            self.areas_in(range).map(|(start, area)| (start, area.clone())).collect();
        for (start, area) in parts {
            let Backing::Object { object, offset, .. } = &area.backing else {
                return Err(Errno::EINVAL);
            };
            if !area.is_shared || !object.is_shmem() {
                return Err(Errno::EINVAL);
            }
            let from = range.start.max(start);
            let to = range.end.min(area.end);
            self.unmap_pages(&(from..to));
            object.punch(offset + (from - start)..offset + (to - start));
        }
        Ok(())
    }
}
