#!/bin/sh
# Fuzzes each target, or those that are named, for FUZZ_S seconds. What is found new goes below target/fuzz, not
# into the committed corpus. Needs nightly Rust; from the top of the repository.
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
# shellcheck disable=SC2046 # a list of words
[ $# -gt 0 ] || set -- $(fuzz list)
for target; do
    mkdir -p "$target_dir/found/$target" "$target_dir/corpus/$target"
    echo "== $target"
    fuzz run --target-dir "$target_dir/build" "$target" "$target_dir/corpus/$target" "$here/corpus/$target" -- \
        -max_total_time="${FUZZ_S:-60}" -timeout=10 -max_len=16384 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$target_dir/found/$target/"
done
