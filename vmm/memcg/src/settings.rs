//! The knobs of a group that are not limits. Setters take the number a user wrote, so that what is
//! a valid value is decided here and nowhere else.

use crate::{Abi, Error, GroupId, Hierarchy, Memcg, Policy};

/// The knobs of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How much the machine should prefer swapping over dropping page cache.
    pub swappiness: u64,
    /// Tasks wait instead of being killed when the group is out of memory.
    pub oom_kill_disable: bool,
    /// Children made from now on charge to this group as well.
    pub use_hierarchy: bool,
    /// What moves with a task into this group: bit 0 anonymous pages, bit 1 mapped file pages.
    pub move_charge: u64,
    /// How it moves.
    pub recharge: Policy,
    /// Run the release agent when the group becomes empty.
    pub notify_on_release: bool,
    /// Kept for its readers; no memory setting depends on it.
    pub clone_children: bool,
    /// Kernel memory of the group's tasks is charged to the group.
    pub kmem_active: bool,
    /// The group's TCP buffers are charged.
    pub tcp_active: bool,
    /// Where reclaim starts when the machine is short of memory.
    pub soft_limit: crate::Pages,
}

/// Every bit `move_charge_at_immigrate` knows.
const MOVE_MASK: u64 = 0b11;

impl Settings {
    /// The settings of the root group.
    pub(crate) fn root(abi: Abi, recharge: Policy) -> Self {
        Self {
            swappiness: 60,
            oom_kill_disable: false,
            // Differs from Linux 3.19, where the root starts with 0: sharing is the model the
            // machine was asked for. The flag can be cleared as long as there are no children.
            use_hierarchy: true,
            move_charge: what_moves(abi),
            recharge,
            notify_on_release: false,
            clone_children: false,
            kmem_active: false,
            tcp_active: false,
            soft_limit: crate::Pages::UNLIMITED,
        }
    }

    /// The settings of a new child.
    pub(crate) fn child(&self, abi: Abi) -> Self {
        Self {
            // Alone among the settings of Linux v3.19 `mem_cgroup_css_alloc` it is not inherited.
            move_charge: what_moves(abi),
            kmem_active: self.kmem_active || abi == Abi::Linux618,
            tcp_active: false,
            soft_limit: crate::Pages::UNLIMITED,
            ..*self
        }
    }
}

/// What moves into a new group. Differs from Linux, where it is nothing: the policy would never act.
const fn what_moves(abi: Abi) -> u64 {
    match abi {
        Abi::Classic => 1,
        Abi::Linux618 => 0,
    }
}

impl Memcg {
    /// Returns the settings of a group.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn settings(&self, group: GroupId) -> Result<Settings, Error> {
        Ok(self.groups.at(self.groups.index(group)?).settings)
    }

    /// Sets `swappiness`: 0 to 100, or to 200 with the newer file contract.
    ///
    /// # Errors
    /// [`Error::Invalid`] when out of range, [`Error::Dead`] when the group was removed.
    pub fn set_swappiness(&mut self, group: GroupId, value: u64) -> Result<(), Error> {
        let max = match self.config.abi {
            Abi::Classic => 100,
            Abi::Linux618 => 200,
        };
        let value = Some(value).filter(|value| *value <= max).ok_or(Error::Invalid)?;
        self.set(group, |settings| settings.swappiness = value)
    }

    /// Sets `oom_kill_disable` to 0 or 1.
    ///
    /// # Errors
    /// [`Error::Root`], [`Error::Invalid`] for other numbers, or [`Error::Dead`].
    pub fn set_oom_kill_disable(&mut self, group: GroupId, value: u64) -> Result<(), Error> {
        let disable = flag(value)?;
        if group == self.root {
            return Err(Error::Root);
        }
        self.set(group, |settings| settings.oom_kill_disable = disable)
    }

    /// Sets `use_hierarchy` (Linux v3.19 mem_cgroup_hierarchy_write): only on a group without
    /// children whose parent does not have it. From Linux 5.11 on it is always 1.
    ///
    /// # Errors
    /// [`Error::Busy`] with children, [`Error::Invalid`] where the parent decides or for a number
    /// other than 0 and 1, [`Error::Dead`] when the group was removed.
    pub fn set_use_hierarchy(&mut self, group: GroupId, value: u64) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        let this = self.groups.at(index);
        if u64::from(this.settings.use_hierarchy) == value {
            return Ok(());
        }
        let inherited =
            this.parent.is_some_and(|parent| self.groups.at(parent).settings.use_hierarchy);
        let on = flag(value)?;
        if inherited || self.config.abi == Abi::Linux618 {
            return Err(Error::Invalid);
        }
        if !this.children.is_empty() {
            return Err(Error::Busy);
        }
        self.set(group, |settings| settings.use_hierarchy = on)
    }

    /// Sets what moves with a task into this group. Latched when a move begins.
    ///
    /// # Errors
    /// [`Error::Invalid`] for unknown bits, and for any bit where Linux 6.13 dropped the feature;
    /// [`Error::Dead`] when the group was removed.
    pub fn set_move_charge(&mut self, group: GroupId, mask: u64) -> Result<(), Error> {
        let known = match self.config.abi {
            Abi::Classic => MOVE_MASK,
            Abi::Linux618 => 0,
        };
        let mask = Some(mask).filter(|mask| mask & !known == 0).ok_or(Error::Invalid)?;
        self.set(group, |settings| settings.move_charge = mask)
    }

    /// Sets how charges follow a task into this group. Latched when a move begins.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn set_recharge(&mut self, group: GroupId, policy: Policy) -> Result<(), Error> {
        self.set(group, |settings| settings.recharge = policy)
    }

    /// Sets `notify_on_release`; any number but 0 is on.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn set_notify_on_release(&mut self, group: GroupId, value: u64) -> Result<(), Error> {
        self.set(group, |settings| settings.notify_on_release = value != 0)
    }

    /// Sets `clone_children`; any number but 0 is on.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn set_clone_children(&mut self, group: GroupId, value: u64) -> Result<(), Error> {
        self.set(group, |settings| settings.clone_children = value != 0)
    }

    /// Sets the soft limit, on any group.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn set_soft_limit(&mut self, group: GroupId, limit: crate::Pages) -> Result<(), Error> {
        self.set(group, |settings| settings.soft_limit = limit.min(crate::Pages::UNLIMITED))?;
        if limit.is_unlimited() {
            self.soft_limited.remove(&group);
        } else {
            self.soft_limited.insert(group);
        }
        Ok(())
    }

    /// Returns how limits nest on this machine.
    #[must_use]
    pub const fn hierarchy(&self) -> Hierarchy {
        self.config.hierarchy
    }

    pub(crate) fn is_kmem_active_at(&self, index: u32) -> bool {
        self.groups.at(index).settings.kmem_active
    }

    pub(crate) fn set(
        &mut self,
        group: GroupId,
        change: impl FnOnce(&mut Settings),
    ) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        change(&mut self.groups.at_mut(index).settings);
        Ok(())
    }
}

fn flag(value: u64) -> Result<bool, Error> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Abi, Config, Error, Memcg, Policy, fixture};

    fn newer() -> Memcg {
        Memcg::new(Config { abi: Abi::Linux618, ..fixture::config(8) }).unwrap()
    }

    #[test]
    fn how_pages_move_is_inherited_and_which_do_is_not() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        assert_eq!(m.settings(a).unwrap().move_charge, 1);
        m.set_move_charge(a, 3).unwrap();
        m.set_recharge(a, Policy::Lazy).unwrap();
        let b = m.create(a, "b").unwrap();
        let settings = m.settings(b).unwrap();
        assert_eq!((settings.move_charge, settings.recharge), (1, Policy::Lazy));
        assert_eq!(m.set_move_charge(a, 4), Err(Error::Invalid));
        assert_eq!(m.settings(a).unwrap().move_charge, 3);
    }

    #[test]
    fn nothing_moves_where_linux_dropped_it() {
        let mut m = newer();
        let a = m.create(m.root(), "a").unwrap();
        assert_eq!(m.settings(a).unwrap().move_charge, 0);
        m.set_move_charge(a, 0).unwrap();
        assert_eq!(m.set_move_charge(a, 1), Err(Error::Invalid));
    }

    #[test]
    fn use_hierarchy_changes_only_without_children_and_below_a_parent_without() {
        let mut m = fixture::share(8);
        m.set_use_hierarchy(m.root(), 1).unwrap();
        let a = m.create(m.root(), "a").unwrap();
        assert_eq!(m.set_use_hierarchy(a, 0), Err(Error::Invalid));
        assert_eq!(m.set_use_hierarchy(m.root(), 0), Err(Error::Busy));
        m.remove(a).unwrap();
        m.set_use_hierarchy(m.root(), 0).unwrap();
        let b = m.create(m.root(), "b").unwrap();
        assert!(!m.settings(b).unwrap().use_hierarchy);
        assert_eq!(m.set_use_hierarchy(b, 2), Err(Error::Invalid));
        m.set_use_hierarchy(b, 1).unwrap();
        assert_eq!(newer().set_use_hierarchy(newer().root(), 0), Err(Error::Invalid));
    }

    #[test]
    fn swappiness_ends_at_100_or_in_newer_kernels_at_200() {
        for (mut m, max) in [(fixture::share(8), 100), (newer(), 200)] {
            let root = m.root();
            m.set_swappiness(root, max).unwrap();
            assert_eq!(m.set_swappiness(root, max + 1), Err(Error::Invalid));
            assert_eq!(m.settings(root).unwrap().swappiness, max);
        }
    }

    #[test]
    fn the_oom_killer_is_switched_off_by_one_only_and_not_in_the_root() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        assert_eq!(m.set_oom_kill_disable(m.root(), 1), Err(Error::Root));
        assert_eq!(m.set_oom_kill_disable(a, 2), Err(Error::Invalid));
        m.set_oom_kill_disable(a, 1).unwrap();
        let b = m.create(a, "b").unwrap();
        assert!(m.settings(b).unwrap().oom_kill_disable);
    }
}
