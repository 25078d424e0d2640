//! The fault path: charging and uncharging single frames.

use crate::frames::{Flag, Frame};
use crate::owners::Holder;
use crate::walk::{Chain, KERNEL, USER};
use crate::{ChargeError, Gfn, GroupId, Kind, Memcg, Resource, Tid};

/// Who pays for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    /// The guest kernel for itself: the root group.
    Root,
    /// The group of this task; the root group when there is no such task, since the page has to be
    /// charged somewhere and the guest may name any number.
    Task(Tid),
    /// This group.
    Group(GroupId),
}

/// Where a charge goes: the payer worked out.
struct Bill {
    /// Index of the paying group.
    group: u32,
    what: &'static [Resource],
    /// The move that the paying task is in the middle of, if the frame is of a kind that moves.
    transit: Option<u32>,
}

impl Memcg {
    /// Charges a frame that is about to be backed.
    ///
    /// # Errors
    /// [`ChargeError::Refused`] names the limit in the way; nothing changed but its failure count.
    pub fn try_charge(&mut self, payer: Payer, gfn: Gfn, kind: Kind) -> Result<(), ChargeError> {
        let bill = self.bill(payer, gfn, kind)?;
        self.try_charge_chain(Chain::whole(bill.group), bill.what, 1)?;
        self.enter(gfn, kind, &bill);
        Ok(())
    }

    /// Charges a frame whatever the limits say, for a fault that cannot be refused any more. Pages
    /// over a limit are counted as overshoot of the paying group.
    ///
    /// # Errors
    /// When the frame is charged already or is none; nothing changed then.
    pub fn charge(&mut self, payer: Payer, gfn: Gfn, kind: Kind) -> Result<(), ChargeError> {
        let bill = self.bill(payer, gfn, kind)?;
        self.charge_over(bill.group, Chain::whole(bill.group), bill.what, 1);
        self.enter(gfn, kind, &bill);
        Ok(())
    }

    /// Takes back what a freed frame was charged; tells whether it was charged at all.
    pub fn uncharge(&mut self, gfn: Gfn) -> bool {
        let Ok(frame) = self.frames.get(gfn) else { return false };
        if frame.is_charged() {
            self.expel(gfn, frame);
        }
        // What was evicted from here does not come back.
        self.frames.set_note(gfn, [0; 2]);
        frame.is_charged()
    }

    /// Uncharges every frame of `gfns`; returns how many were charged.
    pub fn uncharge_all(&mut self, gfns: &[Gfn]) -> u64 {
        gfns.iter().map(|gfn| u64::from(self.uncharge(*gfn))).sum()
    }

    /// Notes that the content of a user frame was written to swap and the frame given up: it is
    /// charged to memsw only from now on. False, and nothing changed, when it is not a user frame
    /// with a page behind it.
    pub fn swap_out(&mut self, gfn: Gfn) -> bool {
        let Ok(frame) = self.frames.get(gfn) else { return false };
        if !frame.is_memory() || frame.kind().is_none_or(Kind::is_kernel) {
            return false;
        }
        let (_, holder) = self.owners.resolve_mut(frame.owner());
        self.swap_out_for(gfn, frame, holder.group());
        true
    }

    /// Does that for the group at `top`, which ran out of room.
    pub(crate) fn swap_out_for(&mut self, gfn: Gfn, frame: Frame, top: u32) {
        self.unlist(gfn, frame);
        let swapped = frame.with(Flag::Swapped).without(Flag::Workingset);
        let swapped = swapped.with_place(Self::birthplace(Kind::Anon));
        let group = self.replace(gfn, frame, swapped);
        self.uncharge_chain(Chain::whole(group), &[Resource::Memory], 1);
        self.count(swapped, |_, events| events.pgpgout += 1);
        self.leave_note(gfn, frame, top);
        self.tick(group);
    }

    /// Uncharges a frame whose content can be read again, for the group at `top`.
    pub(crate) fn drop_for(&mut self, gfn: Gfn, frame: Frame, top: u32) {
        let (_, holder) = self.owners.resolve_mut(frame.owner());
        self.tick(holder.group());
        self.expel(gfn, frame);
        self.leave_note(gfn, frame, top);
    }

    /// Uncharges a charged frame.
    fn expel(&mut self, gfn: Gfn, frame: Frame) {
        self.unlist(gfn, frame);
        let group = self.count(frame, |gauges, events| {
            gauges.sub(frame);
            events.pgpgout += 1;
        });
        self.uncharge_chain(Chain::whole(group), charged_to(frame), 1);
        self.frames.set(gfn, Frame::FREE);
        self.drop_strays(frame, 1);
        self.put_slot(frame.owner());
    }

    /// Charges a swapped-out frame to memory again, to its owner. Its memsw charge has never left.
    ///
    /// # Errors
    /// [`ChargeError::Refused`] when there is no room; [`ChargeError::AlreadyCharged`] when the
    /// frame is not swapped out. Nothing changed but a failure count.
    pub fn try_swap_in(&mut self, gfn: Gfn) -> Result<(), ChargeError> {
        let (frame, holder) = self.swapped(gfn)?;
        let frame = match holder {
            Holder::Transit { transit, .. } => self.try_rejoin(transit, gfn, frame)?,
            Holder::Group(group) => {
                self.try_charge_chain(Chain::whole(group), &[Resource::Memory], 1)?;
                frame
            }
        };
        self.enter_swapped(gfn, frame);
        Ok(())
    }

    /// Same as [`Memcg::try_swap_in`], whatever the limits say.
    ///
    /// # Errors
    /// When the frame is not swapped out; nothing changed then.
    pub fn swap_in(&mut self, gfn: Gfn) -> Result<(), ChargeError> {
        let (frame, holder) = self.swapped(gfn)?;
        if let Holder::Transit { transit, .. } = holder {
            self.rejoin(transit);
        }
        let group = holder.group();
        self.charge_over(group, Chain::whole(group), &[Resource::Memory], 1);
        self.enter_swapped(gfn, frame);
        Ok(())
    }

    /// Notes whether a user mapping of a file or shmem frame exists. False when the frame is none.
    pub fn set_mapped(&mut self, gfn: Gfn, mapped: Mapped) -> bool {
        let Ok(frame) = self.frames.get(gfn) else { return false };
        if !matches!(frame.kind(), Some(Kind::File | Kind::Shmem)) {
            return false;
        }
        let marked = match mapped {
            Mapped::Yes => frame.with(Flag::Mapped),
            Mapped::No => frame.without(Flag::Mapped),
        };
        self.replace(gfn, frame, marked);
        true
    }

    /// Returns the group that owns the frame: a removed one if it left a zombie.
    #[must_use]
    pub fn owner(&self, gfn: Gfn) -> Option<GroupId> {
        let frame = self.frames.get(gfn).ok().filter(|frame| frame.is_charged())?;
        let (_, holder) = self.owners.resolve(frame.owner());
        Some(self.groups.at(holder.group()).id)
    }

    /// Tells whether uncharging the frame would make room in `group`: whether the group owns it, or
    /// is charged for the one that does. This is what reclaim looks for.
    #[must_use]
    pub fn is_charged_to(&self, gfn: Gfn, group: GroupId) -> bool {
        let Some(frame) = self.frames.get(gfn).ok().filter(|frame| frame.is_charged()) else {
            return false;
        };
        let (_, holder) = self.owners.resolve(frame.owner());
        self.chain(Chain::whole(holder.group())).any(|index| self.groups.at(index).id == group)
    }

    /// Returns what the frame was charged as.
    #[must_use]
    pub fn kind(&self, gfn: Gfn) -> Option<Kind> {
        self.frames.get(gfn).ok()?.kind()
    }

    /// Tells whether the frame is charged and has its content in memory.
    #[must_use]
    pub fn is_backed(&self, gfn: Gfn) -> bool {
        self.frames.get(gfn).is_ok_and(|f| f.is_charged() && !f.has(Flag::Swapped))
    }

    /// Tells whether the frame is charged and has its content on swap.
    #[must_use]
    pub fn is_swapped(&self, gfn: Gfn) -> bool {
        self.frames.get(gfn).is_ok_and(|f| f.has(Flag::Swapped))
    }

    /// Works out who is charged for a frame, and refuses frames that cannot be charged.
    fn bill(&self, payer: Payer, gfn: Gfn, kind: Kind) -> Result<Bill, ChargeError> {
        if self.frames.get(gfn)?.is_charged() {
            return Err(ChargeError::AlreadyCharged(gfn));
        }
        let root = self.root.index();
        let (group, transit) = match payer {
            Payer::Root => (root, None),
            Payer::Task(tid) => {
                self.tasks.get(tid).map_or((root, None), |task| (task.group, task.transit))
            }
            Payer::Group(id) => (self.groups.index(id).map_err(|_| ChargeError::Dead)?, None),
        };
        Ok(match kind {
            Kind::Huge => Bill { group, what: &[], transit: None },
            Kind::Kernel | Kind::PageTable if self.is_kmem_active_at(group) => {
                Bill { group, what: KERNEL, transit: None }
            }
            Kind::Kernel | Kind::PageTable => Bill { group: root, what: USER, transit: None },
            Kind::Anon => Bill { group, what: USER, transit },
            Kind::File | Kind::Shmem => Bill { group, what: USER, transit: None },
        })
    }

    /// Writes a charge that was granted into the frame table.
    fn enter(&mut self, gfn: Gfn, kind: Kind, bill: &Bill) {
        let own = self.groups.at(bill.group).slot;
        let slot = bill.transit.and_then(|transit| self.join_transit(transit)).unwrap_or(own);
        let accounted = bill.what.contains(&Resource::Kmem);
        let frame = Frame::new(kind, slot).with_place(Self::birthplace(kind));
        let frame = if accounted { frame.with(Flag::Kmem) } else { frame };
        let frame = match kind {
            Kind::File => self.welcome(gfn, frame, bill.group),
            _ => frame,
        };
        self.owners.get(slot, 1);
        self.count(frame, |gauges, events| {
            gauges.add(frame);
            events.pgpgin += 1;
        });
        self.frames.set(gfn, frame);
        self.list(gfn, frame);
    }

    fn enter_swapped(&mut self, gfn: Gfn, frame: Frame) {
        let (_, holder) = self.owners.resolve_mut(frame.owner());
        let back = self.welcome(gfn, frame.without(Flag::Swapped), holder.group());
        self.replace(gfn, frame, back);
        self.count(back, |_, events| events.pgpgin += 1);
        self.list(gfn, back);
    }

    fn swapped(&mut self, gfn: Gfn) -> Result<(Frame, Holder), ChargeError> {
        let frame = self.frames.get(gfn)?;
        if !frame.has(Flag::Swapped) {
            return Err(ChargeError::AlreadyCharged(gfn));
        }
        let (_, holder) = self.owners.resolve_mut(frame.owner());
        Ok((frame, holder))
    }

    /// Replaces a frame by one of the same owner with other flags; returns the owner's index.
    pub(crate) fn replace(&mut self, gfn: Gfn, old: Frame, new: Frame) -> u32 {
        self.count_out(old);
        self.frames.set(gfn, new);
        self.count_in(new)
    }

    pub(crate) fn charge_over(&mut self, group: u32, chain: Chain, what: &[Resource], pages: u64) {
        let over = self.charge_chain(chain, what, pages);
        if over > 0 {
            self.book(group, |_, events| events.overshoot += over);
        }
    }
}

/// Whether a user mapping of a frame exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// At least one page-table entry of a task maps it.
    Yes,
    /// Only the page cache holds it.
    No,
}

/// Returns the counters that a charged frame is counted in.
fn charged_to(frame: Frame) -> &'static [Resource] {
    if frame.has(Flag::Swapped) {
        &[Resource::Memsw]
    } else if frame.has(Flag::Kmem) {
        KERNEL
    } else if frame.is_memory() {
        USER
    } else {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use crate::{ChargeError, Gfn, Kind, Pages, Payer, Resource, Tid, fixture};

    const A: Gfn = Gfn::new(0);
    const B: Gfn = Gfn::new(1);

    #[test]
    fn every_ancestor_is_charged_and_any_of_them_can_refuse() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        m.set_limit(a, Resource::Memory, Pages::ONE).unwrap();
        m.try_charge(Payer::Group(b), A, Kind::Anon).unwrap();
        let refused = ChargeError::Refused { group: a, resource: Resource::Memory };
        assert_eq!(m.try_charge(Payer::Group(b), B, Kind::Anon), Err(refused));
        assert!([b, a, m.root()].iter().all(|group| m.is_charged_to(A, *group)));
        assert!(!m.is_charged_to(B, b));
        let count = |g| m.counter(g, Resource::Memory).unwrap();
        assert_eq!([b, a, m.root()].map(|g| count(g).usage().get()), [1, 1, 1]);
        assert_eq!([b, a, m.root()].map(|g| count(g).failcnt()), [0, 1, 0]);
        assert_eq!([b, a, m.root()].map(|g| count(g).watermark().get()), [1, 1, 1]);
        assert_eq!(m.check(), []);
    }

    #[test]
    fn a_frame_is_charged_once_and_uncharged_once() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        m.try_charge(Payer::Group(a), A, Kind::File).unwrap();
        let again = m.try_charge(Payer::Root, A, Kind::Anon);
        assert_eq!(again, Err(ChargeError::AlreadyCharged(A)));
        assert_eq!((m.owner(A), m.kind(A)), (Some(a), Some(Kind::File)));
        assert!(m.uncharge(A));
        assert!(!m.uncharge(A));
        assert_eq!(m.owner(A), None);
        assert_eq!(m.check(), []);
    }

    #[test]
    fn a_forced_charge_overshoots_and_is_counted() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        m.set_limit(a, Resource::Memory, Pages::ZERO).unwrap();
        m.charge(Payer::Group(a), A, Kind::Anon).unwrap();
        assert_eq!(m.counter(a, Resource::Memory).unwrap().usage(), Pages::ONE);
        assert_eq!(m.stat(a).unwrap().local.events.overshoot, 1);
        assert_eq!(m.check(), []);
    }

    #[test]
    fn kernel_memory_is_the_roots_until_the_group_accounts_it() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        m.try_charge(Payer::Group(a), A, Kind::Kernel).unwrap();
        assert_eq!(m.owner(A), Some(m.root()));
        m.set_limit(a, Resource::Kmem, Pages::ONE).unwrap();
        m.try_charge(Payer::Group(a), B, Kind::PageTable).unwrap();
        assert_eq!(m.owner(B), Some(a));
        let refused = ChargeError::Refused { group: a, resource: Resource::Kmem };
        assert_eq!(m.try_charge(Payer::Group(a), Gfn::new(2), Kind::Kernel), Err(refused));
        assert_eq!(m.counter(a, Resource::Memory).unwrap().usage(), Pages::ONE);
        assert_eq!(m.check(), []);
    }

    #[test]
    fn a_task_pays_from_its_group_and_an_unknown_one_from_the_root() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        m.task_new(Tid::new(7), Tid::new(7), a).unwrap();
        m.try_charge(Payer::Task(Tid::new(7)), A, Kind::Anon).unwrap();
        m.try_charge(Payer::Task(Tid::new(8)), B, Kind::Anon).unwrap();
        assert_eq!((m.owner(A), m.owner(B)), (Some(a), Some(m.root())));
    }

    #[test]
    fn a_swapped_page_keeps_its_memsw_charge() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        m.set_limit(a, Resource::Memory, Pages::ONE).unwrap();
        m.try_charge(Payer::Group(a), A, Kind::Anon).unwrap();
        assert!(m.swap_out(A));
        assert!(!m.is_backed(A) && m.is_swapped(A));
        m.try_charge(Payer::Group(a), B, Kind::Anon).unwrap();
        assert!(m.try_swap_in(A).is_err());
        assert_eq!(m.counter(a, Resource::Memsw).unwrap().usage().get(), 2);
        m.uncharge(B);
        m.try_swap_in(A).unwrap();
        assert_eq!(m.stat(a).unwrap().local.swap, Pages::ZERO);
        assert_eq!(m.check(), []);
    }

    #[test]
    fn huge_frames_have_an_owner_and_are_not_in_the_memory_counter() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        m.try_charge(Payer::Group(a), A, Kind::Huge).unwrap();
        assert_eq!(m.counter(a, Resource::Memory).unwrap().usage(), Pages::ZERO);
        assert_eq!(m.stat(a).unwrap().local.huge, Pages::ONE);
        assert!(m.uncharge(A));
        assert_eq!(m.check(), []);
    }
}
