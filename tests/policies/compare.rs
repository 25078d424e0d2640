//! `vmcg compare`, as it is used.

use std::fs;
use std::path::Path;
use std::process::Command;

use vmcg_tests::machine::Machine;
use vmcg_tests::programs::{program, vmcg};
use vmcg_tests::running::{Finished, Running};

/// Runs `vmcg compare` in the runtime folder of a machine that is not up.
fn compare(machine: &Machine, scenario: &Path, args: &[&str]) -> Finished {
    let mut command = Command::new(vmcg());
    command.arg("compare").arg(scenario).args(args);
    command.arg("--output").arg(machine.folder().join("out"));
    command.env("XDG_RUNTIME_DIR", machine.folder().join("run"));
    Running::start(command).finish()
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_scenario_is_played_once_for_each_option_and_drawn() {
    let machine = Machine::down_yet();
    let path = machine.folder().join("tight.toml");
    let hog = program("hog");
    let text = format!(
        "title = 'tight'\nmemory = '256M'\ntail = 0.2\n[options]\nrecharge = ['none', 'rollback', 'half']\n\
         [[group]]\npath = 'A'\n[[group]]\npath = 'B'\nlimit = '16M'\n\
         [[program]]\nname = 'task'\ngroup = 'A'\nrun = ['{}', '{{32M}}']\n\
         [[move]]\nprogram = 'task'\nto = 'B'\nafter = 'task'\n",
        hog.display()
    );
    fs::write(&path, text).expect("a file in a temporary folder");
    let finished = compare(&machine, &path, &["--scale", "1/2"]);
    assert_eq!((finished.status, finished.stderr.as_str()), (0, ""), "{finished:?}");
    let results: Vec<&str> = finished
        .stdout
        .lines()
        .filter(|line| line.contains("move task to B"))
        .map(|line| if line.contains("ENOMEM") { "ENOMEM" } else { "ok" })
        .collect();
    assert_eq!(results, ["ok", "ENOMEM", "ok"], "{}", finished.stdout);
    // 16 MiB and the stack against 8 MiB of room.
    assert!(finished.stdout.contains("8192K"), "{}", finished.stdout);
    let picture = fs::read_to_string(machine.folder().join("out/tight.svg")).expect("a picture");
    assert!(picture.contains("recharge=rollback") && picture.contains("</svg>"));
    let samples = fs::read_to_string(machine.folder().join("out/tight.csv")).expect("samples");
    assert!(
        samples
            .lines()
            .any(|line| line.starts_with("recharge=half,") && line.ends_with(",8388608,8388608"))
    );
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn what_is_no_scenario_is_refused_in_one_line() {
    let machine = Machine::down_yet();
    let path = machine.folder().join("bad.toml");
    let start = "title = 't'\nmemory = '64M'\n";
    for (text, args, word) in [
        ("nonsense".to_owned(), &[][..], "bad.toml"),
        (format!("{start}[options]\nrecharge = ['best']\n[[group]]\npath = 'A'\n"), &[], "best"),
        (format!("{start}[options]\ncolour = ['red']\n[[group]]\npath = 'A'\n"), &[], "colour"),
        (format!("{start}[[group]]\npath = 'A'\n[[move]]\nprogram = 'x'\nto = 'A'\n"), &[], "'x'"),
        (format!("{start}[[group]]\npath = 'A'\n"), &["--scale", "0"][..], "scale"),
    ] {
        fs::write(&path, &text).expect("a file in a temporary folder");
        let refused = compare(&machine, &path, args);
        assert!(matches!(refused.status, 1 | 2), "{text}: {refused:?}");
        assert_eq!(
            (refused.stdout.as_str(), refused.stderr.lines().count()),
            ("", 1),
            "{refused:?}"
        );
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    let missing = compare(&machine, Path::new("/nowhere.toml"), &[]);
    assert!(missing.stderr.contains("/nowhere.toml"), "{missing:?}");
}
