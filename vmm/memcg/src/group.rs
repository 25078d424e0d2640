//! One memory cgroup, and the arena they live in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::gauges::Gauges;
use crate::lists::Lru;
use crate::owners::SlotId;
use crate::psi::Stalls;
use crate::reclaim::Position;
use crate::settings::Settings;
use crate::stat::{Events, Sums};
use crate::vmpressure::Window;
use crate::{Counter, Error, Resource, Tid};

/// Names a group for as long as it exists; a later group never has the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    index: u32,
    generation: u32,
}

impl GroupId {
    pub(crate) const fn index(self) -> u32 {
        self.index
    }

    pub(crate) const fn generation(self) -> u32 {
        self.generation
    }
}

/// What became of a place in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// The group is in the tree.
    Live,
    /// The group was removed, but still owns something.
    Zombie,
    /// The group was removed and owns nothing, but a zombie below it charges to it.
    Husk,
    /// The place can be used again.
    Free,
}

/// A group. Everything that is counted is counted here, in pages.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) life: Life,
    pub(crate) name: Arc<str>,
    pub(crate) parent: Option<u32>,
    /// The group that a charge visits next; none where the walk stops.
    pub(crate) feeds: Option<u32>,
    pub(crate) children: BTreeMap<Arc<str>, u32>,
    /// Children that were removed and still own something, by index.
    pub(crate) dead: BTreeSet<u32>,
    /// Moves in progress that lead into or out of this group.
    pub(crate) moves: u32,
    /// Tasks that wait because the group is out of memory.
    pub(crate) oom_waiters: u32,
    pub(crate) slot: SlotId,
    pub(crate) tasks: BTreeSet<Tid>,
    pub(crate) counters: [Counter; Resource::PAGES],
    /// Counters of huge pages, which few groups ever use; none before the first use.
    pub(crate) huge: Option<Box<[Counter; Resource::COUNT - Resource::PAGES]>>,
    /// `wall`: what the parent lent, and what the children were lent. Zero in `share`.
    pub(crate) borrow: u64,
    pub(crate) security: u64,
    pub(crate) gauges: Gauges,
    pub(crate) lru: Lru,
    /// Pages evicted or activated here and below so far: how reclaim tells the time.
    pub(crate) clock: u32,
    /// Where reclaim for this group goes on.
    pub(crate) position: Position,
    pub(crate) events: Events,
    /// What it and those that charge to it own; none as long as it never had a child, as they are its
    /// own books then.
    pub(crate) sums: Option<Box<Sums>>,
    pub(crate) settings: Settings,
    pub(crate) window: Window,
    /// Tasks here and in living groups below.
    pub(crate) tasks_below: u32,
    /// None before the first stall.
    pub(crate) stalls: Option<Box<Stalls>>,
}

impl Group {
    pub(crate) fn counter(&self, resource: Resource) -> &Counter {
        static UNUSED: Counter = Counter::UNUSED;
        let index = resource.index();
        match index.checked_sub(Resource::PAGES) {
            None => &self.counters[index],
            Some(index) => self.huge.as_ref().map_or(&UNUSED, |huge| &huge[index]),
        }
    }

    pub(crate) fn counter_mut(&mut self, resource: Resource) -> &mut Counter {
        let index = resource.index();
        match index.checked_sub(Resource::PAGES) {
            None => &mut self.counters[index],
            Some(index) => &mut self.huge.get_or_insert_default()[index],
        }
    }

    /// What the group and those that charge to it own.
    pub(crate) fn sum_gauges(&self) -> &Gauges {
        self.sums.as_ref().map_or(&self.gauges, |sums| &sums.gauges)
    }

    /// What has happened in the group and in those that charge to it.
    pub(crate) fn sum_events(&self) -> &Events {
        self.sums.as_ref().map_or(&self.events, |sums| &sums.events)
    }

    /// Begins to keep sums: the group gets a child.
    pub(crate) fn keep_sums(&mut self) {
        let (gauges, events) = (self.gauges, self.events);
        self.sums.get_or_insert_with(|| Box::new(Sums { gauges, events }));
    }

    pub(crate) fn is_live(&self) -> bool {
        self.life == Life::Live
    }
}

/// All groups. Places are used again; [`GroupId`] tells apart who lived there.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    arena: Vec<Group>,
    free: Vec<u32>,
}

impl Groups {
    /// css ids of Linux are 16 bits wide, and 0 is not one.
    const MAX: usize = 65_535;

    /// Reserves a place; returns the name of the group to be put there.
    pub(crate) fn reserve(&mut self) -> Result<GroupId, Error> {
        if let Some(index) = self.free.pop() {
            let old = self.at(index).id;
            return Ok(GroupId { index, generation: old.generation.wrapping_add(1) });
        }
        if self.arena.len() >= Self::MAX {
            return Err(Error::NoSpace);
        }
        let index = u32::try_from(self.arena.len()).map_err(|_| Error::NoSpace)?;
        Ok(GroupId { index, generation: 0 })
    }

    /// Gives back a place that was reserved and not used.
    pub(crate) fn unreserve(&mut self, id: GroupId) {
        if usize::try_from(id.index).is_ok_and(|place| place < self.arena.len()) {
            self.free.push(id.index);
        }
    }

    /// Puts a group into the place that was reserved for it.
    pub(crate) fn insert(&mut self, group: Group) {
        let place = usize::try_from(group.id.index).expect("group numbers are indices");
        if place == self.arena.len() {
            self.arena.push(group);
        } else {
            self.arena[place] = group;
        }
    }

    /// Gives a place back.
    pub(crate) fn free(&mut self, index: u32) {
        let group = self.at_mut(index);
        group.life = Life::Free;
        group.parent = None;
        group.feeds = None;
        self.free.push(index);
    }

    #[inline]
    pub(crate) fn at(&self, index: u32) -> &Group {
        &self.arena[usize::try_from(index).expect("group numbers are indices")]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> &mut Group {
        &mut self.arena[usize::try_from(index).expect("group numbers are indices")]
    }

    /// Finds the living group of this name.
    pub(crate) fn index(&self, id: GroupId) -> Result<u32, Error> {
        let place = usize::try_from(id.index).map_err(|_| Error::Dead)?;
        match self.arena.get(place) {
            Some(group) if group.id == id && group.is_live() => Ok(id.index),
            Some(_) | None => Err(Error::Dead),
        }
    }

    /// Finds the group in a place, if one is there, zombies included.
    pub(crate) fn existing(&self, index: u32) -> Option<&Group> {
        let group = self.arena.get(usize::try_from(index).ok()?)?;
        (group.life != Life::Free).then_some(group)
    }

    /// Returns the group in the first place after this one that has one, zombies included.
    pub(crate) fn after(&self, index: u32) -> Option<u32> {
        let rest = self.arena.get(usize::try_from(index).ok()? + 1..)?;
        rest.iter().find(|group| group.life != Life::Free).map(|group| group.id.index)
    }

    /// Visits every group that exists, zombies included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.arena.iter().filter(|group| group.life != Life::Free)
    }
}
