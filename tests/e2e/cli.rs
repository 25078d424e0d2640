//! The command line: what it prints, what it answers, what it forwards.

use rustix::process::Signal;
use vmcg_tests::deadline::wait_until;
use vmcg_tests::machine::Machine;
use vmcg_tests::programs::program;
use vmcg_tests::puppet::Puppet;
use vmcg_tests::running::Running;

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn ps_shows_a_line_for_each_task() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut puppet = Puppet::start(&machine, &group);
    puppet.tell("touch 100");
    let ps = machine.vmcg("ps", &[]);
    assert_eq!(ps.status, 0, "{}", ps.stderr);
    let mut lines = ps.stdout.lines();
    let heading: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["TID", "TGID", "CGROUP", "RSS", "CHARGED", "STATE", "COMMAND"]);
    let tid = puppet.tid().to_string();
    let line = lines.find(|line| line.split_whitespace().next() == Some(&tid)).expect("its line");
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!((words[1], words[2]), (tid.as_str(), "/A"));
    assert!(words[6].contains("puppet"), "{line}");
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn signals_to_exec_reach_the_program() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut hog = machine.start(&group, "hog", &["1M"]);
    assert_eq!(hog.line().as_deref(), Some("holding 256 pages"));
    hog.signal(Signal::TERM);
    let finished = hog.finish();
    assert_eq!(
        (finished.status, finished.stdout.as_str()),
        (0, "holding 256 pages\nended by SIGTERM\n")
    );
    let mut hog = machine.start(&group, "hog", &["1M"]);
    assert!(hog.line().is_some());
    hog.signal(Signal::INT);
    assert_eq!(hog.finish().status, 130);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_detached_program_prints_its_tid_and_runs_on() {
    let machine = Machine::up();
    let group = machine.group("A");
    let path = program("hog");
    let path = path.to_str().unwrap();
    let started = machine.vmcg("exec", &["--cgroup", "A", "--detach", "--", path, "1M", "2"]);
    assert_eq!(started.status, 0, "{}", started.stderr);
    let tid: u32 = started.stdout.trim().parse().expect("the tid alone");
    assert_eq!(group.tasks(), vec![tid]);
    wait_until("it ends by itself", || group.tasks().is_empty());
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn run_is_up_exec_and_down_in_one() {
    let machine = Machine::down_yet();
    let mut command = machine.command("run");
    command.args(["--memory", "64M", "--mount"]).arg(machine.mount()).arg("--");
    command.arg(program("hello")).args(["exit", "7"]);
    let finished = Running::start(command).finish();
    assert_eq!(finished.status, 7, "{}", finished.stderr);
    assert!(finished.stdout.starts_with("argc 3\n"));
    assert!(!machine.is_mounted());
    let mut command = machine.command("run");
    command.args(["--memory", "64M", "--limit", "4M", "--mount"]).arg(machine.mount()).arg("--");
    command.arg(program("hog")).args(["8M", "0"]);
    assert_eq!(Running::start(command).finish().status, 137);
    assert!(!machine.is_mounted());
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn stat_counts_system_calls_the_kernel_does_not_have() {
    let machine = Machine::up();
    let group = machine.group("A");
    // It asks for call 1999 once.
    assert_eq!(machine.run(&group, "badpointers", &[]).status, 0);
    let stat = machine.vmcg("stat", &[]);
    assert_eq!(stat.status, 0, "{}", stat.stderr);
    assert!(stat.stdout.contains("1999") && stat.stdout.contains("badpointers"), "{}", stat.stdout);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn stat_says_what_the_host_is_and_counts_what_the_guest_asks_of_it() {
    let machine = Machine::up();
    let group = machine.group("A");
    assert_eq!(machine.run(&group, "quick", &[]).status, 0);
    let stat = machine.vmcg("stat", &[]);
    assert_eq!(stat.status, 0, "{}", stat.stderr);
    let value = |name: &str| {
        let line = stat.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.map_or_else(|| panic!("no {name} in {}", stat.stdout), str::trim)
    };
    let count = |name: &str| value(name).parse::<u64>().unwrap_or_else(|_| panic!("{name}"));
    assert!(["software", "shadow", "npt", "ept"].contains(&value("host")), "{}", value("host"));
    assert!(value("memory_in_huge_host_pages").ends_with('K'));
    assert_eq!((count("call_task_exit"), count("call_job_done")), (1, 1));
    assert!(count("exit_call") >= count("call_job_fetch") + count("call_idle"));
    assert!(count("kvm_exits") >= count("exit_call"));
    let way = if value("host") == "software" { "stub" } else { "direct" };
    assert_eq!(value("syscall_way"), way);
    if way == "stub" {
        assert!(count("kvm_insn_emulation") > count("guest_system_calls"));
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn timings_name_the_phases_of_a_start() {
    let phases = |text: &str| -> Vec<(String, f64)> {
        let words = text.lines().skip_while(|line| !line.starts_with("PHASE")).skip(1);
        let row = |line: &str| {
            let (name, took) = line.rsplit_once(' ').expect("two columns");
            (name.trim().to_owned(), took.parse().expect("milliseconds"))
        };
        words.map(row).collect()
    };
    let machine = Machine::down_yet();
    let mut run = machine.command("run");
    run.arg("--timings").arg("--mount").arg(machine.mount()).arg("--").arg(program("quick"));
    let ran = Running::start(run).finish();
    assert_eq!((ran.status, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    let up = machine.try_up(&["--timings"]);
    let (ran, up) = (phases(&ran.stderr), phases(&up.stdout));
    for (phases, last) in [(&ran, "taken down"), (&up, "guest kernel")] {
        let ((all, whole), parts) = phases.split_last().expect("rows");
        assert_eq!(
            (all.as_str(), parts.last().map(|(name, _)| name.as_str())),
            ("all", Some(last))
        );
        assert!(
            (parts.iter().map(|(_, took)| took).sum::<f64>() - whole).abs() < 0.5,
            "{phases:?}"
        );
    }
    assert!(ran.iter().any(|(name, _)| name == "program run"), "{ran:?}");
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn down_ends_running_programs() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut hog = machine.start(&group, "hog", &["1M"]);
    assert!(hog.line().is_some());
    let down = machine.vmcg("down", &[]);
    assert_eq!(down.status, 0, "{}", down.stderr);
    assert_ne!(hog.finish().status, 0, "the program did not end by itself");
    assert!(machine.daemons().is_empty());
    assert!(!machine.is_mounted());
    let again = machine.vmcg("down", &[]);
    assert_ne!(again.status, 0, "there is nothing to take down any more");
    assert_eq!(again.stderr.lines().count(), 1, "{}", again.stderr);
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn up_in_the_foreground_ends_at_an_interrupt() {
    let machine = Machine::down_yet();
    let mut command = machine.command("up");
    command.args(["--memory", "64M", "--mount"]).arg(machine.mount());
    let up = Running::start(command);
    wait_until("it is mounted", || machine.is_mounted());
    wait_until("the files are there", || machine.root().try_read("tasks").is_ok());
    up.signal(Signal::INT);
    assert_eq!(up.finish().status, 0);
    assert!(!machine.is_mounted());
}
