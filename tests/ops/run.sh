#!/usr/bin/env bash
# Holds what operators are given against the real tools: alert rules by promtool, the unit's filter by
# systemd-analyze. Neither is installed (Debian's prometheus would start a server): they are unpacked.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}
tools=$(mkdir -p "$target/ops" && cd "$target/ops" && pwd)
fetch() { # PACKAGE, with fresh lists where those that are there do not name it
    apt-get download -qq "$1" 2>/dev/null || { apt-get update -qq && apt-get download -qq "$1"; }
}
unpack() { # PACKAGE…
    local package
    for package in "$@"; do
        [ -e "$tools/$package.done" ] && continue
        (cd "$tools" && fetch "$package" && dpkg -x "${package}"_*.deb . && touch "$package.done")
    done
}
command -v promtool >/dev/null || unpack prometheus
if ! command -v systemd-analyze >/dev/null; then
    unpack systemd libsystemd-shared
    export LD_LIBRARY_PATH="$tools/usr/lib/x86_64-linux-gnu/systemd"
fi
export PATH="$PATH:$tools/usr/bin:$tools/bin"

promtool check rules configs/prometheus/alerts.yml
promtool test rules configs/prometheus/alerts_test.yml
if [ "$(id -u)" -eq 0 ]; then
    GRAVEN=${GRAVEN:-$target/debug/graven} python3 -m unittest discover -s tests/ops
elif [ -n "${CI:-}" ]; then
    echo "the unit's filter needs root, and in CI nothing is skipped" >&2
    exit 1
else
    echo "SKIPPED: the unit's filter needs root" >&2
fi
