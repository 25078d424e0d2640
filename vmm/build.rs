//! Builds the guest kernel for its own target and leaves its image in OUT_DIR, from where
//! `boot.rs` embeds it: one file is the whole installation.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = manifest.parent().expect("the crate lies in the workspace");
    for input in ["guest/kernel", "guest/abi", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo::rerun-if-env-changed=NO_KVM");
    println!("cargo::rustc-check-cfg=cfg(no_kvm)");
    if env::var_os("NO_KVM").is_some_and(|value| value == "1") {
        println!("cargo::rustc-cfg=no_kvm");
    }
    let target_dir = out.join("guest-kernel-target");
    build(root, &target_dir);
    let image = target_dir.join("x86_64-unknown-none/release/vmcg-kernel");
    fs::copy(&image, out.join("guest-kernel"))
        .unwrap_or_else(|why| panic!("cannot copy {}: {why}", image.display()));
}

/// Runs cargo for the kernel, free of what the outer cargo set for the host's crates.
fn build(root: &Path, target_dir: &Path) {
    let cargo = env::var_os("CARGO").expect("cargo sets CARGO");
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--release", "--package", "vmcg-kernel"])
        .args(["--target", "x86_64-unknown-none", "--target-dir"])
        .arg(target_dir)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .expect("cargo can be run");
    assert!(
        status.success(),
        "the guest kernel does not build; `rustup target add x86_64-unknown-none` may be missing"
    );
}
