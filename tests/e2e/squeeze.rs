//! Programs go on while limits are lowered and raised under them and while they move, and lose nothing.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;
use vmcg_tests::PAGE;
use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::programs::program;
use vmcg_tests::puppet::Puppet;
use vmcg_tests::running::Running;

/// A machine with as much swap as memory.
fn machine_with_swap() -> Machine {
    Machine::up_with(&["--memory", "256M", "--swap", "256M"])
}

/// Programs of three times their limit: how each uses its memory, its limit in pages, and how many
/// pages it verifies in two rounds. With shared memory and a child, each of the two looks at every
/// other page.
const PROGRAMS: [(&[&str], u64, u64); 4] = [
    (&[], 400, 2 * 1200),
    (&["shared"], 500, 2 * 1500),
    (&["fork"], 600, 2 * 1800),
    (&["shared", "fork"], 700, 2100),
];

fn start(machine: &Machine, group: &Group, number: usize) -> Running {
    let (ways, limit, _) = PROGRAMS[number];
    let (size, seed) = (format!("{}K", 3 * limit * PAGE / 1024), number.to_string());
    machine.start(group, "pattern", &[&[&size, &seed, "2"], ways].concat())
}

fn expect_verified(running: Running, number: usize) {
    let finished = running.finish();
    let said = format!("verified {} pages\n", PROGRAMS[number].2);
    assert_eq!((finished.status, finished.stdout.as_str()), (0, said.as_str()), "{finished:?}");
}

/// A machine, and the groups of the programs with their limits.
fn limited() -> (Machine, Vec<Group>) {
    let machine = machine_with_swap();
    let groups = (0..PROGRAMS.len()).map(|number| {
        let group = machine.group(&format!("group{number}"));
        group.set_limit(PROGRAMS[number].1);
        group
    });
    let groups = groups.collect();
    (machine, groups)
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn four_programs_of_three_times_their_limits_keep_their_content_while_they_move_about() {
    let (machine, groups) = limited();
    for group in &groups {
        group.write("memory.move_charge_at_immigrate", "3").expect("a mask of two bits");
    }
    let programs: Vec<Running> =
        groups.iter().enumerate().map(|(number, group)| start(&machine, group, number)).collect();
    wait_until("they swap", || groups.iter().all(|group| group.stat("swap") > 0));
    let mut moved = 0;
    for turn in 1..=12 {
        for (number, group) in groups.iter().enumerate() {
            let to = &groups[(number + turn) % groups.len()];
            for id in group.tasks() {
                // What does not fit is refused, and who has ended is gone.
                let errno = to.errno_of_write("cgroup.procs", &id.to_string());
                let refusals = [0, Errno::NOMEM.raw_os_error(), Errno::SRCH.raw_os_error()];
                assert!(refusals.contains(&errno), "{errno}");
                moved += u64::from(errno == 0);
            }
        }
    }
    assert!(moved > 0, "some could be moved");
    machine.check();
    programs.into_iter().enumerate().for_each(|(number, one)| expect_verified(one, number));
    for group in &groups {
        group.expect_all_back("memory.memsw.usage_in_bytes");
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn limits_written_every_five_milliseconds_for_twenty_seconds_disturb_no_content() {
    let (machine, groups) = limited();
    let mut running: Vec<Option<Running>> =
        (0..groups.len()).map(|number| Some(start(&machine, &groups[number], number))).collect();
    let begin = Instant::now();
    let (mut set, mut verified) = (0, 0);
    for turn in 0.. {
        let number = turn % groups.len();
        let pages = 250 + 7 * (turn as u64 % 97);
        let errno =
            groups[number].errno_of_write("memory.limit_in_bytes", &(pages * PAGE).to_string());
        assert!([0, Errno::BUSY.raw_os_error()].contains(&errno), "{errno}");
        set += u64::from(errno == 0);
        let is_over = begin.elapsed() > Duration::from_secs(20);
        if is_over {
            break;
        }
        let program = &mut running[number];
        let has_ended = program
            .as_mut()
            .is_some_and(|program| program.has_ended_within(Duration::from_millis(5)));
        if has_ended && let Some(ended) = program.take() {
            expect_verified(ended, number);
            verified += 1;
            *program = Some(start(&machine, &groups[number], number));
        }
    }
    assert!(set > 0, "limits could be set");
    for (number, program) in running.into_iter().enumerate() {
        expect_verified(program.expect("there is always one"), number);
        verified += 1;
    }
    assert!(verified >= groups.len());
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_writer_that_is_interrupted_leaves_the_old_limit() {
    let machine = Machine::up_with(&["--memory", "512M", "--swap", "512M"]);
    let group = machine.group("A");
    let mut puppet = Puppet::start(&machine, &group);
    let old = group.read("memory.limit_in_bytes");
    puppet.tell("touch 60000");
    // The signal may come too late: then there is another try, with everything in memory again.
    let interrupted = (0..20).any(|_| {
        let before = group.pages();
        let mut command = Command::new(program("writer"));
        command.arg(group.dir().join("memory.limit_in_bytes")).arg("4M");
        let mut writer = Running::start(command);
        assert_eq!(writer.line().as_deref(), Some("writing"));
        wait_until("pages go", || group.pages() < before);
        writer.signal(Signal::INT);
        match writer.line().as_deref() {
            Some("EINTR") => return true,
            said => assert_eq!(said, Some("ok")),
        }
        group.write("memory.limit_in_bytes", old.trim()).expect("the old limit");
        puppet.tell("again 60000");
        false
    });
    assert!(interrupted, "never in time");
    assert_eq!(group.read("memory.limit_in_bytes"), old);
    puppet.tell("again 1000");
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}
