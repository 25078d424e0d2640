//! Kernel memory while groups come and go: stories from a shell, removals that race with allocation and
//! with frees from elsewhere, activation that races with fork, and rounds that leave nothing behind.

use std::fs;

use vmcg_tests::PAGE;
use vmcg_tests::deadline::{DEADLINE, wait_until};
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;
use vmcg_tests::running::Running;

use super::kmem::{FAILCNT, LIMIT, USAGE, kill_everything, slab_pages};

const PEAK: &str = "memory.kmem.max_usage_in_bytes";
const EBUSY: i32 = 16;

/// Runs a line of the shell in a group.
#[track_caller]
fn shell(machine: &Machine, group: &Group, line: &str) {
    let ran = machine.exec_file(group, "/bin/sh".as_ref(), &["-c", line]).finish();
    assert_eq!(ran.status, 0, "{line}: {}{}", ran.stdout, ran.stderr);
}

/// A limit that a shell and a mkdir need, but for a few pages: then it takes some dozens of directories
/// to reach it. Most of the peak of usage may be leave that was not used.
fn least_limit(machine: &Machine, group: &Group) -> u64 {
    let makes = |name: u64| {
        let line = format!("mkdir /dev/shm/{name}; true");
        let made = machine.exec_file(group, "/bin/bash".as_ref(), &["-c", &line]).finish();
        wait_until("the shell is gone", || group.tasks().is_empty());
        made.status == 0 && made.stderr.is_empty()
    };
    assert!(makes(0), "there is no limit");
    let peak = group.number(PEAK);
    let is_enough = |limit: &u64| {
        group.write(LIMIT, &limit.to_string()).expect("more than is used");
        makes(*limit)
    };
    let limits = (1..8).map(|step| peak - step * 4 * PAGE);
    limits.take_while(is_enough).last().unwrap_or(peak)
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn while_true_mkdir_and_cd_stops_with_enomem_and_is_freed_with_its_files() {
    let machine = Machine::up();
    let (group, other) = (machine.group("A"), machine.group("B"));
    group.write(LIMIT, "-1").expect("a limit");
    let enough = least_limit(&machine, &group);
    group.write(LIMIT, &enough.to_string()).expect("more than is used");
    for file in [FAILCNT, PEAK] {
        group.write(file, "0").expect("it can be reset");
    }
    let story = "exec 2>&1; cd /dev/shm; while true; do mkdir x; cd x; done";
    // Traced, so that a slow machine has something to show for it all the time.
    let mut digging = machine.exec_file(&group, "/bin/bash".as_ref(), &["-x", "-c", story]);
    let mut line = String::new();
    while !line.contains("Cannot allocate memory") {
        line = digging.line().expect("it says why it stops");
    }
    assert!(group.number(FAILCNT) > 0);
    assert!(group.number(PEAK) <= enough);
    shell(&machine, &other, "mkdir /dev/shm/mine && rmdir /dev/shm/mine");
    assert_eq!((other.number(USAGE), other.number(FAILCNT)), (0, 0), "nobody else notices");
    // The shell goes on for ever where it is mkdir that is refused, and gives up where it is fork.
    kill_everything(&machine, &other);
    assert!(digging.has_ended_within(DEADLINE), "the shell's client ends");
    wait_until("the programs are gone", || group.tasks().is_empty());
    shell(&machine, &other, "cd /dev/shm/x/x && rm -r /dev/shm/*");
    group.write("memory.force_empty", "0").expect("names of programs are only kept");
    assert_eq!((group.number(USAGE), slab_pages(&group)), (0, 0));
    machine.finish();
}

/// Programs that make and remove the same files, each in a group of its own.
fn strugglers(machine: &Machine, top: &Group) -> Vec<(Group, Running)> {
    let start = |name: &str| {
        let group = top.child(name);
        let args = ["-x", "100000000", "/dev/shm/field", "7"];
        let running = machine.start(&group, "nest", &args);
        wait_until("it works", || !group.tasks().is_empty());
        (group, running)
    };
    ["one", "two"].into_iter().map(start).collect()
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn groups_are_removed_while_others_free_what_was_theirs() {
    for offline in ["reparent", "drain", "zombie"] {
        let machine = Machine::up_with(&["--memory", "64M", "--offline", offline]);
        let (top, other) = (machine.group("top"), machine.group("other"));
        top.write(LIMIT, "8M").expect("a limit");
        shell(&machine, &other, "mkdir /dev/shm/field");
        let strugglers = strugglers(&machine, &top);
        for round in 0..8 {
            let group = top.child("passing");
            let seed = (100 + round).to_string();
            let passing = machine.run(&group, "nest", &["-x", "600", "/dev/shm/field", &seed]);
            assert_eq!(passing.status, 0, "{offline}: {}", passing.stderr);
            // At once, while the guest still takes the task apart.
            wait_until("the group can be removed", || match group.remove() {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(EBUSY), "{offline}");
                    false
                }
            });
        }
        machine.check();
        let dead = machine.vmcg("ps", &["--dead"]).stdout;
        assert_eq!(dead.contains("/top/passing"), dead.lines().count() > 1, "{offline}: {dead}");
        assert!(offline != "reparent" || !dead.contains("/top"), "{offline}: {dead}");
        kill_everything(&machine, &other);
        for (group, mut running) in strugglers {
            assert!(running.has_ended_within(DEADLINE), "{offline}: it was killed");
            wait_until("its tasks are gone", || group.tasks().is_empty());
            group.remove().expect("a group without tasks");
        }
        shell(&machine, &other, "rm -r /dev/shm/field");
        wait_until("nothing is left of anybody", || top.number(USAGE) == 0);
        assert_eq!(slab_pages(&top), 0, "{offline}");
        wait_until("no dead group is left", || {
            machine.vmcg("ps", &["--dead"]).stdout.lines().count() <= 1
        });
        let stat = machine.vmcg("stat", &[]).stdout;
        let lies = stat.lines().find(|line| line.starts_with("guest_lies "));
        assert!(lies.is_some_and(|line| line.ends_with(" 0")), "{offline}: {lies:?}");
        machine.finish();
    }
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_first_limit_that_races_with_forks_is_refused_or_counts_from_then_on() {
    let machine = Machine::up();
    let mut outcomes = [0, 0];
    for round in 0..24 {
        let group = machine.group(&format!("race-{round}"));
        let args = ["-c", "true & true & wait"];
        let racing = machine.exec_file(&group, "/bin/sh".as_ref(), &args);
        // Now before the first task, now in the midst of forks.
        if round % 2 == 1 {
            wait_until("a task is there, or was", || {
                !group.tasks().is_empty() || group.number("memory.max_usage_in_bytes") > 0
            });
        }
        let answer = group.errno_of_write(LIMIT, "4M");
        assert!(answer == 0 || answer == EBUSY, "round {round}: {answer}");
        outcomes[usize::from(answer == 0)] += 1;
        let unlimited = group.read(LIMIT) == "9223372036854771712\n";
        assert_eq!(unlimited, answer == EBUSY, "round {round}: refused, nothing has changed");
        assert_eq!(racing.finish().status, 0, "round {round}");
        wait_until("its tasks are gone", || group.tasks().is_empty());
        group.write("memory.force_empty", "0").expect("names of programs are only kept");
        assert_eq!(group.number(USAGE), 0, "round {round}: all that was counted is given back");
        if answer == EBUSY {
            assert_eq!(group.number(PEAK), 0, "round {round}");
        }
        machine.check();
        group.remove().expect("a group without tasks");
    }
    assert_eq!(outcomes[0] + outcomes[1], 24);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn what_a_dead_group_only_keeps_goes_when_those_above_or_the_whole_guest_are_short() {
    let machine = Machine::up_with(&["--memory", "64M", "--offline", "zombie"]);
    let (top, other) = (machine.group("top"), machine.group("other"));
    top.write(LIMIT, "-1").expect("a limit");
    let leave_dead = |name: &str| {
        let child = top.child(name);
        let sought = machine.run(&child, "nest", &["-s", "3000", "/root"]);
        assert_eq!(sought.status, 0, "{}", sought.stderr);
        wait_until("the group can be removed", || child.remove().is_ok());
        let dead = machine.vmcg("ps", &["--dead"]).stdout;
        assert!(dead.contains(&format!("/top/{name}")), "{dead}");
    };
    let has_dead = || machine.vmcg("ps", &["--dead"]).stdout.contains("/top/");
    leave_dead("limited");
    assert!(top.number(USAGE) > 40 * PAGE);
    top.write("memory.limit_in_bytes", "64K").expect("names give way");
    assert!(top.number("memory.usage_in_bytes") <= 64 << 10);
    top.write("memory.limit_in_bytes", "-1").expect("a limit can be lifted");
    top.write("memory.force_empty", "0").expect("force_empty takes anything");
    assert!(!has_dead(), "nothing is left to keep it");
    leave_dead("global");
    // Twice what there is: somebody dies of it, but not before names have gone.
    let hog = machine.run(&other, "hog", &["128M"]);
    assert_ne!(hog.status, 0, "{}", hog.stdout);
    wait_until("the dead group is gone", || !has_dead());
    assert_eq!(top.number(USAGE), 0);
    machine.finish();
}

/// Anonymous memory of the machine's daemon in KiB.
fn daemon_kib(machine: &Machine) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", machine.daemons()[0]));
    let status = status.expect("the daemon runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a size in kB")
}

/// Frames that the guest has handed out.
fn guest_frames(machine: &Machine) -> u64 {
    let stat = machine.vmcg("stat", &[]).stdout;
    let line = stat.lines().find_map(|line| line.strip_prefix("guest_frames_in_use "));
    line.and_then(|line| line.trim().parse().ok()).expect("a count")
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn rounds_of_groups_that_used_kernel_memory_leave_memory_flat() {
    /// Of create, allocate and remove; the accounting alone does 100,000 in a test of its own.
    const ROUNDS: usize = 400;
    for offline in ["reparent", "drain", "zombie"] {
        let machine = Machine::up_with(&["--memory", "64M", "--offline", offline]);
        let top = machine.group("top");
        top.write(LIMIT, "-1").expect("a limit");
        let home = top.child("home");
        let mut puppet = Puppet::start(&machine, &home);
        let tid = puppet.tid().to_string();
        // What of its text this takes is charged at home, where it stays for as long as the program runs.
        puppet.tell("fork");
        puppet.tell("reap");
        let mut round = || {
            let group = top.child("passing");
            group.write("tasks", &tid).expect("there is room");
            puppet.tell("fork");
            puppet.tell("reap");
            assert!(group.number(PEAK) > 4 * PAGE, "it was charged");
            home.write("tasks", &tid).expect("there is room");
            group.remove().expect("a group without tasks");
        };
        (0..ROUNDS / 4).for_each(|_| round());
        // The guest lets go of a removed group when it gets to it.
        let no_dead = || machine.vmcg("ps", &["--dead"]).stdout.lines().count() == 1;
        wait_until("no dead group is left", no_dead);
        let before = (guest_frames(&machine), top.number(USAGE));
        let kib = daemon_kib(&machine);
        (ROUNDS / 4..ROUNDS).for_each(|_| round());
        wait_until("no dead group is left", no_dead);
        assert_eq!((guest_frames(&machine), top.number(USAGE)), before, "{offline}");
        let grown = daemon_kib(&machine).saturating_sub(kib);
        // Its tables have 24 bytes for each of 32,768 frames, and are backed where a frame is used first.
        assert!(grown < 2048, "{offline}: the daemon has grown by {grown} KiB");
        puppet.finish();
        machine.finish();
    }
}
