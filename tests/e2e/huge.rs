//! Huge pages: charged at mmap, at the reservation and at the fault, and refused there.

use rustix::io::Errno;
use vmcg_tests::huge::{BUS, HUGE, HugePuppet, charged};
use vmcg_tests::machine::Machine;

const ENOMEM: i64 = -(Errno::NOMEM.raw_os_error() as i64);
const EINVAL: i64 = -(Errno::INVAL.raw_os_error() as i64);

/// Sets a limit in huge pages.
#[track_caller]
fn limit(group: &vmcg_tests::group::Group, family: &str, pages: u64) {
    let text = (pages * HUGE).to_string();
    group.write(&format!("{family}.limit_in_bytes"), &text).expect("a limit can be set");
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_mapping_over_either_limit_is_refused_and_a_smaller_one_is_not() {
    let machine = Machine::up_with(&["--hugepages", "8"]);
    let group = machine.group("A");
    let mut puppet = HugePuppet::start(&machine, &group);
    for family in ["memory.hugetlb.2MB", "hugetlb.2MB.rsvd"] {
        limit(&group, family, 3);
        puppet.expect(&[("map 0 4 p", ENOMEM)]);
        assert_eq!(charged(&group), [0, 0, 0]);
        assert_eq!(group.number(&format!("{family}.failcnt")), 1);
        puppet.expect(&[("map 0 3 p", 0), ("map 1 1 s", ENOMEM)]);
        assert_eq!(charged(&group), [3, 3, 0]);
        // What is charged can be touched: no signal.
        puppet.expect(&[("touch 0 0 3", 3)]);
        assert_eq!(charged(&group), [3, 3, 3]);
        puppet.expect(&[("unmap 0 1 1", 0)]);
        assert_eq!(charged(&group), [2, 2, 2]);
        puppet.expect(&[("unmap 0 0 1", 0), ("unmap 0 2 1", 0)]);
        assert_eq!(charged(&group), [0, 0, 0]);
        group.write(&format!("{family}.limit_in_bytes"), "-1").expect("a limit can be lifted");
    }
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_touch_over_the_fault_limit_is_sigbus_and_a_failure_counted() {
    let machine = Machine::up_with(&["--hugepages", "8"]);
    let group = machine.group("A");
    limit(&group, "hugetlb.2MB", 2);
    let mut puppet = HugePuppet::start(&machine, &group);
    puppet.expect(&[("map 0 4 p", 0), ("touch 0 0 2", 2), ("touch 0 2 1", BUS)]);
    assert_eq!(charged(&group), [4, 4, 2]);
    assert_eq!(group.number("hugetlb.2MB.failcnt"), 1);
    puppet.expect(&[("drop 0 0 1", 0), ("touch 0 2 1", 1), ("touch 0 0 1", BUS)]);
    limit(&group, "hugetlb.2MB", 3);
    puppet.expect(&[("touch 0 0 1", 1), ("touch 0 0 3", 3)]);
    assert_eq!(charged(&group), [4, 4, 3]);
    assert_eq!(puppet.finish().status, 0);
    assert_eq!(charged(&group), [0, 0, 0]);
    assert_eq!(group.number("hugetlb.2MB.max_usage_in_bytes"), 3 * HUGE);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn memory_without_a_reservation_is_paid_for_when_it_is_touched() {
    let machine = Machine::up_with(&["--hugepages", "4"]);
    let group = machine.group("A");
    limit(&group, "hugetlb.2MB.rsvd", 2);
    let mut puppet = HugePuppet::start(&machine, &group);
    puppet.expect(&[("map 0 8 pn", 0)]);
    assert_eq!(charged(&group), [0, 0, 0]);
    puppet.expect(&[("touch 0 0 2", 2), ("touch 0 2 1", BUS)]);
    assert_eq!(charged(&group), [2, 2, 2]);
    group.write("hugetlb.2MB.rsvd.limit_in_bytes", "-1").expect("a limit can be lifted");
    // Two of the four pages are left: one is reserved by another mapping, so one can be had.
    puppet.expect(&[
        ("map 1 1 p", 0),
        ("touch 0 2 1", 1),
        ("touch 0 3 1", BUS),
        ("touch 1 0 1", 1),
    ]);
    puppet.expect(&[("unmap 0 0 8", 0)]);
    assert_eq!(charged(&group), [1, 1, 1]);
    puppet.expect(&[("map 2 4 p", ENOMEM), ("map 2 3 p", 0), ("map 3 1 pg", EINVAL)]);
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}
