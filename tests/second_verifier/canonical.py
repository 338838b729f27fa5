"""Canonical JSON: RFC 8785, as format.md section 1 restricts it.

`parse` accepts the one canonical spelling of a value and nothing else, so it is a check and a parser in
one. It is written out here, since the standard library's parser lets white space, repeated keys, other
escapes, fractions and lone surrogates pass.
"""

import re

MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1

# RFC 8785 section 3.2.2.2: two-character escapes where JSON has them, \u00xx in lower case for the other
# control characters, and every other character as itself ('/' and DEL too).
_PLAIN = rb'[^"\\\x00-\x1f]*'
_ESCAPE = rb'\\(?:["\\bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))'
_STRING_BODY = re.compile(rb"%s(?:%s%s)*" % (_PLAIN, _ESCAPE, _PLAIN))
_INTEGER = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_LITERALS = ((b"true", True), (b"false", False), (b"null", None))

_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_ESCAPED = {code: f"\\u{code:04x}" for code in range(0x20)} | {ord(c): "\\" + letter for letter, c in _SHORT.items()}
_UNESCAPE = re.compile(r"\\(?:u(....)|(.))")


class NotCanonical(ValueError):
    """The text is not canonical JSON; `offset` is the first byte at which that shows."""

    def __init__(self, offset, why):
        super().__init__(why)
        self.offset = offset


def parse(data):
    """The value that `data` (bytes) spells canonically. Raises NotCanonical."""
    value, end = _value(data, 0, 1)
    if end != len(data):
        raise NotCanonical(end, "bytes after the end of the value")
    return value


def _value(data, at, depth):
    first = data[at : at + 1]
    if first == b'"':
        return _string(data, at)
    if first == b"{":
        return _object(data, at, depth)
    if first == b"[":
        return _array(data, at, depth)
    if first and first in b"-0123456789":
        return _integer(data, at)
    for word, value in _LITERALS:
        if data.startswith(word, at):
            return value, at + len(word)
    if not first:
        raise NotCanonical(at, "the text ends where a value should stand")
    if first in b" \t\r\n":
        raise NotCanonical(at, "white space")
    raise NotCanonical(at, "no value begins with this byte")


def _object(data, at, depth):
    if depth > MAX_DEPTH:
        raise NotCanonical(at, f"nested deeper than {MAX_DEPTH}")
    result = {}
    if data[at + 1 : at + 2] == b"}":
        return result, at + 2
    before = None
    while True:
        at += 1
        if data[at : at + 1] != b'"':
            raise NotCanonical(at, "a member's name should stand here")
        key, end = _string(data, at)
        # RFC 8785 section 3.2.3: sorted as arrays of UTF-16 code units. As big-endian bytes they
        # compare alike.
        order = key.encode("utf-16-be")
        if before is not None and order <= before:
            raise NotCanonical(at, "repeated key" if order == before else "keys are not sorted")
        before = order
        if data[end : end + 1] != b":":
            raise NotCanonical(end, "a colon should stand here")
        result[key], at = _value(data, end + 1, depth + 1)
        if data[at : at + 1] == b"}":
            return result, at + 1
        if data[at : at + 1] != b",":
            raise NotCanonical(at, "a comma or the object's end should stand here")


def _array(data, at, depth):
    if depth > MAX_DEPTH:
        raise NotCanonical(at, f"nested deeper than {MAX_DEPTH}")
    result = []
    if data[at + 1 : at + 2] == b"]":
        return result, at + 2
    while True:
        value, at = _value(data, at + 1, depth + 1)
        result.append(value)
        if data[at : at + 1] == b"]":
            return result, at + 1
        if data[at : at + 1] != b",":
            raise NotCanonical(at, "a comma or the array's end should stand here")


def _integer(data, at):
    match = _INTEGER.match(data, at)
    if not match:
        raise NotCanonical(at, "a minus sign without a number")
    text, end = match.group(), match.end()
    if text == b"-0":
        raise NotCanonical(at, "zero has no sign")
    following = data[end : end + 1]
    if following and following in b".eE":
        raise NotCanonical(end, "a number is an integer, without fraction and exponent")
    if following and following in b"0123456789":
        raise NotCanonical(at, "a number has no leading zero")
    # The length first: a very long run of digits is not worth converting.
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise NotCanonical(at, "an integer beyond 2^53-1")
    return int(text), end


def _string(data, at):
    start = at + 1
    end = _STRING_BODY.match(data, start).end()
    if data[end : end + 1] != b'"':
        if end == len(data):
            raise NotCanonical(end, "a string without its end")
        if data[end] == 0x5C:
            raise NotCanonical(end, "an escape that RFC 8785 does not use")
        raise NotCanonical(end, "a control character that is not escaped")
    body = data[start:end]
    try:
        # Strict decoding also refuses surrogates written in UTF-8. Surrogates written as \u escapes
        # never match _ESCAPE. So no lone surrogate gets through.
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotCanonical(start + error.start, "invalid UTF-8") from None
    if b"\\" in body:
        text = _UNESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _SHORT[m[2]], text)
    return text, end + 1


def encode(value):
    """The canonical bytes of a value of this profile (needed for the header hash)."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return b"{" + b",".join(encode(name) + b":" + encode(value[name]) for name in names) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(encode, value)) + b"]"
    if isinstance(value, str):
        return b'"' + value.translate(_ESCAPED).encode("utf-8") + b'"'
    if value is None or value is True or value is False:
        return {None: b"null", True: b"true", False: b"false"}[value]
    return b"%d" % value
