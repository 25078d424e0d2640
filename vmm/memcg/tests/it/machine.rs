//! A fake machine: address spaces as maps, frames as numbers, and the accounting under test.

use std::collections::{BTreeMap, BTreeSet};

use memcg::{
    Abi, ChargeError, Config, Evicted, Gfn, GroupId, Guest, Gva, Hierarchy, Kind, Memcg, Move,
    MoveError, MoveReport, Offline, Pages, Payer, Policy, Progress, Resource, ScanError,
    ScannedRun, Scope, Tid,
};

/// The guest: who maps what.
#[derive(Debug, Default)]
pub(crate) struct FakeGuest {
    /// Address spaces by thread group: page number to frame and kind.
    spaces: BTreeMap<Tid, BTreeMap<u64, (Gfn, Kind)>>,
    /// Thread group of each live task.
    tgids: BTreeMap<Tid, Tid>,
    mapcounts: BTreeMap<Gfn, u32>,
    /// Frames that are locked in memory.
    pub(crate) locked: BTreeSet<Gfn>,
    free: Vec<Gfn>,
    /// Pages that can still be written to swap.
    pub(crate) slots: u64,
    /// Frames without a mapping that reclaim may give up.
    pub(crate) clean: Vec<Gfn>,
    pub(crate) killed: Vec<Tid>,
    pub(crate) reclaims: u32,
    /// The most pages that one scan visited.
    pub(crate) longest_scan: u64,
}

impl Guest for FakeGuest {
    fn scan(
        &mut self,
        tid: Tid,
        from: Gva,
        pages_max: u64,
        visit: &mut dyn FnMut(ScannedRun),
    ) -> Result<Option<Gva>, ScanError> {
        let tgid = self.tgids.get(&tid).ok_or(ScanError::NoSuchTask(tid))?;
        let (mut visited, mut last) = (0, None::<ScannedRun>);
        for (&page, &(gfn, kind)) in self.spaces[tgid].range(from.get()..) {
            if visited == pages_max {
                last.into_iter().for_each(visit);
                return Ok(Some(Gva::new(page)));
            }
            visited += 1;
            self.longest_scan = self.longest_scan.max(visited);
            let (gva, mapcount) = (Gva::new(page), self.mapcounts[&gfn]);
            let is_locked = self.locked.contains(&gfn);
            let one = ScannedRun { gva, gfn, pages: Pages::ONE, kind, mapcount, is_locked };
            if let Some(run) = last.as_mut().filter(|run| is_next(run, &one)) {
                run.pages = Pages::new(run.pages.get() + 1);
            } else {
                last.replace(one).into_iter().for_each(&mut *visit);
            }
        }
        last.into_iter().for_each(visit);
        Ok(None)
    }

    fn kill(&mut self, tid: Tid) {
        self.killed.push(tid);
    }

    fn evict(&mut self, pages: &[(Gfn, Kind)]) -> Vec<Evicted> {
        self.reclaims += 1;
        pages
            .iter()
            .map(|(gfn, _)| {
                if let Some(place) = self.clean.iter().position(|clean| clean == gfn) {
                    self.clean.remove(place);
                    self.free.push(*gfn);
                    return Evicted::Dropped;
                }
                if self.locked.contains(gfn) {
                    return Evicted::Locked;
                }
                let has_slot = self.slots > 0;
                self.slots -= u64::from(has_slot);
                if has_slot { Evicted::Swapped } else { Evicted::Failed }
            })
            .collect()
    }

    fn swap_free(&self) -> Pages {
        Pages::new(self.slots)
    }
}

/// Tells whether a page goes on where a run ends, and looks the same.
fn is_next(run: &ScannedRun, one: &ScannedRun) -> bool {
    let (gva, gfn) = (run.gva.get() + run.pages.get(), run.gfn.get() + run.pages.get());
    let looks = |run: &ScannedRun| (run.kind, run.mapcount, run.is_locked);
    (gva, gfn) == (one.gva.get(), one.gfn.get()) && looks(run) == looks(one)
}

/// A guest and its accounting.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) memcg: Memcg,
    pub(crate) guest: FakeGuest,
}

impl Machine {
    pub(crate) fn new(frames: u64, policy: Policy) -> Self {
        Self::with(Config {
            frames,
            hierarchy: Hierarchy::Share,
            recharge: policy,
            offline: Offline::Reparent,
            abi: Abi::Classic,
        })
    }

    pub(crate) fn with(config: Config) -> Self {
        let memcg = Memcg::new(config).unwrap();
        let free = (0..config.frames).rev().map(Gfn::new).collect();
        Self { memcg, guest: FakeGuest { free, ..FakeGuest::default() } }
    }

    /// Makes a child of the root with a memory limit.
    pub(crate) fn group(&mut self, name: &str, limit: u64) -> GroupId {
        let group = self.memcg.create(self.memcg.root(), name).unwrap();
        self.memcg.set_limit(group, Resource::Memory, Pages::new(limit)).unwrap();
        group
    }

    /// Starts a process with `pages` anonymous pages.
    pub(crate) fn process(&mut self, id: u32, group: GroupId, pages: u64) -> Tid {
        let tid = Tid::new(id);
        self.memcg.task_new(tid, tid, group).unwrap();
        self.guest.tgids.insert(tid, tid);
        self.guest.spaces.insert(tid, BTreeMap::new());
        for page in 0..pages {
            self.fault(tid, page, Kind::Anon).unwrap();
        }
        tid
    }

    /// Adds a thread to a process.
    pub(crate) fn thread(&mut self, id: u32, of: Tid) -> Tid {
        let (tid, tgid) = (Tid::new(id), self.guest.tgids[&of]);
        self.memcg.task_fork(tid, tgid, of).unwrap();
        self.guest.tgids.insert(tid, tgid);
        tid
    }

    /// Forks a process: all its pages are mapped once more.
    pub(crate) fn fork(&mut self, id: u32, parent: Tid) -> Tid {
        let tid = Tid::new(id);
        self.memcg.task_fork(tid, tid, parent).unwrap();
        let space = self.guest.spaces[&self.guest.tgids[&parent]].clone();
        for (gfn, _) in space.values() {
            *self.guest.mapcounts.get_mut(gfn).unwrap() += 1;
        }
        self.guest.tgids.insert(tid, tid);
        self.guest.spaces.insert(tid, space);
        tid
    }

    /// Touches a page; nothing happens when it is present. A shared anonymous page is copied.
    pub(crate) fn fault(&mut self, tid: Tid, page: u64, kind: Kind) -> Result<(), ChargeError> {
        let tgid = self.guest.tgids[&tid];
        let present = self.guest.spaces[&tgid].get(&page).copied();
        let copies = present.is_some_and(|(gfn, _)| self.guest.mapcounts[&gfn] > 1);
        if present.is_some() && !copies {
            return Ok(());
        }
        let Some(gfn) = self.guest.free.last().copied() else { return Ok(()) };
        self.memcg.try_charge(Payer::Task(tid), gfn, kind)?;
        self.guest.free.pop();
        self.unmap(tid, page);
        self.guest.mapcounts.insert(gfn, 1);
        self.guest.spaces.get_mut(&tgid).unwrap().insert(page, (gfn, kind));
        Ok(())
    }

    /// Touches a page that is on swap, if it is; tells whether it is in memory now.
    pub(crate) fn bring(&mut self, tid: Tid, page: u64) -> bool {
        let Some((gfn, _)) = self.guest.spaces[&self.guest.tgids[&tid]].get(&page) else {
            return false;
        };
        let was_away = self.memcg.is_swapped(*gfn);
        if was_away && self.memcg.try_swap_in(*gfn).is_ok() {
            self.guest.slots += 1;
        }
        self.memcg.is_backed(*gfn)
    }

    /// Writes pages of a task to swap.
    pub(crate) fn swap_out(&mut self, tid: Tid, pages: std::ops::Range<u64>) {
        let space = &self.guest.spaces[&self.guest.tgids[&tid]];
        for (gfn, _) in space.range(pages).map(|(_, page)| *page) {
            assert!(self.memcg.swap_out(gfn), "a mapped page is in memory");
        }
    }

    /// Charges `pages` of clean page cache to a group.
    pub(crate) fn cache(&mut self, group: GroupId, pages: u64) -> Result<(), ChargeError> {
        for _ in 0..pages {
            let gfn = *self.guest.free.last().unwrap();
            self.memcg.try_charge(Payer::Group(group), gfn, Kind::File)?;
            self.guest.clean.extend(self.guest.free.pop());
        }
        Ok(())
    }

    /// Unmaps a page, and frees its frame when that was the last mapping.
    pub(crate) fn unmap(&mut self, tid: Tid, page: u64) {
        let tgid = self.guest.tgids[&tid];
        let Some((gfn, _)) = self.guest.spaces.get_mut(&tgid).unwrap().remove(&page) else {
            return;
        };
        let mapcount = self.guest.mapcounts.get_mut(&gfn).unwrap();
        *mapcount -= 1;
        if *mapcount == 0 {
            self.guest.slots += u64::from(self.memcg.is_swapped(gfn));
            assert!(self.memcg.uncharge(gfn), "a mapped frame was charged");
            self.guest.free.push(gfn);
        }
    }

    /// Ends a task, and with the last thread its address space.
    pub(crate) fn exit(&mut self, tid: Tid) {
        let tgid = self.guest.tgids[&tid];
        let is_last = self.guest.tgids.values().filter(|other| **other == tgid).count() == 1;
        assert!(self.memcg.task_exit(tid));
        if is_last {
            let pages: Vec<u64> = self.guest.spaces[&tgid].keys().copied().collect();
            for page in pages {
                self.unmap(tid, page);
            }
            self.guest.spaces.remove(&tgid);
        }
        self.guest.tgids.remove(&tid);
    }

    pub(crate) fn begin(&mut self, tid: Tid, dest: GroupId) -> Result<Move, MoveError> {
        Move::begin(&mut self.memcg, tid, dest, Scope::Process)
    }

    pub(crate) fn step(&mut self, one: &mut Move, pages_max: u64) -> Result<Progress, MoveError> {
        one.step(&mut self.memcg, &mut self.guest, pages_max)
    }

    /// Steps a move until it is over.
    pub(crate) fn finish(&mut self, mut one: Move) -> Result<MoveReport, MoveError> {
        loop {
            if let Progress::Done(report) = self.step(&mut one, 16)? {
                return Ok(report);
            }
        }
    }

    /// Moves a process in one go.
    pub(crate) fn migrate(&mut self, tid: Tid, dest: GroupId) -> Result<MoveReport, MoveError> {
        let one = self.begin(tid, dest)?;
        self.finish(one)
    }

    /// Lets pages follow their tasks until some have, or none can; returns how many.
    pub(crate) fn settle(&mut self, pages_max: u64) -> u64 {
        loop {
            let settled = self.memcg.settle(&mut self.guest, pages_max);
            if !(settled.moved.is_zero() && settled.goes_on) {
                return settled.moved.get();
            }
        }
    }

    pub(crate) fn usage(&self, group: GroupId) -> u64 {
        self.memcg.counter(group, Resource::Memory).unwrap().usage().get()
    }

    pub(crate) fn memsw(&self, group: GroupId) -> u64 {
        self.memcg.counter(group, Resource::Memsw).unwrap().usage().get()
    }

    /// Returns who owns the page that a task has mapped there.
    pub(crate) fn owner(&self, tid: Tid, page: u64) -> Option<GroupId> {
        let (gfn, _) = self.guest.spaces[&self.guest.tgids[&tid]].get(&page)?;
        self.memcg.owner(*gfn)
    }

    /// Returns the pages of a task: address, frame, and by how many mappings.
    pub(crate) fn pages(&self, tid: Tid) -> Vec<(u64, Gfn, Kind, u32)> {
        let space = &self.guest.spaces[&self.guest.tgids[&tid]];
        let count = |gfn| self.guest.mapcounts[&gfn];
        space.iter().map(|(page, (gfn, kind))| (*page, *gfn, *kind, count(*gfn))).collect()
    }

    /// Number of frames that are in use.
    pub(crate) fn in_use(&self) -> u64 {
        self.memcg.config().frames - self.guest.free.len() as u64
    }

    pub(crate) fn tasks(&self) -> Vec<Tid> {
        self.guest.tgids.keys().copied().collect()
    }
}
