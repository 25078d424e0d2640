#!/usr/bin/env bash
# bench.sh RIG: measures vmcg and Linux's own memory controller side by side inside the rig. Prints a table, and writes
# its rows to bench-npt.json beside the rig.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
rig=$1
"$here/prepare.sh" "$rig"
stage=$rig/bench
rm -rf "$stage"
mkdir -p "$stage/bench"

cd "$root"
cargo build --release --quiet --package vmm
vmcg=$(cd "${CARGO_TARGET_DIR:-target}/release" && pwd)/vmcg
"$here/stage.sh" "$stage" "$vmcg"
mv "$stage$vmcg" "$stage/bench/"
strip -g "$stage/bench/vmcg"
cp "$here/bench/inside.sh" "$stage/bench/"
for source in "$here"/bench/*.c guest/programs/touchtime.c guest/programs/hog.c; do
    gcc -O2 -Wall -Wextra -D_GNU_SOURCE -static -o "$stage/bench/$(basename "$source" .c)" "$source"
done

RIG_MEMORY=3072 "$here/boot.sh" "$rig" "$stage" "${NPT_SECONDS:-1200}" "sh /bench/inside.sh /bench/vmcg /bench" |
    tee "$rig/bench.log" >&2
awk -v json="$rig/../bench-npt.json" -f "$here/bench/table.awk" "$rig/bench.log"
