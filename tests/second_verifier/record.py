"""The members a record must have, and their shapes (format.md sections 1.1 to 1.4).

A shape is a function of (value, path, unknown). It raises Wrong, and appends to `unknown` the paths of
members that the specification does not name: those are reported, and are no fault.
"""

import functools
import re

from note import unbase64


class Wrong(ValueError):
    pass


# RFC 3339, UTC, nine fraction digits. A second of 60 is RFC 3339's leap second.
_TIME = re.compile(
    r"([0-9]{4}-(?:0[1-9]|1[0-2])-[0-9]{2})T(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)\.[0-9]{9}Z"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DECIMAL = re.compile(r"0|[1-9][0-9]*")


@functools.lru_cache(maxsize=64)
def _is_date(text):
    year, month, day = map(int, text.split("-"))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 1 <= day <= (31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def is_time(value):
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    return match is not None and _is_date(match[1])


def is_integer(value):
    return type(value) is int  # True and False are no integers here


def is_bytes(value):
    """Bytes that are not UTF-8 stand as {"b64": "..."}."""
    return (
        isinstance(value, dict)
        and list(value) == ["b64"]
        and isinstance(value["b64"], str)
        and unbase64(value["b64"]) is not None
    )


def shape(description, test):
    def check(value, path, unknown):
        if not test(value):
            raise Wrong(f"{path} is not {description}")

    return check


def matching(description, pattern):
    return shape(description, lambda v: isinstance(v, str) and pattern.fullmatch(v) is not None)


def one_of(*words):
    return shape(" or ".join(words), lambda v: isinstance(v, str) and v in words)


def members(required, optional=None):
    known = required | (optional or {})

    def check(value, path, unknown):
        if not isinstance(value, dict):
            raise Wrong(f"{path} is not an object")
        for name in required:
            if name not in value:
                raise Wrong(f"{path}.{name} is missing")
        for name, inner in value.items():
            if name in known:
                known[name](inner, f"{path}.{name}", unknown)
            else:
                unknown.append(f"{path}.{name}")

    return check


anything = shape("", lambda v: True)
string = shape("a string", lambda v: isinstance(v, str))
string_or_bytes = shape("a string or b64", lambda v: isinstance(v, str) or is_bytes(v))
integer = shape("an integer", is_integer)
natural = shape("an integer from 0", lambda v: is_integer(v) and v >= 0)
integer_or_null = shape("an integer or null", lambda v: v is None or is_integer(v))
null = shape("null", lambda v: v is None)
an_object = shape("an object", lambda v: isinstance(v, dict))
strings = shape("an array of strings", lambda v: isinstance(v, list) and all(isinstance(s, str) for s in v))
time = shape("a time", is_time)
digest = matching("a hash", _DIGEST)
decimal = matching("a decimal string", _DECIMAL)
number = shape(
    "an integer or a decimal string", lambda v: is_integer(v) or isinstance(v, str) and _DECIMAL.fullmatch(v)
)
result = shape("an integer or a string", lambda v: is_integer(v) or isinstance(v, str))

PROCESS = members(
    dict.fromkeys(("cgroup", "comm", "executable"), string_or_bytes)
    | dict.fromkeys(("gid", "pid", "ppid", "tid", "uid"), integer),
    {"container": string} | dict.fromkeys(("egid", "euid", "mnt_ns", "net_ns", "pid_ns"), integer),
)
SYSCALL = members(
    {"arch": string, "args": an_object, "id": integer, "name": string},
    {"duration_ns": number, "flags": strings, "result": result},
)
ON_ALL = {
    "action": string,
    "actor": members({"id": string, "kind": one_of("user", "agent", "system", "service")}, {"via": anything}),
    "epoch": natural,
    "kind": one_of("syscall", "event", "gap", "system"),
    "ledger": string,
    "prev": digest,
    "schema_version": one_of("4.0.0"),
    "seq": natural,
    "source": one_of("kernel", "api", "ui", "fix", "chain", "kafka", "file", "system"),
    "subject": members({"id": string_or_bytes, "kind": string}),
    "timestamp_truetime": members({"earliest": time, "latest": time}, {"clock": one_of("unsynchronised")}),
    "trace_id": matching("a lower-case UUID", _UUID),
    "where": members({"host": string}, {"device": string, "ip": string}),
}
ON_EVENT = {
    "bytes_severed": integer,
    "external_trace_id": string,
    "occurred": anything,
    "payload": members({}, {"after": an_object, "before": an_object}),
    "target_host": string,
}
ON_SYSCALL = {
    "enforcement": one_of("observed"),
    "mono_ns": decimal,
    "process": PROCESS,
    "syscall": SYSCALL,
    "verdict": one_of("PERMIT"),
}


def _gap(cpu, lost, bounds):
    return members({"cpu": cpu, "from": bounds, "lost": lost, "stage": string, "to": bounds})


GAPS = {  # section 1.3
    "ring": _gap(integer, integer, integer),
    "stash": _gap(integer_or_null, integer, integer_or_null),
    "recursion": _gap(integer_or_null, integer, integer_or_null),
    "decode": _gap(integer_or_null, integer, integer_or_null),
    "downtime": _gap(null, null, time),
}


def gap(value, path, unknown):
    stage = value.get("stage") if isinstance(value, dict) else None
    if not isinstance(stage, str) or stage not in GAPS:
        raise Wrong(f"{path} has no stage that is known")
    GAPS[stage](value, path, unknown)


def _damage(value, path, unknown):
    if value is not None:
        known = {"bytes": natural, "offset": natural, "segment": anything, "sha256": digest}
        members(known)(value, path, unknown)


def _number_or_null(value, path, unknown):
    if value is not None:
        number(value, path, unknown)


BUDGET = members(
    dict.fromkeys(("free_bytes", "used_bytes"), number) | dict.fromkeys(("bytes_max", "free_bytes_min"), _number_or_null)
)
DETAILS = {  # section 1.2, where it fixes the members
    "block.opened": members({"header": digest, "height": natural}),
    "budget.reached": BUDGET,
    "budget.resumed": BUDGET,
    "segment.released": members(
        dict.fromkeys(("count", "first", "segments"), natural)
        | {"bytes": number, "last": digest, "newest": time, "sha256": digest, "sinks": strings}
    ),
    "capture.left_out": members(
        {"by": members({}, {"filter": an_object, "path": an_object}), "from": time, "to": time}
    ),
    "config.applied": members({"changes": strings, "file": string, "sha256": digest}),
    "recovery.completed": members({"copied": members({"count": natural, "first": natural}), "damaged": _damage}),
}
FROM_THE_KERNEL = (
    "process.forked", "process.executed", "process.exited", "process.found", "process.moved",
    "cgroup.made", "cgroup.removed",
)
SYSTEM_ACTIONS = {"heartbeat", "ledger.created", "pipeline.started", "pipeline.stopped"} | {*DETAILS, *FROM_THE_KERNEL}

KINDS = {
    "event": members(ON_ALL, ON_EVENT),
    "gap": members(ON_ALL | {"gap": gap}),
    "syscall": members(ON_ALL | ON_SYSCALL, {"target_host": string}),
    "system": members(ON_ALL | {"detail": an_object}, {"process": PROCESS}),
}


def check_record(record):
    """Raises Wrong, or returns what the specification does not name."""
    unknown = []
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise Wrong("record.kind is not " + ", ".join(KINDS))
    KINDS[kind](record, "record", unknown)
    times = record["timestamp_truetime"]
    if times["earliest"] > times["latest"]:
        raise Wrong("record.timestamp_truetime.earliest is after latest")
    action = record["action"]
    if kind == "syscall" and action != record["syscall"]["name"]:
        raise Wrong("record.action is not the system call's name")
    if kind == "system":
        if action in FROM_THE_KERNEL and record["source"] != "kernel":
            raise Wrong(f"record.source of {action} is not kernel")
        if record["source"] == "kernel" and "process" not in record:
            raise Wrong("record.process is missing on a system record from the kernel")
        if record["source"] != "kernel" and "process" in record:
            unknown.append("record.process")
        if action in DETAILS:
            DETAILS[action](record["detail"], "record.detail", unknown)
        elif action not in SYSTEM_ACTIONS:
            unknown.append(f"action {action}")
    return unknown


# Section 4. `prev` and the like are compared with what is recomputed; this is their form alone.
HEADER = members(
    dict.fromkeys(("block_root", "head", "prev", "root"), digest)
    | dict.fromkeys(("count", "first", "gaps", "height", "size"), natural)
    | {"checkpoint": string, "earliest": time, "latest": time}
)

# Section 3.
LEDGER = members(
    {"created": time, "id": matching("32 hex digits", re.compile("[0-9a-fA-F]{32}")), "key": string, "origin": string}
)
