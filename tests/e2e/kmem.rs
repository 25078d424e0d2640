//! Kernel memory: who is charged for it, and what a limit on it does.

use std::ffi::OsStr;

use vmcg_tests::PAGE;
use vmcg_tests::deadline::{DEADLINE, wait_until};
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

pub(super) const LIMIT: &str = "memory.kmem.limit_in_bytes";
pub(super) const USAGE: &str = "memory.kmem.usage_in_bytes";
pub(super) const FAILCNT: &str = "memory.kmem.failcnt";
const EBUSY: i32 = 16;

pub(super) fn kill_everything(machine: &Machine, group: &Group) {
    let kill = ["-c", "kill -9 -1"];
    let killed = machine.exec_file(group, OsStr::new("/bin/sh"), &kill).finish();
    assert_eq!(killed.status, 0, "{}", killed.stderr);
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_fork_bomb_stops_at_its_kernel_memory_limit_and_the_next_group_does_not_notice() {
    let machine = Machine::up();
    let (bomb, other) = (machine.group("bomb"), machine.group("other"));
    bomb.write(LIMIT, "2M").expect("a limit");
    let script = ["-c", "b() { b | b & }; b"];
    let mut bombing = machine.exec_file(&bomb, OsStr::new("/bin/sh"), &script);
    wait_until("the bomb has reached its limit", || bomb.number(FAILCNT) > 0);
    assert!(bomb.number(USAGE) <= 2 << 20);
    assert!(bomb.number("memory.kmem.max_usage_in_bytes") <= 2 << 20);
    let alive = machine.exec_file(&other, OsStr::new("/bin/echo"), &["alive"]).finish();
    assert_eq!((alive.status, alive.stdout.as_str()), (0, "alive\n"), "{}", alive.stderr);
    assert_eq!((other.number(USAGE), other.number(FAILCNT)), (0, 0));
    kill_everything(&machine, &other);
    bomb.expect_all_back(USAGE);
    assert!(bombing.has_ended_within(DEADLINE), "the bomb's client ends");
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn kernel_memory_is_counted_from_the_first_limit_on_and_for_good() {
    let machine = Machine::up();
    let (before, after) = (machine.group("before"), machine.group("after"));
    let idle = Puppet::start(&machine, &before);
    assert_eq!(before.number(USAGE), 0, "nobody asked for it");
    assert_eq!(before.errno_of_write(LIMIT, "1M"), EBUSY, "a group with a task");
    assert_eq!(before.read(LIMIT), "9223372036854771712\n");
    after.write(LIMIT, "1M").expect("a group without tasks");
    let child = after.child("child");
    let mut puppet = Puppet::start(&machine, &child);
    let used = child.number(USAGE);
    assert!(used >= 4 * PAGE, "a program has four page tables at least, not {used} bytes");
    assert_eq!(after.number(USAGE), used, "the parent is charged as well");
    // One page in each of so many last-level tables, which span 2 MiB.
    puppet.tell("touch 2048");
    assert_eq!(child.number(USAGE) - used, 4 * PAGE, "page tables of 2048 pages");
    assert_eq!(after.errno_of_write(LIMIT, &PAGE.to_string()), EBUSY, "below what is used");
    after.write(LIMIT, "-1").expect("a limit can be lifted");
    assert!(child.number(USAGE) > used, "it is still counted");
    puppet.finish();
    child.wait_until_empty();
    assert_eq!((child.number(USAGE), after.number(USAGE)), (0, 0));
    idle.finish();
    machine.finish();
}

/// A line of `memory.kmem.slabinfo`: objects in use, objects a slab, slabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cache {
    pub(super) active: u64,
    per_slab: u64,
    pub(super) slabs: u64,
}

pub(super) fn cache(group: &Group, name: &str) -> Cache {
    let text = group.read("memory.kmem.slabinfo");
    let Some(line) = text.lines().find(|line| line.split_whitespace().next() == Some(name)) else {
        return Cache::default();
    };
    let word = |at: usize| {
        line.split_whitespace().nth(at).and_then(|word| word.parse().ok()).expect("a number")
    };
    Cache { active: word(1), per_slab: word(4), slabs: word(14) }
}

/// Pages of all slabs of a group.
pub(super) fn slab_pages(group: &Group) -> u64 {
    let text = group.read("memory.kmem.slabinfo");
    let slabs = text.lines().skip(2).map(|line| line.split_whitespace().nth(14));
    slabs.map(|word| word.and_then(|word| word.parse::<u64>().ok()).expect("a number")).sum()
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_nest_of_directories_stops_at_the_limit_and_is_freed_with_its_files() {
    let machine = Machine::up();
    let (group, other) = (machine.group("A"), machine.group("B"));
    group.write(LIMIT, "256K").expect("a limit");
    let dug = machine.run(&group, "nest", &["/dev/shm"]);
    assert_eq!(dug.status, 0, "{}", dug.stderr);
    assert!(dug.stdout.ends_with("directories: Cannot allocate memory\n"), "{}", dug.stdout);
    assert!(group.number(FAILCNT) > 0);
    let made: u64 = dug.stdout.split(' ').next().and_then(|n| n.parse().ok()).expect("a count");
    let (inodes, dentries) = (cache(&group, "inode_cache"), cache(&group, "dentry"));
    assert_eq!((inodes.active, dentries.active), (made, made));
    wait_until("the program's own memory is gone", || {
        group.number(USAGE) == (inodes.slabs + dentries.slabs) * PAGE
    });
    machine.check();
    // The next group is not at its limit, and may remove what is there.
    // Busybox's rm keeps a descriptor open for each level.
    let removal = ["-c", "ulimit -n 4096; rm -r /dev/shm/x"];
    let removed = machine.exec_file(&other, OsStr::new("/bin/sh"), &removal).finish();
    assert_eq!(removed.status, 0, "{}", removed.stderr);
    assert_eq!((group.number(USAGE), slab_pages(&group)), (0, 0));
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn ten_thousand_files_are_charged_to_the_object() {
    const FILES: u64 = 10_000;
    let machine = Machine::up();
    let (group, other) = (machine.group("A"), machine.group("B"));
    group.write(LIMIT, "-1").expect("a limit");
    let made = machine.exec_file(&other, OsStr::new("/bin/mkdir"), &["/dev/shm/many"]).finish();
    assert_eq!(made.status, 0, "{}", made.stderr);
    let made = machine.run(&group, "nest", &["-m", &FILES.to_string(), "/dev/shm/many"]);
    assert_eq!(made.stdout, "10000 files: all\n", "{}", made.stderr);
    wait_until("the program's own memory is gone", || {
        group.number(USAGE) == slab_pages(&group) * PAGE && cache(&group, "filp").active == 0
    });
    let (inodes, dentries) = (cache(&group, "inode_cache"), cache(&group, "dentry"));
    for found in [inodes, dentries] {
        assert_eq!(found.active, FILES);
        assert_eq!(found.slabs, FILES.div_ceil(found.per_slab), "no slab has more room than one");
    }
    assert_eq!(group.number(USAGE), (inodes.slabs + dentries.slabs) * PAGE);
    let removal = ["-r", "/dev/shm/many"];
    let removed = machine.exec_file(&other, OsStr::new("/bin/rm"), &removal).finish();
    assert_eq!(removed.status, 0, "{}", removed.stderr);
    assert_eq!(group.number(USAGE), 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn fifty_children_are_charged_to_the_page() {
    const CHILDREN: u64 = 50;
    let machine = Machine::up();
    let group = machine.group("A");
    group.write(LIMIT, "-1").expect("a limit");
    let mut brood = machine.start(&group, "brood", &[&CHILDREN.to_string()]);
    assert_eq!(brood.line().as_deref(), Some("ready"));
    let figures = || {
        machine.wait_until_idle();
        let slabs = slab_pages(&group);
        (
            group.number(USAGE) / PAGE - slabs,
            cache(&group, "task_struct"),
            cache(&group, "thread_stack"),
        )
    };
    let (tables, tasks, stacks) = figures();
    assert_eq!((tasks.active, stacks.active), (1, 1));
    assert!(tables >= 4, "a program has page tables");
    let usage = group.number(USAGE);
    brood.send("go\n");
    assert_eq!(brood.line().as_deref(), Some("50 children: all"));
    let (more_tables, tasks, stacks) = figures();
    assert_eq!((tasks.active, stacks.active, stacks.slabs), (51, 51, 51));
    assert_eq!(tasks.slabs, 51_u64.div_ceil(tasks.per_slab));
    let each = (more_tables - tables) / CHILDREN;
    assert_eq!(more_tables - tables, each * CHILDREN, "the children are alike");
    assert!((4..=tables).contains(&each), "{each} page tables a child, the parent has {tables}");
    brood.send("go on\n");
    assert_eq!(brood.line().as_deref(), Some("reaped"));
    machine.wait_until_idle();
    assert_eq!(group.number(USAGE), usage, "everything that was the children's is back");
    assert_eq!(brood.finish().status, 0);
    group.expect_all_back(USAGE);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn limits_at_three_levels_each_stop_those_below_them() {
    let machine = Machine::up();
    let top = machine.group("top");
    top.write(LIMIT, "1200K").expect("a limit");
    let middle = top.child("middle");
    middle.write(LIMIT, "800K").expect("a limit");
    let bottom = middle.child("bottom");
    bottom.write(LIMIT, "400K").expect("a limit");
    for (group, at_limit) in [(&bottom, &bottom), (&middle, &middle), (&top, &top)] {
        let mut brood = machine.start(group, "brood", &["200"]);
        assert_eq!(brood.line().as_deref(), Some("ready"));
        brood.send("go\n");
        let line = brood.line().unwrap_or_default();
        assert!(line.ends_with("children: Cannot allocate memory"), "{line}");
        assert!(at_limit.number(FAILCNT) > 0, "{}", at_limit.path());
        let usages = [&bottom, &middle, &top].map(|group| group.number(USAGE));
        assert!(usages[0] <= usages[1] && usages[1] <= usages[2], "{usages:?}");
        assert!(usages[2] <= 1200 << 10);
        brood.send("go on\n");
        assert_eq!(brood.line().as_deref(), Some("reaped"));
        assert_eq!(brood.finish().status, 0);
        group.wait_until_empty();
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_removed_group_leaves_its_kernel_memory_to_its_parent() {
    let machine = Machine::up();
    let top = machine.group("top");
    top.write(LIMIT, "-1").expect("a limit");
    for round in 0..20 {
        let child = top.child("child");
        let made = machine.run(&child, "nest", &["-m", "300", "/dev/shm"]);
        assert_eq!(made.stdout, "300 files: all\n", "{}", made.stderr);
        wait_until("the program's own memory is gone", || {
            child.number(USAGE) == slab_pages(&child) * PAGE && cache(&child, "filp").active == 0
        });
        let (usage, slabs) = (top.number(USAGE), slab_pages(&child));
        child.remove().expect("a group with kernel memory can be removed");
        assert_eq!((top.number(USAGE), slab_pages(&top)), (usage, slabs), "round {round}");
        assert_eq!(cache(&top, "inode_cache").active, 300);
        let removal = ["-c", "rm -r /dev/shm/*"];
        let removed = machine.exec_file(&machine.root(), OsStr::new("/bin/sh"), &removal).finish();
        assert_eq!(removed.status, 0, "{}", removed.stderr);
        assert_eq!((top.number(USAGE), slab_pages(&top)), (0, 0), "round {round}");
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn names_that_are_only_cached_give_way_to_new_ones_and_to_pressure() {
    let machine = Machine::up();
    let (group, other) = (machine.group("A"), machine.group("B"));
    group.write(LIMIT, "512K").expect("a limit");
    other.write(LIMIT, "-1").expect("a limit");
    let sought = machine.run(&other, "nest", &["-s", "1000", "/root"]);
    assert_eq!(sought.stdout, "1000 names\n", "{}", sought.stderr);
    machine.wait_until_idle();
    let others = cache(&other, "dentry");
    assert!(others.active >= 1000);
    // Far more names than there is room for: none is refused, old ones go.
    let sought = machine.run(&group, "nest", &["-s", "10000", "/root"]);
    assert_eq!(sought.stdout, "10000 names\n", "{}", sought.stderr);
    assert!(group.number(FAILCNT) > 0 && group.number(USAGE) <= 512 << 10);
    let kept = cache(&group, "dentry");
    assert!((1000..10_000).contains(&kept.active), "{kept:?}");
    assert_eq!(cache(&other, "dentry"), others, "another group's names stay");
    // Lowering the limit on all memory makes names go as well.
    wait_until("the program is gone", || group.tasks().is_empty());
    group.write("memory.limit_in_bytes", "64K").expect("names give way");
    assert!(group.number("memory.usage_in_bytes") <= 64 << 10);
    other.write("memory.force_empty", "0").expect("force_empty takes anything");
    assert_eq!((other.number(USAGE), slab_pages(&other)), (0, 0));
    group.write("memory.force_empty", "0").expect("force_empty takes anything");
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn user_memory_at_its_limit_takes_from_cached_names_before_anybody_is_killed() {
    let machine = Machine::up();
    let group = machine.group("A");
    group.write(LIMIT, "-1").expect("a limit");
    let sought = machine.run(&group, "nest", &["-s", "20000", "/root"]);
    assert_eq!(sought.stdout, "20000 names\n", "{}", sought.stderr);
    wait_until("the program is gone", || group.tasks().is_empty());
    let names = cache(&group, "dentry").slabs;
    assert!(names > 350, "{names} pages of names");
    let mut puppet = Puppet::start(&machine, &group);
    group.set_limit(group.pages() + 10);
    puppet.tell("touch 200");
    let left = cache(&group, "dentry").slabs;
    // Pages of the program's file give way as well, and come back.
    assert!(left + 10 < names, "of {names} pages of names {left} are left");
    assert!(group.read("memory.oom_control").contains("under_oom 0"));
    puppet.finish();
    group.write("memory.force_empty", "0").expect("force_empty takes anything");
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_removed_group_lives_on_until_its_last_object_goes_where_that_was_asked_for() {
    for offline in ["zombie", "drain"] {
        let machine = Machine::up_with(&["--memory", "256M", "--offline", offline]);
        let top = machine.group("top");
        top.write(LIMIT, "-1").expect("a limit");
        let child = top.child("child");
        let made = machine.run(&child, "nest", &["-m", "300", "/dev/shm"]);
        assert_eq!(made.stdout, "300 files: all\n", "{}", made.stderr);
        let sought = machine.run(&child, "nest", &["-s", "1000", "/root"]);
        assert_eq!(sought.status, 0, "{}", sought.stderr);
        wait_until("the programs are gone", || {
            child.tasks().is_empty() && cache(&child, "filp").active == 0
        });
        let usage = top.number(USAGE);
        child.remove().expect("a group with kernel memory can be removed");
        let dead = machine.vmcg("ps", &["--dead"]).stdout;
        assert!(dead.contains("/top/child"), "{offline}: {dead}");
        if offline == "drain" {
            assert!(top.number(USAGE) < usage, "cached names were drained");
        } else {
            assert_eq!(top.number(USAGE), usage);
        }
        assert!(top.number(USAGE) > 0, "{offline}: files pin the group");
        let removal = ["-c", "rm -r /dev/shm/*"];
        let removed = machine.exec_file(&machine.root(), OsStr::new("/bin/sh"), &removal).finish();
        assert_eq!(removed.status, 0, "{}", removed.stderr);
        if offline == "drain" {
            wait_until("the dead group is gone", || {
                !machine.vmcg("ps", &["--dead"]).stdout.contains("/top/child")
            });
            assert_eq!(top.number(USAGE), 0);
        }
        machine.check();
        assert_eq!(machine.vmcg("down", &[]).status, 0);
    }
}
