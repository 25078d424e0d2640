//! When memory is short: pages go to swap and come back with their content.

use std::process::Command;

use rustix::io::Errno;
use vmcg_tests::PAGE;
use vmcg_tests::counters::{counters, differences};
use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;
use vmcg_tests::running::Finished;

/// A machine with as much swap as memory.
fn machine_with_swap() -> Machine {
    Machine::up_with(&["--memory", "256M", "--swap", "256M"])
}

#[track_caller]
fn expect_verified(finished: &Finished, pages: u64) {
    let said = format!("verified {pages} pages\n");
    assert_eq!((finished.status, finished.stdout.as_str()), (0, said.as_str()), "{finished:?}");
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_program_of_three_times_its_limit_finds_its_content_again() {
    let machine = machine_with_swap();
    let group = machine.group("A");
    group.set_limit(1024);
    expect_verified(&machine.run(&group, "pattern", &["12M", "1", "2"]), 2 * 3072);
    assert!(group.number("memory.failcnt") > 0);
    assert!(group.number("memory.max_usage_in_bytes") <= 1025 * PAGE);
    assert!(group.number("memory.memsw.max_usage_in_bytes") >= 3072 * PAGE);
    assert!(group.stat("pgmajfault") >= 2 * 2048, "{}", group.read("memory.stat"));
    group.expect_all_back("memory.memsw.usage_in_bytes");
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn memory_and_swap_together_have_a_limit_of_their_own() {
    let machine = machine_with_swap();
    let group = machine.group("A");
    group.set_limit(512);
    let text = (1024 * PAGE).to_string();
    group.write("memory.memsw.limit_in_bytes", &text).expect("above the limit of memory");
    expect_verified(&machine.run(&group, "pattern", &["2M", "1", "1"]), 512);
    let killed = machine.run(&group, "pattern", &["5M", "1", "1"]);
    assert_eq!((killed.status, killed.stdout.as_str()), (137, ""));
    assert!(group.number("memory.memsw.failcnt") > 0);
    assert!(group.number("memory.memsw.max_usage_in_bytes") <= 1025 * PAGE);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_device_that_fails_now_and_then_loses_no_page() {
    let machine = Machine::up_with(&["--memory", "256M", "--swap", "256M", "--swap-faults", "10"]);
    let group = machine.group("A");
    group.set_limit(1024);
    let finished = machine.run(&group, "pattern", &["8M", "1", "2"]);
    let figure = |name: &str| {
        let stat = machine.vmcg("stat", &[]).stdout;
        let line = stat.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        line.and_then(|text| text.parse::<u64>().ok()).unwrap_or_else(|| panic!("{name}: {stat}"))
    };
    assert!(figure("swap_failures ") > 0);
    assert_eq!(figure("reclaim_lost "), 0);
    expect_verified(&finished, 2 * 2048);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_limit_below_the_usage_pushes_pages_out_and_they_come_back() {
    let machine = machine_with_swap();
    let group = machine.group("A");
    let mut puppet = Puppet::start(&machine, &group);
    puppet.tell("touch 1000");
    group.set_limit(300);
    assert!(group.pages() <= 300);
    assert!(group.stat("swap") >= 700 * PAGE, "{}", group.read("memory.stat"));
    machine.check();
    puppet.tell("again 1000");
    assert_eq!(group.number("memory.memsw.failcnt"), 0);
    group.write("memory.force_empty", "0").expect("everything can go");
    assert!(group.pages() < 100, "{}", group.read("memory.stat"));
    puppet.tell("drop");
    // What is freed in swap is uncharged at once; a few pages of the program itself are there, too.
    assert!(group.stat("swap") < 100 * PAGE, "{}", group.read("memory.stat"));
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_group_at_its_limit_takes_no_page_from_an_idle_one() {
    let machine = machine_with_swap();
    let (busy, idle) = (machine.group("busy"), machine.group("idle"));
    let mut quiet = Puppet::start(&machine, &idle);
    quiet.tell("touch 500");
    let before = counters(&idle);
    busy.set_limit(512);
    expect_verified(&machine.run(&busy, "pattern", &["6M", "1", "1"]), 1536);
    assert_eq!(differences(&before, &counters(&idle)), Vec::<String>::new());
    assert_eq!(quiet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_task_that_moves_between_full_groups_keeps_its_content() {
    let machine = machine_with_swap();
    let groups = [machine.group("A"), machine.group("B")];
    for group in &groups {
        group.set_limit(1024);
        group.write("memory.move_charge_at_immigrate", "3").expect("a mask of two bits");
    }
    let program = machine.start(&groups[0], "pattern", &["8M", "1", "4"]);
    wait_until("it swaps", || groups[0].stat("swap") > 0);
    let id = groups[0].tasks().first().expect("it runs").to_string();
    for turn in 0..10 {
        // What does not fit is refused, and what is over cannot be moved.
        let errno = groups[(turn + 1) % 2].errno_of_write("tasks", &id);
        let refusals = [0, Errno::NOMEM.raw_os_error(), Errno::SRCH.raw_os_error()];
        assert!(refusals.contains(&errno), "{errno}");
    }
    machine.check();
    expect_verified(&program.finish(), 4 * 2048);
    for group in &groups {
        group.expect_all_back("memory.memsw.usage_in_bytes");
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_full_device_stops_eviction_and_loses_no_page() {
    let machine = Machine::down_yet();
    let disk = machine.folder().join("disk");
    std::fs::create_dir(&disk).expect("a folder");
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=2M", "tmpfs"]).arg(&disk);
    assert!(mount.status().expect("mount can be run").success(), "a small disk");
    let file = disk.join("swap");
    let file = file.to_str().expect("temporary folders have plain names");
    let up = machine.try_up(&["--memory", "256M", "--swap", "64M", "--swap-file", file]);
    assert_eq!(up.status, 0, "{}", up.stderr);
    let group = machine.group("A");
    group.set_limit(1024);
    assert_eq!(machine.run(&group, "pattern", &["16M", "1", "1"]).status, 137);
    let stat = machine.vmcg("stat", &[]).stdout;
    assert!(stat.contains("swap does not take pages now, and none is lost: "), "{stat}");
    group.wait_until_empty();
    expect_verified(&machine.run(&group, "pattern", &["5M", "1", "1"]), 1280);
    machine.finish();
    let umount = Command::new("umount").arg(&disk).status();
    assert!(umount.expect("umount can be run").success(), "nobody uses the disk any more");
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn time_lost_to_reclaim_is_shown_in_the_group_and_above() {
    let machine = machine_with_swap();
    let (top, calm) = (machine.group("top"), machine.group("calm"));
    let group = top.child("below");
    group.set_limit(512);
    expect_verified(&machine.run(&group, "pattern", &["4M", "1", "1"]), 1024);
    let totals = |group: &Group| -> Vec<u64> {
        let text = group.read("memory.pressure");
        let total = |line: &str| line.rsplit_once("total=").and_then(|(_, us)| us.parse().ok());
        text.lines().map(|line| total(line).unwrap_or_else(|| panic!("{text}"))).collect()
    };
    assert_eq!(totals(&calm), [0, 0]);
    assert!(totals(&group).iter().all(|&us| us > 0), "{}", group.read("memory.pressure"));
    assert_eq!(totals(&top), totals(&group));
    let text = calm.read("memory.pressure");
    let zeros = "avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
    assert_eq!(text, format!("some {zeros}full {zeros}"));
    machine.finish();
}
