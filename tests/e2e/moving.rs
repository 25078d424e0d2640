//! Moving a task takes its charges along, or changes nothing at all.
//!
//! The numbers in the comments are those of the twelve defects of the 2008 patch.

use rustix::io::Errno;
use vmcg_tests::counters::{counters, counters_but_failcnt, differences};
use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

fn move_errno(group: &Group, file: &str, id: u32) -> i32 {
    group.errno_of_write(file, &id.to_string())
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn moving_a_task_takes_its_anonymous_pages_along() {
    for file in ["tasks", "cgroup.procs"] {
        let machine = Machine::up();
        let (a, b) = (machine.group("A"), machine.group("B"));
        let mut puppet = Puppet::start(&machine, &a);
        puppet.tell("touch 1500");
        let (anonymous, cache, sum) = (a.stat("rss"), a.stat("cache"), a.pages());
        b.write(file, &puppet.tid().to_string()).expect("there is room");
        assert_eq!((a.tasks(), b.tasks()), (vec![], vec![puppet.tid()]));
        assert_eq!(b.stat("rss"), anonymous);
        assert_eq!((a.stat("rss"), a.stat("cache"), b.stat("cache")), (0, cache, 0));
        assert_eq!(a.pages() + b.pages(), sum);
        machine.check();
        puppet.tell("touch 10");
        assert_eq!(b.stat("rss"), anonymous + 10 * 4096, "the new group pays from now on");
        puppet.tell("drop");
        assert!(b.pages() < 1500, "what moved is uncharged from where it is now");
        puppet.finish();
        machine.finish();
    }
}

/// Defects 1 and 4: need beyond the limit is refused at once, and no page is left without an owner.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_move_that_does_not_fit_changes_nothing() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let mut mover = Puppet::start(&machine, &a);
    let mut resident = Puppet::start(&machine, &b);
    mover.tell("touch 900");
    resident.tell("touch 400");
    // A move may drop pages of files to make room: now there are none. (Programs that have answered may
    // be on their way back to sleep, and would need some of them.)
    machine.wait_until_idle();
    b.write("memory.force_empty", "0").expect("it can always be tried");
    // Not even empty would B hold it; just not beside the resident; one page short.
    let need = a.stat("rss") / 4096;
    for room in [need - 800, need - 300 + b.pages(), need - 1 + b.pages()] {
        b.set_limit(room.max(b.pages()));
        let before = counters_but_failcnt(&machine.root());
        assert_eq!(
            move_errno(&b, "tasks", mover.tid()),
            Errno::NOMEM.raw_os_error(),
            "room {room}"
        );
        let after = counters_but_failcnt(&machine.root());
        assert_eq!(differences(&before, &after), Vec::<String>::new(), "room {room}");
        machine.check();
    }
    b.set_limit(need + b.pages());
    b.write("tasks", &mover.tid().to_string()).expect("it fits exactly");
    assert_eq!(b.number("memory.usage_in_bytes"), b.number("memory.limit_in_bytes"));
    b.write("memory.limit_in_bytes", "-1").expect("a limit can be lifted");
    mover.tell("touch 1");
    resident.tell("touch 1");
    assert_eq!((mover.finish().status, resident.finish().status), (0, 0));
    machine.finish();
}

/// Defect 11: a move never kills anyone, however full the destination is.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_refused_move_kills_nobody() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let mut mover = Puppet::start(&machine, &a);
    let mut resident = Puppet::start(&machine, &b);
    mover.tell("touch 500");
    b.set_limit(b.pages());
    for _ in 0..20 {
        assert_eq!(move_errno(&b, "tasks", mover.tid()), Errno::NOMEM.raw_os_error());
    }
    resident.tell("again 0");
    mover.tell("touch 1");
    // Its end touches pages of the C library that nobody touched before.
    b.write("memory.limit_in_bytes", "-1").expect("a limit can be lifted");
    assert_eq!((mover.finish().status, resident.finish().status), (0, 0));
    machine.finish();
}

/// The case of 2008: the move fails, the resident ends, the same move succeeds.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_move_succeeds_once_the_destination_has_room() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    a.set_limit(4096);
    b.set_limit(4096);
    let mut mover = Puppet::start(&machine, &a);
    let mut resident = Puppet::start(&machine, &b);
    mover.tell("touch 3200");
    resident.tell("touch 2000");
    assert_eq!(move_errno(&b, "tasks", mover.tid()), Errno::NOMEM.raw_os_error());
    resident.finish();
    // A page of the program's file may stay charged to B: the mover maps it, too.
    wait_until("the resident is gone", || b.tasks().is_empty() && b.stat("rss") == 0);
    b.write("tasks", &mover.tid().to_string()).expect("there is room now");
    assert!(b.pages() >= 3200);
    mover.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn moving_there_and_back_restores_every_number() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 700");
    let before = (a.pages(), a.stat("rss"), b.pages());
    for _ in 0..10 {
        b.write("tasks", &puppet.tid().to_string()).expect("there is room");
        a.write("tasks", &puppet.tid().to_string()).expect("there is room");
    }
    assert_eq!((a.pages(), a.stat("rss"), b.pages()), before);
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn moving_to_where_it_is_changes_nothing() {
    let machine = Machine::up();
    let a = machine.group("A");
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 50");
    let before = counters(&machine.root());
    a.write("tasks", &puppet.tid().to_string()).expect("it is there already");
    assert_eq!(differences(&before, &counters(&machine.root())), Vec::<String>::new());
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn policy_none_moves_the_task_and_no_page() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    b.write("memory.recharge_policy", "none").expect("a policy can be chosen");
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 300");
    let before = a.pages();
    b.set_limit(200);
    b.write("tasks", &puppet.tid().to_string()).expect("nothing has to fit");
    assert_eq!((a.pages(), b.pages()), (before, 0));
    assert_eq!(b.tasks(), vec![puppet.tid()]);
    puppet.tell("touch 20");
    assert_eq!((a.pages(), b.pages()), (before, 20));
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_mask_without_anonymous_memory_moves_no_page() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    b.write("memory.move_charge_at_immigrate", "0").expect("the mask can be written");
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 300");
    let before = a.pages();
    b.write("tasks", &puppet.tid().to_string()).expect("nothing has to fit");
    assert_eq!((a.pages(), b.pages()), (before, 0));
    puppet.finish();
    machine.finish();
}

/// Pages that two tasks map stay: only private, singly mapped memory moves.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn pages_shared_by_fork_stay_until_they_are_private() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 1000");
    puppet.tell("fork");
    puppet.tell("again 100");
    b.write("tasks", &puppet.tid().to_string()).expect("there is room");
    let moved = b.pages();
    assert!((100..160).contains(&moved), "100 private pages and a few of the stack, not {moved}");
    assert!(a.pages() >= 900);
    machine.check();
    puppet.tell("reap");
    a.write("tasks", &puppet.tid().to_string()).expect("there is room");
    b.write("tasks", &puppet.tid().to_string()).expect("there is room");
    assert!(b.pages() >= 1000, "all of it is private now");
    puppet.finish();
    machine.finish();
}

/// A common ancestor is neither charged twice nor does its limit stand in the way.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_move_below_a_full_common_ancestor_succeeds() {
    let machine = Machine::up();
    let top = machine.group("top");
    let (left, right) = (top.child("left"), top.child("right"));
    let mut puppet = Puppet::start(&machine, &left);
    puppet.tell("touch 600");
    top.set_limit(top.pages());
    let before =
        (top.pages(), top.number("memory.max_usage_in_bytes"), top.number("memory.failcnt"));
    right.write("tasks", &puppet.tid().to_string()).expect("the ancestor's usage does not change");
    let after =
        (top.pages(), top.number("memory.max_usage_in_bytes"), top.number("memory.failcnt"));
    assert_eq!(after, before);
    assert!(right.pages() >= 600);
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn ids_that_name_no_task_are_refused() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let puppet = Puppet::start(&machine, &a);
    let other = Puppet::start(&machine, &a);
    let gone = other.tid();
    assert_eq!(other.finish().status, 0);
    wait_until("one task is left", || a.tasks() == [puppet.tid()]);
    let before = counters(&machine.root());
    for file in ["tasks", "cgroup.procs"] {
        for unknown in ["999999", &gone.to_string()] {
            let errno = b.errno_of_write(file, unknown);
            assert_eq!(errno, Errno::SRCH.raw_os_error(), "{unknown} to {file}");
        }
        for garbage in ["", "x", "-1", "1.5", "2 3", "0", "99999999999999999999", "2x"] {
            let errno = b.errno_of_write(file, garbage);
            assert_eq!(errno, Errno::INVAL.raw_os_error(), "{garbage:?} to {file}");
        }
    }
    assert_eq!(differences(&before, &counters(&machine.root())), Vec::<String>::new());
    puppet.finish();
    machine.finish();
}

/// Defect 10: a task that goes on faulting while it is moved leaves no page behind unaccounted.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_task_that_runs_while_it_is_moved_is_counted_right() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let mut hog = machine.start(&a, "hog", &["64M", "1"]);
    wait_until("it has begun", || a.pages() > 1000);
    let tid = a.tasks()[0];
    for target in [&b, &a].into_iter().cycle().take(12) {
        target.write("tasks", &tid.to_string()).expect("there is room");
        machine.check();
    }
    assert_eq!(hog.line().as_deref(), Some("holding 16384 pages"));
    b.write("tasks", &tid.to_string()).expect("there is room");
    assert!(b.pages() >= 16384);
    assert_eq!(hog.finish().status, 0);
    machine.finish();
}
