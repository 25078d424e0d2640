//! Programs that want huge pages and live without them; mounts and their options; bad input.

use rustix::io::Errno;
use vmcg_tests::huge::{BUS, HUGE, HugePuppet, charged};
use vmcg_tests::machine::Machine;

const ENOMEM: i64 = -(Errno::NOMEM.raw_os_error() as i64);
const EINVAL: i64 = -(Errno::INVAL.raw_os_error() as i64);

/// Runs a line of the shell in a group and returns what it printed.
#[track_caller]
fn shell(machine: &Machine, group: &vmcg_tests::group::Group, line: &str) -> String {
    let ran = machine.exec_file(group, "/bin/sh".as_ref(), &["-c", line]).finish();
    assert_eq!(ran.status, 0, "{line}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_heap_falls_back_to_small_pages_where_mmap_says_enomem() {
    let machine = Machine::up_with(&["--hugepages", "8"]);
    let group = machine.group("A");
    group.write("memory.hugetlb.2MB.limit_in_bytes", "8M").expect("a limit can be set");
    let mut heap = machine.start(&group, "hugeheap", &["14M"]);
    let made = "heap of 4 segments: 2 of huge pages, 2 of small ones, 0 blocks wrong";
    assert_eq!(heap.line().as_deref(), Some(made));
    assert_eq!(charged(&group), [4, 4, 4]);
    // The last segment is written from its end down, and not to its start.
    let memory = group.number("memory.usage_in_bytes");
    assert!((3 * HUGE..5 * HUGE).contains(&memory), "{memory}");
    let ended = heap.finish();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("WARNING"), "{}", ended.stderr);
    assert_eq!(charged(&group), [0, 0, 0]);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn the_c_librarys_own_malloc_takes_huge_pages_and_falls_back() {
    let machine = Machine::up_with(&["--hugepages", "8"]);
    let group = machine.group("A");
    let tunable = "GLIBC_TUNABLES=glibc.malloc.hugetlb=2";
    let sort = || {
        let mut command = machine.command("exec");
        command.args(["--cgroup", group.path(), "--env", tunable, "--", "/bin/sh", "-c"]);
        command.arg("seq 20000 -1 1 | sort -n | head -n 1");
        vmcg_tests::running::Running::start(command).finish()
    };
    assert_eq!(sort().stdout, "1\n");
    assert!(group.number("memory.hugetlb.2MB.max_usage_in_bytes") >= HUGE);
    group.wait_until_empty();
    group.write("memory.hugetlb.2MB.limit_in_bytes", "0").expect("a limit can be set");
    group.write("hugetlb.2MB.max_usage_in_bytes", "0").expect("any write resets the watermark");
    assert_eq!(sort().stdout, "1\n");
    assert!(group.number("memory.hugetlb.2MB.failcnt") > 0);
    assert_eq!(group.number("hugetlb.2MB.max_usage_in_bytes"), 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn hugectl_and_hugeadm_find_their_way() {
    let machine = Machine::up_with(&["--hugepages", "8"]);
    let group = machine.group("A");
    let pools = shell(&machine, &group, "hugeadm --pool-list");
    let words: Vec<&str> = pools.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(words, ["2097152", "8", "8", "8", "*"], "{pools}");
    let mounts = shell(&machine, &group, "hugeadm --list-all-mounts");
    assert!(mounts.contains("/dev/hugepages"), "{mounts}");
    // With a C library without __morecore, libhugetlbfs leaves the heap alone and says so.
    let heap = "HUGETLB_VERBOSE=99 LD_PRELOAD=libhugetlbfs.so.0 hugectl --heap /bin/echo ran 2>&1";
    let said = shell(&machine, &group, heap);
    assert!(said.contains("HUGETLB_MORECORE='yes'") && said.ends_with("ran\n"), "{said}");
    assert!(said.contains("Kernel supports MAP_HUGETLB"), "{said}");
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn the_guest_tells_how_many_huge_pages_there_are() {
    let machine = Machine::up_with(&["--hugepages", "6"]);
    let group = machine.group("A");
    let mut puppet = HugePuppet::start(&machine, &group);
    puppet.expect(&[("map 0 3 p", 0), ("touch 0 0 1", 1)]);
    let told = shell(&machine, &group, "grep -E 'HugeP|Hugep' /proc/meminfo | tr -d ' '");
    let lines = [
        "HugePages_Total:6",
        "HugePages_Free:5",
        "HugePages_Rsvd:2",
        "HugePages_Surp:0",
        "Hugepagesize:2048kB",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), lines);
    let read = |file: &str| {
        let line = format!("cat /sys/kernel/mm/hugepages/hugepages-2048kB/{file}_hugepages");
        shell(&machine, &group, &line).trim().to_owned()
    };
    assert_eq!(["nr", "free", "resv", "surplus"].map(read), ["6", "5", "2", "0"]);
    assert_eq!(shell(&machine, &group, "ls /sys/kernel/mm/hugepages"), "hugepages-2048kB\n");
    let stat = machine.vmcg("stat", &[]).stdout;
    assert!(stat.lines().any(|line| line.ends_with("1 of 6 in use")), "{stat}");
    let figure = |name: &str| {
        let row = stat.lines().find(|line| line.starts_with(name)).expect("stat has the row");
        row.split_whitespace().last().unwrap_or_default().to_owned()
    };
    let in_huge: &[&str] = match figure("hugepages_backing").as_str() {
        "hugetlb" => &["2048K"],
        "transparent" => &["2048K", "0K"],
        _ => &["0K"],
    };
    assert!(in_huge.contains(&figure("memory_in_huge_host_pages").as_str()), "{stat}");
    let pid = puppet.tell("pid");
    let status = format!("grep -E '^(VmRSS|HugetlbPages)' /proc/{pid}/status | tr -s '\\t ' ' '");
    let status = shell(&machine, &group, &status);
    assert!(status.ends_with("HugetlbPages: 2048 kB\n"), "{status}");
    let small = status.split(' ').nth(1).and_then(|kib| kib.parse::<u64>().ok());
    assert!(small.is_some_and(|kib| kib < 2048), "huge pages are told for themselves: {status}");
    puppet.expect(&[("file 1 /dev/hugepages/f 0 2 s", 0), ("touch 1 0 1", 1)]);
    assert_eq!(
        shell(&machine, &group, "stat -c '%s %o %b' /dev/hugepages/f"),
        "4194304 2097152 4096\n"
    );
    // There are as many as the machine was given, and the file says so by its mode.
    let nr = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
    let script = format!("echo 9 > {nr} || cat {nr}");
    let refused = machine.exec_file(&group, "/bin/sh".as_ref(), &["-c", &script]).finish();
    assert!(refused.stderr.contains("Permission denied"), "{}", refused.stderr);
    assert_eq!(refused.stdout, "6\n");
    puppet.expect(&[("unmap 1 0 2", 0), ("unlink /dev/hugepages/f", 0)]);
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_mount_has_a_quota_and_pages_set_aside() {
    let machine = Machine::up_with(&["--hugepages", "8"]);
    let group = machine.group("A");
    let mount = |options: &str| {
        let line = format!("mkdir -p /tmp/huge; mount -i -t hugetlbfs -o {options} none /tmp/huge");
        machine.exec_file(&group, "/bin/sh".as_ref(), &["-c", &line]).finish().status
    };
    for bad in ["pagesize=4M", "pagesize=1G", "size=x", "min_size=-1", "size=2M,min_size=4M", "no"]
    {
        assert_ne!(mount(bad), 0, "{bad}");
    }
    assert_ne!(mount("min_size=18M"), 0, "there are not so many");
    assert_eq!(mount("pagesize=2M,size=6M,min_size=4M"), 0);
    let mounts = shell(&machine, &group, "grep /tmp/huge /proc/mounts");
    assert!(mounts.contains("pagesize=2M,size=6144K,min_size=4096K"), "{mounts}");
    let mut puppet = HugePuppet::start(&machine, &group);
    // Two of eight are set aside for the mount, so six can be had elsewhere, and the mount has three.
    puppet.expect(&[("map 0 7 p", ENOMEM), ("map 0 6 p", 0)]);
    puppet.expect(&[("file 1 /tmp/huge/f 0 4 s", ENOMEM), ("file 1 /tmp/huge/f 0 3 s", ENOMEM)]);
    puppet.expect(&[("file 1 /tmp/huge/f 0 2 s", 0), ("touch 1 0 2", 2), ("unmap 0 0 6", 0)]);
    puppet.expect(&[("file 2 /tmp/huge/g 0 2 s", ENOMEM), ("file 2 /tmp/huge/g 0 1 s", 0)]);
    assert_eq!(charged(&group), [3, 3, 2]);
    assert_eq!(puppet.finish().status, 0);
    assert_eq!(
        shell(&machine, &group, "stat -f -c '%t %s %b %f' /tmp/huge"),
        "958458f6 2097152 3 0\n"
    );
    shell(&machine, &group, "rm /tmp/huge/f /tmp/huge/g && umount -i /tmp/huge");
    assert_eq!(charged(&group), [0, 0, 0]);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn what_linux_refuses_is_refused_with_its_errno_and_nothing_changes() {
    let machine = Machine::up_with(&["--hugepages", "4"]);
    let (group, other) = (machine.group("A"), machine.group("B"));
    let mut puppet = HugePuppet::start(&machine, &group);
    let mut rival = HugePuppet::start(&machine, &other);
    puppet.expect(&[("map 0 2 p", 0), ("touch 0 0 2", 2)]);
    puppet.expect(&[("cut 0", EINVAL), ("write 0 /dev/hugepages/w", EINVAL), ("offset 0", EINVAL)]);
    puppet.expect(&[("size 0 24", EINVAL), ("size 0 21", 0), ("map 9 1 pg", EINVAL)]);
    assert_eq!(charged(&group), [2, 2, 2]);
    for family in ["memory.hugetlb.2MB", "hugetlb.2MB.rsvd", "hugetlb.2MB"] {
        let file = format!("{family}.limit_in_bytes");
        assert_eq!(group.errno_of_write(&file, "2M"), Errno::BUSY.raw_os_error());
        assert_eq!(machine.root().errno_of_write(&file, "2M"), Errno::INVAL.raw_os_error());
    }
    // Two groups and the last page: the second one is told at mmap.
    rival.expect(&[("map 0 1 p", 0)]);
    puppet.expect(&[("map 1 2 p", ENOMEM), ("map 1 1 p", 0)]);
    rival.expect(&[("map 1 1 p", ENOMEM), ("map 1 1 pn", 0), ("touch 1 0 1", BUS)]);
    puppet.expect(&[("touch 1 0 1", 1)]);
    rival.expect(&[("touch 0 0 1", 1)]);
    assert_eq!((charged(&group), charged(&other)), ([3, 3, 3], [1, 1, 1]));
    assert_eq!(puppet.finish().status, 0);
    assert_eq!(rival.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn pages_of_a_gigabyte_are_counted_for_themselves() {
    let machine = Machine::up_with(&["--memory", "1280M", "--hugepages", "2,1G:1"]);
    let group = machine.group("A");
    let usage = |size: &str| group.number(&format!("hugetlb.{size}.usage_in_bytes"));
    let mut puppet = HugePuppet::start(&machine, &group);
    puppet.expect(&[("map 0 2 pg", ENOMEM), ("map 0 1 pg", 0), ("touch 0 0 1", 1)]);
    puppet.expect(&[("map 1 1 p", 0), ("touch 1 0 1", 1)]);
    assert_eq!((usage("1GB"), usage("2MB")), (1 << 30, HUGE));
    machine.check();
    puppet.expect(&[("unmap 0 0 1", 0)]);
    assert_eq!((usage("1GB"), usage("2MB")), (0, HUGE));
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn huge_pages_that_do_not_fit_are_one_clear_line() {
    let machine = Machine::down_yet();
    for bad in ["x", "8:4M", "8,8", "1G"] {
        let up = machine.try_up(&["--hugepages", bad]);
        assert_eq!((up.status, up.stdout.as_str()), (2, ""), "{bad}: {}", up.stderr);
        assert!(up.stderr.contains("COUNT:SIZE"), "{bad}: {}", up.stderr);
    }
    for large in ["255", "1G:1", "18446744073709551615"] {
        let up = machine.try_up(&["--memory", "512M", "--hugepages", large]);
        assert_eq!((up.status, up.stdout.as_str()), (1, ""), "{large}: {}", up.stderr);
        assert_eq!(up.stderr.lines().count(), 1, "{large}: {}", up.stderr);
        assert!(up.stderr.contains("choose fewer"), "{large}: {}", up.stderr);
    }
}
