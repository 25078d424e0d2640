//! Kernel memory that is accounted: who pays for it, and leave to use it.
//!
//! Every allocation on behalf of a program that can grow without bound is annotated: it asks
//! [`Frames::kmem`] who pays, and where somebody does it takes leave of the host before it touches a
//! page. Leave comes in batches ([`shared::KMEM_STOCK`]). Where nobody pays the annotation costs one
//! test of [`Kmem::payer`].
//!
//! [`Frames::kmem`]: crate::memory::frames::Frames::kmem

pub(crate) mod bytes;
pub(crate) mod class;
mod kept;
mod known;
mod list;
mod slab;

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use vmcg_abi::call::cache;
use vmcg_abi::frame::FrameKind;
use vmcg_abi::layout::SHARED_GPA;
use vmcg_abi::page::shared;

use crate::errno::Errno;
use crate::file::lookup::number_of;
use crate::host::HostStat;
use crate::memory::frames::Frames;
use crate::number::Gfn;
use crate::{heap, host, physical};
use class::Class;
use kept::{Kept, KeptFrame};
use known::Known;
use slab::{CacheFigures, Slabs};

/// A cgroup as the host names it where kernel memory is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KmemId(pub(crate) u16);

impl KmemId {
    /// Nobody: the memory is not accounted.
    pub(crate) const NOBODY: Self = Self(0);

    /// From a word of the host's, which names nobody when it is out of range.
    pub(crate) fn from_word(word: u64) -> Self {
        u16::try_from(word).map_or(Self::NOBODY, Self)
    }
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// Memory is full.
    Full,
    /// A limit of who pays refuses.
    Refused,
}

impl From<Shortage> for Errno {
    fn from(_: Shortage) -> Self {
        Self::ENOMEM
    }
}

/// What the kernel keeps about memory that is accounted.
#[derive(Debug)]
pub(crate) struct Kmem {
    payer: Cell<KmemId>,
    slabs: RefCell<Slabs>,
    known: RefCell<Known>,
    kept: RefCell<Kept>,
    /// How often there was no leave.
    refused: Cell<u64>,
}

impl Kmem {
    /// Nobody pays yet.
    pub(crate) fn new() -> Self {
        Self {
            payer: Cell::new(KmemId::NOBODY),
            slabs: RefCell::new(Slabs::new()),
            known: RefCell::new(Known::new()),
            kept: RefCell::new(Kept::new()),
            refused: Cell::new(0),
        }
    }

    /// Who pays for what is allocated now.
    pub(crate) fn payer(&self) -> KmemId {
        self.payer.get()
    }

    /// Says who pays for what is allocated from now on: the task whose turn it is.
    pub(crate) fn set_payer(&self, payer: KmemId) {
        self.payer.set(payer);
    }

    /// How often leave was refused, and nothing that is only kept could help.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.get()
    }

    /// Takes leave to touch one more page for `payer`.
    pub(crate) fn take_leave(&self, frames: &Frames, payer: KmemId) -> Result<(), Shortage> {
        /// Bits below the id in the stock.
        const PAGES_BITS: u32 = 32;
        let stock = SHARED_GPA + shared::KMEM_STOCK as u64 * 8;
        loop {
            if physical::take_one(stock, u64::from(payer.0) << PAGES_BITS) {
                return Ok(());
            }
            // The host may take the new stock back at once; then it is asked again.
            let has_names = self.known.borrow().has_names(payer);
            match host::kmem_charge(payer, has_names) {
                Ok(()) => {}
                Err(Errno::ENOMEM) if self.shrink_refused(frames) => {}
                Err(_) => {
                    self.refused.set(self.refused.get() + 1);
                    return Err(Shortage::Refused);
                }
            }
        }
    }

    /// Gives up cached objects of those whom the host's last refusal named; false when there are none.
    fn shrink_refused(&self, frames: &Frames) -> bool {
        /// Objects of a group given up at a time: a page of them and more.
        const COUNT: u64 = 128;
        let ids = host::kmem_refused();
        let shrink = |id| self.known.borrow_mut().shrink(id, COUNT);
        let dropped: u64 = ids.into_iter().map(shrink).sum();
        self.collect(frames);
        dropped > 0
    }

    /// Gives up to `count` cached objects of a group up, as the host asks, and tells it.
    pub(crate) fn shrink(&self, frames: &Frames, id: KmemId, count: u64) {
        self.known.borrow_mut().shrink(id, count);
        self.collect(frames);
        let has_more = self.known.borrow().has_names(id);
        host::kmem_shrunk(id, has_more);
    }

    /// Keeps a name of the share that was looked up for the current payer, and what it led to.
    pub(crate) fn remember(
        &self,
        frames: &Frames,
        path: &[u8],
        stat: Option<HostStat>,
    ) -> Result<(), Shortage> {
        let payer = self.payer();
        if payer == KmemId::NOBODY {
            return Ok(());
        }
        let key = number_of(path);
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if !self.known.borrow_mut().touch(key, name, stat) {
            let dentry = known::dentry(frames, key, name, stat)?;
            self.known.borrow_mut().add(payer, dentry);
        }
        Ok(())
    }

    /// Address of a free object of `payer`.
    pub(crate) fn take_object(
        &self,
        frames: &Frames,
        payer: KmemId,
        class: Class,
    ) -> Result<u64, Shortage> {
        self.collect(frames);
        if let Some(gpa) = self.slabs.borrow_mut().take(payer, class) {
            return Ok(gpa);
        }
        let gfn = frames.allocate_for(payer, FrameKind::Kernel)?;
        let mut slabs = self.slabs.borrow_mut();
        slabs.add(payer, class, gfn);
        Ok(slabs.take(payer, class).expect("a new slab has room"))
    }

    /// Brings objects that were freed back to their slabs, and empty slabs back to the frames.
    pub(crate) fn collect(&self, frames: &Frames) {
        // Where nobody pays for anything this is all there is to it.
        if heap::has_freed() {
            self.collect_freed(frames);
        }
    }

    fn collect_freed(&self, frames: &Frames) {
        while let Some(gpa) = heap::take_freed() {
            let freed = self.slabs.borrow_mut().free(gpa);
            match freed.page {
                Some((gfn, KmemId::NOBODY)) => frames.release(gfn),
                Some((gfn, payer)) => self.keep(frames, (gfn, FrameKind::Kernel), payer),
                None => {}
            }
            if let Some(id) = freed.gone {
                host::kmem_gone(id);
            }
        }
    }

    /// Keeps an empty frame that a group is charged for, for the group's next use of one.
    pub(crate) fn keep(&self, frames: &Frames, (gfn, kind): (Gfn, FrameKind), payer: KmemId) {
        self.kept.borrow_mut().put(frames, KeptFrame { gfn, kind, payer });
    }

    /// An empty frame that `payer` is charged for, if one was kept.
    pub(crate) fn take_kept(&self, payer: KmemId, kind: FrameKind) -> Option<Gfn> {
        self.kept.borrow_mut().take(payer, kind)
    }

    /// Gives every kept frame back.
    pub(crate) fn give_up_kept(&self, frames: &Frames) {
        self.kept.borrow_mut().flush(frames, |_| true);
    }

    /// How many groups have gone so far: a frame remembers it, since ids are used again.
    pub(crate) fn age(&self) -> u32 {
        self.kept.borrow().age()
    }

    /// Whether a frame that became `payer`'s at `age` is still that group's.
    pub(crate) fn is_current(&self, payer: KmemId, age: u32) -> bool {
        self.kept.borrow().is_current(payer, age)
    }

    /// A group was removed, and `heir` has what it leaves; `None`: it stays until that is freed.
    pub(crate) fn offline(&self, frames: &Frames, id: KmemId, heir: Option<KmemId>) {
        self.collect(frames);
        self.kept.borrow_mut().forget(frames, id);
        let is_gone = match heir {
            Some(heir) => {
                self.slabs.borrow_mut().inherit(id, heir);
                self.known.borrow_mut().inherit(id, heir);
                true
            }
            None => self.slabs.borrow_mut().retire(id),
        };
        if is_gone {
            host::kmem_gone(id);
        }
    }

    /// Tells the host what the caches of a group hold.
    pub(crate) fn report(&self, frames: &Frames, id: KmemId) {
        self.collect(frames);
        let mut words: Vec<u64> = Vec::new();
        let figures = self.slabs.borrow().figures(id);
        for CacheFigures { class, active, slabs } in &figures {
            let mut name = [0; cache::NAME_LEN];
            name[..class.name().len()].copy_from_slice(class.name().as_bytes());
            words.extend([*active, *slabs, class.size() as u64]);
            words.extend(name.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
        }
        host::kmem_caches(id, figures.len(), &words);
    }
}
