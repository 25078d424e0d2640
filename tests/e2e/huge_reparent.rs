//! Groups that are removed while their ranges of huge pages are being used.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use vmcg_tests::deadline::wait_until;
use vmcg_tests::huge::{HugePuppet, charged};
use vmcg_tests::machine::Machine;

const ROUNDS: u32 = 12;

/// Ends the worker's work, also when a test fails meanwhile.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Splits, reserves and faults around the two pages that somebody else pays for, until told to end.
fn use_the_rest(worker: &mut HugePuppet, is_over: &AtomicBool, done: &AtomicU32) {
    while !is_over.load(Ordering::Relaxed) {
        worker.expect(&[
            ("file 0 /dev/hugepages/f 0 4 s", 0),
            ("touch 0 0 4", 4),
            ("map 1 1 p", 0),
            ("touch 1 0 1", 1),
            ("punch /dev/hugepages/f 2 2", 0),
            ("unmap 0 0 4", 0),
            ("unmap 1 0 1", 0),
        ]);
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_parent_inherits_ranges_while_others_fault_and_reserve_on_the_same_file() {
    let machine = Machine::up_with(&["--hugepages", "6", "--offline", "reparent"]);
    let (heir, home, work) = (machine.group("heir"), machine.group("home"), machine.group("work"));
    let mut payer = HugePuppet::start(&machine, &home);
    let tid = payer.tell("pid").to_string();
    let mut worker = HugePuppet::start(&machine, &work);
    for round in 0..ROUNDS {
        let leaf = heir.child(&format!("leaf-{round}"));
        leaf.write("cgroup.procs", &tid).expect("there is room");
        payer.expect(&[("file 0 /dev/hugepages/f 0 2 s", 0), ("touch 0 0 2", 2)]);
        home.write("cgroup.procs", &tid).expect("there is room");
        assert_eq!(charged(&leaf), [2, 2, 2]);
        let (is_over, done) = (AtomicBool::new(false), AtomicU32::new(0));
        let goes_on = || {
            let before = done.load(Ordering::Relaxed);
            wait_until("the worker goes on", || done.load(Ordering::Relaxed) > before);
        };
        thread::scope(|scope| {
            scope.spawn(|| use_the_rest(&mut worker, &is_over, &done));
            let ending = Ending(&is_over);
            goes_on();
            leaf.remove().expect("its parent inherits");
            assert_eq!(charged(&heir), [2, 2, 2], "round {round}");
            machine.check();
            goes_on();
            drop(ending);
        });
        assert_eq!((charged(&heir), charged(&work)), ([2, 2, 2], [0, 0, 0]), "round {round}");
        payer.expect(&[("unmap 0 0 2", 0), ("truncate /dev/hugepages/f 0", 0)]);
        assert_eq!((charged(&heir), charged(&work)), ([0, 0, 0], [0, 0, 0]), "round {round}");
    }
    payer.expect(&[("unlink /dev/hugepages/f", 0)]);
    for puppet in [payer, worker] {
        assert_eq!(puppet.finish().status, 0);
    }
    assert_eq!(charged(&machine.root()), [0, 0, 0]);
    machine.finish();
}
