"""Verifier keys and signed checkpoints (format.md section 5; C2SP signed-note, tlog-checkpoint and
tlog-cosignature)."""

import base64
import binascii
import re
from typing import NamedTuple

import ed25519
from merkle import sha256

NOTE_TYPE = b"\x01"
COSIGNATURE_TYPE = b"\x04"
MAX_SIZE = 2**53 - 1


class BadKey(ValueError):
    pass


class BadNote(ValueError):
    """The text is no checkpoint in the form of section 5."""


class BadSignature(ValueError):
    pass


class Key(NamedTuple):
    name: str
    public: bytes

    def id_of(self, kind):
        return sha256(self.name.encode("utf-8") + b"\n" + kind + self.public)[:4]


class Note(NamedTuple):
    text: bytes  # what is signed, its last newline included
    origin: str
    size: int
    root: bytes
    signatures: list  # (name, key id, bytes after the key id)


def unbase64(text):
    """RFC 4648 section 4, padded. Encoding again refuses spare bits and everything else that a
    tolerant decoder lets pass."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode("ascii") == text else None


def good_name(name):
    """C2SP: a key's name is not empty and has neither white space nor a plus sign."""
    return bool(name) and "+" not in name and not any(c.isspace() or c < " " for c in name)


def parse_key(text):
    """`<origin>+<key id>+<base64(0x01 || public key)>`. Base64 may hold a plus sign, a name may not."""
    parts = text.split("+", 2)
    if len(parts) != 3 or not good_name(parts[0]):
        raise BadKey("a verifier key reads <origin>+<key id>+<base64>")
    try:
        parts[0].encode("utf-8")
    except UnicodeEncodeError:
        raise BadKey("the key's name is not valid text") from None
    data = unbase64(parts[2])
    if data is None or len(data) != 33 or data[:1] != NOTE_TYPE:
        raise BadKey("the key is not base64 of 0x01 and 32 bytes")
    if ed25519.public_point(data[1:]) is None:
        raise BadKey("the key's bytes encode no point of the curve")
    key = Key(parts[0], data[1:])
    if not re.fullmatch(r"[0-9a-f]{8}", parts[1]) or bytes.fromhex(parts[1]) != key.id_of(NOTE_TYPE):
        raise BadKey("the key id does not belong to this name and key")
    return key


def parse_note(data):
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadNote("the note is not UTF-8") from None
    text, empty_line, after = whole.rpartition("\n\n")
    if not empty_line or not after.endswith("\n"):
        raise BadNote("the note is not a text, an empty line and signature lines")
    text += "\n"
    lines = text.split("\n")
    if len(lines) != 4:
        raise BadNote("the note's text is not three lines")
    origin, size, root = lines[0], lines[1], unbase64(lines[2])
    if not re.fullmatch(r"0|[1-9][0-9]{0,15}", size) or int(size) > MAX_SIZE:
        raise BadNote("the note's second line is not a size")
    if root is None or len(root) != 32:
        raise BadNote("the note's third line is not base64 of 32 bytes")
    signatures = []
    for line in after[:-1].split("\n"):
        parts = line.split(" ")
        blob = unbase64(parts[2]) if len(parts) == 3 else None
        if parts[0] != "\u2014" or blob is None or len(blob) < 5 or not good_name(parts[1]):
            raise BadNote("the note has a malformed signature line")
        signatures.append((parts[1], blob[:4], blob[4:]))
    return Note(text.encode("utf-8"), origin, int(size), root, signatures)


def check_signatures(note, key, both=True):
    """Section 5: both signatures of the ledger's key; lines of other keys are ignored. A line that
    names this key and does not verify spoils the note, whatever the other lines say.
    With `both=False` one of the two is enough."""
    if note.origin != key.name:
        raise BadSignature("the note is of another origin")
    found = set()
    for name, key_id, blob in note.signatures:
        if name != key.name:
            continue
        if key_id == key.id_of(NOTE_TYPE):
            if not ed25519.verify(key.public, note.text, blob):
                raise BadSignature("the note signature does not verify")
            found.add("note signature")
        elif key_id == key.id_of(COSIGNATURE_TYPE):
            time = int.from_bytes(blob[:8], "big")
            message = b"cosignature/v1\ntime %d\n" % time + note.text
            if len(blob) != 72 or not ed25519.verify(key.public, message, blob[8:]):
                raise BadSignature("the cosignature does not verify")
            found.add("cosignature")
    missing = {"note signature", "cosignature"} - found
    if missing and (both or not found):
        raise BadSignature("the key has made no " + " and no ".join(sorted(missing)))
