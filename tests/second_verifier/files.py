"""Reading files: whole when they are small, else line by line."""

import hashlib
import os
import stat

MAX_SMALL = 1 << 20  # ledger.json, notes, keys, and one header line: far above any real one


def open_file(path):
    """A regular file only: anything else could block, or never end."""
    file = open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"not a regular file: {path}")
    return file


def read_small(path):
    """The whole of a small file (one byte more than allowed of a larger one); None when there is none."""
    try:
        with open_file(path) as file:
            return file.read(MAX_SMALL + 1)
    except FileNotFoundError:
        return None


def names_in(path):
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []


def lines_of(file, limit, end=None):
    """Yields (offset, line without its newline, why it is not whole or None), up to `end` if given."""
    offset = file.tell()
    while end is None or offset < end:
        data = file.readline(limit + 1)
        if not data:
            return
        if data.endswith(b"\n"):
            yield offset, data[:-1], None
        elif len(data) > limit:
            yield offset, data, f"is longer than {limit} bytes"
            return
        else:
            yield offset, data, "ends without a newline"
            return
        offset += len(data)


def digest_from(file, offset):
    """Length and SHA-256 of a file's bytes from `offset` on."""
    file.seek(offset)
    digest, length = hashlib.sha256(), 0
    while data := file.read(1 << 16):
        digest.update(data)
        length += len(data)
    return {"length": length, "sha256": "sha256:" + digest.hexdigest()}
