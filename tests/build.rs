//! Compiles the guest programs, so that the tests always run what the sources say.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest/programs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for entry in fs::read_dir(&sources).expect("guest/programs is a directory") {
        let source = entry.expect("guest/programs is readable").path();
        let program = out.join(source.file_stem().expect("a source file has a name"));
        match source.extension().and_then(|extension| extension.to_str()) {
            Some("c") => run(compile_c(&source, &program).arg("-static")),
            Some("rs") => run(&mut compile_rust(&source, &program)),
            _ => {}
        }
    }
    run(&mut compile_c(&sources.join("hello.c"), &out.join("dynamic")));
    run(compile_c(&sources.join("hello.c"), &out.join("static-pie")).arg("-static-pie"));
    run(Command::new("gcc")
        .args(["-nostdlib", "-static", "-Wl,-Ttext=0x103000", "-x", "assembler"])
        .arg(sources.join("broken-kernel.s"))
        .arg("-o")
        .arg(out.join("broken-kernel")));
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    for client in ["listener", "writer"] {
        run(&mut compile_c(&clients.join(client).with_extension("c"), &out.join(client)));
    }
    tell("cargo::rerun-if-changed=clients");
    let conformance = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    compile_conformance(&conformance, &out.join("conformance"));
    tell("cargo::rerun-if-changed=conformance");
    tell("cargo::rerun-if-changed=../guest/programs");
    tell("cargo::rerun-if-env-changed=NO_KVM");
    tell("cargo::rustc-check-cfg=cfg(no_kvm)");
    tell(&format!("cargo::rustc-env=PROGRAMS={}", out.display()));
    if env::var_os("NO_KVM").is_some_and(|value| value == "1") {
        tell("cargo::rustc-cfg=no_kvm");
    }
}

/// Every conformance program twice: `NAME` is linked dynamically, `NAME-static` is not.
fn compile_conformance(sources: &Path, out: &Path) {
    fs::create_dir_all(out).expect("a folder in OUT_DIR");
    for entry in fs::read_dir(sources).expect("tests/conformance is a directory") {
        let source = entry.expect("tests/conformance is readable").path();
        if source.extension().is_none_or(|extension| extension != "c") {
            continue;
        }
        let stem = source.file_stem().expect("a source file has a name").to_owned();
        run(&mut compile_wrong_c(&source, &out.join(&stem)));
        let mut fixed = stem;
        fixed.push("-static");
        run(compile_wrong_c(&source, &out.join(fixed)).arg("-static"));
    }
}

fn compile_c(source: &Path, program: &Path) -> Command {
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-Wall", "-Wextra", "-Wno-unused-result", "-D_GNU_SOURCE"]);
    gcc.arg(source).arg("-o").arg(program).arg("-lm");
    gcc
}

/// For programs that hand wrong addresses and lengths to the kernel.
fn compile_wrong_c(source: &Path, program: &Path) -> Command {
    let mut gcc = compile_c(source, program);
    gcc.args(["-pthread", "-Wno-stringop-overflow", "-Wno-stringop-overread", "-Wno-array-bounds"]);
    gcc.args(["-Wno-nonnull"]);
    gcc
}

fn compile_rust(source: &Path, program: &Path) -> Command {
    let mut rustc = Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"));
    rustc.args(["--edition=2024", "-O", "-C", "target-feature=+crt-static"]);
    rustc.arg(source).arg("-o").arg(program);
    rustc
}

fn run(command: &mut Command) {
    let status = command.status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{command:?} failed ({status:?}); `make setup` installs what is missing"
    );
}

fn tell(line: &str) {
    println!("{line}");
}
