//! Kernel memory of pipes, sockets and huge mappings, and the file that lists a group's caches.

use std::fs;

use vmcg_tests::PAGE;
use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::running::Running;

use super::kmem::{FAILCNT, LIMIT, USAGE, cache, slab_pages};

/// Starts `fill` and returns what is charged to its group before it fills anything.
fn start_filling(machine: &Machine, group: &Group, kind: &str) -> (Running, u64) {
    let mut fill = machine.start(group, "fill", &[kind]);
    assert_eq!(fill.line().as_deref(), Some("ready"));
    machine.wait_until_idle();
    (fill, group.number(USAGE))
}

/// Tells it to go on, and what it says when it waits again.
fn go_on(machine: &Machine, fill: &mut Running) -> String {
    fill.send("go on\n");
    let line = fill.line().unwrap_or_default();
    machine.wait_until_idle();
    line
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn bytes_in_a_pipe_are_charged_to_the_page() {
    let machine = Machine::up();
    let group = machine.group("A");
    group.write(LIMIT, "-1").expect("a limit");
    let (mut fill, _) = start_filling(&machine, &group, "pipe");
    let line = go_on(&machine, &mut fill);
    assert_eq!(line, "65000 bytes in 1: Resource temporarily unavailable");
    assert_eq!((cache(&group, "pipe_inode_info").active, cache(&group, "filp").active), (1, 2));
    assert_eq!(cache(&group, "kmalloc-4096").active, 65_000_u64.div_ceil(PAGE));
    let full = group.number(USAGE);
    assert_eq!(go_on(&machine, &mut fill), "65000 bytes came out");
    assert_eq!(cache(&group, "kmalloc-4096").active, 0);
    assert_eq!(full - group.number(USAGE), 65_000_u64.div_ceil(PAGE) * PAGE);
    assert_eq!(go_on(&machine, &mut fill), "closed");
    assert_eq!(cache(&group, "pipe_inode_info").active, 0);
    assert_eq!(fill.finish().status, 0);
    group.expect_all_back(USAGE);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn bytes_in_sockets_are_kernel_memory_and_not_tcp() {
    let machine = Machine::up();
    let group = machine.group("A");
    group.write(LIMIT, "-1").expect("a limit");
    for (kind, most) in [("stream", 212_992), ("datagram", 11_000)] {
        let (mut fill, idle) = start_filling(&machine, &group, kind);
        let line = go_on(&machine, &mut fill);
        let bytes: u64 = line.split(' ').next().and_then(|n| n.parse().ok()).expect("a count");
        assert!(bytes > 10_000 && bytes <= most, "{kind}: {line}");
        assert!(line.ends_with("in 1: Resource temporarily unavailable"), "{kind}: {line}");
        let full = group.number(USAGE) - idle;
        assert!(full >= bytes && full <= 2 * bytes + 8 * PAGE, "{kind}: {full} for {bytes} bytes");
        assert!(cache(&group, "skbuff_head_cache").active > 0, "{kind}");
        assert_eq!(cache(&group, "sock_inode_cache").active, 2);
        assert_eq!(group.number("memory.kmem.tcp.usage_in_bytes"), 0);
        assert_eq!(go_on(&machine, &mut fill), format!("{bytes} bytes came out"), "{kind}");
        assert_eq!(cache(&group, "skbuff_head_cache").active, 0, "{kind}");
        assert_eq!(go_on(&machine, &mut fill), "closed");
        assert_eq!(fill.finish().status, 0);
        group.wait_until_empty();
        assert_eq!((group.number(USAGE), slab_pages(&group)), (0, 0));
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn pipes_are_filled_until_the_limit_refuses_and_what_is_in_them_is_not_lost() {
    let machine = Machine::up();
    let group = machine.group("A");
    group.write(LIMIT, "1M").expect("a limit");
    let (mut fill, _) = start_filling(&machine, &group, "all-pipes");
    let line = go_on(&machine, &mut fill);
    assert!(line.ends_with(": Cannot allocate memory"), "{line}");
    assert!(group.number(USAGE) <= 1 << 20 && group.number(FAILCNT) > 0);
    let bytes: u64 = line.split(' ').next().and_then(|n| n.parse().ok()).expect("a count");
    assert!(bytes > 500_000, "{line}");
    assert_eq!(go_on(&machine, &mut fill), format!("{bytes} bytes came out"));
    assert_eq!(go_on(&machine, &mut fill), "closed");
    assert_eq!(fill.finish().status, 0);
    group.expect_all_back(USAGE);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_touch_that_is_refused_its_page_table_waits_and_nobody_is_killed() {
    let machine = Machine::up_with(&["--memory", "256M", "--hugepages", "4"]);
    let group = machine.group("A");
    group.write(LIMIT, "-1").expect("a limit");
    // A GiB of address space each, so that the last pages lie in tables of their own.
    for (start, touch) in [("map 0 512 pn", "touch 0 0 1"), ("small", "small 0")] {
        let mut puppet = machine.start(&group, "hugepuppet", &[]);
        puppet.send(&format!("{start}\n"));
        assert_eq!(puppet.line().as_deref(), Some("0"), "{start}");
        machine.wait_until_idle();
        let usage = group.number(USAGE);
        group.write(LIMIT, &usage.to_string()).expect("what is used");
        group.write(FAILCNT, "0").expect("it can be reset");
        puppet.send(&format!("{touch}\n"));
        wait_until("the page table was refused several times", || group.number(FAILCNT) > 3);
        assert_eq!((group.number(USAGE), group.tasks().len()), (usage, 1), "{start}");
        group.write(LIMIT, "-1").expect("a limit can be lifted");
        assert_eq!(puppet.line().as_deref(), Some("1"), "{start}: it goes on");
        assert!(group.number(USAGE) > usage);
        assert_eq!(puppet.finish().status, 0, "{start}");
        group.wait_until_empty();
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_program_that_has_no_room_for_its_kernel_memory_is_told_so() {
    let machine = Machine::up();
    let group = machine.group("A");
    for limit in [0, PAGE, 6 * PAGE] {
        group.write(LIMIT, &limit.to_string()).expect("nothing is used");
        let refused = machine.exec_file(&group, "/bin/true".as_ref(), &[]).finish();
        assert_ne!(refused.status, 0, "{limit}");
        assert!(refused.stderr.contains("see memory.kmem.failcnt"), "{limit}: {}", refused.stderr);
        group.write("memory.force_empty", "0").expect("names of programs are only kept");
        wait_until("what was made of it is gone", || group.number(USAGE) == 0);
    }
    group.write(LIMIT, "1M").expect("there is room");
    assert_eq!(machine.exec_file(&group, "/bin/true".as_ref(), &[]).finish().status, 0);
    wait_until("the program is gone", || group.tasks().is_empty());
    group.write("memory.force_empty", "0").expect("names of programs are only kept");
    machine.finish();
}

/// The words of a line, with every number as 0.
fn shape(line: &str) -> Vec<String> {
    let words = line.split_whitespace();
    words.map(|word| if word.parse::<u64>().is_ok() { "0" } else { word }.to_owned()).collect()
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn slabinfo_has_the_format_of_this_machines_own() {
    let machine = Machine::up();
    let group = machine.group("A");
    group.write(LIMIT, "-1").expect("a limit");
    let (fill, _) = start_filling(&machine, &group, "pipe");
    let text = group.read("memory.kmem.slabinfo");
    let (header, rows) = text.split_at(text.match_indices('\n').nth(1).expect("two lines").0 + 1);
    assert!(header.starts_with("slabinfo - version: 2.1\n# name "), "{header}");
    assert!(rows.contains("\ntask_struct ") || rows.starts_with("task_struct "), "{text}");
    for row in rows.lines() {
        let words = shape(row);
        let expected = "0 0 0 0 0 : tunables 0 0 0 : slabdata 0 0 0";
        assert_eq!(words[1..].join(" "), expected, "{row}");
    }
    // Only root may read it.
    if let Ok(own) = fs::read_to_string("/proc/slabinfo") {
        let mut lines = own.lines();
        let own_header: Vec<&str> = lines.by_ref().take(2).collect();
        assert_eq!(header.lines().collect::<Vec<_>>(), own_header);
        let row = lines.next().expect("a machine has caches");
        let ours = rows.lines().next().expect("so has the group");
        assert_eq!(shape(ours)[1..], shape(row)[1..], "{row}");
    }
    assert_eq!(fill.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn newer_kernels_always_count_and_take_limits_without_effect() {
    let machine = Machine::up_with(&["--memory", "256M", "--abi", "linux-6.18"]);
    let group = machine.group("A");
    let (fill, used) = start_filling(&machine, &group, "pipe");
    assert!(used >= 4 * PAGE, "counted without asking for it");
    for limit in ["4096", "0", "-1", "1G"] {
        group.write(LIMIT, limit).expect("any limit is taken, with tasks and below what is used");
    }
    assert_eq!(group.read(LIMIT), "9223372036854771712\n");
    let fork = machine.exec_file(&group, "/bin/sh".as_ref(), &["-c", "true & wait"]).finish();
    assert_eq!((fork.status, group.number(FAILCNT)), (0, 0), "{}", fork.stderr);
    assert_eq!(group.read("memory.kmem.slabinfo"), "");
    assert!(group.errno_of_write(LIMIT, "a lot") != 0, "what is no number is refused");
    assert_eq!(fill.finish().status, 0);
    wait_until("the tasks are gone", || group.tasks().is_empty());
    group.write("memory.force_empty", "0").expect("names of programs are only kept");
    group.expect_all_back(USAGE);
    machine.finish();
}
