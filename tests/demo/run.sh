#!/bin/sh
# The tour: makes a ledger, runs a small agent under capture, verifies. GRAVEN is the binary, DEMO the folder.
set -eu

graven=${GRAVEN:-target/release/graven}
demo=${DEMO:-demo}
here=$(dirname "$0")

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }

mkdir -p "$demo"
ledger=$demo/ledger
if [ ! -e "$ledger/ledger.json" ]; then
    step "1. A ledger, and a key that stays outside it"
    "$graven" init "$ledger" --origin "${ORIGIN:-example.org/demo}"
else
    step "1. The ledger in $ledger goes on"
fi

root=
[ "$(id -u)" -eq 0 ] || ! command -v sudo >/dev/null 2>&1 || root=sudo
if [ "$(id -u)" -eq 0 ] || [ -n "$root" ]; then
    step "2. An agent, and every system call it and its children make"
    # The interpreter itself, where `python3` is a script that looks for it.
    python=$(python3 -c 'import sys; print(sys.executable)')
    $root "$graven" exec --summary --ledger "$ledger" --agent demo-agent -- "$python" "$here/agent.py"
else
    step "2. SKIPPED: capture needs root or sudo. Events of applications need neither:"
    echo '{"action":"demo.step","actor":{"kind":"user","id":"you"},"subject":{"kind":"demo","id":"tour"}}' |
        "$graven" append --ledger "$ledger" --receipts
fi

step "3. The evidence, checked by a reader of its own"
$root "$graven" verify "$ledger" --key "$ledger.vkey"

step "What to try next"
cat <<NEXT
  $graven show 12 --ledger $ledger
  sudo $graven exec --ledger $ledger -- COMMAND
  python3 tests/second_verifier/verify.py $ledger --key $ledger.vkey
  edit one byte in $ledger/segments, and verify again
NEXT
