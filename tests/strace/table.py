"""What each argument of a call is called and means, from the project's own table (bpf/abi/src/table/)."""

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "bpf/abi/src/table"
LINE = re.compile(r"^    (\w+)\((.*)\)(?: about caller)?(?: is routine)?;$", re.MULTILINE)
PARAMETER = re.compile(r"(\w+): (\w+)([^,({]*(?:\([^)]*\)|\{[^}]*\})?)")

# What strace is to print in words, since the registers hold but an address.
TEXTS = {"Str", "StrOrNull", "Bytes"}
PATHS = {"Path", "PathOrNull", "PathAt", "PathAtOrNull"}
ADDRESSES = {"LocalAddr", "LocalAddrOut", "PeerAddr", "PeerAddrOut"}
MESSAGES = {"PeerMessage", "PeerMessageOut", "PeerMessages"}
STRUCTURES = {"OpenHow", "Struct", "StructOrNull", "Capabilities"}
NAMES = {"Flags", "LongFlags", "Enum", "EnumOrInt", "Signal", "SocketOption"}
IN_WORDS = TEXTS | PATHS | ADDRESSES | MESSAGES | {"Argv", "FdPath", "Gids", "OpenHow"}
# Of these the kernel takes the whole register, of all others the lower half.
WIDE = {"Count", "Hex", "LongFlags"}


def read(folder=FOLDER):
    """{call: [(parameter, kind, the argument that holds the directory), …]}"""
    table = {}
    for file in sorted(folder.glob("*.rs")):
        for name, parameters in LINE.findall(file.read_text(encoding="utf-8")):
            table[name] = [
                (parameter, kind, int(more[1:-1]) if kind.startswith("PathAt") else None)
                for parameter, kind, more in PARAMETER.findall(parameters)
            ]
    if len(table) < 50:
        raise ValueError(f"only {len(table)} calls were found in {folder}")
    return table


CALLS = read()
SHOWN_IN_WORDS = sorted(
    name for name, parameters in CALLS.items() if any(kind in IN_WORDS for _, kind, _ in parameters) or name == "openat2"
)
