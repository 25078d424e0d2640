//! Single huge pages, charged when they are backed: their frames name the owner.

use std::ops::Range;

use crate::frames::Frame;
use crate::walk::Chain;
use crate::{ChargeError, Gfn, HugeSize, HugeUse, Kind, Memcg, Payer, Resource};

/// A huge page of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HugePage {
    /// Its first frame.
    pub first: Gfn,
    /// Its size.
    pub size: HugeSize,
}

impl HugePage {
    /// Its frames, by number.
    #[must_use]
    pub const fn frames(self) -> Range<u64> {
        self.first.get()..self.first.get() + self.size.pages().get()
    }
}

impl Memcg {
    /// Sets frames aside for huge pages of one size. Called before anything is charged.
    ///
    /// # Panics
    /// When the frames are not whole huge pages, or not all there.
    pub fn set_huge_pool(&mut self, size: HugeSize, frames: Range<u64>) {
        assert!(
            (frames.end - frames.start).is_multiple_of(size.pages().get())
                && frames.end <= self.config.frames,
            "a pool is whole huge pages of guest memory"
        );
        self.huge.pools[place(size)] = frames;
    }

    /// Returns the huge page that holds a frame; none for a frame outside the pools.
    #[must_use]
    pub fn huge_page_of(&self, gfn: Gfn) -> Option<HugePage> {
        HugeSize::ALL.into_iter().find_map(|size| {
            let pool = &self.huge.pools[place(size)];
            let offset = pool.contains(&gfn.get()).then(|| gfn.get() - pool.start)?;
            let first = Gfn::new(gfn.get() - offset % size.pages().get());
            Some(HugePage { first, size })
        })
    }

    /// Charges a huge page that is about to be backed.
    ///
    /// # Errors
    /// [`ChargeError::Refused`] names the limit in the way; nothing changed but its failure count.
    /// [`ChargeError::AlreadyCharged`] when the page has an owner.
    pub fn try_charge_huge(&mut self, payer: Payer, page: HugePage) -> Result<(), ChargeError> {
        let group = self.huge_payer(payer, page)?;
        let what = [Resource::Huge(page.size, HugeUse::Fault)];
        self.try_charge_line(Chain::whole(group), &what, page.size.pages().get())?;
        self.enter_huge(group, page);
        Ok(())
    }

    /// Charges a huge page whatever the limits say: it was touched without being asked for. What is
    /// over a limit is counted as overshoot of the paying group.
    ///
    /// # Errors
    /// [`ChargeError::AlreadyCharged`] when the page has an owner; nothing changed then.
    pub fn charge_huge(&mut self, payer: Payer, page: HugePage) -> Result<(), ChargeError> {
        let group = self.huge_payer(payer, page)?;
        let what = [Resource::Huge(page.size, HugeUse::Fault)];
        let over = self.charge_line(Chain::whole(group), &what, page.size.pages().get());
        if over > 0 {
            self.book(group, |_, events| events.overshoot += over);
        }
        self.enter_huge(group, page);
        Ok(())
    }

    /// Takes back what a freed huge page was charged; tells whether it was charged at all.
    pub fn uncharge_huge(&mut self, page: HugePage) -> bool {
        let Ok(frame) = self.frames.get(page.first) else { return false };
        if !frame.is_charged() {
            return false;
        }
        let pages = page.size.pages().get();
        let group = self.count(frame, |gauges, _| gauges.sub_many(frame, pages));
        let what = [Resource::Huge(page.size, HugeUse::Fault)];
        self.uncharge_line(Chain::whole(group), &what, pages);
        for number in page.frames() {
            self.frames.set(Gfn::new(number), Frame::FREE);
        }
        self.put_slot_many(frame.owner(), references(page.size));
        true
    }

    /// Index of the group that pays for a page that nobody pays for yet.
    fn huge_payer(&self, payer: Payer, page: HugePage) -> Result<u32, ChargeError> {
        if self.frames.get(page.first)?.is_charged() {
            return Err(ChargeError::AlreadyCharged(page.first));
        }
        let root = self.root.index();
        match payer {
            Payer::Root => Ok(root),
            Payer::Task(tid) => Ok(self.tasks.get(tid).map_or(root, |task| task.group)),
            Payer::Group(id) => self.groups.index(id).map_err(|_| ChargeError::Dead),
        }
    }

    fn enter_huge(&mut self, group: u32, page: HugePage) {
        let slot = self.groups.at(group).slot;
        let frame = Frame::new(Kind::Huge, slot);
        let pages = page.size.pages().get();
        self.owners.get(slot, references(page.size));
        self.count(frame, |gauges, _| gauges.add_many(frame, pages));
        for number in page.frames() {
            self.frames.set(Gfn::new(number), frame);
        }
    }
}

/// References that the frames of one page hold.
fn references(size: HugeSize) -> u32 {
    u32::try_from(size.pages().get()).expect("a huge page has few frames")
}

const fn place(size: HugeSize) -> usize {
    match size {
        HugeSize::Mb2 => 0,
        HugeSize::Gb1 => 1,
    }
}

#[cfg(test)]
mod tests {
    use crate::{ChargeError, Gfn, HugeSize, HugeUse, Pages, Payer, Resource, Tid, fixture};

    const FAULT: Resource = Resource::Huge(HugeSize::Mb2, HugeUse::Fault);

    #[test]
    fn a_huge_page_is_charged_as_a_whole_to_who_touches_it_and_stays_with_its_group() {
        let mut m = fixture::share(2048);
        m.set_huge_pool(HugeSize::Mb2, 1024..2048);
        let a = m.create(m.root(), "a").unwrap();
        m.task_new(Tid::new(2), Tid::new(2), a).unwrap();
        m.set_limit(a, FAULT, Pages::new(512)).unwrap();
        let page = m.huge_page_of(Gfn::new(1100)).unwrap();
        assert_eq!(page.first, Gfn::new(1024));
        m.try_charge_huge(Payer::Task(Tid::new(2)), page).unwrap();
        assert_eq!(
            m.try_charge_huge(Payer::Root, page),
            Err(ChargeError::AlreadyCharged(page.first))
        );
        let next = m.huge_page_of(Gfn::new(1536)).unwrap();
        assert!(m.try_charge_huge(Payer::Task(Tid::new(2)), next).is_err());
        m.charge_huge(Payer::Task(Tid::new(2)), next).unwrap();
        assert_eq!(m.counter(a, FAULT).unwrap().usage(), Pages::new(1024));
        assert_eq!(m.stat(a).unwrap().local.events.overshoot, 512);
        assert_eq!(m.counter(a, Resource::Memory).unwrap().usage(), Pages::ZERO);
        assert_eq!(m.check(), []);
        m.task_exit(Tid::new(2));
        m.remove(a).unwrap();
        assert_eq!(m.owner(Gfn::new(1535)), Some(m.root()));
        assert!(m.uncharge_huge(page) && !m.uncharge_huge(page));
        assert!(m.uncharge_huge(next));
        assert_eq!(m.counter(m.root(), FAULT).unwrap().usage(), Pages::ZERO);
        assert_eq!(m.check(), []);
        assert_eq!(m.huge_page_of(Gfn::new(1023)), None);
    }
}
