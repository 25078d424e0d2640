//! Programs that show what groups of system calls do, run natively and in the guest; and programs
//! that ask for too much.

use std::process::Command;
use std::time::{Duration, Instant};

use vmcg_tests::deadline::DEADLINE;
use vmcg_tests::machine::Machine;
use vmcg_tests::programs::conformance_programs;
use vmcg_tests::running::Running;

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn every_conformance_program_prints_what_it_prints_natively() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut different = Vec::new();
    for path in conformance_programs() {
        let native = Running::start(Command::new(&path)).finish_with("input");
        let guest = machine.exec_file(&group, path.as_os_str(), &[]).finish_with("input");
        if guest != native {
            different.push(format!("{}\n native {native:#?}\n guest {guest:#?}", path.display()));
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_process_reads_the_name_of_its_group() {
    let machine = Machine::up();
    let outer = machine.group("A");
    let inner = machine.group("A/B");
    for (group, line) in
        [(&machine.root(), "1:memory:/\n"), (&outer, "1:memory:/A\n"), (&inner, "1:memory:/A/B\n")]
    {
        let own = ["/proc/self/cgroup"];
        assert_eq!(machine.exec_file(group, "/bin/cat".as_ref(), &own).finish().stdout, line);
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_fork_bomb_hurts_itself_only_and_can_be_killed() {
    let machine = Machine::up();
    let bomb = machine.group("bomb");
    let other = machine.group("other");
    bomb.set_limit(1024);
    let script = "f() { f & f; }; f";
    let mut running = machine.exec_file(&bomb, "/bin/sh".as_ref(), &["-c", script]);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        let quiet = machine.exec_file(&other, "/bin/echo".as_ref(), &["alive"]).finish();
        assert_eq!((quiet.status, quiet.stdout.as_str()), (0, "alive\n"), "{}", quiet.stderr);
    }
    let kill = machine.exec_file(&other, "/bin/sh".as_ref(), &["-c", "kill -9 -1"]).finish();
    assert_eq!(kill.status, 0, "{}", kill.stderr);
    bomb.wait_until_empty();
    assert!(running.has_ended_within(DEADLINE), "the bomb's client ends");
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn random_system_calls_bring_nothing_down() {
    let machine = Machine::up();
    let group = machine.group("A");
    for seed in ["1", "2", "3"] {
        let calls = machine.run(&group, "randomcalls", &[seed, "40"]);
        assert_eq!(calls.status, 0, "seed {seed}: {}", calls.stderr);
        assert!(calls.stdout.ends_with("40 children\n"), "seed {seed}: {}", calls.stdout);
        machine.check();
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn nothing_is_left_charged_after_stress() {
    let machine = Machine::up();
    let group = machine.group("A");
    let words = "--vm 2 --vm-bytes 16M --fork 2 --pipe 1 --futex 1 --timeout 30 --temp-path /tmp";
    let words: Vec<&str> = words.split(' ').collect();
    let stressed = machine.exec_file(&group, "/usr/bin/stress-ng".as_ref(), &words).finish();
    assert_eq!(stressed.status, 0, "{}{}", stressed.stdout, stressed.stderr);
    group.wait_until_empty();
    machine.check();
    assert_eq!(group.pages(), 0, "everything is given back");
    machine.finish();
}
