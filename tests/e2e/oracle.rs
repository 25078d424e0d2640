//! The host kernel is the oracle: a program's output and status equal those of its native run.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::{fs, io};

use vmcg_tests::machine::Machine;
use vmcg_tests::programs::run_natively;
use vmcg_tests::running::Finished;

/// Programs that need no folder of files, with their arguments.
const PROGRAMS: [(&str, &[&str]); 24] = [
    ("quick", &[]),
    ("hello", &["one", "", "two words", "-x"]),
    ("hello", &["exit", "42"]),
    ("static-pie", &["exit", "200"]),
    ("cow", &[]),
    ("signals", &[]),
    ("faults", &[]),
    ("statuses", &[]),
    ("memory", &[]),
    ("clocks", &[]),
    ("stopped", &[]),
    ("vectors", &[]),
    ("registers", &[]),
    ("garbage", &[]),
    ("recursion", &[]),
    ("handlerfp", &[]),
    ("pipes", &[]),
    ("exec", &[]),
    ("badpointers", &[]),
    ("identity", &[]),
    ("many", &["12"]),
    ("hog", &["4M", "0"]),
    ("rusty", &["one", "two"]),
    ("echo", &[]),
];

fn in_the_guest(machine: &Machine, name: &str, args: &[&str], stdin: &str) -> Finished {
    let group = machine.root().children().remove(0);
    machine.start(&group, name, args).finish_with(stdin)
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn every_program_does_in_the_guest_what_it_does_natively() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut different = Vec::new();
    for (name, args) in PROGRAMS {
        let native = run_natively(name, args, "some input\nwithout an end");
        let guest = in_the_guest(&machine, name, args, "some input\nwithout an end");
        if guest != native {
            different.push(format!("{name} {args:?}\n native {native:#?}\n guest {guest:#?}"));
        }
        group.wait_until_empty();
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn computation_gives_the_same_result() {
    let machine = Machine::up();
    let _group = machine.group("A");
    // The time it took goes to standard error and differs.
    let native = run_natively("compute", &["3000000"], "");
    let guest = in_the_guest(&machine, "compute", &["3000000"], "");
    assert_eq!((guest.status, guest.stdout), (native.status, native.stdout));
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn files_of_the_share_read_the_same() {
    let machine = Machine::up();
    let _group = machine.group("A");
    let dir = machine.folder().join("files");
    fill(&dir).expect("a folder of files");
    let dir = dir.to_str().expect("temporary folders have plain names");
    let native = run_natively("files", &[dir], "");
    assert_eq!(native.status, 0, "{}", native.stdout);
    assert_eq!(in_the_guest(&machine, "files", &[dir], ""), native);
    machine.finish();
}

fn fill(dir: &Path) -> io::Result<()> {
    fs::create_dir(dir)?;
    fs::create_dir(dir.join("sub"))?;
    fs::write(dir.join("text"), "Hello, guest. This is a file of text.\n")?;
    fs::write(dir.join("empty"), "")?;
    let big: String = (0..40_000).map(|number| format!("{number}\n")).collect();
    fs::write(dir.join("big"), big)?;
    symlink("text", dir.join("link"))?;
    symlink("loop", dir.join("loop"))
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn large_input_and_output_pass_unchanged() {
    let machine = Machine::up();
    let group = machine.group("A");
    let input: String = (0..30_000).map(|number| format!("line {number}\n")).collect();
    let mut echo = machine.start(&group, "echo", &[]);
    // In pieces, with the answers read in between: neither side may have to hold everything.
    for piece in input.as_bytes().chunks(5000) {
        echo.send(std::str::from_utf8(piece).expect("the input is plain"));
    }
    let finished = echo.finish();
    assert_eq!(finished.stdout.len(), input.len());
    assert!(finished.stdout == input, "the output differs from the input");
    assert_eq!(finished.stderr, format!("{} bytes\n", input.len()));
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn several_programs_run_side_by_side() {
    let machine = Machine::up();
    let groups: Vec<_> = ["A", "B", "C", "D"].map(|name| machine.group(name)).into();
    let native = run_natively("compute", &["2000000"], "");
    let running: Vec<_> =
        groups.iter().map(|group| machine.start(group, "compute", &["2000000"])).collect();
    for program in running {
        let finished = program.finish();
        assert_eq!((finished.status, finished.stdout), (0, native.stdout.clone()));
    }
    machine.finish();
}
