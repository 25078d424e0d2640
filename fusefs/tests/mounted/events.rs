//! Registrations in `cgroup.event_control`, and release agents.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use fusefs::Pressure;
use memcg::{Abi, Hierarchy};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{Mode, OFlags, open};

use crate::host::{FakeHost, Mount, group_at};
use crate::replay::{Line, transcript};

/// Far longer than anything here takes.
const DEADLINE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

fn counter() -> OwnedFd {
    eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap()
}

/// Registers `event` for a file of the group at `group`.
fn register(mount: &Mount, event: &OwnedFd, file: &str, args: &str) -> std::io::Result<()> {
    let (group, _) = file.rsplit_once('/').unwrap();
    let target = open(mount.at(file), OFlags::RDONLY, Mode::empty())?;
    let line = format!("{} {}{args}", event.as_raw_fd(), target.as_raw_fd());
    mount.write(&format!("{group}/cgroup.event_control"), &line)
}

/// Waits for a signal and returns how many there were; zero when none is there and none expected.
fn signals(event: &OwnedFd, wait: Timespec) -> u64 {
    let mut fds = [PollFd::new(event, PollFlags::IN)];
    if poll(&mut fds, Some(&wait)).unwrap() == 0 {
        return 0;
    }
    let mut buffer = [0; 8];
    rustix::io::read(event, &mut buffer).unwrap();
    u64::from_ne_bytes(buffer)
}

fn signals_now(event: &OwnedFd) -> u64 {
    signals(event, Timespec { tv_sec: 0, tv_nsec: 0 })
}

#[test]
fn registrations_are_accepted_and_refused_as_on_linux_6_18() {
    let mount = FakeHost::new(Abi::Linux618, Hierarchy::Share).mount();
    mount.mkdir("case").unwrap();
    let lines = transcript(include_str!("../golden/linux-6.18-memory.jsonl"));
    let is_plain = |line: &&Line| line.op == "register" && line.arg.is_string();
    for line in lines.iter().filter(|line| line.case == "memory.events").filter(is_plain) {
        let event = counter();
        let args = line.arg.as_str().unwrap();
        if line.path == "a/memory.usage_in_bytes" {
            break;
        }
        let target = mount.at(&format!("case/{}", line.path));
        let target = open(target, OFlags::RDONLY, Mode::empty()).unwrap();
        let text = format!("{} {}{args}", event.as_raw_fd(), target.as_raw_fd());
        let result = mount.write("case/cgroup.event_control", &text);
        let errno = result.err().map(|error| crate::replay::symbol(&error));
        assert_eq!(errno, line.expected.errno, "{} {args:?}", line.path);
    }
}

#[test]
fn a_file_of_another_group_or_of_another_file_system_is_refused() {
    let mount = FakeHost::new(Abi::Linux618, Hierarchy::Share).mount();
    mount.mkdir("a").unwrap();
    mount.mkdir("b").unwrap();
    let event = counter();
    let usage = open(mount.at("a/memory.usage_in_bytes"), OFlags::RDONLY, Mode::empty()).unwrap();
    let name = open(mount.at("a/memory.usage_in_bytes"), OFlags::PATH, Mode::empty()).unwrap();
    let null = open("/dev/null", OFlags::RDONLY, Mode::empty()).unwrap();
    for (group, event, target, errno) in [
        ("b", &event, &usage, libc::EINVAL),
        ("a", &event, &name, libc::EBADF),
        ("a", &event, &null, libc::EINVAL),
        ("a", &null, &usage, libc::EINVAL),
    ] {
        let line = format!("{} {} 1M", event.as_raw_fd(), target.as_raw_fd());
        let refused = mount.write(&format!("{group}/cgroup.event_control"), &line).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(errno), "{group} {line}");
    }
}

#[test]
fn a_threshold_signals_once_in_each_direction() {
    let host = FakeHost::new(Abi::Classic, Hierarchy::Share);
    let mount = host.mount();
    mount.mkdir("a").unwrap();
    let event = counter();
    register(&mount, &event, "a/memory.usage_in_bytes", " 40K").unwrap();
    assert_eq!(signals_now(&event), 0);
    host.start("a", 100, 10);
    assert_eq!(signals(&event, DEADLINE), 1);
    host.exit(100);
    assert_eq!(signals(&event, DEADLINE), 1);
}

#[test]
fn a_crossing_that_is_undone_at_once_signals_both_ways() {
    let host = FakeHost::new(Abi::Classic, Hierarchy::Share);
    let mount = host.mount();
    mount.mkdir("a").unwrap();
    let events = ["usage_in_bytes", "memsw.usage_in_bytes"].map(|file| {
        let event = counter();
        register(&mount, &event, &format!("a/memory.{file}"), " 40K").unwrap();
        event
    });
    for tid in 100..103 {
        host.start("a", tid, 10);
        host.exit(tid);
    }
    assert_eq!(events.each_ref().map(signals_now), [6, 6]);
}

#[test]
fn a_listener_finds_the_directory_gone_when_it_is_told() {
    let mount = FakeHost::new(Abi::Classic, Hierarchy::Share).mount();
    for round in 0..50 {
        mount.mkdir("a").unwrap();
        let event = counter();
        register(&mount, &event, "a/memory.usage_in_bytes", " 1M").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| mount.rmdir("a").unwrap());
            assert_eq!(signals(&event, DEADLINE), 1);
            assert!(!mount.at("a/cgroup.event_control").exists(), "round {round}");
        });
    }
}

#[test]
fn removing_a_group_signals_every_listener_once() {
    let mount = FakeHost::new(Abi::Classic, Hierarchy::Share).mount();
    mount.mkdir("a").unwrap();
    let events = [counter(), counter()];
    register(&mount, &events[0], "a/memory.usage_in_bytes", " 1M").unwrap();
    register(&mount, &events[1], "a/memory.oom_control", "").unwrap();
    mount.rmdir("a").unwrap();
    for event in &events {
        assert_eq!(signals(event, DEADLINE), 1);
    }
}

#[test]
fn out_of_memory_is_heard_in_the_group_and_below_it_only() {
    let host = FakeHost::new(Abi::Classic, Hierarchy::Share);
    let mount = host.mount();
    for name in ["p", "p/c", "q"] {
        mount.mkdir(name).unwrap();
    }
    let events = ["p", "p/c", "q"].map(|group| {
        let event = counter();
        register(&mount, &event, &format!("{group}/memory.oom_control"), "").unwrap();
        event
    });
    mount.listeners().out_of_memory(host.with(|memcg| group_at(memcg, "p")));
    assert_eq!(events.each_ref().map(signals_now), [1, 1, 0]);
}

#[test]
fn pressure_is_heard_by_lower_levels_and_passed_up_as_listeners_chose() {
    let host = FakeHost::new(Abi::Classic, Hierarchy::Share);
    let mount = host.mount();
    mount.mkdir("p").unwrap();
    mount.mkdir("p/c").unwrap();
    let listen = |group: &str, args: &str| {
        let event = counter();
        // The mode of the file is 0, which does not stop root.
        register(&mount, &event, &format!("{group}/memory.pressure_level"), args).unwrap();
        event
    };
    let child = [" low", " critical"].map(|args| listen("p/c", args));
    let parent = [" low", " low,hierarchy", " low,local"].map(|args| listen("p", args));
    mount.listeners().pressure(host.with(|memcg| group_at(memcg, "p/c")), Pressure::Medium);
    assert_eq!(child.each_ref().map(signals_now), [1, 0]);
    assert_eq!(parent.each_ref().map(signals_now), [0, 1, 0]);
}

#[test]
fn the_release_agent_runs_when_the_last_task_leaves_a_group_that_wants_it() {
    let host = FakeHost::new(Abi::Classic, Hierarchy::Share);
    let mount = host.mount();
    let directory = tempfile::tempdir().unwrap();
    let (agent, log) = (directory.path().join("agent"), directory.path().join("log"));
    let script =
        format!("#!/bin/sh\necho \"$# $1 $HOME\" > {0}.new; mv {0}.new {0}\n", log.display());
    std::fs::write(&agent, script).unwrap();
    std::fs::set_permissions(&agent, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(mount.read("release_agent").unwrap(), "\n");
    mount.write("release_agent", &format!(" {} \n", agent.display())).unwrap();
    mount.mkdir("a").unwrap();
    mount.mkdir("a/b").unwrap();
    mount.write("a/b/notify_on_release", "1").unwrap();
    host.start("a/b", 100, 1);

    mount.write("a/tasks", "100").unwrap();

    let begun = Instant::now();
    while !log.exists() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "1 /a/b /\n");
}
