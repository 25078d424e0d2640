//! The invariants, verified from first principles: everything is counted again, frame by frame.

mod lists;

use std::collections::BTreeMap;
use std::fmt;

use crate::gauges::Gauges;
use crate::group::Group;
use crate::owners::SlotId;
use crate::walk::{Chain, USER};
use crate::{Hierarchy, HugeUse, Kind, Memcg, Resource};

/// An invariant that does not hold: a fault in this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The group or slot it was found at.
    pub subject: String,
    /// What should be equal, or at most.
    pub rule: &'static str,
    /// What was counted again.
    pub counted: u64,
    /// What the books say.
    pub booked: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, rule, counted, booked } = self;
        write!(f, "{subject}: {rule}: counted {counted}, booked {booked}")
    }
}

/// What the counters of a group should say.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    gauges: Gauges,
    sums: Gauges,
    memory: u64,
    memsw: u64,
    kmem: u64,
    /// Counters of huge pages, at their places.
    huge: [u64; Resource::COUNT],
}

impl Memcg {
    /// Counts everything again and compares; the result is empty unless this crate has a fault. The
    /// cost grows with the number of frames, groups and tasks.
    #[must_use]
    pub fn check(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let expected = self.recount();
        for group in self.groups.iter() {
            self.check_group(group, &expected, &mut found);
            self.check_tree(group, &mut found);
        }
        self.check_slots(&mut found);
        self.check_strays(&mut found);
        self.check_lists(&mut found);
        for (tid, task) in self.tasks.iter() {
            let group = self.groups.at(task.group);
            if !group.is_live() || !group.tasks.contains(&tid) {
                found.push(Violation {
                    subject: format!("task {tid}"),
                    rule: "a task is in the set of its living group",
                    counted: 1,
                    booked: 0,
                });
            }
        }
        found
    }

    /// Works out from frames and moves alone what every group should have counted, by index.
    fn recount(&self) -> Vec<Expected> {
        let places = self.groups.iter().map(|group| group.id.index() + 1).max().unwrap_or(0);
        let mut all = vec![Expected::default(); place(places)];
        for (_, frame) in self.frames.iter().filter(|(_, frame)| frame.is_charged()) {
            let (_, holder) = self.owners.resolve(frame.owner());
            all[place(holder.group())].gauges.add(frame);
        }
        for (slot, pages) in self.ahead.iter() {
            let (_, holder) = self.owners.resolve(slot);
            all[place(holder.group())].gauges.add_ahead(pages);
        }
        for group in self.groups.iter() {
            let own = all[place(group.id.index())].gauges;
            for index in self.chain(Chain::whole(group.id.index())) {
                let sums = &mut all[place(index)];
                sums.sums.merge(&own);
                sums.memory += own.memory();
                sums.memsw += own.memsw();
                sums.kmem += own.kmem();
            }
            all[place(group.id.index())].memory += group.security;
        }
        for (slot, resource, pages) in self.huge.charges().chain(self.huge_frames()) {
            let owner = self.owners.resolve(slot).1.group();
            for index in self.line(Chain::whole(owner)) {
                all[place(index)].huge[resource.index()] += pages;
            }
        }
        for transit in self.transits.iter() {
            let sides =
                [(transit.destination(), transit.precharged), (transit.source(), transit.held)];
            for (chain, load) in sides {
                for index in self.chain(chain) {
                    all[place(index)].memory += load.memory;
                    all[place(index)].memsw += load.memsw;
                }
            }
        }
        all
    }

    /// Frames that belong to huge pages of the pools: slot, counter, and one page each.
    fn huge_frames(&self) -> impl Iterator<Item = (SlotId, Resource, u64)> {
        let huge = self.frames.iter().filter(|(_, frame)| frame.kind() == Some(Kind::Huge));
        huge.filter_map(|(gfn, frame)| {
            let size = self.huge_page_of(gfn)?.size;
            Some((frame.owner(), Resource::Huge(size, HugeUse::Fault), 1))
        })
    }

    fn check_group(&self, group: &Group, expected: &[Expected], found: &mut Vec<Violation>) {
        let expected = &expected[place(group.id.index())];
        let subject = || format!("group {:?} {:?}", group.name, group.id);
        let usage = |resource| group.counter(resource).usage().get();
        let equal = [
            ("memory usage is what is charged below", expected.memory, usage(Resource::Memory)),
            ("memsw usage is what is charged below", expected.memsw, usage(Resource::Memsw)),
            ("kmem usage is what is charged below", expected.kmem, usage(Resource::Kmem)),
        ];
        for (rule, counted, booked) in equal {
            if counted != booked {
                found.push(Violation { subject: subject(), rule, counted, booked });
            }
        }
        for resource in Resource::ALL.into_iter().filter(|one| matches!(one, Resource::Huge(..))) {
            let (counted, booked) = (expected.huge[resource.index()], usage(resource));
            if counted != booked {
                let subject = format!("{} {resource:?}", subject());
                let rule = "huge page usage is what ranges and pages charge";
                found.push(Violation { subject, rule, counted, booked });
            }
        }
        if expected.gauges != group.gauges {
            let (counted, booked) = (expected.gauges.frames(), group.gauges.frames());
            let rule = "gauges are what the frames say";
            found.push(Violation { subject: subject(), rule, counted, booked });
        }
        if expected.sums != *group.sum_gauges() {
            let (counted, booked) = (expected.sums.frames(), group.sum_gauges().frames());
            let rule = "sums are the gauges of all who charge to the group";
            found.push(Violation { subject: subject(), rule, counted, booked });
        }
        // An overshoot is counted where the payer is, and felt by its ancestors as well.
        let overshoot: u64 = self.groups.iter().map(|group| group.events.overshoot).sum();
        for resource in USER {
            let counter = group.counter(*resource);
            let most = counter.limit().get().saturating_add(overshoot);
            if counter.usage().get() > most {
                let rule = "usage is at most the limit and what overshot";
                let booked = counter.usage().get();
                found.push(Violation { subject: subject(), rule, counted: most, booked });
            }
        }
    }

    fn check_tree(&self, group: &Group, found: &mut Vec<Violation>) {
        let mut equal = vec![];
        if self.config.hierarchy == Hierarchy::Wall {
            let me = Some(group.id.index());
            let lent = self.groups.iter().filter(|child| child.parent == me);
            equal.push((
                "security is what the children borrowed",
                lent.map(|child| child.borrow).sum(),
                group.security,
            ));
            if group.parent.is_some() && group.is_live() {
                let limit = group.counter(Resource::Memory).limit().get();
                equal.push(("limit is what was borrowed", limit, group.borrow));
            }
        }
        let orphans = group.children.iter().filter(|(name, child)| {
            let child = self.groups.at(**child);
            child.parent != Some(group.id.index()) || child.name != **name || !child.is_live()
        });
        equal.push((
            "children know their parent",
            0,
            u64::try_from(orphans.count()).unwrap_or(u64::MAX),
        ));
        for (rule, counted, booked) in equal {
            if counted != booked {
                let subject = format!("group {:?} {:?}", group.name, group.id);
                found.push(Violation { subject, rule, counted, booked });
            }
        }
    }

    /// Compares what was left behind with the frames that say so.
    fn check_strays(&self, found: &mut Vec<Violation>) {
        let mut named = BTreeMap::new();
        for id in self.frames.iter().filter_map(|(_, frame)| frame.stray()) {
            *named.entry(id.get()).or_insert(0_u64) += 1;
        }
        let booked: BTreeMap<u32, u64> =
            self.strays.counts().map(|(id, pages)| (id.get(), pages)).collect();
        if named != booked {
            let (subject, rule) = ("strays".to_owned(), "what was left behind is what frames say");
            let (counted, booked) = (named.values().sum(), booked.values().sum());
            found.push(Violation { subject, rule, counted, booked });
        }
    }

    /// Compares the references of all slots with who names them.
    fn check_slots(&self, found: &mut Vec<Violation>) {
        let mut named = vec![0_u64; place(self.owners.count())];
        for (_, frame) in self.frames.iter().filter(|(_, frame)| frame.is_charged()) {
            named[place(frame.owner().get())] += 1;
        }
        for slot in self.huge.named_slots().chain(self.strays.slots()) {
            named[place(slot.get())] += 1;
        }
        for group in self.groups.iter().filter(|group| group.is_live()) {
            named[place(group.slot.get())] += 1;
        }
        for transit in self.transits.iter() {
            named[place(transit.slot().get())] += 1;
        }
        for (_, _, next) in self.owners.references() {
            if let Some(next) = next {
                named[place(next.get())] += 1;
            }
        }
        let mut tokens = 0;
        for (slot, booked, _) in self.owners.references() {
            let (counted, booked) = (named[place(slot.get())], u64::from(booked));
            tokens += booked.saturating_sub(counted);
            if counted > booked {
                let subject = format!("slot {}", slot.get());
                let rule = "a slot counts who names it";
                found.push(Violation { subject, rule, counted, booked });
            }
        }
        if tokens != self.tokens {
            let (subject, rule) = ("slots".to_owned(), "what no frame names, a token does");
            found.push(Violation { subject, rule, counted: tokens, booked: self.tokens });
        }
    }
}

fn place(number: u32) -> usize {
    usize::try_from(number).expect("numbers of groups and slots are indices")
}
