#!/usr/bin/env bash
# boot.sh RIG STAGE SECONDS COMMAND...: boots the rig with the tree STAGE laid over its root, runs COMMAND in it as a
# shell would, and exits with its status.
#
# What COMMAND prints is streamed to standard output. Beyond SECONDS the run is a hang: it ends with the console log and
# the vCPU's registers, status 124. When the inner kernel dies, the console log is shown, status 125.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: boot.sh RIG STAGE SECONDS COMMAND..." >&2 && exit 2; }
rig=$1 stage=$2 seconds=$3
shift 3
work=$(mktemp -d)
qemu=

leave() {
    [ -z "$qemu" ] || kill -9 "$qemu" 2>/dev/null || true
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

pack() {
    (cd "$1" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0)
}

# An initramfs may be several archives one behind the other; later ones are laid over earlier ones.
make_initramfs() {
    mkdir "$work/overlay"
    printf '%s\n' "$*" >"$work/overlay/command"
    cat "$rig/base.cpio"
    pack "$stage"
    pack "$work/overlay"
}

# One CPU and one emulating thread: with two CPUs the emulated SVM fails now and then.
start_qemu() {
    # shellcheck disable=SC2086 # RIG_QEMU is several words
    mkfifo "$work/monitor.in" "$work/monitor.out"
    # Both ends open, so that neither open waits for QEMU.
    exec 8<>"$work/monitor.in" 9<>"$work/monitor.out"
    : >"$work/output"
    : >"$work/console"
    qemu-system-x86_64 -accel tcg,thread=single -cpu EPYC,+svm,+npt -smp 1 -m "${RIG_MEMORY:-2048}" \
        -nodefaults -no-user-config -display none -no-reboot \
        -kernel "$rig/vmlinux" -initrd "$work/initramfs" \
        -append "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on" \
        -serial "file:$work/console" -chardev "pipe,id=monitor,path=$work/monitor" -mon chardev=monitor,mode=readline \
        -device virtio-serial -chardev "file,id=output,path=$work/output" -device virtserialport,chardev=output \
        ${RIG_QEMU:-} \
        </dev/null >"$work/qemu" 2>&1 &
    qemu=$!
}

stream() {
    tail -n +1 -s 0.1 -f --pid="$qemu" "$work/output" | sed -u '/^rig: status [0-9]*$/d'
}

# Waits for the end; false when the time is up.
#
# QEMU 7.2's emulated #VMEXIT changes the word of waiting interrupts without a lock (target/i386/tcg/sysemu/svm_helper.c,
# do_vmexit), and so loses now and then one that comes at that instant. If that was the timer's, an idle machine sleeps
# for ever. Any other interrupt brings the lost one along: a key that means nothing, pressed every second.
wait_for_end() {
    local end=$((SECONDS + seconds)) last=$SECONDS
    while kill -0 "$qemu" 2>/dev/null; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
        [ "$SECONDS" != "$last" ] || continue
        last=$SECONDS
        echo "sendkey shift" >&8
        while IFS= read -r -t 0.01 -n 4096 _ <&9; do :; done
    done
}

show_registers() {
    echo "info registers" >&8
    local line
    while IFS= read -r -t 5 line <&9; do
        case $line in
            *$'\e'*) ;; # the monitor's echo of a command
            XMM00* | *FPR0*) break ;;
            *) echo "  ${line%$'\r'}" ;;
        esac
    done
}

show_console() {
    sed 's/\r$//; s/^/  /' "$work/console"
    grep -v "TCG doesn't support" "$work/qemu" || true
}

make_initramfs "$@" >"$work/initramfs"
start_qemu
stream &
streaming=$!
if ! wait_for_end; then
    {
        echo "rig: hangs: not done within $seconds s; the vCPU's registers:"
        show_registers
    } >"$work/report"
    kill -9 "$qemu"
fi
wait "$qemu" 2>/dev/null || true
qemu=
wait "$streaming" || true
if [ -s "$work/report" ]; then
    cat "$work/report" >&2
    echo "rig: its console:" >&2
    show_console >&2
    exit 124
fi
status=$(tail -n 1 "$work/output" | sed -n 's/^rig: status \([0-9]*\)$/\1/p')
if [ -z "$status" ]; then
    echo "rig: the inner machine died; its console:" >&2
    show_console >&2
    exit 125
fi
[ -z "${RIG_TIMES:-}" ] || sed -n 's/\r$//; /^rig: /p' "$work/console" >&2
exit "$status"
