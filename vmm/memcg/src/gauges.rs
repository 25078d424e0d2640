//! What is charged to an owner now, counted by what it is.

use crate::Kind;
use crate::frames::{Flag, Frame, Place};
use crate::recharge::Reach;
use crate::transit::Load;

/// What reclaim thinks of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// In one of the two older generations. Also stands for pages that reclaim never looks at.
    Inactive,
    /// In one of the two younger ones.
    Active,
    /// It cannot be evicted.
    Unevictable,
}

/// Kinds of user memory have a cell for each class, the others one.
const CELLS: usize = 12;

impl Class {
    const ALL: [Self; 3] = [Self::Inactive, Self::Active, Self::Unevictable];

    #[inline]
    pub(crate) const fn of(place: Place) -> Self {
        match place {
            Place::Generation(0 | 1) => Self::Inactive,
            Place::Generation(_) => Self::Active,
            Place::Unevictable => Self::Unevictable,
        }
    }
}

#[inline]
const fn cell(kind: Kind, class: Class) -> usize {
    let class = match class {
        Class::Inactive => 0,
        Class::Active => 1,
        Class::Unevictable => 2,
    };
    match kind {
        Kind::Anon => class,
        Kind::File => 3 + class,
        Kind::Shmem => 6 + class,
        Kind::Kernel => 9,
        Kind::PageTable => 10,
        Kind::Huge => 11,
    }
}

/// What a group (or a move in progress) owns now, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    /// Frames with a page behind them, by kind and, for what reclaim can have, by class.
    cells: [u64; CELLS],
    mapped: u64,
    swapped: u64,
    kmem: u64,
    /// Kernel pages charged ahead: no frame stands for them yet.
    ahead: u64,
}

impl Gauges {
    /// Counts a frame in.
    #[inline]
    pub(crate) fn add(&mut self, frame: Frame) {
        self.for_each(frame, |gauge| *gauge += 1);
    }

    /// Counts a frame out.
    #[inline]
    pub(crate) fn sub(&mut self, frame: Frame) {
        self.for_each(frame, |gauge| {
            *gauge = gauge.checked_sub(1).expect("gauges hold what frames count in");
        });
    }

    /// Counts `pages` frames like this one in.
    pub(crate) fn add_many(&mut self, frame: Frame, pages: u64) {
        self.for_each(frame, |gauge| *gauge += pages);
    }

    /// Counts `pages` frames like this one out.
    pub(crate) fn sub_many(&mut self, frame: Frame, pages: u64) {
        self.for_each(frame, |gauge| {
            *gauge = gauge.checked_sub(pages).expect("gauges hold what frames count in");
        });
    }

    /// Adds everything `other` holds.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.zip(other, |a, b| *a += b);
    }

    /// Takes away everything `other` holds.
    pub(crate) fn unmerge(&mut self, other: &Self) {
        self.zip(other, |a, b| {
            *a = a.checked_sub(b).expect("gauges of a whole hold those of its part");
        });
    }

    /// Pages in memory of a kind.
    pub(crate) fn kind(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Anon | Kind::File | Kind::Shmem => {
                Class::ALL.iter().map(|class| self.user(kind, *class)).sum()
            }
            Kind::Kernel | Kind::PageTable | Kind::Huge => self.cells[cell(kind, Class::Inactive)],
        }
    }

    /// Pages in memory of a kind that user memory is of, by class.
    pub(crate) fn user(&self, kind: Kind, class: Class) -> u64 {
        self.cells[cell(kind, class)]
    }

    /// Counts frames of a kind into another class.
    pub(crate) fn reclass(&mut self, kind: Kind, from: Class, to: Class, frames: u64) {
        let old = &mut self.cells[cell(kind, from)];
        *old = old.checked_sub(frames).expect("gauges hold what frames count in");
        self.cells[cell(kind, to)] += frames;
    }

    /// Frames of files and shared memory that a task maps.
    pub(crate) const fn mapped(&self) -> u64 {
        self.mapped
    }

    /// Frames whose content is on swap.
    pub(crate) const fn swapped(&self) -> u64 {
        self.swapped
    }

    /// Pages the memory counter counts.
    pub(crate) fn memory(&self) -> u64 {
        self.cells.iter().sum::<u64>() - self.cells[cell(Kind::Huge, Class::Inactive)] + self.ahead
    }

    /// Pages the memsw counter counts.
    pub(crate) fn memsw(&self) -> u64 {
        self.memory() + self.swapped
    }

    /// Pages that are of a kind `reach` takes along; of those on swap all, since nobody counts them by
    /// kind.
    pub(crate) fn within(&self, reach: Reach) -> Load {
        if reach.is_nothing() {
            return Load::NOTHING;
        }
        let of = |kind| self.kind(kind);
        let anon = if reach.anon { of(Kind::Anon) } else { 0 };
        let memory = anon + if reach.file { of(Kind::File) + of(Kind::Shmem) } else { 0 };
        Load { memory, memsw: memory + self.swapped }
    }

    /// What keeps a removed group: user, kernel and huge pages, and pages in swap.
    pub(crate) fn pins(&self) -> [u64; 4] {
        let kernel = self.kind(Kind::Kernel) + self.kind(Kind::PageTable) + self.ahead;
        [self.memory() - kernel, kernel, self.kind(Kind::Huge), self.swapped]
    }

    /// Pages the kmem counter counts.
    pub(crate) const fn kmem(&self) -> u64 {
        self.kmem + self.ahead
    }

    /// Counts kernel pages that are charged ahead.
    pub(crate) const fn add_ahead(&mut self, pages: u64) {
        self.ahead += pages;
    }

    /// Counts them out: given back, or now a frame's.
    pub(crate) fn sub_ahead(&mut self, pages: u64) {
        self.ahead = self.ahead.checked_sub(pages).expect("gauges hold what is charged ahead");
    }

    /// Frames of any sort.
    pub(crate) fn frames(&self) -> u64 {
        self.cells.iter().sum::<u64>() + self.swapped
    }

    fn for_each(&mut self, frame: Frame, change: impl Fn(&mut u64)) {
        let Some(kind) = frame.kind() else { return };
        if frame.has(Flag::Swapped) {
            change(&mut self.swapped);
            return;
        }
        change(&mut self.cells[cell(kind, Class::of(frame.place()))]);
        if frame.has(Flag::Mapped) {
            change(&mut self.mapped);
        }
        if frame.has(Flag::Kmem) {
            change(&mut self.kmem);
        }
    }

    fn zip(&mut self, other: &Self, change: impl Fn(&mut u64, u64)) {
        for (a, b) in self.cells.iter_mut().zip(other.cells) {
            change(a, b);
        }
        change(&mut self.mapped, other.mapped);
        change(&mut self.swapped, other.swapped);
        change(&mut self.kmem, other.kmem);
        change(&mut self.ahead, other.ahead);
    }
}
