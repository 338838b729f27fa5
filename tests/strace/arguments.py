"""Whether an argument in the ledger's form is the one that strace shows."""

import base64
import collections
import fcntl
import mmap
import os
import re
import resource
import signal
import socket
import termios

from stracefile import split, unquoted
from table import ADDRESSES, MESSAGES, NAMES, PATHS, STRUCTURES, TEXTS, WIDE

WORD = 1 << 64

NAMED = {
    "O_LARGEFILE": 0o100000, "AT_REMOVEDIR": 0x200, "AT_EMPTY_PATH": 0x1000, "AT_SYMLINK_FOLLOW": 0x400,
    "AT_SYMLINK_NOFOLLOW": 0x100, "AT_FDCWD": -100, "RENAME_NOREPLACE": 1, "RENAME_EXCHANGE": 2,
    "RENAME_WHITEOUT": 4, "RESOLVE_NO_XDEV": 1, "RESOLVE_NO_MAGICLINKS": 2, "RESOLVE_NO_SYMLINKS": 4,
    "RESOLVE_BENEATH": 8, "RESOLVE_IN_ROOT": 16, "RESOLVE_CACHED": 32, "AT_EACCESS": 0x200, "AT_NO_AUTOMOUNT": 0x800,
    "ARCH_SET_FS": 0x1002, "PROT_NONE": 0, "MAP_FIXED": 0x10, "MAP_NORESERVE": 0x4000, "MAP_FIXED_NOREPLACE": 0x100000,
    "MREMAP_MAYMOVE": 1, "MREMAP_FIXED": 2, "PKEY_DISABLE_ACCESS": 1, "PR_SET_NAME": 15, "PR_SET_SECCOMP": 22,
    "PR_CAPBSET_READ": 23, "PR_SET_NO_NEW_PRIVS": 38, "PR_SET_VMA": 0x53564D41, "PR_SET_PDEATHSIG": 1,
    "CLONE_VM": 0x100, "CLONE_FS": 0x200, "CLONE_FILES": 0x400, "CLONE_SIGHAND": 0x800, "CLONE_PIDFD": 0x1000,
    "CLONE_VFORK": 0x4000, "CLONE_THREAD": 0x10000, "CLONE_SYSVSEM": 0x40000, "CLONE_SETTLS": 0x80000,
    "CLONE_PARENT_SETTID": 0x100000, "CLONE_CHILD_CLEARTID": 0x200000, "CLONE_CHILD_SETTID": 0x1000000,
    "STATX_BASIC_STATS": 0x7FF, "STATX_TYPE": 1, "STATX_MODE": 2, "STATX_NLINK": 4, "STATX_UID": 8, "STATX_GID": 0x10,
    "STATX_ATIME": 0x20, "STATX_MTIME": 0x40, "STATX_CTIME": 0x80, "STATX_INO": 0x100, "STATX_SIZE": 0x200,
    "STATX_BLOCKS": 0x400, "STATX_BTIME": 0x800, "STATX_MNT_ID": 0x1000,
}  # fmt: skip


class Unnumbered(Exception):
    """The name of a number that none of Python's tables has."""


def named(name):
    """The number of a flag, family or signal, from Python's own tables."""
    if name.startswith("0x"):
        return int(name, 16)
    if name in NAMED:
        return NAMED[name]
    for module in (os, socket, signal, mmap, fcntl, resource, termios):
        if hasattr(module, name):
            return int(getattr(module, name))
    raise Unnumbered(name)


def number(value, octal):
    """A number as the ledger has it."""
    if isinstance(value, list):
        return sum(map(named, value))
    if isinstance(value, str):
        return int(value, 8) if octal else named(value)
    return value


def octets(value):
    """Text as the ledger has it."""
    if isinstance(value, dict) and "b64" in value:
        return base64.b64decode(value["b64"])
    return value.encode() if isinstance(value, str) else None


class Thread:
    """What is remembered of a thread while its calls are compared."""

    def __init__(self, directory):
        self.directory = directory
        self.accepted = collections.Counter()
        self.unnumbered = set()


def word(text):
    """A number as strace has it: with a path behind it, in octal, or an expression."""
    text = re.sub(r" /\*.*\*/$", "", text.split("<")[0])
    if text == "NULL":
        return 0
    if found := re.fullmatch(r"makedev\((\w+), (\w+)\)", text):
        return os.makedev(int(found[1], 0), int(found[2], 0))
    return int(text, 8) if re.fullmatch(r"-?0[0-7]+", text) else int(text, 0)


def same_word(shown, value, wide, octal=False):
    return (int(number(value, octal)) - word(shown)) % (WORD if wide else 1 << 32) == 0


def address(text):
    """A socket address in the ledger's form."""
    fields = dict(part.split("=", 1) for part in split(text[1:-1]) if "=" in part)
    family = int(fields["sa_family"], 0)
    if family == socket.AF_UNSPEC:
        return b"unspec"
    if "sa_data" in fields:
        return f"family:{family}:{unquoted(fields['sa_data']).hex()}".encode()
    if family == socket.AF_UNIX:
        path = fields.get("sun_path", '""')
        return b"unix:" + (b"@" if path.startswith("@") else b"") + unquoted(path.lstrip("@"))
    if family == socket.AF_INET:
        host = socket.inet_ntop(family, unquoted(fields["sin_addr"]))
        return f"{host}:{int.from_bytes(unquoted(fields['sin_port']))}".encode()
    if family == socket.AF_INET6:
        host = socket.inet_ntop(family, unquoted(fields["sin6_addr"]))
        scope = int(fields["sin6_scope_id"], 0)
        host += f"%{scope}" if scope else ""
        return f"[{host}]:{int.from_bytes(unquoted(fields['sin6_port']))}".encode()
    if family == socket.AF_NETLINK:
        return f"netlink:{int(fields['nl_pid'], 0)}:{int(fields['nl_groups'], 16):#x}".encode()
    return None


CLOSED = object()


def behind(text):
    """The path that strace shows behind a descriptor; CLOSED where it shows none."""
    found = re.search(r"<((?:\\x[0-9a-f]{2})*)>", text)
    return unquoted(found[1]) if found else CLOSED


def same_path(shown, value, base, empty, thread):
    ours = octets(value)
    if shown.endswith("..."):
        thread.accepted["too long"] += 1
        return ours is not None and unquoted(shown.removesuffix("...")) in ours
    given = unquoted(shown)
    if given.startswith(b"/") or base is CLOSED or not given and not empty:
        return ours == given
    if base is None:
        thread.accepted["directory"] += 1
        return ours is not None and ours.endswith(b"/" + given)
    if not given and ours == b"" and base.startswith((b"pipe:[", b"socket:[", b"anon_inode:")):
        thread.accepted["nameless"] += 1
        return True
    if base.endswith(b" (deleted)"):
        thread.accepted["deleted"] += 1
        base = base.removesuffix(b" (deleted)")
    return ours == (base.rstrip(b"/") + b"/" + given if given else base)


def same_argv(given, ours, thread):
    if ours == given:
        return True
    if not given:
        thread.accepted["no argv"] += 1
        return ours == [b""]
    # `#!` line, the script's path, the caller's arguments.
    thread.accepted["script"] += 1
    arguments = given[1:]
    return len(ours) in (len(given) + 1, len(given) + 2) and ours[0].startswith(b"/") and ours[len(ours) - len(arguments) :] == arguments


def same_argument(kind, name, shown, value, base, args, thread):
    try:
        return same_form(kind, name, shown, value, base, args, thread)
    except Unnumbered as name:
        thread.unnumbered.add(str(name))
        thread.accepted["unnumbered"] += 1
        return kind in NAMES
    except (AttributeError, KeyError, TypeError, ValueError):
        # What this script cannot read is no equality.
        return False


def same_form(kind, name, shown, value, base, args, thread):
    if kind in TEXTS and shown.startswith('"'):
        return octets(value) == unquoted(shown)
    if kind in PATHS and shown.startswith('"'):
        return same_path(shown, value, base, "AT_EMPTY_PATH" in [*args.get("flags", ()), *args.get("at_flags", ())], thread)
    if kind == "PathAtOrNull" and shown == "NULL" and base is not CLOSED:
        return octets(value) == base or same_word(shown, value, wide=True)
    if kind == "Argv" and (shown.startswith("[") or shown == "NULL"):
        given = [unquoted(each) for each in split(shown[1:-1])] if shown != "NULL" else []
        return same_argv(given, [octets(each) for each in value], thread)
    if kind == "Gids" and shown.startswith("["):
        return value == [int(each) for each in split(shown[1:-1])]
    if kind in ADDRESSES and shown.startswith("{"):
        return octets(value) == address(shown)
    if kind in MESSAGES and shown.startswith("{"):
        fields = dict(part.split("=", 1) for part in split(shown[1:-1]) if "=" in part)
        peer = fields.get("msg_name", "NULL")
        if peer.startswith("{"):
            return octets(value) == address(peer)
    if name == "how" and shown.startswith("0x"):
        thread.accepted["refused"] += 1
        return int(args["size"]) < 24
    if name == "how" and shown.startswith("{"):
        fields = dict(part.split("=", 1) for part in split(shown[1:-1]))
        return all(same_word(fields.get(key, "0"), value[key], True, key == "mode") for key in ("flags", "mode", "resolve"))
    if kind == "FdPath" and "path" in args and (path := behind(shown)) is not CLOSED:
        # A file in memory has no directory: strace shows the kernel's "/memfd:".
        path = path[1:] if path.startswith(b"/memfd:") else path
        if octets(args["path"]) != path:
            return False
    if kind in STRUCTURES and isinstance(value, dict) or shown[0] in '"[{' and kind in {"Hex", "Count"} | ADDRESSES | MESSAGES:
        thread.accepted["content"] += 1
        return True
    return same_word(shown, value, kind in WIDE | STRUCTURES | ADDRESSES | MESSAGES | PATHS | TEXTS, "Mode" in kind)
