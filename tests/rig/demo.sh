#!/usr/bin/env bash
# demo.sh RIG VMCG [SCALE]: the demo (tests/demo.sh) inside the rig, for machines without /dev/kvm.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
rig=$1 vmcg=$(realpath "$2") scale=${3:-1}
"$here/prepare.sh" "$rig"
stage=$rig/demo
rm -rf "$stage"
mkdir -p "$stage/guest"
"$here/stage.sh" "$stage" "$vmcg" /usr/bin/bash "$root/tests/demo.sh"
strip -g "$stage$vmcg"
# The rig has no compiler.
for source in "$root"/guest/programs/*.c; do
    gcc -static -O2 -D_GNU_SOURCE "$source" -o "$stage/guest/$(basename "$source" .c)" -lm
done
RIG_MEMORY=$((1536 + 640 * scale)) "$here/boot.sh" "$rig" "$stage" "${NPT_SECONDS:-600}" \
    "COMPILED=/guest VMCG=$vmcg bash $root/tests/demo.sh $scale"
