#!/usr/bin/env bash
# npt.sh RIG [ARGUMENT...]: runs the end-to-end tests on real nested paging, with ARGUMENTs for the test programs
# (names to choose tests by, for one), and exits with their status. The argument `ci` stands for the names in ci-part.
#
# Binary and tests are built first; `$NPT_SECONDS` bounds the run inside (default 3600).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
rig=$1
shift
names=("$@") listed=()
if [ "$*" = ci ]; then
    mapfile -t names < <(grep -v '^#' "$here/ci-part")
    listed=("${names[@]}")
fi
mapfile -t absent < <(grep -v '^#' "$here/not-inside")
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
built=$(cargo test --no-run --quiet --package vmcg-tests --message-format=json)
# All test programs but the one that reads sources.
mapfile -t tests < <(grep -F '"kind":["test"]' <<<"$built" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | grep -v '/tidy-')
programs=$(sed -n 's/.*"PROGRAMS","\([^"]*\)".*/\1/p' <<<"$built" | tail -n 1)
mapfile -t compiled < <(find "$programs" -type f)
"$here/stage.sh" "$stage" "$vmcg" "${tests[@]}" "${compiled[@]}" /usr/bin/{script,dash,stress-ng,hugectl,hugeadm} \
    /bin/bash /usr/lib/x86_64-linux-gnu/libhugetlbfs.so.0
# A test that was renamed must not drop out of a list without a word.
known=$(for program in "${tests[@]}"; do "$program" --list; done)
for name in "${absent[@]}" "${listed[@]}"; do
    [[ $known == *"$name"* ]] || { echo "rig: no test has the name $name that tests/rig lists" >&2 && exit 1; }
done
# Debugging information is most of their size, and all of it would be copied into the rig's memory.
strip -g "$stage$vmcg" "${tests[@]/#/$stage}"

# One at a time: the rig has one CPU, and a test's deadline is for that test alone. A program none of whose tests are
# chosen has nothing to say.
cat >"$stage/run-tests" <<END
export VMCG=$vmcg RUST_BACKTRACE=1
status=0
for tests in ${tests[*]}; do
    chosen="${absent[*]/#/--skip } ${names[*]}"
    \$tests --list \$chosen 2>/dev/null | grep -q ': test' || continue
    \$tests --test-threads=1 \$chosen || status=101
done
exit \$status
END
"$here/boot.sh" "$rig" "$stage" "${NPT_SECONDS:-3600}" "sh /run-tests"
