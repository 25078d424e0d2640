//! Many groups, deep trees and long names.

use std::fs;

use rustix::io::Errno;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;

const CHAINS: usize = 20;
const DEPTH: usize = 50;

/// The groups from `top` down to its deepest descendant.
fn chain(top: &Group) -> Vec<Group> {
    std::iter::successors(Some(top.clone()), |group| group.children().pop()).collect()
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_thousand_groups_up_to_fifty_deep_are_charged_renamed_and_removed() {
    let machine = Machine::up();
    for number in 0..CHAINS {
        let mut group = machine.group(&format!("chain-{number}"));
        for _ in 1..DEPTH {
            group = group.child("deeper");
        }
    }
    let chains: Vec<Vec<Group>> = machine.root().children().iter().map(chain).collect();
    assert_eq!(chains.iter().map(Vec::len).sum::<usize>(), CHAINS * DEPTH);
    let deepest = &chains[7][DEPTH - 1];
    let mut puppet = Puppet::start(&machine, deepest);
    puppet.tell("touch 100");
    let pages: Vec<u64> = chains[7].iter().map(Group::pages).collect();
    assert!(pages[0] >= 100 && pages.iter().all(|&usage| usage == pages[0]), "{pages:?}");
    assert_eq!(chains[8][0].pages(), 0);
    let renamed = machine.mount().join("renamed");
    fs::rename(chains[7][0].dir(), &renamed).expect("a rename within the parent");
    let moved = machine.root().children().pop().expect("there are groups");
    assert_eq!((moved.dir(), moved.pages()), (renamed.as_path(), pages[0]));
    let elsewhere = fs::rename(&renamed, chains[8][0].dir().join("x"));
    assert_eq!(
        elsewhere.expect_err("another parent").raw_os_error(),
        Some(Errno::IO.raw_os_error())
    );
    assert_eq!(puppet.finish().status, 0);
    moved.wait_until_empty();
    for group in machine.root().children().iter().flat_map(|top| chain(top).into_iter().rev()) {
        group.remove().unwrap_or_else(|error| panic!("rmdir {}: {error}", group.path()));
    }
    assert_eq!(machine.root().children().len(), 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn names_are_up_to_255_bytes_long() {
    let machine = Machine::up();
    let long = "n".repeat(255);
    let group = machine.group(&long);
    assert_eq!(machine.run(&group, "quick", &[]).status, 0);
    machine.finish();
}
