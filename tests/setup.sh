#!/usr/bin/env bash
# Installs what building and testing needs and this machine lacks, with one line each saying what and why.
# Prints nothing where nothing is missing.
set -euo pipefail

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_package() { # PACKAGES REASON
    echo "setup: installing $1: $2" >&2
    if ! command -v apt-get >/dev/null; then
        echo "setup: no apt-get here; install $1 with this system's package manager" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # several packages
    if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $1 >/dev/null 2>&1; then
        as_root apt-get update -qq >/dev/null
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $1 >/dev/null
    fi
}

can_link_statically() {
    echo 'int main(void) { return 0; }' | gcc -static -x c -o /dev/null - 2>/dev/null
}

can_link_statically || install_package "gcc libc6-dev" "the guest programs are C, linked statically"

[ -x /usr/bin/script ] && [ -x /usr/bin/dash ] || install_package "bsdutils dash" "tests type at a shell on a pseudo-terminal"

command -v stress-ng >/dev/null || install_package stress-ng "a test runs it in the guest, to see that nothing is left charged"

# Not `grep -q`: it leaves early, and a listing that nobody reads to its end counts as a failure.
[ -x /usr/bin/hugectl ] && ldconfig -p | grep libhugetlbfs >/dev/null || install_package "libhugetlbfs-bin libhugetlbfs0" "a test runs hugectl and hugeadm in the guest"

for program in busybox python3 sqlite3; do
    command -v $program >/dev/null || install_package $program "a test runs it in the guest and compares"
done

command -v go >/dev/null || install_package golang-go "a test runs a Go program in the guest: many threads, no C library"

if [ "$(id -u)" != 0 ] && ! command -v fusermount3 >/dev/null; then
    install_package fuse3 "only fusermount3 lets a user other than root mount the control files"
fi

if ! command -v cargo >/dev/null; then
    command -v curl >/dev/null || install_package "curl ca-certificates" "to fetch Rust's installer"
    echo "setup: installing Rust with rustup: vmcg is written in it" >&2
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --quiet --profile minimal
fi

kernel_target=x86_64-unknown-none
if [ ! -d "$(rustc --print target-libdir --target $kernel_target)" ]; then
    if ! command -v rustup >/dev/null; then
        echo "setup: rustc lacks the target $kernel_target of the guest kernel, and there is no rustup to add it" >&2
        exit 1
    fi
    echo "setup: adding the Rust target $kernel_target: the guest kernel is built for it" >&2
    rustup target add --quiet $kernel_target 2>/dev/null || rustup target add $kernel_target
fi

for component in fmt clippy; do
    if ! cargo $component --version >/dev/null 2>&1; then
        echo "setup: adding cargo $component: make check runs it" >&2
        rustup component add "$([ $component = fmt ] && echo rustfmt || echo clippy)"
    fi
done
