//! Strays: pages that a process which moved by the policy `half` had to leave behind.
//!
//! Each frame names its entry here, which knows whose the pages are, by process and not by group: a
//! process that moves on takes them along, and they are strays no more where it meets their owner.

use std::collections::BTreeMap;

use crate::frames::Frame;
use crate::owners::SlotId;
use crate::{Gfn, GroupId, Memcg, Pages, Tid};

/// What a frame that was left behind names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StrayId(u32);

impl StrayId {
    /// Frames have twenty bits for it; zero is none.
    const MAX: u32 = (1 << 20) - 1;

    pub(crate) fn new(number: u32) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }

    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    fn place(self) -> usize {
        usize::try_from(self.0 - 1).expect("stray numbers are indices plus one")
    }
}

/// Who uses pages that somebody else is charged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    /// A process, wherever it is.
    Process(Tid),
    /// The group in which the process ended that left them. Others map them now.
    Group(GroupId),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    user: User,
    /// Slot of the group that is charged. The entry holds a reference to it.
    owner: SlotId,
    /// Frames that name the entry.
    pages: u64,
}

/// All pages that moves left behind.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// By process and slot of the owner, as long as the process lives.
    by_pair: BTreeMap<(Tid, u32), StrayId>,
}

impl Strays {
    fn at_mut(&mut self, id: StrayId) -> &mut Entry {
        self.entries[id.place()].as_mut().expect("a frame names an entry that is there")
    }

    /// The entry for pages of `owner` that a process uses, and whether it is new; `None` when there
    /// are too many.
    fn entry(&mut self, process: Tid, owner: SlotId) -> Option<(StrayId, bool)> {
        if let Some(id) = self.by_pair.get(&(process, owner.get())) {
            return Some((*id, false));
        }
        let next = || u32::try_from(self.entries.len() + 1).ok();
        let id = StrayId::new(self.free.last().copied().or_else(next)?)?;
        if self.free.pop().is_none() {
            self.entries.push(None);
        }
        self.entries[id.place()] = Some(Entry { user: User::Process(process), owner, pages: 0 });
        self.by_pair.insert((process, owner.get()), id);
        Some((id, true))
    }

    /// Counts frames out; returns the slot that an entry without frames held on to.
    fn drop_many(&mut self, id: StrayId, pages: u64) -> Option<SlotId> {
        let entry = self.at_mut(id);
        entry.pages = entry.pages.checked_sub(pages).expect("an entry counts who names it");
        if entry.pages > 0 {
            return None;
        }
        let Entry { user, owner, .. } = *entry;
        if let User::Process(process) = user {
            self.by_pair.remove(&(process, owner.get()));
        }
        self.entries[id.place()] = None;
        self.free.push(id.get());
        Some(owner)
    }

    /// A process has ended in `group`: what it left behind is that group's.
    pub(crate) fn forget_process(&mut self, process: Tid, group: GroupId) {
        let own = (process, 0)..=(process, u32::MAX);
        let ended: Vec<_> = self.by_pair.range(own).map(|(pair, id)| (*pair, *id)).collect();
        for (pair, id) in ended {
            self.by_pair.remove(&pair);
            self.at_mut(id).user = User::Group(group);
        }
    }

    /// Slots that entries hold on to, for the check.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotId> {
        self.entries.iter().flatten().map(|entry| entry.owner)
    }

    /// Frames of each entry, for the check.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (StrayId, u64)> {
        let all = (1..).zip(&self.entries);
        all.filter_map(|(number, entry)| Some((StrayId::new(number)?, entry.as_ref()?.pages)))
    }
}

/// Pages that were left behind, as a group sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// It is charged for them, and processes elsewhere use them.
    pub(crate) owned: u64,
    /// Its processes use them, and others are charged.
    pub(crate) used: u64,
    /// It or a group below that charges to it is charged for them.
    pub(crate) owned_below: u64,
}

impl Memcg {
    /// Marks frames that stay behind although their process has moved on from group `from`.
    pub(crate) fn leave_behind(&mut self, tid: Tid, from: u32, frames: &[Gfn]) {
        let Some(process) = self.tasks.get(tid).map(|task| task.tgid) else { return };
        let owner = self.groups.at(from).slot;
        for gfn in frames {
            let Ok(frame) = self.frames.get(*gfn) else { continue };
            if !frame.is_charged() {
                continue;
            }
            let Some((id, is_new)) = self.strays.entry(process, owner) else { return };
            if is_new {
                self.owners.get(owner, 1);
            }
            self.strays.at_mut(id).pages += 1;
            self.frames.set(*gfn, frame.with_stray(Some(id)));
            self.drop_strays(frame, 1);
        }
    }

    /// Notes that frames which may have been left behind are not so any more.
    pub(crate) fn drop_strays(&mut self, frame: Frame, frames: u64) {
        let Some(id) = frame.stray() else { return };
        if let Some(slot) = self.strays.drop_many(id, frames) {
            self.put_slot(slot);
        }
    }

    /// Counts what was left behind, for one group. The cost grows with the number of processes that
    /// left something.
    pub(crate) fn foreign(&self, index: u32) -> Foreign {
        let mut foreign = Foreign::default();
        for entry in self.strays.entries.iter().flatten() {
            let (owner, user) = (self.owners.resolve(entry.owner).1.group(), self.user(entry.user));
            if Some(owner) == user {
                continue;
            }
            let is_below = self.chain(crate::walk::Chain::whole(owner)).any(|above| above == index);
            foreign.owned += if owner == index { entry.pages } else { 0 };
            foreign.used += if user == Some(index) { entry.pages } else { 0 };
            foreign.owned_below += if is_below { entry.pages } else { 0 };
        }
        foreign
    }

    /// The groups that are charged for what a process left behind, but for the one it is in.
    pub(crate) fn left_in(&self, process: Tid) -> Vec<GroupId> {
        let home = self.user(User::Process(process));
        let pairs = self.strays.by_pair.range((process, 0)..=(process, u32::MAX));
        let owners = pairs.map(|((_, slot), _)| self.owners.resolve(SlotId::new(*slot)).1.group());
        let mut owners: Vec<u32> = owners.filter(|owner| Some(*owner) != home).collect();
        owners.sort_unstable();
        owners.dedup();
        let living = owners.into_iter().map(|owner| self.groups.at(owner));
        living.filter(|group| group.is_live()).map(|group| group.id).collect()
    }

    fn user(&self, user: User) -> Option<u32> {
        match user {
            User::Group(group) => self.groups.index(group).ok(),
            User::Process(process) => Some(self.tasks.get(self.tasks.mm_owner(process)?)?.group),
        }
    }
}

impl Foreign {
    /// What `memory.stat` shows for the group alone.
    pub(crate) const fn local(self) -> Pages {
        Pages::new(self.owned + self.used)
    }
}
