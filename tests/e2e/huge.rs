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

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn who_maps_a_file_first_pays_until_the_range_goes_whoever_is_left() {
    let machine = Machine::up_with(&["--hugepages", "8"]);
    let (first, second) = (machine.group("first"), machine.group("second"));
    let mut payer = HugePuppet::start(&machine, &first);
    let mut other = HugePuppet::start(&machine, &second);
    payer.expect(&[("file 0 /dev/hugepages/f 0 4 s", 0), ("touch 0 0 1", 1)]);
    other.expect(&[("file 0 /dev/hugepages/f 0 6 s", 0), ("touch 0 0 2", 2)]);
    // The second mapping pays for what the first did not map, and for the page it touched first.
    assert_eq!((charged(&first), charged(&second)), ([4, 4, 1], [2, 2, 1]));
    assert_eq!(payer.finish().status, 0);
    assert_eq!(charged(&first), [4, 4, 1]);
    other.expect(&[("touch 0 2 4", 4)]);
    assert_eq!((charged(&first), charged(&second)), ([4, 4, 1], [2, 2, 5]));
    // A hole in the middle gives back what it holds, to whoever paid.
    other.expect(&[("punch /dev/hugepages/f 1 1", 0)]);
    assert_eq!((charged(&first), charged(&second)), ([3, 3, 1], [2, 2, 4]));
    // Who touches a hole pays for it anew.
    other.expect(&[("touch 0 1 1", 1)]);
    assert_eq!((charged(&first), charged(&second)), ([3, 3, 1], [3, 3, 5]));
    other.expect(&[("truncate /dev/hugepages/f 3", 0), ("touch 0 0 3", 3), ("touch 0 3 1", BUS)]);
    assert_eq!((charged(&first), charged(&second)), ([2, 2, 1], [1, 1, 2]));
    other.expect(&[("unlink 0 /dev/hugepages/f", -2), ("unmap 0 0 6", 0)]);
    assert_eq!((charged(&first), charged(&second)), ([2, 2, 1], [1, 1, 2]));
    other.expect(&[("truncate /dev/hugepages/f 0", 0)]);
    assert_eq!((charged(&first), charged(&second)), ([0, 0, 0], [0, 0, 0]));
    assert_eq!(other.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn twenty_tasks_in_twenty_groups_share_a_file_that_one_pays_for() {
    let machine = Machine::up_with(&["--hugepages", "4"]);
    let groups: Vec<_> = (0..20).map(|number| machine.group(&format!("g{number}"))).collect();
    let mut puppets: Vec<_> =
        groups.iter().map(|group| HugePuppet::start(&machine, group)).collect();
    for puppet in &mut puppets {
        puppet.expect(&[("file 0 /dev/hugepages/f 0 4 s", 0), ("touch 0 0 4", 4)]);
    }
    assert_eq!(charged(&groups[0]), [4, 4, 4]);
    assert!(groups[1..].iter().all(|group| charged(group) == [0, 0, 0]));
    puppets[7].expect(&[("unlink /dev/hugepages/f", 0)]);
    assert_eq!(charged(&groups[0]), [4, 4, 4], "it is still mapped");
    for puppet in puppets {
        assert_eq!(puppet.finish().status, 0);
    }
    groups.iter().for_each(vmcg_tests::group::Group::wait_until_empty);
    assert_eq!(charged(&machine.root()), [0, 0, 0]);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_forked_child_pays_for_its_copies_and_the_parent_never_gets_a_signal() {
    let machine = Machine::up_with(&["--hugepages", "3"]);
    let group = machine.group("A");
    let mut puppet = HugePuppet::start(&machine, &group);
    puppet.expect(&[("map 0 2 p", 0), ("touch 0 0 2", 2), ("fork", 0)]);
    assert_eq!(charged(&group), [2, 2, 2], "the child has reserved nothing");
    // The child's copy takes the last page; the parent keeps its own without another.
    puppet.expect(&[("child read 0 0 2", 2), ("child touch 0 0 1", 1), ("touch 0 0 1", 1)]);
    assert_eq!(charged(&group), [3, 3, 3]);
    // No page is left for a copy: the child loses the shared one, the parent writes to it in place.
    puppet.expect(&[("touch 0 1 1", 1), ("child touch 0 1 1", BUS), ("child touch 0 0 1", 1)]);
    puppet.expect(&[("child unmap 0 0 2", 0)]);
    assert_eq!(charged(&group), [2, 2, 2]);
    puppet.expect(&[("reap", 0), ("touch 0 0 2", 2), ("unmap 0 0 2", 0)]);
    assert_eq!(charged(&group), [0, 0, 0]);
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_move_carries_what_private_mappings_paid_at_mmap_and_nothing_else() {
    let machine = Machine::up_with(&["--hugepages", "8"]);
    let (from, to) = (machine.group("from"), machine.group("to"));
    let mut puppet = HugePuppet::start(&machine, &from);
    puppet.expect(&[
        ("map 0 3 p", 0),
        ("touch 0 0 2", 2),
        ("file 1 /dev/hugepages/f 0 2 s", 0),
        ("touch 1 0 1", 1),
    ]);
    let tid = puppet.tell("pid").to_string();
    limit(&to, "memory.hugetlb.2MB", 2);
    let refused = to.errno_of_write("cgroup.procs", &tid);
    assert_eq!(refused, Errno::NOMEM.raw_os_error());
    assert_eq!((charged(&from), charged(&to)), ([5, 5, 3], [0, 0, 0]));
    limit(&to, "memory.hugetlb.2MB", 3);
    to.write("cgroup.procs", &tid).expect("there is room");
    assert_eq!((charged(&from), charged(&to)), ([2, 5, 3], [3, 0, 0]));
    // What was charged at the reservation and at the fault is given back to who paid.
    puppet.expect(&[("touch 0 2 1", 1)]);
    assert_eq!((charged(&from), charged(&to)), ([2, 5, 3], [3, 0, 1]));
    puppet.expect(&[("unmap 0 0 3", 0), ("unlink /dev/hugepages/f", 0), ("unmap 1 0 2", 0)]);
    assert_eq!((charged(&from), charged(&to)), ([0, 0, 0], [0, 0, 0]));
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_removed_group_hands_its_ranges_to_its_parent_or_stays_busy() {
    for (offline, goes) in [("reparent", true), ("zombie", false), ("drain", false)] {
        let machine = Machine::up_with(&["--hugepages", "8", "--offline", offline]);
        let top = machine.group("top");
        let leaf = top.child("leaf");
        let mut puppet = HugePuppet::start(&machine, &leaf);
        puppet.expect(&[("file 0 /dev/hugepages/f 0 3 s", 0), ("touch 0 0 1", 1)]);
        assert_eq!(puppet.finish().status, 0);
        leaf.wait_until_empty();
        let removed = leaf.remove().map_err(|error| error.raw_os_error());
        let busy = Err(Some(Errno::BUSY.raw_os_error()));
        assert_eq!(removed, if goes { Ok(()) } else { busy }, "{offline}");
        assert_eq!(charged(&top), [3, 3, 1], "{offline}");
        let mut heir = HugePuppet::start(&machine, &top);
        heir.expect(&[("truncate /dev/hugepages/f 0", 0), ("unlink /dev/hugepages/f", 0)]);
        assert_eq!(heir.finish().status, 0);
        assert_eq!(charged(&top), [0, 0, 0], "{offline}");
        if !goes {
            leaf.remove().expect("nothing is charged any more");
        }
        machine.finish();
    }
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn segments_and_files_without_a_name_are_charged_like_others() {
    let machine = Machine::up_with(&["--hugepages", "4"]);
    let group = machine.group("A");
    limit(&group, "memory.hugetlb.2MB", 2);
    let mut puppet = HugePuppet::start(&machine, &group);
    puppet.expect(&[("segment 0 3 s", ENOMEM), ("segment 0 2 s", 0), ("touch 0 0 2", 2)]);
    assert_eq!(charged(&group), [2, 2, 2]);
    puppet.expect(&[("memfd 1 1 s", ENOMEM), ("unmap 0 0 2", 0)]);
    assert_eq!(charged(&group), [0, 0, 0]);
    puppet.expect(&[("memfd 1 2 s", 0), ("touch 1 0 1", 1), ("unmap 1 0 2", 0)]);
    assert_eq!(charged(&group), [0, 0, 0]);
    puppet.expect(&[("file 2 /dev/hugepages/f 0 2 p", 0), ("touch 2 0 1", 1), ("read 2 1 1", 1)]);
    assert_eq!(charged(&group), [2, 2, 2]);
    puppet.expect(&[("unmap 2 0 2", 0), ("allocate /dev/hugepages/f 0 3", -28)]);
    assert_eq!(charged(&group), [2, 2, 2], "what was allocated before the refusal stays");
    puppet.expect(&[("unlink /dev/hugepages/f", 0)]);
    assert_eq!(charged(&group), [0, 0, 0]);
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn mappings_are_cut_shrunk_and_moved_with_their_charges_and_never_in_mid_page() {
    let machine = Machine::up_with(&["--hugepages", "8"]);
    let group = machine.group("A");
    let mut puppet = HugePuppet::start(&machine, &group);
    puppet.expect(&[("map 0 6 p", 0), ("touch 0 0 6", 6), ("unmap 0 2 1", 0)]);
    assert_eq!(charged(&group), [5, 5, 5]);
    puppet.expect(&[("map 1 3 p", 0), ("touch 1 0 3", 3), ("move 1", 0), ("touch 1 0 3", 3)]);
    assert_eq!(charged(&group), [8, 8, 8]);
    puppet.expect(&[("shrink 1 1", 0), ("shrink 1 4", EINVAL)]);
    assert_eq!(charged(&group), [6, 6, 6]);
    // A mapping over another one: the old charge goes before the new one comes.
    limit(&group, "memory.hugetlb.2MB", 6);
    puppet.expect(&[("map 1 1 pf", 0), ("touch 1 0 1", 1)]);
    assert_eq!(charged(&group), [6, 6, 6]);
    assert_eq!(puppet.finish().status, 0);
    assert_eq!(charged(&group), [0, 0, 0]);
    machine.finish();
}
