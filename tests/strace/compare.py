"""Shows that a ledger holds the calls that strace sees in the same run.

    python3 tests/strace/compare.py [--all] [--graven BINARY] [PROGRAM…]

`graven exec` runs strace, and strace runs the program: so both watch the same calls of the same threads.
Each thread's calls must be the same, in the same order, with the same arguments and results; each thread
must have the same children and the same end. What may differ is named in ACCEPTED and counted; all else fails.

Exit: 0 all the same, 1 something differs.
"""

import argparse
import collections
import copy
import difflib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import stracefile as trace
from arguments import WORD, Thread, behind, same_argument, word
from programs import PROGRAMS, SHORT, Missing, tool
from table import CALLS

ROOT = Path(__file__).resolve().parents[2]
SHOWN = 20
UNNUMBERED = set()

ACCEPTED = {
    "content": "one prints what lies at an address (a buffer, a structure), the other the address: not comparable",
    "unnumbered": "a flag's name for which Python has no number to compare with the register",
    "new": "a call that this strace has no name for: its arguments are not compared",
    "killed": "the thread was killed in its last call: the ledger has the result that the kernel left, strace, to "
    "which a dead thread reports no more, has `?`",
    "stale": "the thread was killed after its last call and before strace could read the result: strace shows what it "
    "read last of another thread (the ledger has strace's own calls, which prove it)",
    "cancelled": "the thread was killed while it was about to stop for strace at the entry of a call, so the kernel "
    "gave the call up (exit_only, -ENOSYS) and strace was not told of it; without strace there is no such stop",
    "too long": "a path beyond PATH_MAX, which the kernel refuses: each side shows as much as it holds",
    "script": "execve of a script: the ledger has, by design, the argv that the kernel executed: the words of the #! line, "
    "the script's path, then the caller's arguments from the second on",
    "no argv": "execve without argv: the ledger has the one empty string that the kernel puts there",
    "refused": "a struct open_how of a wrong size, which the kernel refuses: strace prints its address, the ledger what it holds",
    "deleted": "strace marks a directory that has been removed; the ledger has the path that it had",
    "nameless": "a pipe, socket or the like has no path: strace shows the kernel's name for it, the ledger the empty path as given",
    "directory": "a relative path, and strace has not shown this thread's working directory since it changed: "
    "the ledger's path is compared from its end",
}

def differences(traced, record, thread):
    """What differs between strace's call and the ledger's, each in words."""
    args, result = record["syscall"]["args"], record["syscall"].get("result")
    if "arg0" in args:
        for index, shown in enumerate(traced.args):
            if int(args[f"arg{index}"], 16) != word(shown) % WORD:
                yield f"arg{index}"
    else:
        parameters = CALLS.get(record["action"], [])
        if traced.name.startswith("syscall_"):
            thread.accepted["new"] += 1
            parameters = []
        elif len(parameters) < len(traced.args):
            yield "the number of arguments"
        for (name, kind, directory), shown in zip(parameters, traced.args):
            base = thread.directory
            if directory is not None:
                base = behind(traced.args[directory])
            if kind == "Dirfd" and shown.startswith("-100<"):
                thread.directory = behind(shown)
            if name not in args or not same_argument(kind, name, shown, args[name], base, args, thread):
                yield name
    if traced.name in ("chdir", "fchdir", "chroot"):
        thread.directory = None
    if (result is None) != (traced.result is None) or (result is not None and (int(result) - traced.result) % WORD):
        yield "result"


def names_of(traced, records):
    """The names by which calls are aligned. A call that strace has no name for goes by its number."""
    ours, theirs, unknown = [], [], set()
    for call in traced:
        found = re.fullmatch(r"syscall_(0x\w+)", call.name)
        # The kernel takes the number from the lower half of the register.
        theirs.append(int(found[1], 16) % (1 << 32) if found else call.name)
        unknown.add(theirs[-1])
    for record in records:
        number = record["syscall"]["id"]
        ours.append(number if number in unknown else record["action"])
    return theirs, ours


def compare_thread(tid, traced, records, directories, stale, found, accepted):
    """Compares the calls of one thread, in order; the number compared. Children begin in its directory."""
    names = names_of(traced.calls, records)
    thread = Thread(directories.get(tid))
    compared = 0
    if names[0] == names[1]:
        steps = [("equal", 0, len(names[0]), 0, len(names[1]))]
    else:
        steps = difflib.SequenceMatcher(None, *names, autojunk=False).get_opcodes()
    for kind, a, a_end, b, b_end in steps:
        if kind != "equal":
            found += [f"{tid}: only strace has {call}" for call in traced.calls[a:a_end]]
            for record in records[b:b_end]:
                if record is records[-1] and is_cancelled(traced, record):
                    accepted["cancelled"] += 1
                else:
                    found.append(f"{tid}: only the ledger has {brief(record)}")
            continue
        for call, record in zip(traced.calls[a:a_end], records[b:b_end]):
            compared += 1
            wrong = list(differences(call, record, thread))
            if call.name in trace.STARTS and (call.result or 0) > 0:
                directories[call.result] = thread.directory
            if wrong == ["result"] and is_killed(traced, call):
                accepted["killed"] += 1
            elif wrong == ["result"] and call is traced.calls[-1] and tid in stale:
                accepted["stale"] += 1
            elif wrong:
                found.append(f"{tid}: {', '.join(wrong)} of {call}: the ledger has {brief(record)}")
    accepted += thread.accepted
    UNNUMBERED.update(thread.unnumbered)
    return compared


def is_killed(traced, call):
    """Whether strace saw no result because a signal killed the thread, or another thread ended the process."""
    return call.result is None and call.name not in ("exit", "exit_group") and bool(traced.ends)


def is_cancelled(traced, record):
    """Whether the kernel gave up the call before it began, on a thread that strace saw killed."""
    call = record["syscall"]
    return bool(traced.ends) and call.get("flags") == ["exit_only"] and call["result"] == -38


def brief(record):
    return f"record {record['seq']}, {record['action']} {json.dumps(record['syscall'])}"


def unnoticed(threads, records, strace):
    """The kinds of difference that the comparison fails to see: it must find each that is put into a good ledger."""
    at = [index for index, record in enumerate(records) if record["kind"] == "syscall" and not of_strace(record, strace)]
    opened = [index for index in at if records[index]["action"] == "openat" and "result" in records[index]["syscall"]]
    some, path = at[len(at) // 2], opened[len(opened) // 2]
    read = next(index for index in at if records[index]["action"] == "pread64")

    def altered(index, alter):
        record = copy.deepcopy(records[index])
        alter(record["syscall"])
        return [*records[:index], record, *records[index + 1 :]]

    changes = {
        "a call less": records[:some] + records[some + 1 :],
        "a call twice": records[: some + 1] + records[some:],
        "another result": altered(path, lambda call: call.update(result=call["result"] + 1)),
        "no result": altered(path, lambda call: call.pop("result")),
        "another path": altered(path, lambda call: call["args"].update(pathname="/another")),
        "another flag": altered(path, lambda call: call["args"]["flags"].append("O_APPEND")),
        "another word": altered(read, lambda call: call["args"].update(count=123457)),
        "an end less": [record for record in records if record["action"] != "process.exited"],
        "a child less": [record for record in records if record["action"] != "process.forked"],
    }
    return [name for name, changed in changes.items() if not compare(threads, changed, strace)[3]]


def load(ledger):
    segments = sorted((ledger / "segments").iterdir())
    return [json.loads(line) for segment in segments for line in segment.read_bytes().splitlines()]


def compare_ends(tid, traced, records, found):
    ends = []
    for record in records:
        if record["action"] == "process.exited":
            detail = record["detail"]
            killed = detail["signal"]
            ends.append(("code", detail["code"]) if killed is None else ("signal", signal.Signals(killed).name))
    alike = [theirs[0] == "superseded" or theirs == ours for theirs, ours in zip(traced.ends, ends)]
    if len(ends) != len(traced.ends) or not all(alike):
        found.append(f"{tid}: strace saw it end {traced.ends}, the ledger {ends}")
    children = [record["detail"]["child_tid"] for record in records if record["action"] == "process.forked"]
    started = [call.result for call in traced.starts]
    if children != started:
        found.append(f"{tid}: strace saw it start {started}, the ledger {children}")


def of_strace(record, strace):
    """Whether strace itself did it: all until its child becomes the program, which is the first call it shows."""
    call = record.get("syscall", {})
    becomes = call["args"]["pathname"] if call.get("name") == "execve" and call["result"] == 0 else None
    # The call by which Graven's child became strace was made by Graven's program.
    return becomes == strace or record["process"]["executable"] == strace and becomes is None


def died_unread(records, strace):
    """The threads that died after they stopped for strace and before it read of their last call.

    PTRACE_GET_SYSCALL_INFO then gives 24 bytes instead of 33: no result. strace 6.1 does not look at the number, and
    takes for the result what lies in its buffer from the thread before. Its own calls are in the ledger, and show it.
    """
    last = {}
    for record in records:
        call = record.get("syscall", {})
        if call.get("name") == "ptrace" and of_strace(record, strace):
            if call["args"]["request"] in ("PTRACE_GET_SYSCALL_INFO", "0x420e"):
                last[call["args"]["pid"]] = call["result"]
    return {tid for tid, result in last.items() if result <= 24}


def compare(threads, records, strace):
    """(threads, calls, accepted, found)"""
    of_agent = [record for record in records if "process" in record and not of_strace(record, strace)]
    calls, others = collections.defaultdict(list), collections.defaultdict(list)
    for record in of_agent:
        (calls if record["kind"] == "syscall" else others)[record["process"]["tid"]].append(record)
    stale = died_unread(records, strace)
    accepted, found, compared, directories = collections.Counter(), [], 0, {}
    for tid in sorted(threads.keys() | calls.keys() | others.keys()):
        traced = threads.get(tid, trace.Thread())
        compared += compare_thread(tid, traced, calls[tid], directories, stale, found, accepted)
        compare_ends(tid, traced, others[tid], found)
    became = sum(call.name in ("execve", "execveat") and call.result == 0 for each in threads.values() for call in each.calls)
    executed = sum(record["action"] == "process.executed" for record in of_agent)
    if became != executed:
        found.append(f"strace saw {became} programs executed, the ledger {executed}")
    losses = records[-1]["detail"]["losses"]
    for key in ("dropped", "recursion_misses", "skipped_mid_call", "stash_failed"):
        if losses[key]:
            found.append(f"the ledger counts losses: {key} {losses[key]}")
    gaps = [record["gap"] for record in records if record["kind"] == "gap"]
    found += [f"the ledger has a gap: {gap}" for gap in gaps]
    return len(threads), compared, accepted, found


def run(name, graven, keep):
    """Runs one program under both; false where something differs."""
    strace = os.path.realpath(tool("strace"))
    base = Path(tempfile.mkdtemp(prefix=f"graven-strace-{name}-")).resolve()
    home = base / "home"
    home.mkdir()
    quietly = {"cwd": base, "check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([graven, "init", "ledger", "--origin", "example.org/strace"], **quietly)
    with PROGRAMS[name](home) as command:
        watched = [strace, *trace.OPTIONS, "-o", base / "trace", *command]
        ledger = ["--ledger", base / "ledger", "--key", base / "ledger.key"]
        subprocess.run(
            [graven, "exec", *ledger, "--", *watched], cwd=home, check=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    subprocess.run([graven, "verify", "ledger", "--key", "ledger.vkey"], **quietly)
    traced, records = trace.read(base / "trace"), load(base / "ledger")
    threads, compared, accepted, found = compare(traced, records, strace)
    if name == "bash":
        found += [f"the comparison does not notice: {change}" for change in unnoticed(traced, records, strace)]
    print(f"{name}: {threads} threads, {compared} calls compared, {len(found)} differences; ledger good")
    for reason, count in sorted(accepted.items()):
        print(f"  accepted: {count} {reason} ({ACCEPTED[reason]})")
    if UNNUMBERED:
        print(f"    names without a number: {' '.join(sorted(UNNUMBERED))}")
        UNNUMBERED.clear()
    for difference in found[:SHOWN]:
        print(f"  DIFFERS: {difference}")
    if len(found) > SHOWN:
        print(f"  … and {len(found) - SHOWN} more")
    if compared == 0:
        found.append("nothing was compared")
        print("  DIFFERS: nothing was compared")
    if found or keep:
        print(f"  kept: {base}")
    else:
        shutil.rmtree(base)
    return not found


def must_be_there(tool):
    """Whether this project's own list of packages brings the tool, so that its absence in CI is a failure."""
    return f"has {tool} " in (ROOT / "tests/packages.sh").read_text() or tool in ("bash", "tar")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(PROGRAMS)}")
    parser.add_argument("--all", action="store_true", help="every program; without, the fast ones")
    parser.add_argument("--graven", default=str(ROOT / "target/debug/graven"), help="the binary")
    parser.add_argument("--keep", action="store_true", help="keep each run's directory")
    options = parser.parse_args()
    unknown = set(options.programs) - PROGRAMS.keys()
    if unknown:
        parser.error(f"no such program: {', '.join(sorted(unknown))}")
    good, skipped = True, []
    for name in options.programs or (PROGRAMS if options.all else SHORT):
        try:
            good &= run(name, options.graven, options.keep)
        except Missing as missing:
            print(f"SKIPPED: {name} needs {missing}")
            skipped.append(str(missing))
        sys.stdout.flush()
    if skipped:
        print(f"SKIPPED: {len(skipped)} in all")
    if os.environ.get("CI") and any(map(must_be_there, skipped)):
        print("in CI what tests/packages.sh installs is not skipped")
        good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
