//! Random sequences on huge pages while tasks move and their groups go.

use fastrand::Rng;
use rustix::io::Errno;
use vmcg_tests::group::Group;
use vmcg_tests::huge::charged;
use vmcg_tests::machine::Machine;
use vmcg_tests::running::Running;

const STEPS: &str = "600";
const STEPS_A_LINE: u32 = 20;
const PROGRAMS: u64 = 3;

/// Moves a program to a group of its own and removes the one it was in, which a child may still use.
fn shift(top: &Group, rng: &mut Rng, tid: &str, number: u32) {
    let children = top.children();
    let next = top.child(&format!("g{tid}-{number}"));
    if rng.bool() {
        next.write("memory.hugetlb.2MB.limit_in_bytes", "6M").expect("a limit can be set");
    }
    if rng.bool() {
        next.write("hugetlb.2MB.limit_in_bytes", "6M").expect("a limit can be set");
    }
    // What its private mappings paid may find no room there: it stays where it is then.
    if let Err(why) = next.write("cgroup.procs", tid) {
        assert_eq!(why.raw_os_error(), Some(Errno::NOMEM.raw_os_error()), "{why}");
    }
    for group in children {
        if let Err(why) = group.remove() {
            assert_eq!(why.raw_os_error(), Some(Errno::BUSY.raw_os_error()), "{why}");
        }
    }
}

fn run_seed(seed: u64) {
    let machine = Machine::up_with(&["--hugepages", "12"]);
    let top = machine.group("top");
    let mut rng = Rng::with_seed(seed);
    let start =
        |number: u64| machine.start(&top, "hugerandom", &[&(seed + number).to_string(), STEPS]);
    let mut programs: Vec<Running> = (0..PROGRAMS).map(start).collect();
    let mut number = 0;
    while !programs.is_empty() {
        let mut going = Vec::new();
        for mut program in programs {
            let line = program.line().expect("it says how far it is");
            let Some((tid, _)) = line.split_once(' ') else {
                assert_eq!(line, "done");
                assert_eq!(program.finish().status, 0);
                continue;
            };
            // It goes on while it is moved.
            program.send("go\n");
            shift(&top, &mut rng, tid, number);
            going.push(program);
        }
        programs = going;
        number += 1;
        machine.check();
    }
    assert!(number >= 600 / STEPS_A_LINE, "all programs went to their ends");
    let mut sweeper = vmcg_tests::huge::HugePuppet::start(&machine, &top);
    for file in ["a", "b"] {
        sweeper.tell(&format!("unlink /dev/hugepages/{file}"));
    }
    assert_eq!(sweeper.finish().status, 0);
    for group in [machine.root(), top.clone()].into_iter().chain(top.children()) {
        assert_eq!(charged(&group), [0, 0, 0], "{}", group.path());
    }
    let stat = machine.vmcg("stat", &[]).stdout;
    assert!(stat.contains("0 of 12 in use"), "{stat}");
    for name in ["guest_lies", "forced_charges"] {
        let row = stat.lines().find(|line| line.starts_with(name)).expect("stat has the row");
        assert_eq!(row.split_whitespace().last(), Some("0"), "{row}");
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn random_mappings_truncations_and_forks_leave_no_charge_behind() {
    for seed in [2012, 2020] {
        run_seed(seed);
    }
}
