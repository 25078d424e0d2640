//! Pages that programs lock stay in memory, and may be no more than the limit.

use vmcg_tests::PAGE;
use vmcg_tests::machine::Machine;

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn locked_pages_stay_until_they_are_unlocked() {
    let machine = Machine::up_with(&["--memory", "256M", "--swap", "64M"]);
    for way in ["map", "future", "call"] {
        let group = machine.group(way);
        let mut program = machine.start(&group, "locked", &[way, "700"]);
        assert_eq!(program.line().as_deref(), Some("locked"));
        group.write("memory.force_empty", "0").expect("what can go goes");
        assert!(group.pages() >= 700, "{way}: {}", group.read("memory.stat"));
        assert!(group.stat("unevictable") >= 700 * PAGE, "{way}: {}", group.read("memory.stat"));
        let too_small = (300 * PAGE).to_string();
        assert!(group.write("memory.limit_in_bytes", &too_small).is_err(), "nothing can go");
        program.send("go on\n");
        assert_eq!(program.line().as_deref(), Some("unlocked"));
        group.set_limit(300);
        assert!(group.stat("swap") >= 400 * PAGE, "{way}: {}", group.read("memory.stat"));
        group.write("memory.force_empty", "0").expect("what can go goes");
        assert!(group.pages() < 100, "{way}: {}", group.read("memory.stat"));
        program.send("go on\n");
        assert_eq!(program.line().as_deref(), Some("verified"));
        assert_eq!(program.finish().status, 0);
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn locking_more_than_the_limit_kills_at_the_limit() {
    let machine = Machine::up_with(&["--memory", "256M", "--swap", "64M"]);
    for way in ["map", "future", "call"] {
        let group = machine.group(way);
        group.set_limit(1024);
        let killed = machine.run(&group, "locked", &[way, "5000"]);
        assert_eq!((killed.status, killed.stdout.as_str()), (137, ""), "{way}");
        // One call locks all: it ends at the first page too many. Exiting takes few more, the
        // victim's own that had gone to swap.
        let most = group.number("memory.max_usage_in_bytes") / PAGE;
        assert!(most <= 1024 + 4, "{way}: {most}");
    }
    machine.finish();
}
