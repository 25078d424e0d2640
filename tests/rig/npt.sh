#!/usr/bin/env bash
# npt.sh RIG [ARGUMENT...]: runs the end-to-end tests on real nested paging, with ARGUMENTs for the test program
# (names to choose tests by, for one), and exits with its status. The argument `ci` stands for the names in ci-part.
#
# Binary and tests are built first; `$NPT_SECONDS` bounds the run inside (default 1200).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
rig=$1
shift
names=("$@")
[ "$*" != ci ] || mapfile -t names < <(grep -v '^#' "$here/ci-part")
"$here/prepare.sh" "$rig"
stage=$rig/stage
rm -rf "$stage"
mkdir -p "$stage"

cd "$root"
# Inside there is a KVM, whatever this machine has.
unset NO_KVM
cargo build --release --quiet --package vmm
target=${CARGO_TARGET_DIR:-target}
vmcg=$(cd "$target/release" && pwd)/vmcg
built=$(cargo test --no-run --quiet --package vmcg-tests --test e2e --message-format=json)
tests=$(sed -n 's/.*"name":"e2e".*"executable":"\([^"]*\)".*/\1/p' <<<"$built")
programs=$(sed -n 's/.*"PROGRAMS","\([^"]*\)".*/\1/p' <<<"$built" | tail -n 1)
mapfile -t compiled < <(find "$programs" -type f)
"$here/stage.sh" "$stage" "$vmcg" "$tests" "${compiled[@]}" /usr/bin/{script,dash,stress-ng}
# Debugging information is most of their size, and all of it would be copied into the rig's memory.
strip -g "$stage$vmcg" "$stage$tests"

# One at a time: the rig has one CPU, and a test's deadline is for that test alone.
"$here/boot.sh" "$rig" "$stage" "${NPT_SECONDS:-1200}" "VMCG=$vmcg RUST_BACKTRACE=1 $tests --test-threads=1 ${names[*]}"
