//! `vmcg shell`: scripts with fixed paths.

use vmcg_tests::machine::Machine;
use vmcg_tests::running::Running;

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_script_with_fixed_paths_works_and_nobody_else_sees_them() {
    let machine = Machine::up();
    let script = "mkdir /sys/fs/cgroup/memory/A && \
                  echo 8M > /sys/fs/cgroup/memory/A/memory.limit_in_bytes && \
                  cat /sys/fs/cgroup/hugetlb/A/memory.limit_in_bytes && \
                  ls /sys/fs/cgroup; exit 7";
    let before = std::fs::read_dir("/sys/fs/cgroup").expect("this host has cgroups").count();
    let shell = machine.vmcg("shell", &["--", "sh", "-c", script]);
    assert_eq!(shell.status, 7, "{}", shell.stderr);
    let mut lines = shell.stdout.lines();
    assert_eq!(lines.next(), Some("8388608"));
    let seen: Vec<_> = lines.collect();
    assert!(seen.contains(&"memory") && seen.contains(&"hugetlb"), "{seen:?}");
    assert!(seen.len() >= before, "everything else is still there: {seen:?}");
    let group = machine.root().children().remove(0);
    assert_eq!((group.path(), group.number("memory.limit_in_bytes")), ("/A", 8 << 20));
    let outside = std::fs::read_dir("/sys/fs/cgroup").expect("this host has cgroups").count();
    assert_eq!(outside, before);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_command_that_cannot_be_run_is_named_and_a_machine_that_is_not_there_too() {
    let machine = Machine::up();
    let shell = machine.vmcg("shell", &["--", "/no/such/command"]);
    assert_eq!((shell.status, shell.stderr.lines().count()), (1, 1), "{}", shell.stderr);
    assert!(shell.stderr.contains("/no/such/command"), "{}", shell.stderr);
    machine.finish();
    let nobody = Machine::down_yet();
    let shell = nobody.vmcg("shell", &["--", "true"]);
    assert_eq!((shell.status, shell.stderr.lines().count()), (1, 1), "{}", shell.stderr);
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_machine_goes_down_under_an_open_shell() {
    let machine = Machine::up();
    let script = "echo ready; read line; cat /sys/fs/cgroup/memory/tasks";
    let mut command = machine.command("shell");
    command.args(["--", "sh", "-c", script]);
    let mut shell = Running::start(command);
    assert_eq!(shell.line().as_deref(), Some("ready"));
    machine.finish();
    let finished = shell.finish_with("\n");
    assert_ne!(finished.status, 0, "the files went with the machine");
}
