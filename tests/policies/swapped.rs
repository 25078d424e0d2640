//! Pages on swap follow a moved task.

use rustix::io::Errno;
use vmcg_tests::PAGE;
use vmcg_tests::counters::counters_but_failcnt;
use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

const CARRYING: [&str; 5] = ["rollback", "reserve", "precharge", "half", "lazy"];

fn choose(group: &Group, policy: &str) {
    group.write("memory.recharge_policy", policy).expect("a policy can be chosen");
}

fn memsw(group: &Group) -> u64 {
    group.number("memory.memsw.usage_in_bytes") / PAGE
}

/// A machine with swap and two groups, and in the first a puppet that has 1000 pages, most on swap.
fn swapped(hierarchy: &str) -> (Machine, [Group; 2], Puppet) {
    let options = ["--memory", "256M", "--swap", "256M", "--hierarchy", hierarchy];
    let machine = Machine::up_with(&options);
    let groups = ["A", "B"].map(|name| machine.group(name));
    groups.iter().for_each(|group| group.set_limit(2000));
    let mut puppet = Puppet::start(&machine, &groups[0]);
    puppet.tell("touch 1000");
    groups[0].set_limit(300);
    assert!(groups[0].stat("swap") >= 700 * PAGE, "{}", groups[0].read("memory.stat"));
    groups[0].set_limit(2000);
    (machine, groups, puppet)
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn pages_on_swap_follow_by_every_policy_in_both_hierarchies() {
    for hierarchy in ["share", "wall"] {
        let (machine, groups, mut puppet) = swapped(hierarchy);
        let tid = puppet.tid().to_string();
        for (turn, policy) in CARRYING.iter().enumerate() {
            let (from, to) = (&groups[turn % 2], &groups[(turn + 1) % 2]);
            let (anon, swap) = (from.stat("rss"), from.stat("swap"));
            let sums = [Group::pages, memsw].map(|usage| usage(from) + usage(to));
            choose(to, policy);
            to.write("tasks", &tid).expect("there is room");
            wait_until("its pages have moved", || to.stat("rss") == anon);
            assert_eq!((from.stat("rss"), from.stat("swap"), to.stat("swap")), (0, 0, swap));
            let now = [Group::pages, memsw].map(|usage| usage(from) + usage(to));
            assert_eq!(now, sums, "{hierarchy} {policy}");
            assert_eq!(memsw(to) - to.pages(), swap / PAGE, "{hierarchy} {policy}");
            if *policy != "lazy" {
                let last = from.read("memory.recharge_last");
                assert!(last.contains(&format!("moved_swap {swap}\n")), "{last}");
            }
            machine.check();
        }
        assert_eq!(puppet.tell("sum 1000"), 1000, "every page has its content");
        assert_eq!(groups[1].stat("swap") % PAGE, 0);
        puppet.finish();
        for group in &groups {
            group.wait_until_empty();
            assert_eq!(memsw(group), 0);
            wait_until("its tasks are gone", || group.tasks().is_empty());
            group.remove().expect("a group without tasks can be removed");
        }
        machine.finish();
    }
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_limit_of_memsw_refuses_pages_on_swap_and_nothing_changes() {
    let (machine, [a, b], mut puppet) = swapped("share");
    let tid = puppet.tid().to_string();
    let need = (a.stat("rss") + a.stat("swap")) / PAGE;
    b.set_limit(need - 1);
    b.write("memory.memsw.limit_in_bytes", &((need - 1) * PAGE).to_string()).expect("not lower");
    for policy in ["rollback", "reserve", "precharge"] {
        choose(&b, policy);
        let before = counters_but_failcnt(&machine.root());
        assert_eq!(b.errno_of_write("tasks", &tid), Errno::NOMEM.raw_os_error(), "{policy}");
        assert_eq!(counters_but_failcnt(&machine.root()), before, "{policy}");
    }
    b.write("memory.memsw.limit_in_bytes", &(need * PAGE).to_string()).expect("higher");
    b.write("tasks", &tid).expect("an exact fit");
    assert_eq!((memsw(&b), a.stat("swap")), (need, 0));
    b.write("memory.memsw.limit_in_bytes", "-1").expect("a limit can be lifted");
    b.write("memory.limit_in_bytes", "-1").expect("a limit can be lifted");
    assert_eq!(puppet.tell("sum 1000"), 1000);
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn content_survives_moves_by_every_policy_while_pages_come_and_go() {
    let machine = Machine::up_with(&["--memory", "256M", "--swap", "256M"]);
    let groups = ["A", "B"].map(|name| machine.group(name));
    groups.iter().for_each(|group| group.set_limit(1024));
    let mut program = machine.start(&groups[0], "pattern", &["8M", "1", "4"]);
    wait_until("it swaps", || groups[0].stat("swap") > 0);
    let tid = groups[0].tasks().first().expect("it runs").to_string();
    let refusals = [0, Errno::NOMEM.raw_os_error(), Errno::SRCH.raw_os_error()];
    for (turn, policy) in CARRYING.iter().cycle().take(15).enumerate() {
        let to = &groups[(turn + 1) % 2];
        choose(to, policy);
        let errno = to.errno_of_write("tasks", &tid);
        assert!(refusals.contains(&errno), "{policy}: {errno}");
        machine.check();
    }
    assert_eq!(program.line().as_deref(), Some("verified 8192 pages"));
    assert_eq!(program.finish().status, 0);
    for group in &groups {
        group.wait_until_empty();
        assert_eq!(memsw(group), 0);
    }
    machine.finish();
}
