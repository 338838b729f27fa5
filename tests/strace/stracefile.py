"""Reads what strace wrote with the options in OPTIONS: every call, by thread, in order."""

import errno
import re
from dataclasses import dataclass, field

from table import SHOWN_IN_WORDS

OPTIONS = [
    "-f",  # children and threads
    "-q",  # no word of processes that strace attaches to
    "-y",  # the path behind each descriptor
    "-xx",  # every byte of a string as \xNN: so quotes and brackets are strace's own
    "-s", "65536",  # strings in full
    "-X", "raw",  # flags as numbers
    "-e", "raw=!" + ",".join("?" + name for name in SHOWN_IN_WORDS),  # `?`: where this strace knows it
]

# Results that a program never sees: the kernel restarts the call or makes it EINTR (include/linux/errno.h).
RESTARTS = {"ERESTARTSYS": 512, "ERESTARTNOINTR": 513, "ERESTARTNOHAND": 514, "ERESTART_RESTARTBLOCK": 516}
ERRORS = {name: number for number, name in errno.errorcode.items()} | RESTARTS | {"ENOTSUPP": 524, "EOPNOTSUPP": 95, "EDEADLOCK": 35}

STARTS = ("clone", "clone3", "fork", "vfork")

LINE = re.compile(r"(\d+) +(.*)")
WHOLE = re.compile(r"(\w+)\((.*)\)\s+= (.*)")
BEGUN = re.compile(r"(\w+)\((.*?),? ?<unfinished \.\.\.>(?:\)?\s+= (\?))?")
RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)\)\s+= (.*)")


@dataclass
class Traced:
    name: str
    args: list
    result: int | None = None

    def __str__(self):
        return f"{self.name}({', '.join(map(readable, self.args))}) = {'?' if self.result is None else self.result}"


@dataclass
class Thread:
    calls: list = field(default_factory=list)
    ends: list = field(default_factory=list)  # ("code", 0), ("signal", "SIGKILL") or ("superseded", None)

    @property
    def starts(self):
        """The calls that started a child."""
        return [call for call in self.calls if call.name in STARTS and (call.result or 0) > 0]


def readable(text):
    return re.sub(r"(?:\\x[0-9a-f]{2})+", lambda found: repr(unquoted(found[0]))[2:-1], text)


def unquoted(text):
    r"""The bytes of `\x2f\x74`, with or without quotes around."""
    return bytes.fromhex(text.strip('"').replace("\\x", ""))


def split(text):
    """The arguments, at the commas outside brackets. Strings hold none: they are in hexadecimal."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def result_of(text):
    error = re.match(r"(?:-1|\?) (E\w+)", text)
    if error:
        return -ERRORS[error[1]]
    error = re.match(r"-1 \(errno (\d+)\)", text)
    if error:
        return -int(error[1])
    word = re.match(r"-?\w+|\?", text)[0]
    return None if word == "?" else int(word, 0)


class Unreadable(Exception):
    """A line that this reader does not know: nothing is passed over in silence."""


def read(path):
    """The threads, by thread id."""
    threads, open_calls, superseded = {}, {}, {}

    def begin(tid, name, args):
        call = Traced(name, [args])
        threads.setdefault(tid, Thread()).calls.append(call)
        return call

    def end(tid, call, result):
        call.args = split(call.args[0])
        if call.name == "statx":
            # With `-X raw` strace leaves out the word of the flags' lower half: `|0x1000`, or nothing.
            if len(call.args) == 4:
                call.args.insert(2, "0")
            call.args[2] = call.args[2].removeprefix("|") or "0"
        call.result = result_of(result)

    with open(path, encoding="ascii") as file:
        for line in file:
            tid, rest = LINE.fullmatch(line.rstrip("\n")).groups()
            tid = int(tid)
            if rest.startswith("--- "):
                continue
            if rest.startswith("+++ "):
                thread = threads.setdefault(tid, Thread())
                if found := re.match(r"\+\+\+ exited with (\d+)", rest):
                    thread.ends.append(("code", int(found[1])))
                elif found := re.match(r"\+\+\+ killed by (\w+)", rest):
                    thread.ends.append(("signal", found[1]))
                elif found := re.match(r"\+\+\+ superseded by execve in pid (\d+)", rest):
                    # The thread that called execve goes on under the leader's id.
                    thread.ends.append(("superseded", None))
                    superseded[tid] = int(found[1])
                else:
                    raise Unreadable(line)
                if tid in open_calls and tid not in superseded:
                    end(tid, open_calls.pop(tid), "?")
            elif found := WHOLE.fullmatch(rest):
                end(tid, begin(tid, found[1], found[2]), found[3])
            elif found := RESUMED.fullmatch(rest):
                owner = tid
                if tid in superseded and found[1].startswith("execve"):
                    owner = superseded.pop(tid)
                call = open_calls.pop(owner)
                if call.name != found[1]:
                    raise Unreadable(f"resumed is not what was begun ({call.name}): {line}")
                joint = ", " if call.args[0] and found[2].strip() and not found[2].startswith(",") else ""
                call.args[0] += joint + found[2]
                end(owner, call, found[3])
            elif found := BEGUN.fullmatch(rest):
                call = begin(tid, found[1], found[2])
                if found[3]:
                    end(tid, call, "?")
                else:
                    open_calls[tid] = call
            else:
                raise Unreadable(line)
    for tid, call in open_calls.items():
        end(tid, call, "?")
    return threads
