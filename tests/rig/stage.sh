#!/usr/bin/env bash
# stage.sh STAGE FILE...: copies programs into the tree STAGE at the paths they have here, with the shared libraries
# they need, so that inside the rig they run as they do outside.
set -euo pipefail
stage=$1
shift

put() { # FILE
    [ -e "$stage$1" ] && return
    mkdir -p "$stage$(dirname "$1")"
    cp -L "$1" "$stage$1"
}

for file in "$@"; do
    put "$file"
    # A static program has no libraries, and ldd says so with a failure.
    { ldd "$file" 2>/dev/null || true; } | grep -o '/[^ ]*' | while read -r library; do put "$library"; done || true
done
