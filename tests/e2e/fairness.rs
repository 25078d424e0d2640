//! Programs take turns: many tasks of one `vmcg exec` do not keep another one from running.

use std::ffi::OsStr;

use vmcg_tests::deadline::{DEADLINE, wait_until};
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;

const CROWD: u32 = 16;

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn one_task_gets_as_much_as_the_many_of_another_program() {
    let machine = Machine::up();
    let (quiet, crowded) = (machine.group("quiet"), machine.group("crowded"));
    let script = format!("for i in $(seq {CROWD}); do (while :; do :; done) & done; read line");
    let crowd = machine.exec_file(&crowded, "/bin/sh".as_ref(), &["-c", &script]);
    wait_until("the crowd is there", || crowded.tasks().len() > 16);
    let share = share_of_cpu(&machine, &quiet);
    // Of two programs, one half; of seventeen tasks, a seventeenth. However slow this machine is, its
    // slowness is spread over all of them.
    assert!(share > 0.2, "{share} of the time beside {CROWD} tasks");
    kill_everything(&machine, &quiet);
    assert_eq!(crowd.finish().status, 137);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn beside_a_fork_bomb_programs_run_and_one_kill_ends_it() {
    let machine = Machine::up();
    let (bomb, other) = (machine.group("bomb"), machine.group("other"));
    bomb.write("memory.limit_in_bytes", "128M").expect("a limit");
    let script = "f() { f & f; }; f";
    let mut bombing = machine.exec_file(&bomb, "/bin/sh".as_ref(), &["-c", script]);
    wait_until("the bomb has gone off", || bomb.tasks().len() > 300);
    let alive = machine.exec_file(&other, "/bin/echo".as_ref(), &["alive"]).finish();
    assert_eq!((alive.status, alive.stdout.as_str()), (0, "alive\n"), "{}", alive.stderr);
    kill_everything(&machine, &other);
    bomb.wait_until_empty();
    assert!(bombing.has_ended_within(DEADLINE), "the bomb's client ends");
    machine.finish();
}

fn kill_everything(machine: &Machine, group: &Group) {
    let kill = ["-c", "kill -9 -1"];
    let killed = machine.exec_file(group, OsStr::new("/bin/sh"), &kill).finish();
    assert_eq!(killed.status, 0, "{}", killed.stderr);
}

/// Of the time that a computation took, the part in which it ran.
fn share_of_cpu(machine: &Machine, group: &Group) -> f64 {
    let computed = machine.run(group, "compute", &["30000000"]);
    assert_eq!(computed.status, 0, "{}", computed.stderr);
    let times: Vec<f64> = computed.stderr.split_whitespace().flat_map(str::parse).collect();
    let [took_ns, ran_ns] = times[..] else { panic!("two times, not {}", computed.stderr) };
    ran_ns / took_ns
}
