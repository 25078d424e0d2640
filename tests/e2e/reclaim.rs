//! When memory is short: pages go to swap and come back with their content.

use vmcg_tests::PAGE;
use vmcg_tests::machine::Machine;
use vmcg_tests::running::{Finished, Running};

/// A machine with as much swap as memory.
fn machine_with_swap() -> Machine {
    Machine::up_with(&["--memory", "256M", "--swap", "256M"])
}

#[track_caller]
fn expect_verified(finished: &Finished, pages: u64) {
    let said = format!("verified {pages} pages\n");
    assert_eq!((finished.status, finished.stdout.as_str()), (0, said.as_str()), "{finished:?}");
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_program_of_three_times_its_limit_finds_its_content_again() {
    let machine = machine_with_swap();
    let group = machine.group("A");
    group.set_limit(1024);
    expect_verified(&machine.run(&group, "pattern", &["12M", "1", "2"]), 2 * 3072);
    assert!(group.number("memory.failcnt") > 0);
    assert!(group.number("memory.max_usage_in_bytes") <= 1025 * PAGE);
    assert!(group.number("memory.memsw.max_usage_in_bytes") >= 3072 * PAGE);
    assert!(group.stat("pgmajfault") >= 2 * 2048, "{}", group.read("memory.stat"));
    group.wait_until_empty();
    assert_eq!(group.number("memory.memsw.usage_in_bytes"), 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn four_programs_with_different_limits_keep_their_content_apart() {
    let machine = machine_with_swap();
    let ways: [&[&str]; 4] = [&[], &["shared"], &["fork"], &["shared", "fork"]];
    let programs: Vec<(Running, u64)> = ways
        .iter()
        .zip(1_u64..)
        .map(|(ways, number)| {
            let group = machine.group(&format!("group{number}"));
            group.set_limit(300 + 100 * number);
            let seed = number.to_string();
            let args = [&["4M", &seed, "2"], *ways].concat();
            // With shared memory and a child each of the two looks at every other page.
            let pages = if number == 4 { 1024 } else { 2 * 1024 };
            (machine.start(&group, "pattern", &args), pages)
        })
        .collect();
    for (program, pages) in programs {
        expect_verified(&program.finish(), pages);
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn memory_and_swap_together_have_a_limit_of_their_own() {
    let machine = machine_with_swap();
    let group = machine.group("A");
    group.set_limit(512);
    let text = (1024 * PAGE).to_string();
    group.write("memory.memsw.limit_in_bytes", &text).expect("above the limit of memory");
    expect_verified(&machine.run(&group, "pattern", &["2M", "1", "1"]), 512);
    let killed = machine.run(&group, "pattern", &["5M", "1", "1"]);
    assert_eq!((killed.status, killed.stdout.as_str()), (137, ""));
    assert!(group.number("memory.memsw.failcnt") > 0);
    assert!(group.number("memory.memsw.max_usage_in_bytes") <= 1025 * PAGE);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_device_that_fails_now_and_then_loses_no_page() {
    let machine = Machine::up_with(&["--memory", "256M", "--swap", "256M", "--swap-faults", "20"]);
    let group = machine.group("A");
    group.set_limit(1024);
    let finished = machine.run(&group, "pattern", &["8M", "1", "2"]);
    let figure = |name: &str| {
        let stat = machine.vmcg("stat", &[]).stdout;
        let line = stat.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        line.and_then(|text| text.parse::<u64>().ok()).unwrap_or_else(|| panic!("{name}: {stat}"))
    };
    assert!(figure("swap_failures ") > 0);
    assert_eq!(figure("reclaim_lost "), 0);
    // A device that fails when a page has to go may end in a kill, never in a wrong content.
    if finished.status != 137 {
        expect_verified(&finished, 2 * 2048);
    }
    machine.finish();
}
