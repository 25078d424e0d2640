//! What is charged, to whom, and for how long.

use vmcg_tests::deadline::wait_until;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn usage_follows_touch_exactly() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut puppet = Puppet::start(&machine, &group);
    let own = group.pages();
    // Around the fault-around window of 16 pages, and beyond one page table (512 pages).
    for (touch, expected) in [(1, 1), (1, 2), (15, 17), (16, 33), (600, 633), (1000, 1633)] {
        puppet.tell(&format!("touch {touch}"));
        assert_eq!(group.pages() - own, expected, "after {touch} more");
        assert_eq!(
            group.number("memory.max_usage_in_bytes"),
            group.number("memory.usage_in_bytes")
        );
    }
    puppet.tell("again 1633");
    assert_eq!(group.pages() - own, 1633, "a second touch costs nothing");
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn memory_given_back_is_not_charged_any_more() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut puppet = Puppet::start(&machine, &group);
    let own = group.pages();
    for round in 0..3 {
        puppet.tell("touch 500");
        assert_eq!(group.pages() - own, 500, "round {round}");
        puppet.tell("drop");
        assert_eq!(group.pages(), own, "round {round}");
    }
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn exit_returns_usage_to_zero() {
    let machine = Machine::up();
    let group = machine.group("A");
    let hog = machine.run(&group, "hog", &["8M", "0"]);
    assert_eq!((hog.status, hog.stdout.as_str()), (0, "holding 2048 pages\ntime is over\n"));
    group.wait_until_empty();
    assert!(group.number("memory.max_usage_in_bytes") >= 8 << 20);
    group.remove().expect("an empty group can be removed");
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_killed_program_returns_usage_to_zero() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut hog = machine.start(&group, "hog", &["8M"]);
    assert_eq!(hog.line().as_deref(), Some("holding 2048 pages"));
    assert!(group.pages() >= 2048);
    // The client of `vmcg exec` is killed, its program goes with it.
    drop(hog);
    group.wait_until_empty();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_fork_shares_and_copy_on_write_charges_the_writer() {
    let machine = Machine::up();
    let (group, other) = (machine.group("A"), machine.group("B"));
    let mut puppet = Puppet::start(&machine, &group);
    puppet.tell("touch 400");
    let before = group.pages();
    let child = puppet.tell("fork");
    let shared = group.pages() - before;
    assert!(shared < 60, "a fork copies a stack and a few data pages, not {shared} pages");
    // The first writes bring in the child's own pages too (stack, data); the later ones nothing else.
    puppet.tell("child 1");
    let forked = group.pages();
    puppet.tell("child 101");
    assert_eq!(group.pages() - forked, 100, "the child's copies are charged");
    other.write("tasks", &child.to_string()).expect("the child can be moved");
    let (in_a, in_b) = (group.pages(), other.pages());
    puppet.tell("child 151");
    assert_eq!(other.pages() - in_b, 50, "the writer's group pays");
    assert_eq!(group.pages(), in_a, "the group of the one that keeps the old page does not");
    puppet.tell("again 200");
    assert_eq!(
        group.pages() - in_a,
        49,
        "pages 151-199 were shared until now, the others are its own"
    );
    puppet.tell("reap");
    other.wait_until_empty();
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_parent_is_charged_for_its_children() {
    let machine = Machine::up();
    let top = machine.group("A");
    let (left, right) = (top.child("left"), top.child("right"));
    let mut first = Puppet::start(&machine, &left);
    let mut second = Puppet::start(&machine, &right);
    first.tell("touch 100");
    second.tell("touch 300");
    assert_eq!(top.pages(), left.pages() + right.pages());
    assert_eq!(top.tasks(), Vec::<u32>::new());
    assert_eq!(left.tasks(), vec![first.tid()]);
    assert_eq!(top.stat("rss"), 0, "local numbers leave children out");
    assert_eq!(top.stat("total_rss"), left.stat("rss") + right.stat("rss"));
    first.finish();
    left.wait_until_empty();
    assert_eq!(top.pages(), right.pages());
    second.finish();
    machine.finish();
}

/// Whoever runs when a page is charged, the one that touched it pays.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn programs_at_once_pay_each_for_their_own_pages() {
    const HOLDING: Option<&str> = Some("holding 5120 pages");
    let machine = Machine::up();
    let groups = [machine.group("A"), machine.group("B")];
    let mut alone = machine.start(&groups[0], "hog", &["20M"]);
    assert_eq!(alone.line().as_deref(), HOLDING);
    machine.wait_until_idle();
    let expected = (groups[0].stat("rss"), groups[0].stat("cache"));
    drop(alone);
    groups[0].wait_until_empty();
    for round in 0..5 {
        let mut hogs = groups.each_ref().map(|group| machine.start(group, "hog", &["20M"]));
        for hog in &mut hogs {
            assert_eq!(hog.line().as_deref(), HOLDING);
        }
        machine.wait_until_idle();
        for group in &groups {
            // A program that has said its line goes on to where it waits.
            wait_until(&format!("{} pays in round {round} as alone", group.path()), || {
                (group.stat("rss"), group.stat("cache")) == expected
            });
        }
        drop(hogs);
        groups.iter().for_each(vmcg_tests::group::Group::wait_until_empty);
    }
    machine.finish();
}

/// A file is read ahead into neighbouring frames, so what a program pays depends on finding such.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_program_pays_alike_where_free_memory_is_scattered() {
    let machine = Machine::up();
    let (group, other) = (machine.group("A"), machine.group("B"));
    let cache_of_one_more = || {
        let puppet = Puppet::start(&machine, &group);
        machine.wait_until_idle();
        let cache = group.stat("cache");
        puppet.finish();
        group.wait_until_empty();
        cache
    };
    let expected = cache_of_one_more();
    let mut scatterer = Puppet::start(&machine, &other);
    scatterer.tell("touch 8192");
    let full = other.pages();
    scatterer.tell("thin");
    wait_until("what was given back is free", || other.pages() == full - 8192 / 16 * 15);
    assert_eq!(cache_of_one_more(), expected);
    scatterer.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn the_root_pays_for_no_program() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut puppet = Puppet::start(&machine, &group);
    puppet.tell("touch 100");
    let root = machine.root();
    assert_eq!((root.stat("rss"), root.stat("cache")), (0, 0));
    assert_eq!(root.stat("total_rss"), group.stat("rss"));
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn stat_tells_anonymous_memory_from_page_cache() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut puppet = Puppet::start(&machine, &group);
    let (rss, cache) = (group.stat("rss"), group.stat("cache"));
    assert!(cache > 0, "the program's text is page cache");
    puppet.tell("touch 256");
    assert_eq!(group.stat("rss") - rss, 256 * vmcg_tests::PAGE);
    assert_eq!(group.stat("cache"), cache);
    assert!(group.stat("pgfault") > 0);
    assert_eq!(group.stat("rss") + group.stat("cache"), group.number("memory.usage_in_bytes"));
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_removed_group_hands_its_page_cache_to_its_parent() {
    let machine = Machine::up();
    let top = machine.group("A");
    let child = top.child("child");
    let mut first = Puppet::start(&machine, &child);
    let mut second = Puppet::start(&machine, &top);
    first.tell("touch 10");
    second.tell("touch 10");
    assert_eq!(
        child.remove().expect_err("a group with a task stays").raw_os_error(),
        Some(rustix::io::Errno::BUSY.raw_os_error())
    );
    first.finish();
    // The text pages that the first puppet read stay cached, for the second maps them.
    wait_until("the task is gone", || child.tasks().is_empty());
    let before = top.pages();
    child.remove().expect("a group without tasks can be removed");
    assert_eq!(top.pages(), before);
    second.finish();
    machine.finish();
}
