//! Seeded random operations, after each of which every invariant must hold.

use fastrand::Rng;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

const OPERATIONS: usize = 200;
const PUPPETS_MAX: usize = 5;
const GROUPS_MAX: usize = 8;

struct World {
    machine: Machine,
    groups: Vec<Group>,
    puppets: Vec<Puppet>,
    rng: Rng,
}

impl World {
    fn group(&mut self) -> Group {
        let index = self.rng.usize(..self.groups.len());
        self.groups[index].clone()
    }

    fn make_group(&mut self, number: usize) -> String {
        if self.groups.len() == GROUPS_MAX {
            return "too many groups".into();
        }
        let parent = self.group();
        let child = parent.child(&format!("g{number}"));
        let made = format!("mkdir {}", child.path());
        self.groups.push(child);
        made
    }

    fn remove_group(&mut self) -> String {
        let index = self.rng.usize(..self.groups.len());
        let result = if index == 0 { Ok(()) } else { self.groups[index].remove() };
        let told = format!("rmdir {}: {result:?}", self.groups[index].path());
        if index != 0 && result.is_ok() {
            self.groups.remove(index);
        }
        told
    }

    fn limit_group(&mut self) -> String {
        let group = self.group();
        let pages = self.rng.u64(200..6000);
        let result = if self.rng.u8(..3) == 0 {
            group.write("memory.limit_in_bytes", "-1")
        } else {
            group.write("memory.limit_in_bytes", &(pages * 4096).to_string())
        };
        format!("limit {} {pages}: {result:?}", group.path())
    }

    fn start_puppet(&mut self) -> String {
        if self.puppets.len() == PUPPETS_MAX {
            return "too many puppets".into();
        }
        let group = self.group();
        // A tight limit kills it while it starts, which is a fair outcome too.
        let puppet = Puppet::try_start(&self.machine, &group);
        let started = format!("start in {}: {:?}", group.path(), puppet.as_ref().map(Puppet::tid));
        self.puppets.extend(puppet);
        started
    }

    fn tell_puppet(&mut self) -> String {
        if self.puppets.is_empty() {
            return "no puppet".into();
        }
        let index = self.rng.usize(..self.puppets.len());
        let pages = self.rng.u64(1..1200);
        let line = match self.rng.u8(..6) {
            0..3 => format!("touch {pages}"),
            3 => format!("again {pages}"),
            4 => "drop".into(),
            _ => self.puppets[index].family_line(pages),
        };
        let answer = self.puppets[index].ask(&line);
        if answer.is_none() {
            self.puppets.remove(index).finish();
        }
        format!("puppet {index} {line}: {answer:?}")
    }

    fn move_puppet(&mut self) -> String {
        if self.puppets.is_empty() {
            return "no puppet".into();
        }
        let group = self.group();
        let tid = self.puppets[self.rng.usize(..self.puppets.len())].tid();
        let file = if self.rng.bool() { "tasks" } else { "cgroup.procs" };
        format!("move {tid} to {}: {:?}", group.path(), group.write(file, &tid.to_string()))
    }

    fn end_puppet(&mut self) -> String {
        if self.puppets.is_empty() {
            return "no puppet".into();
        }
        let index = self.rng.usize(..self.puppets.len());
        format!("end: {:?}", self.puppets.remove(index).finish().status)
    }

    fn step(&mut self, number: usize) -> String {
        match self.rng.u8(..20) {
            0..2 => self.make_group(number),
            2 => self.remove_group(),
            3..5 => self.limit_group(),
            5..8 => self.start_puppet(),
            8..14 => self.tell_puppet(),
            14..19 => self.move_puppet(),
            _ => self.end_puppet(),
        }
    }
}

fn run_seed(seed: u64) {
    let machine = Machine::up();
    let groups = vec![machine.group("A")];
    let mut world = World { machine, groups, puppets: Vec::new(), rng: Rng::with_seed(seed) };
    let mut log = Vec::new();
    for number in 0..OPERATIONS {
        log.push(world.step(number));
        let check = world.machine.vmcg("check", &[]);
        assert_eq!(
            check.status,
            0,
            "seed {seed}, operation {number}: {}{}\n{}",
            check.stdout,
            check.stderr,
            log.join("\n")
        );
    }
    for puppet in world.puppets.drain(..) {
        puppet.finish();
    }
    world.machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn two_hundred_random_operations_keep_every_invariant() {
    run_seed(2008);
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn two_hundred_other_random_operations_keep_every_invariant() {
    run_seed(2012);
}
