//! Notifications, heard by a listener in C.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::event::{EventfdFlags, eventfd};
use vmcg_tests::PAGE;
use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::programs::program;
use vmcg_tests::puppet::Puppet;
use vmcg_tests::running::Running;

/// Starts the listener at a control file and waits until it is registered.
fn listen(program: &Path, group: &Group, file: &str, args: &str) -> Running {
    let mut command = Command::new(program);
    command.arg(group.dir().join(file)).arg(args);
    let mut listener = Running::start(command);
    assert_eq!(listener.line().as_deref(), Some("listening"), "{file} {args}");
    listener
}

/// Reads so many signals, however the eventfd has put them together.
fn expect_signals(listener: &mut Running, expected: u64) {
    let mut count = 0;
    while count < expected {
        let line = listener.line().expect("the listener lives");
        let signals = line.strip_prefix("signal ").unwrap_or_else(|| panic!("{line:?}"));
        count += signals.parse::<u64>().expect("a number");
    }
    assert_eq!(count, expected, "signals nothing has caused");
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn thresholds_signal_at_the_very_page_in_both_directions() {
    let machine = Machine::up();
    let program = program("listener");
    for (name, file) in [("A", "memory.usage_in_bytes"), ("B", "memory.memsw.usage_in_bytes")] {
        let group = machine.group(name);
        let mut puppet = Puppet::start(&machine, &group);
        let above = group.pages() + 50;
        let at = |pages: u64| (pages * PAGE).to_string();
        let mut exact = listen(&program, &group, file, &at(above));
        let mut higher = listen(&program, &group, file, &at(above + 2));
        for _ in 0..10 {
            puppet.tell("touch 49");
            puppet.tell("touch 1");
            expect_signals(&mut exact, 1);
            puppet.tell("touch 1");
            puppet.tell("drop");
            // Reading takes back what the guest has freed.
            assert!(group.pages() < above);
            expect_signals(&mut exact, 1);
        }
        puppet.tell("touch 52");
        expect_signals(&mut higher, 1);
        expect_signals(&mut exact, 1);
        assert_eq!(puppet.finish().status, 0);
        group.wait_until_empty();
        expect_signals(&mut higher, 1);
        expect_signals(&mut exact, 1);
        group.remove().expect("an empty group");
        for mut listener in [exact, higher] {
            assert_eq!(listener.line().as_deref(), Some("removed"));
            assert_eq!(listener.finish().status, 0);
        }
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_move_crosses_the_thresholds_of_both_groups() {
    let machine = Machine::up();
    let program = program("listener");
    let (from, to) = (machine.group("from"), machine.group("to"));
    let mut puppet = Puppet::start(&machine, &from);
    puppet.tell("touch 200");
    // Half of what moves; pages of files stay.
    let mut listeners = [(&from, from.pages() - 100), (&to, 100)].map(|(group, pages)| {
        listen(&program, group, "memory.usage_in_bytes", &(pages * PAGE).to_string())
    });
    to.write("cgroup.procs", &puppet.tid().to_string()).expect("there is room");
    listeners.iter_mut().for_each(|listener| expect_signals(listener, 1));
    from.write("cgroup.procs", &puppet.tid().to_string()).expect("there is room");
    listeners.iter_mut().for_each(|listener| expect_signals(listener, 1));
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn running_out_of_memory_and_critical_pressure_are_heard_and_so_is_the_removal() {
    let machine = Machine::up();
    let program = program("listener");
    let group = machine.group("A");
    let child = group.child("child");
    group.set_limit(400);
    let mut listeners = [
        listen(&program, &group, "memory.oom_control", ""),
        listen(&program, &child, "memory.oom_control", ""),
        listen(&program, &group, "memory.pressure_level", "critical"),
    ];
    assert_eq!(machine.run(&group, "hog", &["4M", "0"]).status, 137);
    for listener in &mut listeners {
        let heard = listener.line().expect("the listener lives");
        assert!(heard.starts_with("signal "), "{heard}");
    }
    group.wait_until_empty();
    child.remove().expect("an empty group");
    group.remove().expect("an empty group");
    for listener in listeners {
        let finished = listener.finish();
        assert_eq!(finished.status, 0, "{}", finished.stderr);
        assert!(finished.stdout.ends_with("removed\n"), "{}", finished.stdout);
    }
    machine.finish();
}

/// Which of the listeners above hear of pressure: in a group below in which somebody listens, in one
/// in which nobody does, and in their own.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn pressure_is_heard_at_every_level_below_it_and_above_as_each_listener_chose() {
    let program = program("listener");
    let machine = Machine::up();
    for (where_it_is, is_below, is_heard_below, expected) in [
        ("below-heard", true, true, [false, true, false]),
        ("below", true, false, [true, true, false]),
        ("own", false, false, [true, true, true]),
    ] {
        let group = machine.group(where_it_is);
        let child = group.child("child");
        let hear =
            |group: &Group, args: &str| listen(&program, group, "memory.pressure_level", args);
        let below = ["low", "medium", "critical,local"]
            .map(|args| is_heard_below.then(|| hear(&child, args)));
        let above = ["low", "medium,hierarchy", "low,local"].map(|args| hear(&group, args));
        let place = if is_below { &child } else { &group };
        place.set_limit(400);
        assert_eq!(machine.run(place, "hog", &["4M", "0"]).status, 137);
        let heard_below = below.into_iter().flatten().map(|listener| (listener, true));
        let mut listeners: Vec<_> = heard_below.chain(above.into_iter().zip(expected)).collect();
        for (listener, _) in listeners.iter_mut().filter(|(_, hears)| *hears) {
            let heard = listener.line().expect("the listener lives");
            assert!(heard.starts_with("signal "), "{where_it_is}: {heard}");
        }
        group.wait_until_empty();
        child.remove().expect("an empty group");
        group.remove().expect("an empty group");
        for (number, (listener, hears)) in listeners.into_iter().enumerate() {
            let finished = listener.finish();
            assert_eq!(finished.status, 0, "{}", finished.stderr);
            let is_silent = finished.stdout == "listening\nremoved\n";
            assert_eq!(is_silent, !hears, "{where_it_is}, {number}: {}", finished.stdout);
        }
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_listener_that_ends_is_forgotten() {
    let machine = Machine::up();
    let program = program("listener");
    let group = machine.group("A");
    let [daemon] = machine.daemons()[..] else { panic!("one daemon") };
    let descriptors = || fs::read_dir(format!("/proc/{daemon}/fd")).expect("it runs").count();
    let before = descriptors();
    let listeners: Vec<_> =
        (1..=5).map(|_| listen(&program, &group, "memory.usage_in_bytes", "1M")).collect();
    assert!(descriptors() > before);
    drop(listeners);
    wait_until("their descriptors are closed", || descriptors() <= before);
    assert_eq!(machine.run(&group, "hog", &["4M", "0"]).status, 0);
    machine.finish();
}

/// As with Linux: what counts is whether anybody can still hear, not who has asked.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_closed_eventfd_is_forgotten_and_one_that_was_registered_by_somebody_else_is_not() {
    let machine = Machine::up();
    let group = machine.group("A");
    let [daemon] = machine.daemons()[..] else { panic!("one daemon") };
    let descriptors = || fs::read_dir(format!("/proc/{daemon}/fd")).expect("it runs").count();
    let before = descriptors();
    let usage = fs::File::open(group.dir().join("memory.usage_in_bytes")).expect("a file");
    let event = || eventfd(0, EventfdFlags::empty()).expect("an eventfd");
    let (closed, passed_on) = (event(), event());
    let line = |event: &OwnedFd| format!("{} {} 1M", event.as_raw_fd(), usage.as_raw_fd());
    group.write("cgroup.event_control", &line(&closed)).expect("a registration");
    // The shell inherits both descriptors, registers, and ends.
    rustix::io::fcntl_setfd(&usage, rustix::io::FdFlags::empty()).expect("a flag of ours");
    let mut shell = Command::new("sh");
    let control = group.dir().join("cgroup.event_control");
    shell.arg("-c").arg(format!("echo '{}' > {}", line(&passed_on), control.display()));
    assert_eq!(Running::start(shell).finish().status, 0);
    assert_eq!(descriptors(), before + 2);
    drop(closed);
    wait_until("one of them is forgotten", || descriptors() == before + 1);
    assert_eq!(machine.run(&group, "hog", &["4M", "0"]).status, 0);
    let mut count = [0; 8];
    rustix::io::read(&passed_on, &mut count).expect("an eventfd is readable");
    assert!(u64::from_ne_bytes(count) > 0);
    drop(passed_on);
    wait_until("nobody is left", || descriptors() == before);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn the_release_agent_runs_when_the_last_task_has_exited() {
    let machine = Machine::up();
    let (agent, log) = (machine.folder().join("agent"), machine.folder().join("log"));
    let script = format!("#!/bin/sh\necho \"$1\" >> {}\n", log.display());
    fs::write(&agent, script).expect("a file in a new folder");
    fs::set_permissions(&agent, PermissionsExt::from_mode(0o755)).expect("a file of ours");
    let agent = agent.to_str().expect("temporary folders have plain names");
    machine.root().write("release_agent", agent).expect("the root has an agent");
    let quiet = machine.group("quiet");
    assert_eq!(machine.run(&quiet, "quick", &[]).status, 0);
    let group = machine.group("A").child("b");
    group.write("notify_on_release", "1").expect("a switch");
    let mut first = Puppet::start(&machine, &group);
    assert_eq!(machine.run(&group, "quick", &[]).status, 0);
    first.tell("touch 1");
    assert!(!log.exists(), "somebody is left in the group");
    assert_eq!(first.finish().status, 0);
    wait_until("the agent has run", || fs::read_to_string(&log).is_ok_and(|log| log == "/A/b\n"));
    machine.finish();
}
