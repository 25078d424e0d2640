//! Who is charged along with whom, when limits are shared.

use rustix::io::Errno;
use vmcg_tests::PAGE;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

const FLAG: &str = "memory.use_hierarchy";

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_tree_can_do_without_hierarchy_and_a_part_of_it_with() {
    let machine = Machine::up();
    let root = machine.root();
    root.write(FLAG, "0").expect("the root has no children yet");
    let flat = machine.group("flat");
    assert_eq!((root.number(FLAG), flat.number(FLAG)), (0, 0), "it is inherited");
    let below = flat.child("below");
    assert_eq!(root.errno_of_write(FLAG, "1"), Errno::BUSY.raw_os_error(), "it has children now");
    flat.set_limit(10);
    let mut puppet = Puppet::start(&machine, &below);
    puppet.tell("touch 300");
    assert!(below.pages() >= 300, "the limit above is none of its business");
    assert_eq!(flat.pages(), 0);
    assert_eq!(
        (flat.stat("total_rss"), below.stat("hierarchical_memory_limit") > 10 * PAGE),
        (0, true)
    );

    let shared = machine.group("shared");
    shared.write(FLAG, "1").expect("it has no children and its parent no hierarchy");
    let inside = shared.child("inside");
    assert_eq!(inside.number(FLAG), 1);
    assert_eq!(inside.errno_of_write(FLAG, "0"), Errno::INVAL.raw_os_error());
    inside.write("tasks", &puppet.tid().to_string()).expect("there is room");
    assert!(inside.stat("rss") >= 300 * PAGE && shared.pages() == inside.pages());
    assert_eq!(below.stat("rss"), 0);
    shared.set_limit(shared.pages() + 5);
    assert_eq!(puppet.ask("touch 10"), None, "the limit above is that of both");
    assert_eq!(puppet.finish().status, 137);
    below.wait_until_empty();
    machine.finish();
}
