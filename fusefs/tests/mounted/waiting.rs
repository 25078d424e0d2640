//! Writers that wait for the guest.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use memcg::{Abi, Hierarchy};
use rustix::process::{Pid, Signal, kill_process};

use crate::host::{FakeHost, Mount};

/// Waits until `is_so`; far longer than anything here takes.
fn wait_until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never came to be so");
        std::thread::yield_now();
    }
}

/// Starts a process that writes task 100 into the tasks of `b`.
fn mover(mount: &Mount) -> Child {
    let mut command = Command::new("sh");
    command.arg("-c").arg("echo 100 > \"$0\"").arg(mount.at("b/tasks"));
    command.stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn readers_do_not_wait_for_a_writer_that_waits_for_the_guest() {
    let host = FakeHost::new(Abi::Classic, Hierarchy::Share);
    let mount = host.mount();
    mount.mkdir("a").unwrap();
    mount.mkdir("b").unwrap();
    host.start("a", 100, 10);
    host.hold_moves(true);
    let mut movers: Vec<Child> = (0..8).map(|_| mover(&mount)).collect();
    wait_until(|| host.moves_held() > 0);

    assert_eq!(mount.read("a/memory.usage_in_bytes").unwrap(), "40960\n");
    assert_eq!(mount.read("b/tasks").unwrap(), "");
    mount.write("b/memory.limit_in_bytes", "1M").unwrap();

    host.hold_moves(false);
    for mover in &mut movers {
        mover.wait().unwrap();
    }
    assert_eq!(mount.read("b/tasks").unwrap(), "100\n");
    assert_eq!(mount.read("b/memory.usage_in_bytes").unwrap(), "40960\n");
}

#[test]
fn a_signal_ends_a_move_and_the_task_stays() {
    let host = FakeHost::new(Abi::Classic, Hierarchy::Share);
    let mount = host.mount();
    mount.mkdir("a").unwrap();
    mount.mkdir("b").unwrap();
    host.start("a", 100, 10);
    host.hold_moves(true);
    let mut mover = mover(&mount);
    wait_until(|| host.moves_held() == 1);

    kill_process(Pid::from_child(&mover), Signal::TERM).unwrap();

    assert!(!mover.wait().unwrap().success());
    assert_eq!(host.moves_held(), 0);
    assert_eq!(mount.read("a/tasks").unwrap(), "100\n");
    assert_eq!(mount.read("a/memory.usage_in_bytes").unwrap(), "40960\n");
    assert_eq!(mount.read("b/memory.usage_in_bytes").unwrap(), "0\n");
}
