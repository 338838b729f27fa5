#!/bin/sh
# Fuzzes each target, or those that are named, for FUZZ_S seconds, FUZZ_JOBS of them at a time. What is found new
# goes below target/fuzz, not into the committed corpus. Needs nightly Rust; from the top of the repository.
set -eu

here=tests/fuzz
target_dir=${CARGO_TARGET_DIR:-target}/fuzz
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "no nightly Rust: run \`rustup toolchain install nightly --profile minimal\`" >&2
    exit 1
fi
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked --quiet

fuzz() {
    verb=$1
    shift
    cargo +nightly fuzz "$verb" --fuzz-dir "$here" "$@"
}

# One target, with the fuzzer's own words in a file: where something is found, their end is shown.
one() {
    found=$target_dir/found/$1
    mkdir -p "$found" "$target_dir/corpus/$1"
    if fuzz run --target-dir "$target_dir/build" "$1" "$target_dir/corpus/$1" "$here/corpus/$1" -- \
        -max_total_time="${FUZZ_S:-60}" -timeout=10 -max_len=16384 -malloc_limit_mb=512 -print_final_stats=1 \
        -verbosity=0 -artifact_prefix="$found/" >"$found.log" 2>&1; then
        echo "$1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$found.log") inputs, nothing found"
    else
        tail -n 40 "$found.log" >&2
        echo "$1: FOUND, see $found" >&2
        return 1
    fi
}

if [ "${1:-}" = --one ]; then
    # What a target writes goes to memory: a disk would be all that it waits for.
    [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
    one "$2"
    exit
fi
# shellcheck disable=SC2046 # a list of words
[ $# -gt 0 ] || set -- $(fuzz list)
fuzz build --target-dir "$target_dir/build"
printf '%s\n' "$@" | xargs -P "${FUZZ_JOBS:-2}" -n 1 "$0" --one
