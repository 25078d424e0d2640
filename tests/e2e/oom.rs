//! When nothing can go: who is killed, who waits, and what is told about it.

use std::time::Duration;

use rustix::process::Signal;
use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

fn under_oom(group: &Group) -> bool {
    group.read("memory.oom_control").contains("under_oom 1")
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_task_that_may_not_be_killed_waits_until_the_limit_rises_and_others_run_on() {
    let machine = Machine::up();
    let (top, other) = (machine.group("top"), machine.group("other"));
    let group = top.child("below");
    let child = group.child("child");
    top.set_limit(1024);
    top.write("memory.oom_control", "1").expect("a switch");
    let mut program = machine.start(&group, "hog", &["8M", "0"]);
    wait_until("it waits", || under_oom(&top));
    assert!(under_oom(&group) && under_oom(&child) && !under_oom(&other));
    assert!(top.pages() <= 1025, "one page too many");
    let mut puppet = Puppet::start(&machine, &other);
    puppet.tell("touch 100");
    assert!(!program.has_ended_within(Duration::from_millis(50)));
    top.set_limit(4096);
    assert_eq!(program.line().as_deref(), Some("holding 2048 pages"));
    assert_eq!(program.finish().status, 0);
    assert!(!under_oom(&top));
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_task_that_waits_for_memory_can_be_killed_and_one_goes_on_when_another_leaves() {
    let machine = Machine::up();
    let group = machine.group("A");
    group.set_limit(1500);
    group.write("memory.oom_control", "1").expect("a switch");
    let mut resident = Puppet::start(&machine, &group);
    resident.tell("touch 900");
    let waiting = machine.start(&group, "pattern", &["6M", "1", "1"]);
    wait_until("it waits", || under_oom(&group));
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.finish().status, 143);
    wait_until("nobody waits", || !under_oom(&group));
    let waiting = machine.start(&group, "pattern", &["3M", "1", "1"]);
    wait_until("the next one waits", || under_oom(&group));
    let elsewhere = machine.group("elsewhere");
    elsewhere.write("tasks", &resident.tid().to_string()).expect("there is room");
    let finished = waiting.finish();
    assert_eq!(resident.finish().status, 0);
    assert_eq!((finished.status, finished.stdout.as_str()), (0, "verified 768 pages\n"));
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_system_call_that_finds_no_room_fails_where_nobody_may_be_killed() {
    let machine = Machine::up();
    let group = machine.group("A");
    group.set_limit(1024);
    group.write("memory.oom_control", "1").expect("a switch");
    let mut program = machine.start(&group, "bigread", &["64M"]);
    let mut limit = 1024;
    // For a page that it touches outside a call, of its code or its stack, it waits: it gets a few.
    wait_until("it ends", || {
        if under_oom(&group) {
            limit += 8;
            group.set_limit(limit);
        }
        program.has_ended_within(Duration::from_millis(5))
    });
    // A page each for a call that gets a part, for the next, which gets nothing, and for what is
    // touched after them.
    assert!(group.number("memory.max_usage_in_bytes") <= (limit + 3) * vmcg_tests::PAGE);
    let finished = program.finish();
    assert_eq!((finished.status, finished.stdout.as_str()), (0, "read: ENOMEM\nand on: ok\n"));
    assert!(!under_oom(&group));
    group.set_limit(1024);
    group.write("memory.max_usage_in_bytes", "0").expect("any write resets it");
    group.write("memory.oom_control", "0").expect("a switch");
    assert_eq!(machine.run(&group, "bigread", &["16M"]).status, 137);
    assert!(group.number("memory.max_usage_in_bytes") <= 1025 * vmcg_tests::PAGE);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_kill_leaves_a_report_of_limits_tasks_and_victim() {
    let machine = Machine::up();
    let group = machine.group("A");
    let none = machine.vmcg("stat", &["--oom"]);
    assert!(none.stdout.ends_with(": no group was out of memory\n"), "{}", none.stdout);
    group.set_limit(1024);
    let small = Puppet::start(&machine, &group);
    assert_eq!(machine.run(&group, "hog", &["8M", "0"]).status, 137);
    let report = machine.vmcg("stat", &["--oom"]).stdout;
    for part in [
        "/A was out of memory\n",
        "  memory: usage 41",
        ", limit 4096K, failcnt ",
        "  memsw: usage ",
        " puppet\n",
        "  killed: task ",
        " hog\n",
    ] {
        assert!(report.contains(part), "{part:?} in {report}");
    }
    assert!(group.read("memory.oom_control").contains("oom_kill 1"), "one was killed");
    assert_eq!(small.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn among_fifty_tasks_and_below_nested_groups_only_the_biggest_is_killed() {
    let machine = Machine::up();
    let top = machine.group("top");
    let groups: Vec<Group> = (0..5).map(|number| top.child(&format!("g{number}"))).collect();
    let mut small: Vec<Puppet> =
        (0..50).map(|number| Puppet::start(&machine, &groups[number % 5])).collect();
    top.set_limit(top.pages() + 100);
    assert_eq!(machine.run(&groups[4], "hog", &["32M", "0"]).status, 137);
    for puppet in &mut small {
        assert!(puppet.tell("pid") > 0, "it lives");
    }
    let report = machine.vmcg("stat", &["--oom"]).stdout;
    assert!(report.contains("/top was out of memory\n"), "{report}");
    small.into_iter().for_each(|puppet| assert_eq!(puppet.finish().status, 0));
    machine.finish();
}
