#!/usr/bin/env bash
# usable.sh: succeeds where /dev/kvm can be opened; elsewhere says why not, and what is done instead.
if [ ! -c /dev/kvm ]; then
    why="there is none"
elif why=$( (exec 3<>/dev/kvm) 2>&1); then
    exit 0
fi
echo "/dev/kvm cannot be used here (${why##*: }): going on in a machine that QEMU emulates, which has one" >&2
exit 1
