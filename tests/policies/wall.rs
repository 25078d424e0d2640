//! Limits as walls: a child's limit is borrowed from its parent.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use vmcg_tests::PAGE;
use vmcg_tests::counters::counters_but_failcnt;
use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

fn walled() -> Machine {
    Machine::up_with(&["--memory", "256M", "--hierarchy", "wall"])
}

fn limit_errno(group: &Group, pages: u64) -> i32 {
    group.errno_of_write("memory.limit_in_bytes", &(pages * PAGE).to_string())
}

/// Removes groups whose tasks have ended: what they borrowed counts as their parent's usage.
fn remove(groups: &[Group]) {
    for group in groups {
        wait_until("its tasks are gone", || group.tasks().is_empty());
        group.remove().expect("a group without tasks can be removed");
    }
}

/// Usage, limit, borrow and security, in pages.
fn books(group: &Group) -> [u64; 4] {
    ["usage", "limit", "borrow", "security"]
        .map(|name| group.number(&format!("memory.{name}_in_bytes")) / PAGE)
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_limit_is_borrowed_repaid_and_given_back_by_rmdir() {
    let machine = walled();
    assert!(machine.vmcg("stat", &[]).stdout.contains("wall"));
    let a = machine.group("A");
    assert_eq!(books(&a), [0; 4], "a new group has nothing");
    let lent = |machine: &Machine| machine.root().number("memory.security_in_bytes") / PAGE;
    let root = machine.root().pages();
    assert_eq!(limit_errno(&a, 1000), 0);
    assert_eq!((books(&a), lent(&machine)), ([0, 1000, 1000, 0], 1000));
    assert_eq!(machine.root().pages(), root + 1000);
    let child = a.child("child");
    assert_eq!(limit_errno(&child, 600), 0);
    assert_eq!((books(&a), books(&child)), ([600, 1000, 1000, 600], [0, 600, 600, 0]));
    assert_eq!(limit_errno(&child, 200), 0);
    assert_eq!((books(&a), lent(&machine)), ([200, 1000, 1000, 200], 1000));
    child.remove().expect("it is empty");
    assert_eq!(books(&a), [0, 1000, 1000, 0]);
    a.remove().expect("it is empty");
    assert_eq!((machine.root().pages(), lent(&machine)), (root, 0));
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn limits_that_cannot_be_are_refused_and_exact_fits_are_not() {
    let machine = walled();
    let a = machine.group("A");
    assert_eq!(limit_errno(&a, 1000), 0);
    let (one, two) = (a.child("one"), a.child("two"));
    assert_eq!(limit_errno(&one, 400), 0);
    let before = counters_but_failcnt(&machine.root());
    assert_eq!(limit_errno(&two, 601), Errno::NOMEM.raw_os_error(), "more than A can lend");
    assert_eq!(limit_errno(&a, 399), Errno::BUSY.raw_os_error(), "less than A has lent");
    assert_eq!(limit_errno(&a, 1 << 30), Errno::NOMEM.raw_os_error(), "more than there is");
    assert_eq!(two.errno_of_write("memory.limit_in_bytes", "-1"), Errno::INVAL.raw_os_error());
    assert_eq!(counters_but_failcnt(&machine.root()), before);
    assert!(a.number("memory.failcnt") > 0, "a refused loan is counted");
    assert_eq!(limit_errno(&two, 600), 0, "exactly what is left");
    assert_eq!(books(&a), [1000, 1000, 1000, 1000]);
    assert_eq!(limit_errno(&a, 1000), 0);
    let mut puppet = Puppet::start(&machine, &one);
    puppet.tell("touch 100");
    // Pages of files are dropped for a lower limit, but not those that a program just now touches.
    machine.wait_until_idle();
    let used = one.stat("rss") / PAGE;
    assert_eq!(limit_errno(&one, used - 1), Errno::BUSY.raw_os_error(), "less than it uses");
    assert_eq!(limit_errno(&one, used), 0, "exactly what it uses");
    assert_eq!(puppet.ask("touch 1"), None, "and not a page more");
    assert_eq!(puppet.finish().status, 137);
    remove(&[one, two]);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_group_without_a_limit_takes_only_tasks_that_bring_nothing() {
    let machine = walled();
    let (a, b) = (machine.group("A"), machine.group("B"));
    assert_eq!(limit_errno(&a, 2000), 0);
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 100");
    let before = counters_but_failcnt(&machine.root());
    let errno = b.errno_of_write("tasks", &puppet.tid().to_string());
    assert_eq!(errno, Errno::NOMEM.raw_os_error());
    assert_eq!(counters_but_failcnt(&machine.root()), before);
    b.write("memory.recharge_policy", "none").expect("a policy can be chosen");
    b.write("tasks", &puppet.tid().to_string()).expect("it brings nothing");
    assert_eq!(puppet.ask("touch 1"), None, "a fault there is the end");
    assert_eq!(puppet.finish().status, 137);
    wait_until("it is gone", || b.tasks().is_empty());
    let refused = machine.run(&b, "quick", &[]);
    assert_eq!((refused.status, refused.stderr.lines().count()), (1, 1), "{refused:?}");
    for word in ["'/B'", "memory.limit_in_bytes", "wall"] {
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    assert_eq!(limit_errno(&b, 500), 0);
    assert_eq!(machine.run(&b, "quick", &[]).status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn writers_of_one_limit_at_once_leave_the_books_right() {
    let machine = walled();
    let a = machine.group("A");
    assert_eq!(limit_errno(&a, 5000), 0);
    let child = a.child("child");
    let mut puppet = {
        assert_eq!(limit_errno(&child, 1000), 0);
        Puppet::start(&machine, &child)
    };
    thread::scope(|scope| {
        for start in [700, 1100, 4900] {
            let child = &child;
            scope.spawn(move || {
                for step in 0..40 {
                    let errno = limit_errno(child, start + 13 * step);
                    assert!([0, Errno::NOMEM.raw_os_error()].contains(&errno), "errno {errno}");
                }
            });
        }
        puppet.tell("touch 300");
    });
    let [_, limit, borrow, _] = books(&child);
    assert_eq!((limit, books(&a)[3]), (borrow, borrow));
    machine.check();
    puppet.finish();
    remove(&[child]);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn no_number_makes_a_child_richer_than_its_parent() {
    let machine = walled();
    let a = machine.group("A");
    assert_eq!(limit_errno(&a, 1000), 0);
    let child = a.child("child");
    assert_eq!(limit_errno(&child, 400), 0);
    let refusals = [
        ("-1", Errno::INVAL),
        ("-4096", Errno::INVAL),
        // What is called unlimited elsewhere, and what is more than that.
        ("9223372036854771712", Errno::INVAL),
        ("18446744073709547520", Errno::INVAL),
        ("8388608T", Errno::INVAL),
        // A page less than that, and a page more than there is.
        ("9223372036854767616", Errno::NOMEM),
        ("8388607T", Errno::NOMEM),
        ("4100096", Errno::NOMEM),
    ];
    let before = counters_but_failcnt(&machine.root());
    for (text, errno) in refusals {
        let answer = child.errno_of_write("memory.limit_in_bytes", text);
        assert_eq!(answer, errno.raw_os_error(), "{text}");
        assert_eq!((books(&a), books(&child)), ([400, 1000, 1000, 400], [0, 400, 400, 0]));
    }
    assert_eq!(counters_but_failcnt(&machine.root()), before);
    remove(&[child, a]);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_refused_loan_shows_in_failcnt_and_in_nothing_else() {
    let machine = walled();
    let a = machine.group("A");
    assert_eq!(limit_errno(&a, 1000), 0);
    let child = a.child("child");
    assert_eq!(limit_errno(&child, 300), 0);
    let most = || a.number("memory.max_usage_in_bytes") / PAGE;
    assert_eq!((most(), a.number("memory.failcnt")), (300, 0));
    assert_eq!(limit_errno(&child, 1001), Errno::NOMEM.raw_os_error());
    assert_eq!((most(), a.number("memory.failcnt"), child.number("memory.failcnt")), (300, 1, 0));
    assert_eq!(limit_errno(&child, 1000), 0, "an exact fit");
    assert_eq!((most(), a.number("memory.failcnt")), (1000, 1));
    remove(&[child, a]);
    machine.finish();
}

/// The parent would have to write most of its pages to swap first.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_signal_ends_the_wait_for_a_loan() {
    let options = ["--memory", "256M", "--swap", "256M", "--hierarchy", "wall"];
    let machine = Machine::up_with(&options);
    let a = machine.group("A");
    assert_eq!(limit_errno(&a, 20_000), 0);
    let child = a.child("child");
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 15000");
    let text = (19_000 * PAGE).to_string();
    let file = child.dir().join("memory.limit_in_bytes");
    // On a busy machine the signal may come too late: then once more.
    wait_until("a writer was interrupted", || {
        let mut writer = Command::new("sh");
        writer.args(["-c", "echo $0 > $1", &text]).arg(&file);
        let mut writer = writer.spawn().expect("a shell");
        wait_until("pages of the parent leave", || a.stat("swap") > 0);
        kill_process(Pid::from_child(&writer), Signal::TERM).expect("nobody has waited for it yet");
        let ended = writer.wait().expect("it ends");
        let is_interrupted = ended.signal() == Some(Signal::TERM.as_raw());
        if !is_interrupted {
            assert_eq!(limit_errno(&child, 0), 0);
            puppet.tell("again 15000");
        }
        is_interrupted
    });
    assert_eq!((books(&child), books(&a)[3]), ([0; 4], 0), "nothing was lent");
    machine.check();
    assert_eq!(limit_errno(&child, 19_000), 0, "who is let wait gets it");
    assert_eq!(limit_errno(&child, 0), 0);
    puppet.finish();
    remove(&[child, a]);
    machine.finish();
}

/// With walls as without, what a task has follows it and the parents see nothing of it.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_move_between_walled_groups_touches_just_the_two() {
    let machine = walled();
    let (a, b) = (machine.group("A"), machine.group("B"));
    assert_eq!((limit_errno(&a, 2000), limit_errno(&b, 2000)), (0, 0));
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 800");
    let (root, all) = (machine.root().pages(), a.stat("rss"));
    b.write("tasks", &puppet.tid().to_string()).expect("there is room");
    assert_eq!((b.stat("rss"), a.stat("rss"), machine.root().pages()), (all, 0, root));
    puppet.finish();
    machine.finish();
}
