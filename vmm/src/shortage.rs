//! The whole guest is short of memory: the host backs as many frames as `--memory` allows.
//!
//! Pages go wherever they can be had, first from groups above their soft limit; when nothing can be
//! had the biggest process of the guest is killed. The page that was wanted is there all the same, for
//! its fault must be answered. A guest that goes on taking pages beyond that is stopped.

use memcg::{Effort, Kind, Pages, Payer, Resource, Tid};
use rustix::io::Errno;
use vmcg_abi::call::memory;

use crate::guest::RealGuest;
use crate::machine::{Accounting, Machine};
use crate::oom;
use crate::stats::Stats;
use crate::swap::Swap;

/// Pages that are made room for at once, so that the next ones find some.
const BATCH_PAGES: u64 = 32;
/// Pages beyond all memory that a guest may come to hold while somebody in it is being killed, and a
/// part of its frames for the page tables of a big process that forks just then.
const BEYOND_PAGES: u64 = 1024;
const BEYOND_SHARE: u64 = 256;

impl Machine {
    /// Pages that small frames may have at once: all memory but what is set aside for huge pages.
    pub(crate) fn memory_pages(&self) -> u64 {
        let aside = self.huge.all();
        self.memory_pages - (aside.end - aside.start)
    }

    /// Whether one more page would be more than `--memory`.
    pub(crate) fn is_full(&self) -> bool {
        self.memory.small_count() >= self.memory_pages()
    }

    /// Makes room for a page in a guest that is full; false when there is none to be had. The guest
    /// waits for the answer to a fault.
    pub(crate) fn find_room_anywhere(&self, accounting: &mut Accounting) -> bool {
        Stats::count(&self.stats.shortages, 1);
        self.drain_free(accounting);
        self.drain_kmem(accounting);
        // More than the looks at a guest in which every page has to be aged before one is evicted.
        let mut looks = 1000 + 4 * self.memory.small_count();
        while self.is_full() {
            let Accounting { memcg, tasks, contents, .. } = &mut *accounting;
            let mut guest = RealGuest::new(self, tasks, contents);
            let effort = Effort::relieving(Resource::Memory);
            let done = memcg.reclaim_anywhere(&mut guest, Pages::new(BATCH_PAGES), effort);
            looks = looks.saturating_sub(done.scanned.max(1));
            if done.reclaimed == 0 && (done.is_exhausted || looks == 0) {
                return false;
            }
        }
        true
    }

    /// Acts when a guest that is full had nothing to give.
    pub(crate) fn run_out(&self, accounting: &mut Accounting, payer: Payer) {
        Stats::count(&self.stats.forced, 1);
        let beyond = self.memory.small_count().saturating_sub(self.memory_pages());
        if beyond > BEYOND_PAGES + self.memory.frames() / BEYOND_SHARE {
            self.stop(
                "it goes on taking pages beyond its memory, and there is nobody to kill for it",
            );
        } else if beyond > 0 || !self.ask_everybody_to_shrink(accounting) {
            oom::strike_guest(self, accounting, payer);
        }
    }

    /// What the guest tells its programs of memory, as the words of [`memory`].
    pub(crate) fn memory_info(&self) -> [u64; memory::WORDS] {
        let mut accounting = self.lock();
        self.drain_free(&mut accounting);
        let swap = accounting.contents.swap().map(Swap::figures).unwrap_or_default();
        let mut words = [0; memory::WORDS];
        words[memory::TOTAL] = self.memory_pages;
        words[memory::FREE] = self.memory_pages().saturating_sub(self.memory.small_count());
        for (word, kind) in
            [(memory::FILE, Kind::File), (memory::SHMEM, Kind::Shmem), (memory::ANON, Kind::Anon)]
        {
            words[word] = accounting.memcg.pages_of(kind).get();
        }
        words[memory::SWAP] = swap.slots;
        words[memory::SWAP_FREE] = swap.slots - swap.used;
        words
    }

    /// The guest has a use for more frames than there are, in memory or not: the biggest process has
    /// to go.
    pub(crate) fn out_of_frames(&self, tid: Tid) -> Result<u64, Errno> {
        let mut accounting = self.lock();
        if self.drain_free(&mut accounting) > 0 {
            return Ok(0);
        }
        oom::strike_guest(self, &mut accounting, Payer::Task(tid));
        let is_somebody_dying = accounting.tasks.iter().any(|(_, task)| task.is_dying);
        if is_somebody_dying { Ok(0) } else { Err(Errno::NOMEM) }
    }
}
