//! What each policy moves, refuses, and leaves behind.

use rustix::io::Errno;
use vmcg_tests::PAGE;
use vmcg_tests::counters::counters_but_failcnt;
use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

const POLICIES: [&str; 6] = ["none", "rollback", "reserve", "precharge", "half", "lazy"];

fn choose(group: &Group, policy: &str) {
    group.write("memory.recharge_policy", policy).expect("a policy can be chosen");
}

fn move_errno(group: &Group, puppet: &Puppet) -> i32 {
    group.errno_of_write("tasks", &puppet.tid().to_string())
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn the_policy_is_shown_among_all_and_inherited_at_mkdir() {
    let machine = Machine::up_with(&["--memory", "128M", "--recharge", "half"]);
    let all = "none rollback reserve precharge [half] lazy\n";
    assert_eq!(machine.root().read("memory.recharge_policy"), all);
    let group = machine.group("A");
    assert_eq!(group.read("memory.recharge_policy"), all);
    choose(&group, "lazy");
    let child = group.child("child");
    let lazy = "none rollback reserve precharge half [lazy]\n";
    assert_eq!(child.read("memory.recharge_policy"), lazy);
    assert_eq!(machine.root().read("memory.recharge_policy"), all, "nobody else's changed");
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn where_there_is_room_every_policy_but_none_moves_everything() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 2000");
    let (anonymous, sum) = (a.stat("rss"), a.pages());
    for policy in POLICIES {
        choose(&b, policy);
        assert_eq!(move_errno(&b, &puppet), 0, "{policy}");
        assert_eq!(b.tasks(), vec![puppet.tid()]);
        let moved = if policy == "none" { 0 } else { anonymous };
        wait_until(&format!("{policy} has moved what it moves"), || b.stat("rss") == moved);
        assert_eq!(a.stat("rss"), anonymous - moved, "{policy}");
        assert_eq!(a.pages() + b.pages(), sum, "{policy}");
        assert_eq!((a.stat("foreign"), a.stat("lazy_pending")), (0, 0), "{policy}");
        machine.check();
        // Back, by a policy that brings everything along.
        choose(&a, "rollback");
        assert_eq!(move_errno(&a, &puppet), 0, "{policy}");
        assert_eq!((a.stat("rss"), b.stat("rss")), (anonymous, 0), "{policy}");
    }
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn only_its_first_thread_takes_the_pages_of_a_process_along() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 500");
    let thread = puppet.tell("thread").to_string();
    machine.wait_until_idle();
    let anonymous = a.stat("rss");
    for policy in POLICIES {
        choose(&b, policy);
        b.write("tasks", &thread).expect("a thread moves alone");
        assert_eq!(b.tasks(), vec![thread.parse().expect("an id")], "{policy}");
        machine.wait_until_idle();
        assert_eq!((a.stat("rss"), b.stat("rss")), (anonymous, 0), "{policy}");
        assert_eq!((a.stat("foreign"), a.stat("lazy_pending")), (0, 0), "{policy}");
        a.write("tasks", &thread).expect("and back");
    }
    choose(&b, "rollback");
    assert_eq!(move_errno(&b, &puppet), 0);
    assert_eq!((a.stat("rss"), b.stat("rss")), (0, anonymous), "its thread has stayed behind");
    assert_eq!(a.tasks().len(), 1);
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_refusing_policy_changes_nothing() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 1000");
    let need = a.stat("rss") / PAGE;
    for policy in ["rollback", "reserve", "precharge"] {
        choose(&b, policy);
        for limit in [0, need / 2, need - 1] {
            b.set_limit(limit);
            let before = counters_but_failcnt(&machine.root());
            assert_eq!(move_errno(&b, &puppet), Errno::NOMEM.raw_os_error(), "{policy} {limit}");
            assert_eq!(counters_but_failcnt(&machine.root()), before, "{policy} {limit}");
            assert!(a.read("memory.recharge_last").contains(&format!("policy {policy}\n")));
        }
        b.set_limit(need);
        assert_eq!(move_errno(&b, &puppet), 0, "{policy}: an exact fit");
        assert_eq!(b.pages(), need);
        assert_eq!(move_errno(&a, &puppet), 0);
    }
    puppet.tell("again 1000");
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn half_moves_what_fits_and_shows_the_rest_on_both_sides() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 1000");
    let (all, sum) = (a.stat("rss") / PAGE, a.pages());
    choose(&b, "half");
    b.set_limit(400);
    assert_eq!(move_errno(&b, &puppet), 0);
    assert_eq!((b.pages(), a.stat("rss") / PAGE), (400, all - 400));
    assert_eq!(a.pages() + b.pages(), sum);
    let stayed = (all - 400) * PAGE;
    assert_eq!((a.stat("foreign"), b.stat("foreign")), (stayed, stayed));
    let last = a.read("memory.recharge_last");
    assert!(last.contains(&format!("moved {}\n", 400 * PAGE)), "{last}");
    assert!(last.contains(&format!("failed {stayed}\n")), "{last}");
    let moves = machine.vmcg("ps", &["--moves"]).stdout;
    assert!(moves.contains("half") && moves.contains(&format!("{}K", stayed >> 10)), "{moves}");
    // Once more, with room for some of it.
    b.set_limit(500);
    assert_eq!(move_errno(&b, &puppet), 0);
    assert_eq!((b.pages(), a.stat("rss") / PAGE), (500, all - 500));
    let stayed = (all - 500) * PAGE;
    assert_eq!((a.stat("foreign"), b.stat("foreign")), (stayed, stayed));
    machine.check();
    b.write("memory.limit_in_bytes", "-1").expect("a limit can be lifted");
    puppet.tell("drop");
    let kept = a.stat("foreign");
    assert!(kept < stayed && b.stat("foreign") == kept, "what is freed is nobody's");
    assert_eq!(move_errno(&b, &puppet), 0);
    assert_eq!((a.stat("rss"), a.stat("foreign"), b.stat("foreign")), (0, 0, 0));
    puppet.finish();
    a.wait_until_empty();
    assert_eq!((a.stat("foreign"), b.stat("foreign")), (0, 0));
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn what_a_move_did_and_why_pages_stayed_is_said_afterwards() {
    let machine = Machine::up();
    let (a, b, third) = (machine.group("A"), machine.group("B"), machine.group("third"));
    assert_eq!(a.read("memory.recharge_last"), "", "nobody has left yet");
    let mut puppet = Puppet::start(&machine, &third);
    puppet.tell("touch 200");
    let elsewhere = third.stat("rss");
    choose(&a, "none");
    assert_eq!(move_errno(&a, &puppet), 0);
    puppet.tell("touch 100");
    puppet.tell("fork");
    puppet.tell("touch 50");
    assert_eq!(move_errno(&b, &puppet), 0);
    let last = a.read("memory.recharge_last");
    let said = |key: &str| -> u64 {
        let value = last.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{key}: {last}"))
    };
    assert_eq!(
        (said("tid"), said("moved"), said("failed")),
        (puppet.tid().into(), b.pages() * PAGE, 0)
    );
    assert!(said("moved") >= 50 * PAGE && said("skipped_shared") >= 100 * PAGE, "{last}");
    // All of its pages in the third group are the child's as well, but for those written since.
    let other = said("skipped_shared") + said("skipped_foreign_owner");
    assert!(other >= elsewhere && said("skipped_kind") > 0, "text stays: {last}");
    assert!(
        said("longest_pause_us") > 0 && said("longest_pause_us") <= said("paused_us"),
        "{last}"
    );
    for part in ["to /B\n", "policy rollback\n", "outcome moved\n"] {
        assert!(last.contains(part), "{last}");
    }
    let moves = machine.vmcg("ps", &["--moves"]).stdout;
    let line = moves.lines().last().expect("a line for each move");
    for part in ["/A", "/B", "rollback", " us", "moved"] {
        assert!(line.contains(part), "{part}: {moves}");
    }
    puppet.tell("reap");
    puppet.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn the_mask_says_whether_anonymous_and_file_pages_move() {
    let machine = Machine::up();
    let (a, b) = (machine.group("A"), machine.group("B"));
    let mut puppet = Puppet::start(&machine, &a);
    puppet.tell("touch 300");
    let (anonymous, cache) = (a.stat("rss"), a.stat("cache"));
    assert!(cache > 0, "the program's text is mapped");
    choose(&a, "precharge");
    a.write("memory.move_charge_at_immigrate", "3").expect("a mask");
    choose(&b, "precharge");
    for mask in 0..4_u64 {
        b.write("memory.move_charge_at_immigrate", &mask.to_string()).expect("a mask");
        assert_eq!(move_errno(&b, &puppet), 0, "mask {mask}");
        let has = |bit| if mask & bit == 0 { 0 } else { 1 };
        assert_eq!(b.stat("rss"), anonymous * has(1), "mask {mask}");
        // Pages of the file that nobody maps stay in the cache of the group that read them.
        assert_eq!(b.stat("cache") > 0, has(2) == 1, "mask {mask}");
        assert_eq!(a.stat("cache") + b.stat("cache"), cache, "mask {mask}");
        assert_eq!(move_errno(&a, &puppet), 0, "mask {mask}");
        assert_eq!((a.stat("rss"), b.stat("cache")), (anonymous, 0), "mask {mask}");
    }
    puppet.finish();
    machine.finish();
}

/// A common ancestor is charged twice while `precharge` moves: whoever hits its limit meanwhile
/// waits for the end of the move instead of dying.
#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn who_hits_a_limit_during_a_precharge_move_is_not_killed() {
    let machine = Machine::up();
    let top = machine.group("top");
    let (left, right, other) = (top.child("left"), top.child("right"), top.child("other"));
    let mut mover = Puppet::start(&machine, &left);
    mover.tell("touch 8000");
    let mut hog = machine.start(&other, "hog", &["48M", "1"]);
    wait_until("it has begun", || other.pages() > 100);
    // Everything fits once, but not the mover twice when the hog has its share.
    top.set_limit(top.pages() - other.pages() + 12288 + 400);
    choose(&left, "precharge");
    choose(&right, "precharge");
    let mut outcomes = [0, 0];
    for group in [&right, &left].into_iter().cycle().take(60) {
        let refused = move_errno(group, &mover);
        assert!([0, Errno::NOMEM.raw_os_error()].contains(&refused), "errno {refused}");
        outcomes[usize::from(refused != 0)] += 1;
    }
    assert_eq!(hog.line().as_deref(), Some("holding 12288 pages"), "{outcomes:?}");
    assert_eq!(hog.finish().status, 0);
    for group in [&top, &left, &right, &other] {
        assert!(group.read("memory.oom_control").contains("oom_kill 0\n"), "{}", group.path());
    }
    let most = top.number("memory.limit_in_bytes") + PAGE;
    assert!(top.number("memory.max_usage_in_bytes") <= most, "at most a page a waiting task");
    mover.finish();
    machine.finish();
}
