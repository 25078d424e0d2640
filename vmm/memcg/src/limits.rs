//! Reading counters, and setting and resetting what can be set.

use crate::{Abi, Counter, Error, GroupId, Hierarchy, Memcg, Pages, Resource};

impl Memcg {
    /// Returns one counter of a group.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn counter(&self, group: GroupId, resource: Resource) -> Result<Counter, Error> {
        Ok(*self.groups.at(self.groups.index(group)?).counter(resource))
    }

    /// Sets the limit of one counter. What to reclaim before a lower limit fits is the caller's
    /// business: on [`Error::Busy`], reclaim and try again.
    ///
    /// # Errors
    /// [`Error::Root`]; [`Error::Busy`] when the usage is above the limit; [`Error::Invalid`] when
    /// memory would be above memsw; [`Error::NoMemory`] when the parent cannot lend so much
    /// ([`Hierarchy::Wall`]); [`Error::Dead`]. The limit stays as it was.
    pub fn set_limit(
        &mut self,
        group: GroupId,
        resource: Resource,
        limit: Pages,
    ) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        if group == self.root {
            return Err(Error::Root);
        }
        let limit = limit.get().min(Pages::UNLIMITED.get());
        let limit = limit - limit % resource.granule();
        let this = self.groups.at(index);
        let memory = this.counter(Resource::Memory).limit().get();
        let memsw = this.counter(Resource::Memsw).limit().get();
        match resource {
            Resource::Memory if limit > memsw => return Err(Error::Invalid),
            Resource::Memsw if limit < memory => return Err(Error::Invalid),
            Resource::Memory if self.config.hierarchy == Hierarchy::Wall => {
                return self.lend(index, limit);
            }
            // Linux v6.18 mem_cgroup_write: "kmem.limit_in_bytes is deprecated", and nothing else.
            Resource::Kmem if self.config.abi == Abi::Linux618 => return Ok(()),
            Resource::Kmem => self.activate_kmem(index)?,
            _ => {}
        }
        let this = self.groups.at_mut(index);
        if !this.counter_mut(resource).try_set_limit(limit) {
            return Err(Error::Busy);
        }
        this.settings.tcp_active |= resource == Resource::Tcp;
        Ok(())
    }

    /// Makes the watermark of one counter its usage.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn reset_watermark(&mut self, group: GroupId, resource: Resource) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        self.groups.at_mut(index).counter_mut(resource).reset_watermark();
        Ok(())
    }

    /// Makes the failure count of one counter zero.
    ///
    /// # Errors
    /// [`Error::Dead`] when the group was removed.
    pub fn reset_failcnt(&mut self, group: GroupId, resource: Resource) -> Result<(), Error> {
        let index = self.groups.index(group)?;
        self.groups.at_mut(index).counter_mut(resource).reset_failcnt();
        Ok(())
    }

    /// Starts to account kernel memory at the first limit (Linux v3.19 memcg_activate_kmem). Once
    /// accounted, always accounted.
    fn activate_kmem(&mut self, index: u32) -> Result<(), Error> {
        let group = self.groups.at_mut(index);
        if group.settings.kmem_active {
            return Ok(());
        }
        let shares = group.settings.use_hierarchy && !group.children.is_empty();
        if !group.tasks.is_empty() || shares {
            return Err(Error::Busy);
        }
        group.settings.kmem_active = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Abi, Config, Error, Gfn, HugeSize, HugeUse, Memcg, Pages, Payer, Resource, Tid, fixture,
    };

    #[test]
    fn memory_stays_below_memsw() {
        let mut m = fixture::share(8);
        let a = m.create(m.root(), "a").unwrap();
        assert_eq!(m.set_limit(a, Resource::Memsw, Pages::new(5)), Err(Error::Invalid));
        m.set_limit(a, Resource::Memory, Pages::new(5)).unwrap();
        m.set_limit(a, Resource::Memsw, Pages::new(5)).unwrap();
        assert_eq!(m.set_limit(a, Resource::Memory, Pages::new(6)), Err(Error::Invalid));
        assert_eq!(m.counter(a, Resource::Memory).unwrap().limit(), Pages::new(5));
    }

    #[test]
    fn the_root_has_no_limits() {
        let mut m = fixture::share(8);
        for resource in Resource::ALL {
            assert_eq!(m.set_limit(m.root(), resource, Pages::new(5)), Err(Error::Root));
        }
    }

    #[test]
    fn kernel_memory_is_accounted_from_the_first_limit_on_and_never_after_the_first_task() {
        let mut m = fixture::share(8);
        let [a, b] = ["a", "b"].map(|name| m.create(m.root(), name).unwrap());
        m.task_new(Tid::new(2), Tid::new(2), b).unwrap();
        assert_eq!(m.set_limit(b, Resource::Kmem, Pages::new(5)), Err(Error::Busy));
        m.set_limit(a, Resource::Kmem, Pages::UNLIMITED).unwrap();
        m.task_new(Tid::new(3), Tid::new(3), a).unwrap();
        m.set_limit(a, Resource::Kmem, Pages::new(5)).unwrap();
        let child = m.create(a, "child").unwrap();
        assert!(m.settings(child).unwrap().kmem_active);
        let lost = m.create(b, "lost").unwrap();
        m.task_exit(Tid::new(2));
        assert_eq!(m.set_limit(b, Resource::Kmem, Pages::new(5)), Err(Error::Busy));
        assert!(!m.settings(lost).unwrap().kmem_active);
    }

    #[test]
    fn a_kernel_memory_limit_is_accepted_and_ignored_in_linux_6_18() {
        let mut m = Memcg::new(Config { abi: Abi::Linux618, ..fixture::config(8) }).unwrap();
        let a = m.create(m.root(), "a").unwrap();
        m.set_limit(a, Resource::Kmem, Pages::ONE).unwrap();
        assert!(m.counter(a, Resource::Kmem).unwrap().limit().is_unlimited());
    }

    #[test]
    fn a_huge_page_limit_is_whole_huge_pages() {
        let mut m = fixture::share(1024);
        let a = m.create(m.root(), "a").unwrap();
        let fault = Resource::Huge(HugeSize::Mb2, HugeUse::Fault);
        m.set_limit(a, fault, Pages::new(1500)).unwrap();
        assert_eq!(m.counter(a, fault).unwrap().limit(), Pages::new(1024));
        m.set_huge_pool(HugeSize::Mb2, 0..1024);
        let pages = [0, 512].map(|gfn| m.huge_page_of(Gfn::new(gfn)).unwrap());
        for page in pages {
            m.try_charge_huge(Payer::Group(a), page).unwrap();
        }
        assert_eq!(m.set_limit(a, fault, Pages::new(512)), Err(Error::Busy));
        assert!(pages.into_iter().all(|page| m.uncharge_huge(page)));
    }
}
