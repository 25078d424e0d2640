//! The tree of groups: making, naming and finding them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::frames::Frame;
use crate::gauges::Gauges;
use crate::group::{Group, Life};
use crate::lists::Lru;
use crate::owners::Holder;
use crate::reclaim::Position;
use crate::settings::Settings;
use crate::stat::Events;
use crate::vmpressure::Window;
use crate::{Counter, Error, GroupId, Hierarchy, Memcg, Pages, Resource};

/// Longest name of a directory, in bytes: any that fits into a path. cgroup v1 does not stop at the
/// usual 255 either.
const NAME_MAX: usize = 4095;

impl Memcg {
    /// Returns the root group, which is always there and has no limits to set.
    #[must_use]
    pub const fn root(&self) -> GroupId {
        self.root
    }

    /// Makes a child of `parent`. With [`Hierarchy::Wall`] its limit is zero.
    ///
    /// # Errors
    /// [`Error::Dead`], [`Error::Invalid`] for an unusable name, [`Error::Exists`] or
    /// [`Error::NoSpace`]; nothing is made then.
    pub fn create(&mut self, parent: GroupId, name: &str) -> Result<GroupId, Error> {
        let above = self.groups.index(parent)?;
        let name = valid_name(name)?;
        if self.groups.at(above).children.contains_key(&name) {
            return Err(Error::Exists);
        }
        let settings = self.groups.at(above).settings.child(self.config.abi);
        let id = self.plant(Some(above), Arc::clone(&name), settings)?;
        let above = self.groups.at_mut(above);
        above.children.insert(name, id.index());
        above.keep_sums();
        Ok(id)
    }

    /// Gives a group another name within its parent.
    ///
    /// # Errors
    /// [`Error::Root`], [`Error::Dead`], [`Error::Invalid`] or [`Error::Exists`]; the old name stays.
    pub fn rename(&mut self, group: GroupId, name: &str) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        let above = self.groups.at(index).parent.ok_or(Error::Root)?;
        let name = valid_name(name)?;
        let siblings = &mut self.groups.at_mut(above).children;
        if siblings.contains_key(&name) {
            return Err(Error::Exists);
        }
        siblings.insert(Arc::clone(&name), index);
        let old = std::mem::replace(&mut self.groups.at_mut(index).name, name);
        self.groups.at_mut(above).children.remove(&old);
        Ok(())
    }

    /// Finds a child by name.
    #[must_use]
    pub fn lookup(&self, parent: GroupId, name: &str) -> Option<GroupId> {
        let parent = self.groups.at(self.groups.index(parent).ok()?);
        parent.children.get(name).map(|index| self.groups.at(*index).id)
    }

    /// Returns the number of living children of a group.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn count_children(&self, group: GroupId) -> Result<usize, Error> {
        Ok(self.groups.at(self.groups.index(group)?).children.len())
    }

    /// Returns the children of a group, by name.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn children(&self, group: GroupId) -> Result<Vec<GroupId>, Error> {
        let group = self.groups.at(self.groups.index(group)?);
        Ok(group.children.values().map(|index| self.groups.at(*index).id).collect())
    }

    /// Returns the parent of a living group; the root has none.
    #[must_use]
    pub fn parent(&self, group: GroupId) -> Option<GroupId> {
        let above = self.groups.at(self.groups.index(group).ok()?).parent?;
        Some(self.groups.at(above).id)
    }

    /// Returns the name of a living group; the root's is empty.
    #[must_use]
    pub fn name(&self, group: GroupId) -> Option<&str> {
        Some(&self.groups.at(self.groups.index(group).ok()?).name)
    }

    /// Returns the path of a living group from the root: `/` or `/a/b`.
    #[must_use]
    pub fn path(&self, group: GroupId) -> Option<String> {
        let index = self.groups.index(group).ok()?;
        let names: Vec<&str> = std::iter::successors(Some(index), |i| self.groups.at(*i).parent)
            .map(|index| &*self.groups.at(index).name)
            .filter(|name| !name.is_empty())
            .collect();
        Some(names.into_iter().rev().fold(String::new(), |path, name| path + "/" + name))
            .map(|path| if path.is_empty() { "/".to_owned() } else { path })
    }

    /// Tells whether the group has not been removed.
    #[must_use]
    pub fn is_alive(&self, group: GroupId) -> bool {
        self.groups.index(group).is_ok()
    }

    /// Makes a group and its owner slot. The caller enters it into the parent.
    pub(crate) fn plant(
        &mut self,
        parent: Option<u32>,
        name: Arc<str>,
        settings: Settings,
    ) -> Result<GroupId, Error> {
        let id = self.groups.reserve()?;
        let slot = self.owners.create(Holder::Group(id.index()), Frame::SLOT_MAX);
        let Some(slot) = slot else {
            self.groups.unreserve(id);
            return Err(Error::NoSpace);
        };
        let mut counters = [Counter::default(); Resource::PAGES];
        if self.config.hierarchy == Hierarchy::Wall {
            // The root owns the machine, and everyone else starts with nothing.
            let limit = if parent.is_none() { self.config.frames } else { 0 };
            counters[Resource::Memory.index()] = Counter::with_limit(Pages::new(limit));
        }
        let feeds = parent.filter(|parent| {
            self.config.hierarchy == Hierarchy::Share
                && self.groups.at(*parent).settings.use_hierarchy
        });
        self.groups.insert(Group {
            id,
            life: Life::Live,
            name,
            parent,
            feeds,
            children: BTreeMap::new(),
            dead: BTreeSet::new(),
            moves: 0,
            oom_waiters: 0,
            slot,
            tasks: BTreeSet::new(),
            counters,
            huge: None,
            borrow: 0,
            security: 0,
            gauges: Gauges::default(),
            lru: Lru::default(),
            clock: 0,
            position: Position::default(),
            events: Events::default(),
            sums: None,
            settings,
            window: Window::default(),
            tasks_below: 0,
            stalls: None,
        });
        Ok(id)
    }
}

fn valid_name(name: &str) -> Result<Arc<str>, Error> {
    let unusable = name.is_empty()
        || name.len() > NAME_MAX
        || name == "."
        || name == ".."
        || name.contains(['/', '\n', '\0']);
    if unusable { Err(Error::Invalid) } else { Ok(name.into()) }
}

#[cfg(test)]
mod tests {
    use crate::{Error, Memcg, fixture};

    #[test]
    fn groups_are_found_by_name_and_know_their_path() {
        let mut m: Memcg = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        let b = m.create(a, "b").unwrap();
        assert_eq!(m.lookup(a, "b"), Some(b));
        assert_eq!(m.path(b).as_deref(), Some("/a/b"));
        assert_eq!(m.path(m.root()).as_deref(), Some("/"));
        assert_eq!((m.parent(b), m.parent(m.root())), (Some(a), None));
    }

    #[test]
    fn a_name_that_is_taken_or_unusable_is_refused() {
        let mut m = fixture::share(8);
        m.create(m.root(), "a").unwrap();
        assert_eq!(m.create(m.root(), "a"), Err(Error::Exists));
        for name in ["", ".", "..", "x/y", "x\ny"] {
            assert_eq!(m.create(m.root(), name), Err(Error::Invalid), "{name:?}");
        }
        assert_eq!(m.children(m.root()).unwrap().len(), 1);
    }

    #[test]
    fn renaming_keeps_the_group_and_frees_the_old_name() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        m.create(m.root(), "b").unwrap();
        assert_eq!(m.rename(a, "b"), Err(Error::Exists));
        assert_eq!(m.rename(m.root(), "c"), Err(Error::Root));
        m.rename(a, "c").unwrap();
        assert_eq!(m.lookup(m.root(), "c"), Some(a));
        assert_eq!(m.lookup(m.root(), "a"), None);
    }

    #[test]
    fn a_removed_group_is_dead_even_when_its_place_is_used_again() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        m.remove(a).unwrap();
        let b = m.create(m.root(), "b").unwrap();
        assert_ne!(a, b);
        assert_eq!(m.create(a, "x"), Err(Error::Dead));
        assert_eq!(m.remove(a), Err(Error::Dead));
        assert!(m.is_alive(b) && !m.is_alive(a));
    }
}
