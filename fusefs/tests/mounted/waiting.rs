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

/// Starts a process that writes into a file, and prints what write(2) returns and the errno. SIGUSR1
/// does nothing to it but to interrupt it.
fn writer(mount: &Mount, name: &str, text: &str) -> Child {
    const SCRIPT: &str = "\
import ctypes, os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: None)
libc = ctypes.CDLL(None, use_errno=True)
text = sys.argv[2].encode()
result = libc.write(os.open(sys.argv[1], os.O_WRONLY), text, len(text))
print(result, ctypes.get_errno())
";
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(mount.at(name)).arg(text);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn readers_do_not_wait_for_a_writer_that_waits_for_the_guest() {
    let host = FakeHost::new(Abi::Classic, Hierarchy::Share);
    let mount = host.mount();
    mount.mkdir("a").unwrap();
    mount.mkdir("b").unwrap();
    host.start("a", 100, 10);
    host.hold(true);
    let mut movers: Vec<Child> = (0..8).map(|_| mover(&mount)).collect();
    wait_until(|| host.held() > 0);

    assert_eq!(mount.read("a/memory.usage_in_bytes").unwrap(), "40960\n");
    assert_eq!(mount.read("b/tasks").unwrap(), "");
    mount.write("b/memory.limit_in_bytes", "1M").unwrap();

    host.hold(false);
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
    host.hold(true);
    let mut mover = mover(&mount);
    wait_until(|| host.held() == 1);

    kill_process(Pid::from_child(&mover), Signal::TERM).unwrap();

    assert!(!mover.wait().unwrap().success());
    assert_eq!(host.held(), 0);
    assert_eq!(mount.read("a/tasks").unwrap(), "100\n");
    assert_eq!(mount.read("a/memory.usage_in_bytes").unwrap(), "40960\n");
    assert_eq!(mount.read("b/memory.usage_in_bytes").unwrap(), "0\n");
}

#[test]
fn a_signal_ends_the_wait_for_memory_to_be_reclaimed_and_the_limit_stays() {
    let host = FakeHost::new(Abi::Classic, Hierarchy::Share);
    let mount = host.mount();
    mount.mkdir("a").unwrap();
    mount.write("a/memory.limit_in_bytes", "1M").unwrap();
    host.start("a", 100, 10);
    for (name, text) in [("memory.limit_in_bytes", "4096"), ("memory.force_empty", "0")] {
        host.hold(true);
        let writer = writer(&mount, &format!("a/{name}"), text);
        wait_until(|| host.held() == 1);

        kill_process(Pid::from_child(&writer), Signal::USR1).unwrap();
        host.hold(false);

        let answer = String::from_utf8(writer.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(answer, format!("-1 {}\n", libc::EINTR), "{name}");
        assert_eq!(mount.read("a/memory.limit_in_bytes").unwrap(), "1048576\n");
        assert_eq!(mount.read("a/memory.usage_in_bytes").unwrap(), "40960\n");
    }
}

/// A machine with walls, whose group `a` has 200 of its 256 pages in use and a child that has none.
fn lender() -> (std::sync::Arc<FakeHost>, Mount) {
    let host = FakeHost::new(Abi::Classic, Hierarchy::Wall);
    let mount = host.mount();
    mount.mkdir("a").unwrap();
    mount.write("a/memory.limit_in_bytes", "1M").unwrap();
    mount.mkdir("a/child").unwrap();
    host.start("a", 100, 200);
    (host, mount)
}

/// Fault 9 of the May 2008 posting: nothing ended a loop that waited for the parent.
#[test]
fn a_signal_ends_the_wait_for_a_loan() {
    let (host, mount) = lender();
    host.hold(true);
    let writer = writer(&mount, "a/child/memory.limit_in_bytes", "512K");
    wait_until(|| host.held() == 1);

    kill_process(Pid::from_child(&writer), Signal::USR1).unwrap();
    host.hold(false);

    let answer = String::from_utf8(writer.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(answer, format!("-1 {}\n", libc::EINTR));
    let zero = "0\n";
    for name in ["a/child/memory.limit_in_bytes", "a/child/memory.borrow_in_bytes"] {
        assert_eq!(mount.read(name).unwrap(), zero, "{name}");
    }
    assert_eq!(mount.read("a/memory.security_in_bytes").unwrap(), zero);
}

#[test]
fn more_than_a_parent_could_ever_lend_is_refused_without_taking_its_pages() {
    let (host, mount) = lender();
    mount.mkdir("a/other").unwrap();
    mount.write("a/other/memory.limit_in_bytes", "64K").unwrap();
    // Whoever asked for pages now would wait for ever.
    host.hold(true);
    for text in ["1M", "964K", "9223372036854767616"] {
        let refused = mount.write("a/child/memory.limit_in_bytes", text).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOMEM), "{text}");
    }
    assert_eq!(host.held(), 0);
    host.hold(false);
}
