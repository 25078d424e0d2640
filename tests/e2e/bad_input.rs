//! Bad input and bad luck: one clear line, a clean state, never a hang.

use std::fs;
use std::path::Path;
use std::process::Command;

use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::programs::{program, vmcg};
use vmcg_tests::running::{Finished, Running};

/// One line on standard error that names `words`, nothing on standard output, status 1 or 2.
#[track_caller]
fn assert_one_clear_line(finished: &Finished, words: &[&str]) {
    assert!(matches!(finished.status, 1 | 2), "{finished:?}");
    assert_eq!(finished.stdout, "", "{finished:?}");
    assert_eq!(finished.stderr.trim_end().lines().count(), 1, "{finished:?}");
    for word in words {
        assert!(finished.stderr.contains(word), "{word:?} is missing in {:?}", finished.stderr);
    }
}

/// Nothing is left of a machine that did not come up, and the same name and place work right after.
#[track_caller]
fn assert_usable(machine: Machine) {
    assert_eq!(machine.daemons(), Vec::<u32>::new());
    assert!(!machine.is_mounted());
    let up = machine.try_up(&["--memory", "64M"]);
    assert_eq!(up.status, 0, "{}", up.stderr);
    machine.finish();
}

#[track_caller]
fn assert_group_works(machine: &Machine, group: &Group) {
    assert_eq!(machine.run(group, "quick", &[]).status, 0);
    group.wait_until_empty();
}

/// Runs `up` where `/dev` is a fresh folder that `prepare` (shell) fills from `$D`, the real one's copy.
fn up_with_dev(machine: &Machine, prepare: &str) -> Finished {
    let keep = machine.folder().join("dev");
    fs::create_dir(&keep).expect("a folder in a new folder");
    let script = format!(
        "set -e; D={}; for n in kvm fuse null zero urandom; do : >$D/$n; mount --bind /dev/$n $D/$n; done; \
         mount -t tmpfs none /dev; for n in null zero urandom; do : >/dev/$n; mount --bind $D/$n /dev/$n; done; \
         {prepare}; exec \"$0\" \"$@\"",
        keep.display()
    );
    let mut command = Command::new("unshare");
    let is_root = rustix::process::geteuid().is_root();
    command.args(if is_root { &["-m"][..] } else { &["-r", "-m"][..] });
    command.args(["sh", "-c", &script]).arg(vmcg());
    command.args(["up", "--detach", "--memory", "64M", "--mount"]).arg(machine.mount());
    command.env("XDG_RUNTIME_DIR", machine.folder().join("run"));
    Running::start(command).finish()
}

const KVM: &str = ": >/dev/kvm; mount --bind $D/kvm /dev/kvm";
const FUSE: &str = ": >/dev/fuse; mount --bind $D/fuse /dev/fuse";
// A device on a mount without devices cannot be opened, not even by root.
const KVM_FORBIDDEN: &str = "; mount -o remount,bind,nodev /dev/kvm";
const FUSE_FORBIDDEN: &str = "; mount -o remount,bind,nodev /dev/fuse";

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn devices_that_are_missing_or_forbidden_are_named() {
    for (prepare, words) in [
        (FUSE.to_owned(), ["/dev/kvm", "o such file"]),
        (format!("{FUSE}; {KVM}{KVM_FORBIDDEN}"), ["/dev/kvm", "ermission"]),
        (KVM.to_owned(), ["/dev/fuse", "o such file"]),
        (format!("{KVM}; {FUSE}{FUSE_FORBIDDEN}"), ["/dev/fuse", "ermission"]),
    ] {
        let machine = Machine::down_yet();
        assert_one_clear_line(&up_with_dev(&machine, &prepare), &words);
        assert_usable(machine);
    }
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_mount_point_that_is_missing_or_a_file_is_named() {
    let machine = Machine::down_yet();
    fs::remove_dir(machine.mount()).unwrap();
    assert_one_clear_line(&machine.try_up(&[]), &["mnt"]);
    fs::write(machine.mount(), "").unwrap();
    assert_one_clear_line(&machine.try_up(&[]), &["mnt"]);
    fs::remove_file(machine.mount()).unwrap();
    fs::create_dir(machine.mount()).unwrap();
    assert_usable(machine);
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_mount_point_in_use_is_left_alone() {
    let first = Machine::up();
    let second = Machine::down_yet();
    let mut command = second.command("up");
    command.args(["--detach", "--memory", "64M", "--mount"]).arg(first.mount());
    assert_one_clear_line(&Running::start(command).finish(), &["mnt"]);
    assert!(first.root().try_read("tasks").is_ok(), "the first machine's files still answer");
    assert_usable(second);
    first.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_second_up_of_the_same_name_is_refused() {
    let machine = Machine::up();
    let elsewhere = machine.folder().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let mut command = machine.command("up");
    command.args(["--detach", "--memory", "64M", "--mount"]).arg(&elsewhere);
    assert_one_clear_line(&Running::start(command).finish(), &[]);
    let group = machine.group("A");
    assert_group_works(&machine, &group);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn sizes_that_make_no_machine_are_refused() {
    let machine = Machine::down_yet();
    for size in ["1K", "0", "15M", "x", "12Q", "-1", "1000000T", "99999999999999999999G"] {
        let refused = machine.try_up(&[&format!("--memory={size}")]);
        assert!(matches!(refused.status, 1 | 2), "{size}: {refused:?}");
        assert!(refused.stderr.contains(size) || refused.stderr.contains("memory"), "{refused:?}");
        assert!(!machine.is_mounted(), "{size}");
    }
    assert_one_clear_line(&machine.try_up(&["--memory=1K"]), &["1K"]);
    assert_usable(machine);
}

/// A 32-bit ELF header; nothing after it is looked at.
fn elf32() -> Vec<u8> {
    let mut header = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0];
    header.resize(16, 0);
    header.extend([2, 0, 3, 0, 1, 0, 0, 0]);
    header.resize(52, 0);
    header
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn what_is_no_program_is_refused_and_the_guest_lives_on() {
    let machine = Machine::up();
    let group = machine.group("A");
    let whole = fs::read(program("hello")).unwrap();
    let mut wrong_entry = whole.clone();
    wrong_entry[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut wild_segments = whole.clone();
    wild_segments[32..40].copy_from_slice(&0x7fff_ffff_ffff_fff0_u64.to_le_bytes());
    let cases: [(&str, Vec<u8>, &[&str]); 7] = [
        ("text", b"just some text\n".to_vec(), &["ELF"]),
        ("empty", Vec::new(), &["ELF"]),
        ("elf32", elf32(), &["32-bit"]),
        ("header", whole[..64].to_vec(), &[]),
        ("half-header", whole[..40].to_vec(), &[]),
        ("truncated", whole[..whole.len() / 2].to_vec(), &[]),
        ("wild-segments", wild_segments, &[]),
    ];
    for (name, bytes, words) in cases {
        let path = machine.folder().join(name);
        fs::write(&path, bytes).unwrap();
        make_executable(&path);
        let refused = machine.exec_file(&group, path.as_os_str(), &[]).finish();
        assert_one_clear_line(&refused, &[&[name], words].concat());
        assert_group_works(&machine, &group);
    }
    let path = machine.folder().join("wrong-entry");
    fs::write(&path, wrong_entry).unwrap();
    make_executable(&path);
    assert_eq!(machine.exec_file(&group, path.as_os_str(), &[]).finish().status, 139);
    assert_group_works(&machine, &group);
    machine.finish();
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a file of our own");
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_dynamic_program_is_run_or_refused_with_the_reason() {
    let machine = Machine::up();
    let group = machine.group("A");
    let finished = machine.run(&group, "dynamic", &["exit", "5"]);
    if finished.status == 5 {
        assert!(finished.stdout.starts_with("argc 3\n"));
    } else {
        assert_one_clear_line(&finished, &["dynamic", "static"]);
    }
    assert_group_works(&machine, &group);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_program_or_group_that_does_not_exist_is_named() {
    let machine = Machine::up();
    let group = machine.group("A");
    let missing = machine.exec_file(&group, "/nowhere/at/all".as_ref(), &[]).finish();
    assert_one_clear_line(&missing, &["/nowhere/at/all"]);
    let folder = machine.exec_file(&group, machine.folder().as_os_str(), &[]).finish();
    assert_one_clear_line(&folder, &[]);
    let nowhere = Group::at(&machine.mount(), "no/such/group");
    assert_one_clear_line(&machine.run(&nowhere, "quick", &[]), &["no/such/group"]);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_program_that_executes_garbage_dies_alone() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut neighbour = vmcg_tests::puppet::Puppet::start(&machine, &group);
    assert_eq!(machine.run(&group, "garbage", &[]).status, 132);
    neighbour.tell("touch 5");
    neighbour.finish();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_guest_kernel_that_cannot_run_is_reported() {
    let machine = Machine::down_yet();
    let kernel = program("broken-kernel");
    let refused = machine.try_up(&["--memory", "64M", "--kernel", kernel.to_str().unwrap()]);
    assert_one_clear_line(&refused, &["guest"]);
    assert_usable(machine);
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn up_works_at_the_mount_point_of_a_killed_machine() {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut hog = machine.start(&group, "hog", &["1M"]);
    assert!(hog.line().is_some());
    machine.kill_daemon();
    assert_ne!(hog.finish().status, 0, "the client notices");
    assert!(machine.is_mounted(), "this is the dead mount that the next up has to deal with");
    assert_one_clear_line(&machine.vmcg("ps", &[]), &[]);
    let up = machine.try_up(&["--memory", "64M"]);
    assert_eq!(up.status, 0, "{}", up.stderr);
    let group = machine.group("B");
    assert_group_works(&machine, &group);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn commands_without_a_machine_say_so() {
    let machine = Machine::down_yet();
    for subcommand in ["ps", "check", "stat", "down"] {
        assert_one_clear_line(&machine.vmcg(subcommand, &[]), &[]);
    }
    let nothing = Group::at(&machine.mount(), "A");
    assert_one_clear_line(&machine.run(&nothing, "quick", &[]), &[]);
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn ten_thousand_names_in_a_small_guest_stop_no_more_than_a_program() {
    let machine = Machine::up_with(&["--memory", "96M"]);
    let group = machine.group("A");
    let shell =
        |script: &str| machine.exec_file(&group, "/bin/sh".as_ref(), &["-c", script]).finish();
    let fill = "i=0; while [ $i -lt 10000 ]; do : > /dev/shm/f$i || exit; i=$((i+1)); done";
    shell(fill);
    // Whether they fit into one command is the guest's to say; that it says so is what counts.
    shell("rm -r /dev/shm/*");
    let emptied = shell(
        "cd /dev/shm; i=0; while [ $i -lt 10000 ]; do echo f$i; i=$((i+1)); done | xargs -n 100 rm -f; echo left *",
    );
    assert_eq!(emptied.stdout, "left *\n", "{}", emptied.stderr);
    machine.finish();
}
