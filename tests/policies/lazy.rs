//! The policy `lazy`: the task moves at once, its pages when somebody has the time or needs the room.

use rustix::io::Errno;
use vmcg_tests::PAGE;
use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

const NO_IDLE: [&str; 4] = ["--memory", "256M", "--settle-rate", "0"];
const NO_IDLE_BUT_SWAP: [&str; 6] = ["--memory", "256M", "--settle-rate", "0", "--swap", "256M"];

/// A machine and two groups, the second of which is lazy.
fn two_groups(options: &[&str]) -> (Machine, Group, Group) {
    let machine = Machine::up_with(options);
    let (a, b) = (machine.group("A"), machine.group("B"));
    b.write("memory.recharge_policy", "lazy").expect("a policy can be chosen");
    (machine, a, b)
}

/// A machine whose idle time settles nothing, a group, one that is lazy, and a puppet with 1000
/// pages that has moved from the first to the second.
fn moved() -> (Machine, Group, Group, Puppet) {
    moved_with(&NO_IDLE)
}

fn moved_with(options: &[&str]) -> (Machine, Group, Group, Puppet) {
    let (machine, a, b) = two_groups(options);
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 1000");
    b.write("tasks", &puppet.tid().to_string()).expect("nothing has to fit now");
    (machine, a, b, puppet)
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_lazy_task_moves_alone_and_owes_its_pages() {
    let (machine, a, b, mut puppet) = moved();
    let pending = a.stat("lazy_pending");
    assert_eq!((b.pages(), pending), (0, a.stat("rss")));
    puppet.tell("touch 10");
    assert_eq!(b.pages(), 10, "new pages are the new group's");
    assert_eq!(a.stat("lazy_pending"), pending);
    puppet.finish();
    a.wait_until_empty();
    assert_eq!(a.stat("lazy_pending"), 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn the_total_of_a_lazy_task_may_exceed_the_limit_while_pages_are_pending() {
    let (machine, a, b, mut puppet) = moved();
    b.set_limit(20);
    puppet.tell("touch 20");
    assert_eq!((b.pages(), b.number("memory.failcnt")), (20, 0));
    assert!(a.stat("rss") >= 1000 * PAGE);
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn pending_pages_leave_before_anybody_is_killed_for_room() {
    let (machine, a, b, puppet) = moved();
    let mut other = Puppet::start(&machine, &a);
    a.set_limit(a.pages());
    other.tell("touch 600");
    assert!(b.pages() >= 600, "the pages of the one that left made room");
    assert!(a.number("memory.failcnt") > 0, "the limit was hit, and nobody died of it");
    assert!(a.read("memory.oom_control").contains("oom_kill 0\n"));
    machine.check();
    assert_eq!((puppet.finish().status, other.finish().status), (0, 0));
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn pending_pages_leave_for_a_lower_limit() {
    let (machine, a, b, mut puppet) = moved();
    let sum = a.pages();
    a.set_limit(sum - 300);
    assert!(b.pages() >= 300);
    assert_eq!(a.pages() + b.pages(), sum);
    puppet.tell("again 1000");
    machine.check();
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn pending_pages_leave_for_a_task_that_moves_in() {
    let (machine, a, b, puppet) = moved();
    let c = machine.group("C");
    let mut newcomer = Puppet::start(&machine, &c);
    newcomer.tell("touch 500");
    // Pages of files may be dropped for room as well.
    let sum = a.stat("rss") + c.stat("rss");
    a.set_limit(a.pages());
    a.write("tasks", &newcomer.tid().to_string()).expect("pending pages make room");
    assert!(b.pages() > 0, "pages of the one that left made room");
    assert_eq!(a.stat("rss") + b.stat("rss") + c.stat("rss"), sum);
    machine.check();
    assert_eq!((puppet.finish().status, newcomer.finish().status), (0, 0));
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn idle_time_settles_what_finds_room_and_the_rest_when_there_is_some() {
    let (machine, a, b) = two_groups(&["--memory", "256M"]);
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 1000");
    let all = a.stat("rss");
    b.set_limit(400);
    b.write("tasks", &puppet.tid().to_string()).expect("nothing has to fit now");
    wait_until("what fits has settled", || b.pages() == 400);
    assert_eq!((a.stat("lazy_pending"), b.number("memory.failcnt")), (all - 400 * PAGE, 0));
    b.write("memory.limit_in_bytes", "-1").expect("a limit can be lifted");
    wait_until("the rest has settled", || b.stat("rss") == all && a.stat("lazy_pending") == 0);
    machine.check();
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn pages_locked_in_memory_are_the_first_to_settle() {
    let (machine, a, b) = two_groups(&["--memory", "256M", "--swap", "256M"]);
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 500");
    assert_eq!(puppet.tell("lock 50"), 50);
    let all = a.stat("rss");
    b.set_limit(50);
    b.write("tasks", &puppet.tid().to_string()).expect("nothing has to fit now");
    wait_until("as many as fit have settled", || b.pages() == 50);
    // Any others could go to swap.
    let lower = (49 * PAGE).to_string();
    assert_eq!(b.errno_of_write("memory.limit_in_bytes", &lower), Errno::BUSY.raw_os_error());
    assert_eq!((b.pages(), b.stat("swap"), a.stat("rss")), (50, 0, all - 50 * PAGE));
    b.write("memory.limit_in_bytes", "-1").expect("a limit can be lifted");
    wait_until("the rest has settled", || b.stat("rss") == all);
    machine.check();
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn pages_that_reclaim_has_looked_at_settle_when_their_task_touches_them() {
    let (machine, a, b) = two_groups(&NO_IDLE_BUT_SWAP);
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 1000");
    b.set_limit(0);
    b.write("tasks", &puppet.tid().to_string()).expect("nothing has to fit now");
    // With no room in B, reclaim swaps some of the pages, which B has room for, and ages others.
    a.set_limit(500);
    let away = a.stat("swap") + b.stat("swap");
    assert!(away >= 400 * PAGE && b.pages() == 0, "{}", a.read("memory.stat"));
    let all = || [&a, &b].map(|group| group.stat("rss") + group.stat("swap")).iter().sum::<u64>();
    let sum = all();
    a.write("memory.limit_in_bytes", "-1").expect("a limit can be lifted");
    b.write("memory.limit_in_bytes", "-1").expect("a limit can be lifted");
    assert_eq!(puppet.tell("sum 1000"), 1000);
    // A few pages of the program itself may still be on swap.
    let back = away - a.stat("swap") - b.stat("swap");
    assert!(b.stat("rss") > back, "all that were away, and some that were aged");
    assert_eq!(all(), sum);
    assert!(a.stat("rss") > 0, "nobody has looked at the youngest");
    machine.check();
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn idle_time_settles_no_faster_than_the_rate_that_was_chosen() {
    // A look at four hundred pages takes four seconds, and there are two: for locked pages and for all.
    let (machine, a, b) = two_groups(&["--memory", "128M", "--settle-rate", "100"]);
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 400");
    let all = a.stat("rss");
    b.write("tasks", &puppet.tid().to_string()).expect("nothing has to fit now");
    wait_until("some have settled", || b.pages() > 0);
    assert!(a.stat("lazy_pending") > 0 && b.stat("rss") < all, "not all at once");
    machine.check();
    puppet.finish();
    machine.finish();
}

/// Anonymous pages of both groups, in memory and on swap, in bytes.
fn sum_of(a: &Group, b: &Group) -> u64 {
    [a, b].map(|group| group.stat("rss") + group.stat("swap")).iter().sum()
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn pending_pages_settle_when_their_new_group_is_out_of_room() {
    let (machine, a, b, mut puppet) = moved_with(&NO_IDLE_BUT_SWAP);
    let all = a.stat("rss");
    b.set_limit(300);
    puppet.tell("touch 300");
    assert_eq!((b.pages(), a.stat("rss")), (300, all), "so far there was room");
    // Each new page takes reclaim, and that meets those that are to come.
    puppet.tell("touch 1300");
    assert!(a.stat("rss") + a.stat("swap") < all / 10, "{}", a.read("memory.stat"));
    assert!(a.stat("lazy_pending") < all / 10);
    assert!(b.pages() <= 300 && b.number("memory.max_usage_in_bytes") <= 300 * PAGE);
    assert_eq!(sum_of(&a, &b), all + 1600 * PAGE, "nothing is lost");
    for group in [&a, &b] {
        assert!(group.read("memory.oom_control").contains("oom_kill 0\n"), "{}", group.path());
    }
    machine.check();
    assert_eq!(puppet.tell("sum 2600"), 2600, "every page has its content");
    b.write("memory.limit_in_bytes", "-1").expect("a limit can be lifted");
    assert_eq!(puppet.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn pending_pages_settle_on_swap_when_the_limit_of_their_new_group_is_lowered_or_it_is_emptied() {
    let (machine, a, b, mut puppet) = moved_with(&NO_IDLE_BUT_SWAP);
    let all = a.stat("rss");
    puppet.tell("touch 600");
    let own = b.pages();
    let met = || (all - a.stat("rss")) / PAGE;
    b.set_limit(own - 200);
    assert!((150..=260).contains(&met()), "as many as of its own: {}", met());
    assert_eq!(b.pages(), own - 200, "none has taken room in memory");
    assert_eq!((a.stat("swap"), a.stat("lazy_pending")), (0, all - met() * PAGE));
    assert_eq!(b.stat("swap"), (200 + met()) * PAGE);
    let before = met();
    b.write("memory.force_empty", "0").expect("it can always be tried");
    assert!(met() > before, "{}", a.read("memory.stat"));
    assert_eq!(sum_of(&a, &b), all + 600 * PAGE, "nothing is lost");
    machine.check();
    b.write("memory.limit_in_bytes", "-1").expect("a limit can be lifted");
    assert_eq!(puppet.tell("sum 1600"), 1600, "every page has its content");
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn without_swap_pending_pages_take_no_room_that_reclaim_has_made() {
    let (machine, a, b) = two_groups(&NO_IDLE);
    // The text of programs is the cache of the group whose task reads it first.
    let other = Puppet::start(&machine, &b);
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 1000");
    let all = a.stat("rss");
    b.write("tasks", &puppet.tid().to_string()).expect("nothing has to fit now");
    b.set_limit(b.pages());
    let before = b.stat("cache");
    puppet.tell("touch 20");
    assert!(b.stat("cache") < before, "pages of files have made room");
    assert_eq!((a.stat("rss"), a.stat("lazy_pending")), (all, all), "for nobody else");
    assert!(b.read("memory.oom_control").contains("oom_kill 0\n"), "{}", b.read("memory.stat"));
    machine.check();
    b.write("memory.limit_in_bytes", "-1").expect("a limit can be lifted");
    assert_eq!((puppet.finish().status, other.finish().status), (0, 0));
    machine.finish();
}
