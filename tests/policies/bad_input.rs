//! Values, tasks and groups that make no move.

use std::fs::OpenOptions;
use std::io::Write;
use std::thread;

use rustix::io::Errno;
use vmcg_tests::counters::counters;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn unknown_policies_masks_and_ids_are_refused() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let puppet = Puppet::start(&machine, &a);
    let before = counters(&machine.root());
    let invalid = Errno::INVAL.raw_os_error();
    let policy = b.read("memory.recharge_policy");
    for bad in ["best", "", "Lazy", "[lazy]", "lazy half", "none,lazy"] {
        assert_eq!(b.errno_of_write("memory.recharge_policy", bad), invalid, "{bad:?}");
    }
    assert_eq!(b.read("memory.recharge_policy"), policy);
    let mask = b.read("memory.move_charge_at_immigrate");
    for bad in ["4", "7", "-1", "x", "0x4"] {
        assert_eq!(b.errno_of_write("memory.move_charge_at_immigrate", bad), invalid, "{bad:?}");
    }
    assert_eq!(b.read("memory.move_charge_at_immigrate"), mask);
    for file in ["tasks", "cgroup.procs"] {
        for id in ["0", "-1", "-7", "1"] {
            assert_eq!(b.errno_of_write(file, id), invalid, "{id} into {file}");
        }
    }
    assert_eq!(counters(&machine.root()), before);
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_removed_group_takes_no_task() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let puppet = Puppet::start(&machine, &a);
    let mut tasks = OpenOptions::new().write(true).open(b.dir().join("tasks")).expect("a file");
    b.remove().expect("it is empty");
    let before = counters(&machine.root());
    let refused = tasks.write_all(puppet.tid().to_string().as_bytes()).expect_err("it is gone");
    assert_eq!(refused.raw_os_error(), Some(Errno::NODEV.raw_os_error()));
    assert_eq!(counters(&machine.root()), before);
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_zombie_is_not_moved() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let mut parent = machine.start(&a, "zombie", &[]);
    let zombie = parent.line().expect("it says the id of its child");
    let before = counters(&machine.root());
    for file in ["tasks", "cgroup.procs"] {
        assert_eq!(b.errno_of_write(file, &zombie), Errno::SRCH.raw_os_error(), "{file}");
    }
    assert_eq!(counters(&machine.root()), before);
    assert_eq!(parent.finish().status, 0);
    machine.finish();
}

/// One of them wins, the other finds the task moving or moved; no page is lost on the way.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn two_moves_of_one_task_at_once_leave_one_owner() {
    let machine = Machine::up();
    let groups = ["A", "B", "C"].map(|name| machine.group(name));
    let mut puppet = Puppet::start(&machine, &groups[0]);
    puppet.tell("touch 12000");
    let tid = puppet.tid().to_string();
    let sum: u64 = groups.iter().map(vmcg_tests::group::Group::pages).sum();
    for _ in 0..10 {
        thread::scope(|scope| {
            for group in &groups {
                let tid = &tid;
                scope.spawn(move || {
                    let errno = group.errno_of_write("tasks", tid);
                    assert!([0, Errno::BUSY.raw_os_error()].contains(&errno), "errno {errno}");
                });
            }
        });
        assert_eq!(groups.iter().map(vmcg_tests::group::Group::pages).sum::<u64>(), sum);
        assert_eq!(groups.iter().filter(|group| !group.tasks().is_empty()).count(), 1);
        machine.check();
    }
    puppet.finish();
    machine.finish();
}
