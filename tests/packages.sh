#!/bin/sh
# Installs the Debian packages that building and testing need, where they are missing; with `vm`, `fuzz` or
# `peers`, those for `make test-vm`, `make fuzz` or `make bench-peers` too.
set -eu

need=
has() { command -v "$1" >/dev/null 2>&1; }
has cc || need="$need gcc libc6-dev"
has clang || need="$need clang"
has llvm-strip || has llvm-strip-14 || need="$need llvm"
has ld.lld || need="$need lld"
has pkg-config || need="$need pkg-config"
has python3 || need="$need python3"
has strace || need="$need strace"
has git || need="$need git"
has chattr || need="$need e2fsprogs"
has curl || need="$need curl"
has jq || need="$need jq"
[ -e /usr/include/libelf.h ] || need="$need libelf-dev"
[ -e /usr/include/zlib.h ] || need="$need zlib1g-dev"
case ${1:-} in
vm)
    has qemu-system-x86_64 || need="$need qemu-system-x86"
    has busybox || need="$need busybox-static"
    ;;
fuzz)
    has c++ || need="$need g++"
    ;;
peers)
    has c++ || need="$need g++"
    has make || need="$need make"
    has java || need="$need default-jre-headless"
    has mvn || need="$need maven"
    ;;
esac
[ -z "$need" ] && exit 0

echo "installing:$need"
if ! has apt-get; then
    echo "This is no Debian: install the counterparts of$need by your own package manager, then try again." >&2
    exit 1
fi
root=
if [ "$(id -u)" -ne 0 ]; then
    if ! has sudo; then
        echo "Installing needs root: run \`apt-get install$need\` as root, then try again." >&2
        exit 1
    fi
    root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # both are lists of words
$root apt-get update -qq && $root apt-get install -y -qq --no-install-recommends $need >/dev/null
