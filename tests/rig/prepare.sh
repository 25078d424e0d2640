#!/usr/bin/env bash
# prepare.sh DIR: makes DIR/vmlinux and DIR/base.cpio, which boot.sh boots; nothing to do when they are there.
#
# The kernel is Debian's stock cloud kernel, fetched as a package and unpacked, never installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
rig=$(cd "$1" && pwd)

# Modules the inner machine needs; those they depend on come along.
modules=(kvm-amd fuse virtio_pci virtio_console)

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

need() { # PROGRAM PACKAGE REASON
    command -v "$1" >/dev/null && return
    echo "rig: installing $2: $3" >&2
    if ! command -v apt-get >/dev/null; then
        echo "rig: no apt-get here; install $2 with this system's package manager" >&2
        exit 1
    fi
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
        -o DPkg::Lock::Timeout=300 "$2")
    as_root "${install[@]}" >/dev/null 2>&1 && return
    update_lists
    as_root "${install[@]}" >/dev/null
}

update_lists() {
    as_root apt-get update -qq >/dev/null
}

fetch_kernel() { # FOLDER: unpacks the kernel package into FOLDER/root
    local package
    package=$(kernel_package)
    if [ -z "$package" ]; then
        update_lists
        package=$(kernel_package)
    fi
    echo "rig: fetching $package: the kernel whose KVM the tests use (unpacked, not installed)" >&2
    if ! (cd "$1" && apt-get download -qq "$package" 2>/dev/null); then
        update_lists
        (cd "$1" && apt-get download -qq "$(kernel_package)")
    fi
    dpkg-deb -x "$1"/linux-image-*.deb "$1/root"
}

kernel_package() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

# The ELF inside a bzImage: booted as it is, it saves the emulated CPU the decompression.
unpack_vmlinux() { # BZIMAGE VMLINUX
    local setup_sectors offset length
    setup_sectors=$(number_at "$1" $((0x1f1)) 1)
    offset=$(((setup_sectors + 1) * 512 + $(number_at "$1" $((0x248)) 4)))
    length=$(number_at "$1" $((0x24c)) 4)
    # The last four bytes are the unpacked size, not part of the stream.
    dd if="$1" of="$2.packed" bs=1M iflag=skip_bytes,count_bytes skip="$offset" count="$((length - 4))" status=none
    case $(od -An -tx1 -N4 "$2.packed" | tr -d ' ') in
        02214c18) lz4 -dc <"$2.packed" >"$2" ;;
        28b52ffd) zstd -dcq <"$2.packed" >"$2" ;;
        *) echo "rig: $1 is packed in a way this script does not know" >&2 && exit 1 ;;
    esac
    rm "$2.packed"
}

number_at() { # FILE OFFSET BYTES
    od -An -tu"$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

# Copies the modules and what they depend on, with the table modprobe reads.
copy_modules() { # ROOT-OF-PACKAGE ROOT-OF-INITRAMFS
    local version name file
    version=$(ls "$1/lib/modules")
    busybox depmod -b "$1" "$version"
    local from=$1/lib/modules/$version to=$2/lib/modules/$version
    for name in "${modules[@]}"; do
        grep -E "/${name//[-_]/[-_]}\.ko:" "$from/modules.dep" || { echo "rig: the kernel has no $name" >&2 && exit 1; }
    done | tr -d : | tr ' ' '\n' | sort -u | while read -r file; do
        [ -n "$file" ] || continue
        mkdir -p "$to/$(dirname "$file")"
        cp "$from/$file" "$to/$file"
    done
    busybox depmod -b "$2" "$version"
}

pack() { # ROOT
    (cd "$1" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0)
}

need qemu-system-x86_64 qemu-system-x86 "emulates a CPU with nested paging"
need busybox busybox-static "the shell inside the rig"
need cpio cpio "packs the initramfs"
need lz4 lz4 "unpacks the kernel image"
need zstd zstd "unpacks the kernel image"

if [ -s "$rig/vmlinux" ] && [ -s "$rig/base.cpio" ] && [ "$rig/base.cpio" -nt "$here/init" ] && [ "$rig/base.cpio" -nt "$here/prepare.sh" ]; then
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch_kernel "$work"
unpack_vmlinux "$work"/root/boot/vmlinuz-* "$work/vmlinux"
mkdir -p "$work/initramfs/bin"
cp "$(command -v busybox)" "$work/initramfs/bin/busybox"
install -m 755 "$here/init" "$work/initramfs/init"
copy_modules "$work/root" "$work/initramfs"
pack "$work/initramfs" >"$rig/base.cpio.new"
mv "$work/vmlinux" "$rig/vmlinux"
mv "$rig/base.cpio.new" "$rig/base.cpio"
