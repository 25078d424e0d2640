//! Users without privilege at the control files of a machine of root.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;
use vmcg_tests::running::{Finished, Running};

const NOBODY: u32 = 65_534;

/// Runs a script as a user without privilege, in the root group's directory.
fn as_nobody(machine: &Machine, script: &str) -> Finished {
    let mut command = Command::new("sh");
    command.args(["-c", script]).uid(NOBODY).gid(NOBODY).current_dir(machine.mount());
    Running::start(command).finish()
}

fn expect_refusals(machine: &Machine, scripts: &[&str]) {
    for script in scripts {
        let refused = as_nobody(machine, script);
        assert_ne!(refused.status, 0, "{script}");
        let is_told = ["Permission denied", "Operation not permitted"]
            .iter()
            .any(|reason| refused.stderr.contains(reason));
        assert!(is_told, "{script}: {}", refused.stderr);
    }
}

fn expect_successes(machine: &Machine, scripts: &[&str]) {
    for script in scripts {
        let done = as_nobody(machine, script);
        assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{script}");
    }
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn another_user_looks_and_changes_nothing() {
    let machine = Machine::up();
    let group = machine.group("A");
    group.set_limit(4096);
    expect_successes(
        &machine,
        &[
            "ls -l . A; cat memory.stat tasks A/memory.usage_in_bytes A/cgroup.procs",
            "find . -type f -perm -o=r -exec cat {} + > /dev/null 2>&1; true",
        ],
    );
    expect_refusals(
        &machine,
        &[
            "echo 1M > A/memory.limit_in_bytes",
            "echo 0 > A/memory.failcnt",
            "echo 0 > A/memory.force_empty",
            "echo 2 > A/tasks",
            "echo /bin/true > release_agent",
            "cat A/memory.pressure_level",
            "mkdir x",
            "mkdir A/x",
            "rmdir A",
            "mv A B",
            "rm A/tasks",
            "chmod 777 A",
            "chown 65534 A/tasks",
        ],
    );
    assert_eq!(machine.root().children().len(), 1);
    assert_eq!(group.number("memory.limit_in_bytes"), 16 << 20);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_group_that_was_given_away_is_its_new_owners_but_tasks_stay_with_who_runs_the_machine() {
    let machine = Machine::up();
    let (given, other) = (machine.group("given"), machine.group("other"));
    let puppet = Puppet::start(&machine, &given);
    let tid = puppet.tid();
    for name in [".", "tasks", "cgroup.procs", "memory.limit_in_bytes", "memory.oom_control"] {
        chown(given.dir().join(name), Some(NOBODY), Some(NOBODY)).expect("root gives away");
    }
    expect_successes(
        &machine,
        &[
            "echo 64M > given/memory.limit_in_bytes",
            "mkdir given/x && test $(stat -c %u given/x/tasks) = 65534",
            "echo 32M > given/x/memory.limit_in_bytes",
            "echo 1 > given/x/notify_on_release",
            "mv given/x given/y && rmdir given/y",
        ],
    );
    expect_refusals(
        &machine,
        &[
            // Not given away.
            "echo 60 > given/memory.swappiness",
            "echo 64M > other/memory.limit_in_bytes",
            "echo 64M > memory.limit_in_bytes",
            "rmdir given",
            // The files are, the task is not. (Busybox's tee says nothing but that there was an error.)
            &format!("mkdir given/x; echo {tid} | dd of=given/x/tasks"),
            &format!("echo {tid} | dd of=given/x/cgroup.procs"),
            &format!("echo {tid} | dd of=other/tasks"),
        ],
    );
    assert_eq!(given.number("memory.limit_in_bytes"), 64 << 20);
    assert_eq!((given.tasks(), other.tasks()), (vec![tid], Vec::new()));
    // Limits that it set hold for tasks of others.
    expect_successes(&machine, &["echo 1M > given/memory.limit_in_bytes"]);
    assert_eq!(machine.run(&given, "hog", &["4M", "0"]).status, 137);
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}
