#!/usr/bin/env bash
# selftest.sh RIG [BOOTS]: what the rig promises. It boots BOOTS (10) times in a row; a failure inside makes the command
# fail; a hang and a dead kernel end, say why, and lose no output. `make demo` uses it where there is no /dev/kvm.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rig=$1 boots=${2:-10}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/stage"
passed=0 failed=0

boot() { # SECONDS COMMAND: leaves its outputs in $work, answers its status
    RIG_MEMORY=512 "$here/boot.sh" "$rig" "$work/stage" "$@" >"$work/stdout" 2>"$work/stderr" && status=0 || status=$?
}

expect() { # WHAT CONDITION...
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok: $what"
    else
        failed=$((failed + 1))
        echo "FAILED: $what (status $status)"
        sed 's/^/  /' "$work/stdout" "$work/stderr"
    fi
}

boot 60 'echo to stdout; echo to stderr >&2; exit 42'
expect "the command's status comes out" test "$status" = 42
expect "both streams come out" grep -qz 'to stdout.to stderr' "$work/stdout"

boot 60 'false && true'
expect "a command that fails inside fails outside" test "$status" = 1

boot 60 'printf "no line end"'
expect "success comes out" test "$status" = 0
expect "output without a line end comes out" grep -q 'no line end' "$work/stdout"

boot 12 'echo before the hang; while :; do :; done'
expect "a hang has status 124" test "$status" = 124
expect "output before the hang comes out" grep -q 'before the hang' "$work/stdout"
expect "a hang shows the registers" grep -q 'RIP=' "$work/stderr"
expect "a hang shows the console" grep -q 'rig: up after' "$work/stderr"

boot 60 'seq 20000; echo c >/proc/sysrq-trigger'
expect "a panic has status 125" test "$status" = 125
expect "output right before a panic is complete" test "$(tail -n 1 "$work/stdout")" = 20000
expect "a panic shows the console" grep -q 'Kernel panic' "$work/stderr"

# A look at the machine from where /dev/kvm is no device.
without_kvm() {
    local as=(-m)
    [ "$(id -u)" = 0 ] || as=(-r -m)
    unshare "${as[@]}" sh -c 'mount --bind "$0" /dev/kvm; exec "$@"' /etc/hostname "$@" \
        >"$work/stdout" 2>"$work/stderr" && status=0 || status=$?
}

if [ -c /dev/kvm ]; then
    without_kvm "$here/usable.sh"
    expect "a machine without /dev/kvm is told from one with it" test "$status" = 1
    without_kvm make -C "$here/../.." demo
    expect "make demo goes on in the rig without /dev/kvm" test "$status" = 0
    expect "make demo says so" grep -q 'QEMU emulates' "$work/stderr"
    expect "make demo inside comes to its end" grep -q 'every invariant holds' "$work/stdout"
fi

good=0
for ((boot = 0; boot < boots; boot++)); do
    boot 60 'test -c /dev/kvm && test -c /dev/fuse && grep -q npt /proc/cpuinfo'
    [ "$status" != 0 ] || good=$((good + 1))
done
expect "$good of $boots boots in a row have KVM, FUSE and nested paging" test "$good" = "$boots"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
