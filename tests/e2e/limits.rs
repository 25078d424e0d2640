//! Limits bite, at every level, and only there.

use rustix::io::Errno;
use vmcg_tests::counters::{counters, differences};
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_program_over_its_limit_is_killed_and_its_neighbour_never_notices() {
    let machine = Machine::up();
    let (small, neighbour) = (machine.group("small"), machine.group("neighbour"));
    neighbour.set_limit(2000);
    let mut quiet = Puppet::start(&machine, &neighbour);
    quiet.tell("touch 500");
    let before = counters(&neighbour);
    small.set_limit(1024);
    let killed = machine.run(&small, "hog", &["8M", "0"]);
    assert_eq!((killed.status, killed.stdout.as_str()), (137, ""));
    assert!(small.number("memory.failcnt") > 0);
    // One page a processor may be charged beyond the limit before the kill takes effect.
    assert!(small.number("memory.max_usage_in_bytes") <= 1025 * vmcg_tests::PAGE);
    assert_eq!(differences(&before, &counters(&neighbour)), Vec::<String>::new());
    small.wait_until_empty();
    assert_eq!(machine.run(&small, "hog", &["1M", "0"]).status, 0, "the group is usable again");
    quiet.tell("touch 500");
    quiet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn usage_may_equal_the_limit() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut puppet = Puppet::start(&machine, &group);
    group.set_limit(group.pages() + 100);
    puppet.tell("touch 100");
    assert_eq!(group.number("memory.usage_in_bytes"), group.number("memory.limit_in_bytes"));
    assert_eq!(group.number("memory.failcnt"), 0);
    // The first pages more come at the cost of the program's own, which can be read again.
    assert_eq!(puppet.ask("touch 400"), None, "more than the page cache has room for kills");
    assert_eq!(puppet.finish().status, 137);
    assert!(group.number("memory.failcnt") >= 1);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_limit_bites_at_each_of_three_levels() {
    let machine = Machine::up();
    for level in 0..3 {
        let top = machine.group("top");
        let middle = top.child("middle");
        let leaf = middle.child("leaf");
        let groups = [&top, &middle, &leaf];
        let mut puppet = Puppet::start(&machine, &leaf);
        groups[level].set_limit(leaf.pages() + 50);
        puppet.tell("touch 50");
        assert_eq!(puppet.ask("touch 400"), None, "level {level}");
        assert_eq!(puppet.finish().status, 137);
        for (index, group) in groups.iter().enumerate() {
            assert_eq!(group.number("memory.failcnt") > 0, index == level, "{}", group.path());
        }
        top.wait_until_empty();
        for group in groups.iter().rev() {
            group.remove().expect("an empty group can be removed");
        }
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_parents_limit_bites_for_the_sum_of_its_children() {
    let machine = Machine::up();
    let (top, aside) = (machine.group("top"), machine.group("aside"));
    let (left, right) = (top.child("left"), top.child("right"));
    let mut first = Puppet::start(&machine, &left);
    let mut second = Puppet::start(&machine, &right);
    let mut third = Puppet::start(&machine, &aside);
    third.tell("touch 700");
    top.set_limit(top.pages() + 400);
    first.tell("touch 100");
    second.tell("touch 300");
    assert_eq!(top.number("memory.failcnt"), 0);
    // Whoever holds most in the subtree is the victim: it ends, and nobody else.
    assert_eq!(second.ask("touch 800"), None);
    assert!(top.number("memory.failcnt") > 0);
    third.tell("touch 10");
    assert_eq!(second.finish().status, 137);
    assert_eq!(first.finish().status, 0);
    assert_eq!(third.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn limits_are_read_as_written_rounded_down_to_a_page() {
    let machine = Machine::up();
    let group = machine.group("A");
    let unlimited = "9223372036854771712\n";
    assert_eq!(group.read("memory.limit_in_bytes"), unlimited);
    for (written, read) in [
        ("128M", "134217728\n"),
        ("4097", "4096\n"),
        ("4095", "0\n"),
        ("0x2000", "8192\n"),
        ("1g", "1073741824\n"),
        ("-1", unlimited),
    ] {
        group.write("memory.limit_in_bytes", written).expect(written);
        assert_eq!(group.read("memory.limit_in_bytes"), read, "after {written}");
    }
    group.set_limit(7);
    for refused in ["xx", "1.0", "1xx", "-2", "1 2", "--1"] {
        let errno = group.errno_of_write("memory.limit_in_bytes", refused);
        assert_eq!(errno, Errno::INVAL.raw_os_error(), "{refused}");
        assert_eq!(group.number("memory.limit_in_bytes"), 7 * 4096, "{refused}");
    }
    let errno = machine.root().errno_of_write("memory.limit_in_bytes", "128M");
    assert_eq!(errno, Errno::INVAL.raw_os_error(), "the root has no limit");
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_limit_below_the_usage_is_refused_and_changes_nothing() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut puppet = Puppet::start(&machine, &group);
    puppet.tell("touch 300");
    group.set_limit(2000);
    let errno = group.errno_of_write("memory.limit_in_bytes", &(100 * 4096).to_string());
    assert_eq!(errno, Errno::BUSY.raw_os_error());
    assert_eq!(group.number("memory.limit_in_bytes"), 2000 * 4096);
    puppet.tell("touch 1");
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn max_usage_and_failcnt_are_reset_by_a_write() {
    let machine = Machine::up();
    let group = machine.group("A");
    group.set_limit(400);
    assert_eq!(machine.run(&group, "hog", &["4M", "0"]).status, 137);
    group.wait_until_empty();
    assert!(group.number("memory.max_usage_in_bytes") > 0);
    group.write("memory.max_usage_in_bytes", "0").expect("any write resets the watermark");
    group.write("memory.failcnt", "0").expect("any write resets the count");
    assert_eq!(group.number("memory.max_usage_in_bytes"), 0);
    assert_eq!(group.number("memory.failcnt"), 0);
    machine.finish();
}
