//! The programs of `guest/programs`, and where the binary under test is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::running::{Finished, Running};

/// Path of a program compiled from `guest/programs`.
///
/// # Panics
/// When there is none of that name.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("PROGRAMS")).join(name);
    assert!(path.exists(), "no program {name} in guest/programs");
    path
}

/// Runs a program natively: the oracle for its run in the guest.
#[must_use]
pub fn run_natively(name: &str, args: &[&str], stdin: &str) -> Finished {
    let mut command = Command::new(program(name));
    command.args(args).env_clear().env("TEST_WORD", "a word");
    Running::start(command).finish_with(stdin)
}

/// Paths of the programs compiled from `tests/conformance`, in order.
///
/// # Panics
/// When they cannot be listed.
#[must_use]
pub fn conformance_programs() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(env!("PROGRAMS")).join("conformance"));
    let entries = entries.expect("the programs have been compiled");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// Path of the `vmcg` binary: `$VMCG`, or the one of this build, which is brought up to date first.
///
/// # Panics
/// When it cannot be built.
pub fn vmcg() -> &'static Path {
    static VMCG: OnceLock<PathBuf> = OnceLock::new();
    VMCG.get_or_init(|| std::env::var_os("VMCG").map_or_else(build_vmcg, PathBuf::from))
}

fn build_vmcg() -> PathBuf {
    let here = std::env::current_exe().expect("a running program has a path");
    let profile = here
        .ancestors()
        .find(|dir| dir.join("deps").is_dir())
        .expect("cargo puts test programs below its profile's folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "vmm", "--bin", "vmcg", "--target-dir"]);
    cargo.arg(profile.parent().expect("a profile's folder is inside the target folder"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let status = cargo.arg("--manifest-path").arg(manifest).status().expect("cargo starts");
    assert!(status.success(), "{cargo:?} failed");
    profile.join("vmcg")
}
