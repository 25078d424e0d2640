//! When the whole guest is short of memory: it never has more than `--memory`, and who has too much
//! gives first, whatever the limits of groups.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;

use vmcg_tests::PAGE;
use vmcg_tests::counters::{counters, differences};
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

/// Pages beyond `--memory` that a fault may take before a kill takes effect.
const BEYOND: u64 = 1;

/// Pages that a line of `vmcg stat` gives in KiB.
fn pages_in_stat(machine: &Machine, name: &str) -> u64 {
    let stat = machine.vmcg("stat", &[]).stdout;
    let value = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let kib = value.and_then(|value| value.trim().strip_suffix('K')?.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("{name}: {stat}")) * 1024 / PAGE
}

/// A value of the guest's /proc/meminfo, in pages.
fn meminfo(machine: &Machine, name: &str) -> u64 {
    let finished =
        machine.exec_file(&machine.root(), OsStr::new("/bin/cat"), &["/proc/meminfo"]).finish();
    let text = finished.stdout;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("{name}: {text}")) * 1024 / PAGE
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_program_of_one_and_a_half_times_all_memory_finds_its_content_again() {
    let machine = Machine::up_with(&["--memory", "32M", "--swap", "48M"]);
    let group = machine.group("A");
    let finished = machine.run(&group, "pattern", &["48M", "1", "2"]);
    assert_eq!((finished.status, finished.stdout.as_str()), (0, "verified 24576 pages\n"));
    assert_eq!(group.number("memory.failcnt"), 0, "no limit was set");
    assert!(group.number("memory.memsw.max_usage_in_bytes") >= 12288 * PAGE);
    assert_eq!(pages_in_stat(&machine, "memory"), 8192);
    let most = pages_in_stat(&machine, "memory_backed_most");
    assert!((8000..=8192 + BEYOND).contains(&most), "{most}");
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn programs_are_told_of_memory_and_of_swap() {
    let machine = Machine::up_with(&["--memory", "32M", "--swap", "48M"]);
    let group = machine.group("A");
    let mut puppet = Puppet::start(&machine, &group);
    let [total, free] = ["MemTotal", "MemFree"].map(|name| meminfo(&machine, name));
    assert_eq!((total, meminfo(&machine, "SwapTotal")), (8192, 12288));
    assert_eq!(meminfo(&machine, "SwapFree"), 12288);
    puppet.tell("touch 5000");
    let left = meminfo(&machine, "MemFree");
    assert!((free - 5100..=free - 5000).contains(&left), "{free} {left}");
    puppet.tell("touch 5000");
    let used = 12288 - meminfo(&machine, "SwapFree");
    assert_eq!(used, pages_in_stat(&machine, "swap_used"));
    assert!((10_000 - 8192..10_000).contains(&used), "{used}");
    assert!(meminfo(&machine, "MemFree") < 200);
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn who_is_above_the_soft_limit_gives_pages_and_the_others_keep_theirs() {
    let machine = Machine::up_with(&["--memory", "64M", "--swap", "64M"]);
    let [over, other, new] = ["over", "other", "new"].map(|name| machine.group(name));
    let mut greedy = Puppet::start(&machine, &over);
    let mut modest = Puppet::start(&machine, &other);
    greedy.tell("touch 7000");
    modest.tell("touch 4000");
    over.write("memory.soft_limit_in_bytes", "4M").expect("any size is a soft limit");
    other.write("memory.soft_limit_in_bytes", "32M").expect("any size is a soft limit");
    let before = counters(&other);
    assert_eq!(over.stat("swap"), 0, "a soft limit alone takes nothing");
    let mut last = Puppet::start(&machine, &new);
    last.tell("touch 7000");
    assert_eq!(differences(&before, &counters(&other)), Vec::<String>::new());
    assert_eq!(new.stat("swap"), 0, "{}", new.read("memory.stat"));
    assert!(over.stat("swap") >= 2000 * PAGE, "{}", over.read("memory.stat"));
    assert!(over.pages() >= 1024, "no further down than the soft limit");
    greedy.tell("again 7000");
    for puppet in [greedy, modest, last] {
        assert_eq!(puppet.finish().status, 0);
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_full_guest_kills_its_biggest_program_and_lives_on() {
    for options in [&["--memory", "32M"][..], &["--memory", "32M", "--hierarchy", "wall"]] {
        let machine = Machine::up_with(options);
        let groups = ["small", "big", "last"].map(|name| machine.group(name));
        for group in &groups {
            // Walls lend no more than there is: here each may take more than the others leave.
            group.set_limit(if options.len() > 2 { 2600 } else { 1 << 20 });
        }
        let mut small = Puppet::start(&machine, &groups[0]);
        small.tell("touch 100");
        let mut big = Puppet::start(&machine, &groups[1]);
        big.tell("touch 2000");
        let killed = machine.run(&groups[2], "hog", &["200M", "0"]);
        assert_eq!((killed.status, killed.stdout.as_str()), (137, ""));
        assert!(groups[2].read("memory.oom_control").contains("oom_kill 1"));
        small.tell("touch 100");
        big.tell("again 2000");
        for puppet in [small, big] {
            assert_eq!(puppet.finish().status, 0);
        }
        let most = pages_in_stat(&machine, "memory_backed_most");
        assert!(most <= 8192 + BEYOND, "{most}");
        machine.finish();
    }
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_kill_for_the_whole_guest_leaves_a_report_of_it() {
    let machine = Machine::up_with(&["--memory", "32M", "--swap", "8M"]);
    let group = machine.group("A");
    let bystander = Puppet::start(&machine, &machine.group("B"));
    assert_eq!(machine.run(&group, "hog", &["200M", "0"]).status, 137);
    let report = machine.vmcg("stat", &["--oom"]).stdout;
    for part in [
        ": the guest was out of memory\n",
        "  memory: usage 32768K, limit 32768K, failcnt ",
        "  swap: usage 8192K, limit 8192K, failcnt 0\n",
        " puppet\n",
        "  killed: task ",
        " hog\n",
    ] {
        assert!(report.contains(part), "{part:?} in {report}");
    }
    assert_eq!(bystander.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_file_bigger_than_all_frames_goes_by_where_there_is_no_swap() {
    let machine = Machine::up_with(&["--memory", "16M"]);
    let path = machine.folder().join("big");
    let mut file = File::create(&path).expect("a new file");
    // Pages that differ from each other, 40 MiB of them: the guest has frames for 32.
    let mut sum = 0_u64;
    for page in 0..10_240_u64 {
        let word = page.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        file.write_all(&word.to_le_bytes().repeat(512)).expect("there is room");
        sum = word.to_le_bytes().iter().fold(sum, |sum, &byte| sum + 512 * u64::from(byte));
    }
    let group = machine.group("A");
    let name = path.to_str().expect("temporary folders have plain names");
    for way in ["read", "map"] {
        let finished = machine.run(&group, "sum", &[name, way]);
        let said = format!("bytes add up to {sum}\n");
        assert_eq!((finished.status, finished.stdout), (0, said), "{way}");
    }
    let most = pages_in_stat(&machine, "memory_backed_most");
    assert!((3500..=4096 + BEYOND).contains(&most), "{most}");
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn who_wants_more_frames_than_there_are_is_killed_though_zeros_take_no_swap() {
    let machine = Machine::up_with(&["--memory", "16M", "--swap", "16M"]);
    let group = machine.group("A");
    let mut puppet = Puppet::start(&machine, &machine.group("B"));
    puppet.tell("touch 100");
    let fits = machine.run(&group, "zeros", &["30M"]);
    assert_eq!((fits.status, fits.stdout.as_str()), (0, "wrote 7680 zeros\n"));
    assert_eq!(machine.run(&group, "zeros", &["200M"]).status, 137);
    assert!(group.read("memory.oom_control").contains("oom_kill 1"));
    puppet.tell("again 100");
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn files_in_memory_end_at_half_of_it_and_can_be_removed() {
    let machine = Machine::up_with(&["--memory", "16M"]);
    let group = machine.group("A");
    // A name that this machine's own /tmp, which shows through, does not have.
    let script = "x=/tmp/half-of-it.$$; dd if=/dev/zero of=$x bs=64k count=1000 2>/dev/null; stat -c %s $x; \
                  rm $x; dd if=/dev/zero of=/dev/shm/y bs=64k count=16 2>/dev/null && rm /dev/shm/y";
    let finished = machine.exec_file(&group, OsStr::new("/bin/sh"), &["-c", script]).finish();
    assert_eq!((finished.status, finished.stdout.as_str()), (0, "8388608\n"), "{finished:?}");
    assert!(!group.read("memory.oom_control").contains("oom_kill 1"), "nobody was killed");
    machine.finish();
}
