"""Tests of the second verifier: `python3 -m unittest` in this directory.

A small writer, which shares no hashing of trees and no signing with the verifier, makes ledgers. Each is
first verified untouched (the control), then attacked.
"""

import base64
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import canonical
import ed25519
import merkle
import note as notes
import verify

ORIGIN = "acme.example/prod/host-7"
SEED = bytes(range(32))
OTHER_SEED = bytes(range(1, 33))
RUN = "0f0e0d0c-0b0a-4908-8706-050403020100"


# Signing (RFC 8032 section 5.1.6)


def compress(point):
    inverse = pow(point[2], -1, ed25519.P)
    x, y = point[0] * inverse % ed25519.P, point[1] * inverse % ed25519.P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def expand(seed):
    h = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(h[:32], "little")
    return scalar & ((1 << 254) - 8) | (1 << 254), h[32:]


def public_of(seed):
    return compress(ed25519.multiply(expand(seed)[0], ed25519.BASE))


def sign(seed, message):
    scalar, prefix = expand(seed)
    number = lambda *parts: int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ed25519.L
    r = number(prefix, message)
    point = compress(ed25519.multiply(r, ed25519.BASE))
    s = (r + number(point, public_of(seed), message) * scalar) % ed25519.L
    return point + s.to_bytes(32, "little")


def key_id(seed, kind, origin=ORIGIN):
    return hashlib.sha256(origin.encode() + b"\n" + kind + public_of(seed)).digest()[:4]


def vkey(seed=SEED, origin=ORIGIN):
    data = base64.b64encode(b"\x01" + public_of(seed)).decode()
    number = key_id(seed, b"\x01", origin).hex()
    return f"{origin}+{number}+{data}"


def signed_note(size, root, seed=SEED, origin=ORIGIN, time=1_790_000_000):
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()
    cosigned = f"cosignature/v1\ntime {time}\n".encode() + text
    blobs = (
        key_id(seed, b"\x01", origin) + sign(seed, text),
        key_id(seed, b"\x04", origin) + time.to_bytes(8, "big") + sign(seed, cosigned),
    )
    lines = "".join(f"\u2014 {origin} {base64.b64encode(blob).decode()}\n" for blob in blobs)
    return text.decode() + "\n" + lines


# Writing


def sha(data):
    return hashlib.sha256(data).digest()


def name_of(digest):
    return "sha256:" + digest.hex()


def tree_root(leaves):
    """RFC 6962 section 2.1, word for word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b"")
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha(b"\x01" + tree_root(leaves[:k]) + tree_root(leaves[k:]))


def dumps(value):
    """Canonical for the writer's values: ASCII keys, integers."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


class Writer:
    def __init__(self, seed=SEED, key_in_ledger=None):
        self.seed = seed
        self.settings = {"created": time_at(0), "id": "0123456789abcdef" * 2, "key": key_in_ledger or vkey(seed), "origin": ORIGIN}
        self.genesis = name_of(sha(dumps(self.settings)))
        self.lines, self.leaves, self.headers, self.header_lines = [], [], [], []
        self.records = []  # of the open block
        self.epoch = 0

    def record(self, kind, action, source="system", change=None, **members):
        seq = len(self.lines)
        if action == "pipeline.started":
            self.epoch = seq
        record = {
            "action": action, "actor": {"id": "planner", "kind": "agent"}, "epoch": self.epoch, "kind": kind,
            "ledger": ORIGIN, "prev": name_of(self.leaves[-1]) if seq else self.genesis, "schema_version": "4.0.0",
            "seq": seq, "source": source, "subject": {"id": "thing", "kind": "file"},
            "timestamp_truetime": {"earliest": time_at(seq), "latest": time_at(seq + 2)}, "trace_id": RUN,
            "where": {"host": "host-7"}, **members,
        }
        if change:
            change(record)
        self.lines.append(dumps(record))
        self.leaves.append(sha(b"\x00" + self.lines[-1]))
        self.records.append(record)

    def system(self, action, **more):
        more.setdefault("detail", {})
        self.record("system", action, **more)

    def syscall(self, name="openat", **more):
        process = {"cgroup": "/a", "comm": "sh", "executable": {"b64": "/w=="}, "gid": 0, "pid": 7, "ppid": 1, "tid": 7, "uid": 0}
        call = {"arch": "x86_64", "args": {"pathname": "/etc/\u00e9\U0001f600", "dirfd": -100, "flags": ["O_RDONLY"]},
                "duration_ns": 12, "id": 257, "name": name, "result": -2}
        self.record("syscall", name, source="kernel", **{"enforcement": "observed", "mono_ns": "12345678901234567890",
                    "process": process, "syscall": call, "verdict": "PERMIT", **more})

    def event(self, text="x", **more):
        self.record("event", "trade.amended", source="api", payload={"after": {"text": text}}, **more)

    def gap(self, **gap):
        self.record("gap", "gap", gap=gap)

    def open(self):
        before = self.header_hash(self.headers[-1]) if self.headers else self.genesis
        if self.records:  # the block before is open still: what its header will be
            before = self.header_hash(self.header())
            height = len(self.headers) + 1
        else:
            height = len(self.headers)
        self.records = []
        self.system("block.opened", detail={"header": before, "height": height})

    @staticmethod
    def header_hash(header):
        return name_of(sha(dumps({k: v for k, v in header.items() if k != "checkpoint"})))

    def header(self):
        first = self.headers[-1]["size"] if self.headers else 0
        times = [r["timestamp_truetime"] for r in self.records]
        return {
            "block_root": name_of(tree_root(self.leaves[first:])), "count": len(self.leaves) - first,
            "earliest": min(t["earliest"] for t in times), "first": first,
            "gaps": sum(r["kind"] == "gap" for r in self.records), "head": name_of(self.leaves[-1]),
            "height": len(self.headers), "latest": max(t["latest"] for t in times),
            "prev": self.header_hash(self.headers[-1]) if self.headers else self.genesis,
            "root": name_of(tree_root(self.leaves)), "size": len(self.leaves),
        }

    def seal(self):
        header = self.header()
        header["checkpoint"] = signed_note(header["size"], tree_root(self.leaves), self.seed)
        self.headers.append(header)
        self.header_lines.append(dumps(header))
        self.records = []

    def write(self, directory, segments=None):
        os.makedirs(os.path.join(directory, "segments"))
        os.makedirs(os.path.join(directory, "tile"))
        put(directory, "ledger.json", dumps(self.settings))
        put(directory, "lock", b"")
        for first, data in (segments or {0: joined(self.lines)}).items():
            put(directory, segment(first), data)
        put(directory, "blocks.jsonl", joined(self.header_lines))
        sealed = self.headers[-1]["size"] if self.headers else 0
        if self.headers:
            put(directory, "checkpoint", self.headers[-1]["checkpoint"].encode())
        put(directory, "tile/0", b"".join(self.leaves[:sealed]))
        if sealed >= 256:
            full = range(0, sealed - 255, 256)
            put(directory, "tile/1", b"".join(tree_root(self.leaves[i : i + 256]) for i in full))
        return directory


def time_at(seq):
    return f"2026-07-01T12:{seq // 60 % 60:02}:{seq % 60:02}.000000000Z"


def joined(lines):
    return b"".join(line + b"\n" for line in lines)


def segment(first):
    return f"segments/{first:020}.jsonl"


def put(directory, name, data):
    with open(os.path.join(directory, name), "wb") as file:
        file.write(data)


def get(directory, name):
    with open(os.path.join(directory, name), "rb") as file:
        return file.read()


def begin(writer):
    writer.open()
    writer.system("ledger.created", detail=writer.settings)
    writer.system("pipeline.started")


def small(seed=SEED, change=None, text="x", **more):
    """Two blocks, eight records; `change` edits record 5 before it is hashed and chained."""
    writer = Writer(seed, **more)
    begin(writer)
    writer.event(text)
    writer.seal()
    writer.open()
    writer.syscall(change=change)
    writer.gap(cpu=1, **{"from": 5, "to": 7}, lost=3, stage="ring")
    writer.event()
    writer.seal()
    return writer


def large():
    """Three blocks, more than 256 records, every kind."""
    writer = small()
    writer.open()
    for _ in range(270):
        writer.syscall(target_host="192.0.2.7")
    nothing = {"cpu": None, "from": None, "to": None}
    writer.gap(**nothing, lost=1, stage="stash")
    writer.gap(cpu=None, lost=None, stage="downtime", **{"from": time_at(1), "to": time_at(2)})
    writer.system("process.forked", source="kernel", process=json.loads(writer.lines[5])["process"])
    writer.system("heartbeat")
    writer.event(occurred="yesterday", external_trace_id="7", bytes_severed=0)
    writer.system("pipeline.stopped")
    writer.seal()
    return writer


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = verify.main([*arguments, "--json"])
    return code, json.loads(out.getvalue()) if out.getvalue() else err.getvalue()


class CanonicalTest(unittest.TestCase):
    def test_accepts(self):
        for text in (
            b"{}", b"[]", b'""', b"0", b"-1", b"9007199254740991", b"-9007199254740991", b"true", b"[null,false]",
            '{"a":{"b":[1,"\u00e9/\x7f"]},"b":"\\b\\t\\n\\f\\r\\"\\\\\\u0000\\u000b\\u001f"}'.encode(),
            # UTF-16 order, not that of code points: U+1F600 begins with D83D, below U+FB33
            '{"\u20ac":1,"\U0001f600":2,"\ufb33":3}'.encode(),
            b"[" * 32 + b"]" * 32,
        ):
            with self.subTest(text=text):
                value = canonical.parse(text)
                self.assertEqual(value, json.loads(text))
                self.assertEqual(canonical.encode(value), text)

    def test_refuses(self):
        for text, offset in (
            (b"", 0), (b" 1", 0), (b"1 ", 1), (b'{"a": 1}', 5), (b'{"a":1,}', 7), (b"[1,]", 3), (b"{", 1), (b"[1", 2),
            (b'{"b":1,"a":2}', 7), (b'{"a":1,"a":2}', 7), ('{"\ufb33":1,"\U0001f600":2}'.encode(), 9),
            (b'"\\/"', 1), (b'"\\u0041"', 1), (b'"\\u000A"', 1), (b'"\\u0008"', 1), (b'"\\u001F"', 1), (b'"\\u00e9"', 1),
            (b'"\\ud800"', 1), (b'"\\ud83d\\ude00"', 1), (b'"a\x01"', 2), (b'"a', 2), (b'"a\\', 2),
            (b'"\xff"', 1), (b'"ab\xed\xa0\x80"', 3), (b'"\xc0\x80"', 1), (b'"\xc3"', 1), (b"\xef\xbb\xbf1", 0),
            (b"-0", 0), (b"-", 0), (b"01", 0), (b"1.0", 1), (b"1e3", 1), (b"+1", 0), (b".5", 0), (b"NaN", 0), (b"-Infinity", 0),
            (b"9007199254740992", 0), (b"-9007199254740992", 0), (b"1" * 5000, 0), (b"nul", 0), (b"True", 0),
            (b"[" * 33 + b"]" * 33, 32), (b"[" * 100_000, 32), (b"{} {}", 2), (b'{1:2}', 1), (b'{"a"}', 4), (b"'a'", 0),
        ):
            with self.subTest(text=text[:40]):
                with self.assertRaises(canonical.NotCanonical) as caught:
                    canonical.parse(text)
                self.assertEqual(caught.exception.offset, offset)


class Ed25519Test(unittest.TestCase):
    VECTORS = (  # RFC 8032 section 7.1, tests 1 to 3: secret key, public key, message, signature
        ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
        ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
        ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
    )

    def test_vectors(self):
        for vector in self.VECTORS:
            secret, public, message, signature = map(bytes.fromhex, vector)
            self.assertEqual(public_of(secret), public)
            self.assertEqual(sign(secret, message), signature)
            self.assertTrue(ed25519.verify(public, message, signature))
            self.assertFalse(ed25519.verify(public, message + b"x", signature))
            for position in (0, 31, 32, 63):
                broken = bytearray(signature)
                broken[position] ^= 1
                self.assertFalse(ed25519.verify(public, message, bytes(broken)))

    def test_second_spellings_are_refused(self):
        _, public, message, signature = map(bytes.fromhex, self.VECTORS[1])
        s = int.from_bytes(signature[32:], "little") + ed25519.L
        self.assertFalse(ed25519.verify(public, message, signature[:32] + s.to_bytes(32, "little")))
        self.assertFalse(ed25519.verify(public, message, signature[:63]))
        for y in (ed25519.P + 1, 1 | 1 << 255, 2):  # not reduced; x = 0 with a sign; no point at all
            self.assertIsNone(ed25519.decompress(y.to_bytes(32, "little")))


class MerkleTest(unittest.TestCase):
    def test_roots(self):
        tree, leaves = merkle.Tree(), []
        for number in range(70):
            self.assertEqual(tree.root(), tree_root(leaves))
            leaves.append(merkle.leaf_hash(b"%d" % number))
            tree.append(leaves[-1])

    def test_tiles(self):
        tree, levels = merkle.Tree(), {}
        leaves = [merkle.leaf_hash(b"%d" % n) for n in range(65_536 + 300)]
        for leaf in leaves:
            for level, index, digest in tree.append(leaf):
                self.assertEqual(index, len(levels.setdefault(level, [])))
                levels[level].append(digest)
        self.assertEqual([len(levels[n]) for n in range(3)], [merkle.tile_count(len(leaves), n) for n in range(3)])
        self.assertEqual(levels[1], [tree_root(leaves[i : i + 256]) for i in range(0, 65_537, 256)])
        self.assertEqual(levels[2], [tree_root(levels[1][:256])])


class NoteTest(unittest.TestCase):
    def test_keys(self):
        good = vkey()
        self.assertEqual(notes.parse_key(good).public, public_of(SEED))
        name, key_id, data = good.split("+", 2)
        for bad in ("", "a+b", good[:-1], good + "=", f"{name}x+{key_id}+{data}", f"+{key_id}+{data}", f"PRIVATE+KEY+{good}", f"{name}+0{key_id[1:]}0+{data}", f"{name}+{key_id.upper()}+{data}", "\udcff" + good):
            with self.subTest(bad=ascii(bad)), self.assertRaises(notes.BadKey):
                notes.parse_key(bad)

    def test_forms(self):
        key, text = notes.parse_key(vkey()), signed_note(5, bytes(32))
        notes.check_signatures(notes.parse_note(text.encode()), key)
        other = signed_note(5, bytes(32), OTHER_SEED, "witness.example").splitlines()[-1]
        notes.check_signatures(notes.parse_note((text + other + "\n").encode()), key)
        for bad in (
            "", text[:-1], text + "\n", text.replace("\n\n", "\n"), text.replace("\n5\n", "\n05\n"), text.replace("\n5\n", "\n-5\n"),
            text.replace("\n5\n", "\n5\nx\n"), text.replace("\u2014", "-"), text.replace("A=\n\n", "B=\n\n"), text + "x\n", text + "\u2014 x AAAA\n",
        ):
            with self.subTest(bad=bad), self.assertRaises(notes.BadNote):
                notes.parse_note(bad.encode())

    def test_both_signatures_are_needed(self):
        key, lines = notes.parse_key(vkey()), signed_note(5, bytes(32)).splitlines(keepends=True)
        for gone in (4, 5):
            note = notes.parse_note("".join(line for n, line in enumerate(lines) if n != gone).encode())
            notes.check_signatures(note, key, both=False)
            with self.assertRaises(notes.BadSignature):
                notes.check_signatures(note, key)
        again = signed_note(6, bytes(32)).splitlines(keepends=True)
        for swap in (4, 5):  # a signature of another text
            note = notes.parse_note("".join(again[n] if n == swap else line for n, line in enumerate(lines)).encode())
            with self.assertRaises(notes.BadSignature):
                notes.check_signatures(note, key, both=False)


class LedgerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.top)
        cls.writer = large()
        cls.original = cls.writer.write(os.path.join(cls.top, "original"))
        cls.count = 0

    def place(self):
        LedgerTest.count += 1
        return os.path.join(self.top, str(LedgerTest.count))

    def copy(self):
        return shutil.copytree(self.original, self.place())

    def lines(self):
        return list(self.writer.lines)

    def with_lines(self, lines):
        directory = self.copy()
        put(directory, segment(0), joined(lines))
        return directory

    def good(self, directory, *arguments, notes=(), code=0):
        got, report = run(directory, "--key", vkey(), *arguments)
        self.assertEqual((got, report["faults"]), (code, []), report)
        self.assertEqual(sorted({n["kind"] for n in report["notes"]}), sorted(notes))
        return report

    def bad(self, directory, kind, *arguments, seq=None, only=False):
        """Exit 1, and the first fault of that kind names the record, where one is expected."""
        code, report = run(directory, "--key", vkey(), *arguments)
        self.assertEqual((code, report["verdict"]), (1, "fault"), report)
        found = [f for f in report["faults"] if f["kind"] == kind]
        self.assertTrue(found, report)
        if seq is not None:
            self.assertEqual(found[0]["seq"], seq, found)
        if only:
            self.assertEqual({f["kind"] for f in report["faults"]}, {kind}, report)
        return found[0]

    # Controls

    def test_control(self):
        report = self.good(self.original)
        self.assertEqual(report["verdict"], "good")
        self.assertEqual((report["size"], report["sealed"], report["blocks"], report["gaps"]), (285, 285, 3, 3))
        self.assertEqual(report["root"], name_of(tree_root(self.writer.leaves)))
        code, report = run(self.original)
        self.assertEqual((code, report["verdict"], report["faults"]), (4, "unproven", []))

    def test_control_small(self):
        self.good(small().write(self.place()))

    def test_command(self):
        script = os.path.join(HERE, "verify.py")
        for arguments, code, words in (
            ([self.original, "--key", vkey()], 0, "good: 285 records"),
            ([self.original], 4, "signer unproven"),
            ([self.copy(), "--key", vkey(OTHER_SEED)], 1, "fault wrong-key"),
        ):
            done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (code, ""))
            self.assertIn(words, done.stdout)

    def test_usage(self):
        key_file = os.path.join(self.top, "key")
        with open(key_file, "w") as file:
            file.write(vkey() + "\n")
        self.assertEqual(run(self.original, "--key", key_file)[0], 0)
        for arguments in (
            [], [self.top], [self.top + "/none"], [key_file], ["a\0b"], [self.original, "--key"], [self.original, "--key", "nonsense"],
            [self.original, "--key", ""], [self.original, "--key", self.original], [self.original, "--key", vkey()[:-4] + "AAA="],
            [self.original, "--at-least", self.top + "/none"], [self.original, "--what"],
        ):
            with self.subTest(arguments=arguments):
                code, said = run(*arguments)
                self.assertEqual(code, 2)
                self.assertTrue(said)

    def test_io_error(self):
        directory = self.copy()
        os.unlink(os.path.join(directory, "tile/0"))
        os.mkdir(os.path.join(directory, "tile/0"))
        self.assertEqual(run(directory)[0], 3)
        directory = self.copy()
        os.unlink(os.path.join(directory, "checkpoint"))
        os.mkfifo(os.path.join(directory, "checkpoint"))
        self.assertEqual(run(directory)[0], 3)

    def test_new_ledger(self):
        report = self.good(Writer().write(self.place()), notes=["nothing-signed"])
        self.assertEqual((report["size"], report["root"]), (0, name_of(sha(b""))))
        directory = Writer().write(self.place())
        os.unlink(os.path.join(directory, "blocks.jsonl"))
        shutil.rmtree(os.path.join(directory, "segments"))
        shutil.rmtree(os.path.join(directory, "tile"))
        self.good(directory, notes=["nothing-signed"])

    # Records

    def test_edited_byte(self):
        lines = self.lines()
        lines[40] = lines[40].replace(b'"gid":0', b'"gid":1')
        directory = self.with_lines(lines)
        self.bad(directory, "broken-chain", seq=41)
        self.bad(directory, "header-mismatch", seq=8)
        found = self.bad(directory, "tile-mismatch", seq=40)
        self.assertEqual((found["file"], found["offset"]), ("tile/0", 40 * 32))

    def test_edited_last_record(self):
        lines = self.lines()
        lines[-1] = lines[-1].replace(b"host-7\"}", b"host-8\"}")
        self.assertNotEqual(lines[-1], self.lines()[-1])
        self.bad(self.with_lines(lines), "header-mismatch", seq=8)

    def test_not_canonical(self):
        lines = self.lines()
        lines[40] = lines[40].replace(b'"gid":0', b'"gid": 0')
        found = self.bad(self.with_lines(lines), "not-canonical", seq=40)
        self.assertEqual(found["offset"], len(joined(lines[:40])) + lines[40].index(b" 0"))
        self.assertEqual(found["file"], segment(0))
        for line in (b"", b"5", b"{}", b"\xff", b"x" * 70_000):
            lines[40] = line
            self.bad(self.with_lines(lines), "wrong-shape" if line in (b"5", b"{}") else "not-canonical", seq=40)

    def test_unreadable_opening(self):
        """The block still ends where its header says, so only what depends on the record is at fault."""
        lines = self.lines()
        lines[8] = lines[8].replace(b"block.opened", b"block.o\xffened")
        code, report = run(self.with_lines(lines))
        self.assertEqual([f["seq"] for f in report["faults"] if f["kind"] == "header-mismatch"], [8])

    def test_removed_line(self):
        lines = self.lines()
        del lines[40]
        self.bad(self.with_lines(lines), "wrong-seq", seq=40, only=True)

    def test_removed_end(self):
        self.bad(self.with_lines(self.lines()[:-1]), "missing-records", seq=284, only=True)
        self.bad(self.with_lines([]), "missing-records", seq=0, only=True)
        directory = self.copy()
        shutil.rmtree(os.path.join(directory, "segments"))
        self.bad(directory, "missing-records", seq=0, only=True)

    def test_swapped_lines(self):
        lines = self.lines()
        lines[40], lines[41] = lines[41], lines[40]
        self.bad(self.with_lines(lines), "wrong-seq", seq=40)

    def test_inserted_line(self):
        lines = self.lines()
        lines.insert(40, lines[40])
        self.bad(self.with_lines(lines), "wrong-seq", seq=41)

    def test_torn_sealed_record(self):
        directory = self.copy()
        put(directory, segment(0), joined(self.lines())[:-1])
        self.bad(directory, "torn-record", seq=284, only=True)

    def test_missing_segment(self):
        lines = self.lines()
        directory = self.writer.write(self.place(), {0: joined(lines[:20]), 20: joined(lines[20:30]), 30: joined(lines[30:])})
        self.good(directory)
        os.unlink(os.path.join(directory, segment(20)))
        self.bad(directory, "missing-records", seq=20, only=True)
        os.unlink(os.path.join(directory, segment(0)))
        self.bad(directory, "missing-records", seq=0, only=True)

    def released(self, change=None, sealed=True):
        """A ledger of two segments whose first, of twenty records, is released by its last record."""
        writer = large()
        first = joined(writer.lines[:20])
        writer.open()
        writer.system("segment.released", detail={
            "bytes": len(first), "count": 20, "first": 0, "last": name_of(writer.leaves[19]), "newest": time_at(21),
            "segments": 1, "sha256": name_of(sha(first)), "sinks": ["file /mnt/second"], **(change or {}),
        })
        if sealed:
            writer.seal()
        directory = writer.write(self.place(), {0: first, 20: joined(writer.lines[20:])})
        return directory, len(writer.lines)

    def test_released(self):
        directory, size = self.released()
        self.assertEqual(self.good(directory)["released"], {"last": 19, "segments": 1, "seq": size - 1})
        os.unlink(os.path.join(directory, segment(0)))
        report = self.good(directory)
        self.assertEqual(report["released"], {"last": 19, "segments": 1, "seq": size - 1})
        self.assertEqual((report["size"], report["sealed"]), (size, size))
        # What is left of the released records is held against the signed roots.
        tile = bytearray(get(directory, "tile/0"))
        tile[5 * 32] ^= 1
        put(directory, "tile/0", bytes(tile))
        self.bad(directory, "header-mismatch", seq=4)

    def test_empty_segments(self):
        """A segment's name says what stands before it, whether or not it has a line."""
        (directory, size) = self.released()
        put(directory, segment(size), b"")
        self.good(directory)
        put(directory, segment(size + 2), b"")
        self.bad(directory, "missing-records", seq=size, only=True)
        os.unlink(os.path.join(directory, segment(size + 2)))
        put(directory, segment(2**53), b"")  # no record has that number
        self.good(directory, notes=["other-file"])

    def test_released_meanwhile(self):
        """A writer that releases a segment between two looks of the verifier's is no fault."""
        directory, _ = self.released()
        look = verify.Ledger.list_segments

        def release(ledger):
            look(ledger)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, segment(0)))

        with unittest.mock.patch.object(verify.Ledger, "list_segments", release):
            self.assertEqual(self.good(directory)["released"]["segments"], 1)

    def test_not_released(self):
        """Removed without a record, with one that is not sealed, or with one that says less."""
        for change, sealed in ((None, False), ({"count": 19}, True), ({"first": "0"}, True)):
            with self.subTest(change=change, sealed=sealed):
                directory, _ = self.released(change, sealed)
                if change is None or isinstance(change.get("first", 0), int):
                    self.good(directory, notes=[] if sealed else ["unsealed"])
                os.unlink(os.path.join(directory, segment(0)))
                end = change["count"] if change and "count" in change else 0
                self.bad(directory, "missing-records", seq=end)
        # More than the record says.
        lines, (directory, _) = large().lines, self.released()
        data = get(directory, segment(20))
        os.unlink(os.path.join(directory, segment(0)))
        self.good(directory)
        os.unlink(os.path.join(directory, segment(20)))
        put(directory, segment(30), data[len(joined(lines[20:30])):])
        self.bad(directory, "missing-records", seq=20, only=True)

    def test_members(self):
        """Records that are wrong in themselves, but hashed, chained and signed."""
        def edit(path, value):
            def change(record):
                *parents, last = path.split(".")
                for parent in parents:
                    record = record[parent]
                if value is None:
                    del record[last]
                else:
                    record[last] = value
            return change

        for path, value, kind in (
            ("actor", None, "wrong-shape"), ("actor.kind", "robot", "wrong-shape"), ("actor.id", 7, "wrong-shape"),
            ("schema_version", "3.2.0", "wrong-shape"), ("trace_id", RUN.upper(), "wrong-shape"), ("source", "moon", "wrong-shape"),
            ("mono_ns", 5, "wrong-shape"), ("mono_ns", "05", "wrong-shape"), ("verdict", "BLOCK", "wrong-shape"), ("enforcement", None, "wrong-shape"),
            ("process.euid", 1, None), ("process.euid", "1", "wrong-shape"), ("process.egid", True, "wrong-shape"), ("process.container", "docker://7", None),
            ("process.container", 7, "wrong-shape"), ("process.mnt_ns", 4026531841, None), ("process.net_ns", "5", "wrong-shape"), ("process.pid_ns", [], "wrong-shape"),
            ("process.uid", "0", "wrong-shape"), ("process.comm", {"b64": "AB=="}, "wrong-shape"), ("process.comm", {"b64": ""}, None),
            ("syscall.args", [], "wrong-shape"), ("syscall.result", None, None), ("syscall.id", True, "wrong-shape"), ("action", "read", "wrong-shape"),
            ("timestamp_truetime.latest", "2026-06-31T00:00:00.000000000Z", "wrong-shape"),
            ("timestamp_truetime.earliest", "2026-07-01T12:00:05.0Z", "wrong-shape"), ("timestamp_truetime.latest", time_at(0), "wrong-shape"),
            ("timestamp_truetime.clock", "unsynchronised", None), ("timestamp_truetime.clock", "good", "wrong-shape"),
            ("subject.id", {"b64": "/w=="}, None), ("where.host", None, "wrong-shape"), ("epoch", 0, "wrong-epoch"),
            ("ledger", "elsewhere", "wrong-ledger"), ("prev", "sha256:" + "0" * 64, "broken-chain"), ("seq", 6, "wrong-seq"),
            ("kind", "other", "wrong-shape"), ("target_host", "192.0.2.1", None),
        ):
            with self.subTest(path=path, value=value):
                directory = small(change=edit(path, value)).write(self.place())
                if kind:
                    self.bad(directory, kind, seq=5, only=True)
                else:
                    self.good(directory)
        for path in ("news", "actor.news", "syscall.news", "payload"):
            self.good(small(change=edit(path, {})).write(self.place()), notes=["unknown-member"])

    def test_system_records(self):
        """The form of what filters left out, and the source of what the kernel tells."""
        def ledger(action, detail, **more):
            writer = small()
            writer.open()
            process = json.loads(writer.lines[5])["process"]
            more = {name: process if value is True else value for name, value in more.items()}
            writer.system(action, detail=detail, **more)
            writer.seal()
            return writer.write(self.place()), len(writer.lines) - 1

        span = {"from": time_at(1), "to": time_at(2)}
        for by in ({}, {"filter": {"getppid": 3}}, {"filter": {"read": "9007199254740992"}, "path": {"openat": 1}}):
            self.good(ledger("capture.left_out", {"by": by, **span})[0])
        for detail in ({}, span, {"by": [], **span}, {"by": {"path": 3}, **span}, {"by": {}, "from": 1, "to": 2}):
            with self.subTest(detail=detail):
                directory, seq = ledger("capture.left_out", detail)
                self.bad(directory, "wrong-shape", seq=seq, only=True)
        self.good(ledger("capture.left_out", {"by": {"moon": {}}, **span})[0], notes=["unknown-member"])
        figures = {"bytes_max": 16 << 20, "free_bytes": "9007199254740992", "free_bytes_min": None, "used_bytes": 5}
        for action in ("budget.reached", "budget.resumed"):
            self.good(ledger(action, figures)[0])
            for wrong in ({}, {**figures, "used_bytes": None}, {**figures, "bytes_max": "x"}):
                with self.subTest(action=action, wrong=wrong):
                    directory, seq = ledger(action, wrong)
                    self.bad(directory, "wrong-shape", seq=seq, only=True)
        for action in ("process.found", "process.moved", "cgroup.made", "cgroup.removed"):
            with self.subTest(action=action):
                self.good(ledger(action, {}, source="kernel", process=True)[0])
                directory, seq = ledger(action, {}, source="system")
                self.bad(directory, "wrong-shape", seq=seq, only=True)
        self.good(ledger("process.slept", {}, source="kernel", process=True)[0], notes=["unknown-member"])

    def test_later_date_in_block(self):
        def change(record):
            record["timestamp_truetime"] = dict.fromkeys(("earliest", "latest"), "2026-07-02T00:00:00.000000000Z")

        self.bad(small(change=change).write(self.place()), "block-boundary", seq=5, only=True)

    def test_openings(self):
        for detail in ({"header": "sha256:" + "0" * 64, "height": 0}, {"header": Writer().genesis, "height": 1}):
            writer = Writer()
            writer.system("block.opened", detail=detail)
            writer.event()
            writer.seal()
            self.bad(writer.write(self.place()), "wrong-opening", seq=0, only=True)
        writer = Writer()
        writer.event()
        writer.seal()
        self.bad(writer.write(self.place()), "block-boundary", seq=0, only=True)

    def test_ledger_created_of_another_ledger(self):
        writer = Writer()
        writer.open()
        writer.system("ledger.created", detail=writer.settings | {"id": "0" * 32})
        writer.seal()
        self.bad(writer.write(self.place()), "wrong-ledger", seq=1, only=True)

    # Headers, checkpoints, key

    def test_edited_header(self):
        header = json.loads(self.writer.header_lines[1])
        zero = "sha256:" + "0" * 64
        for name, value in (
            ("block_root", zero), ("count", 5), ("earliest", time_at(0)), ("first", 5), ("gaps", 0), ("head", zero),
            ("height", 2), ("latest", time_at(59)), ("prev", zero), ("root", zero), ("size", 9),
        ):
            with self.subTest(name=name):
                directory = self.copy()
                edited = [self.writer.header_lines[0], dumps(header | {name: value}), self.writer.header_lines[2]]
                put(directory, "blocks.jsonl", joined(edited))
                found = self.bad(directory, "header-mismatch", only=True)
                self.assertEqual((found["file"], found["offset"]), ("blocks.jsonl", len(edited[0]) + 1))
        for edited in (dumps(header | {"more": 1}), dumps(header | {"count": "4"}), b"{}", b"[]", b"", dumps(header)[:-1], b" " + dumps(header)):
            with self.subTest(edited=edited[:30]):
                directory = self.copy()
                put(directory, "blocks.jsonl", joined([self.writer.header_lines[0], edited, self.writer.header_lines[2]]))
                self.bad(directory, "unreadable-header", only=True)

    def test_removed_and_repeated_headers(self):
        one, two, three = self.writer.header_lines
        for headers in ([one, three], [two, three], [one, two, three, three], [one, one, two, three], [two, one, three]):
            directory = self.copy()
            put(directory, "blocks.jsonl", joined(headers))
            self.bad(directory, "header-mismatch")
        for headers in ([one, two], [one], []):
            directory = self.copy()
            put(directory, "blocks.jsonl", joined(headers))
            self.bad(directory, "cut-back", only=True)

    def test_torn_header(self):
        directory = self.copy()
        put(directory, "blocks.jsonl", joined(self.writer.header_lines) + b'{"block_root"')
        self.good(directory, notes=["torn-header"])
        put(directory, "blocks.jsonl", joined(self.writer.header_lines)[:-1])
        put(directory, "checkpoint", self.writer.headers[1]["checkpoint"].encode())
        report = self.good(directory, notes=["torn-header", "unsealed", "extra-tile-bytes"])
        self.assertEqual((report["size"], report["sealed"]), (285, 8))

    def test_header_with_a_hole(self):
        """A page of the last line that never reached the disk reads as zeros; of a line before it, none can be missing."""
        directory = self.copy()
        holed = bytes(100) + self.writer.header_lines[1][100:]
        put(directory, "blocks.jsonl", joined(self.writer.header_lines) + holed + b"\n")
        self.good(directory, notes=["torn-header"])
        put(directory, "blocks.jsonl", joined([self.writer.header_lines[0], holed, self.writer.header_lines[2]]))
        self.bad(directory, "unreadable-header", only=True)

    def test_signed_by_another_key(self):
        """The same records; all headers and the checkpoint signed anew."""
        directory = small(OTHER_SEED, key_in_ledger=vkey()).write(self.place())
        self.bad(directory, "bad-signature", only=True)
        # With the key in ledger.json exchanged as well the ledger agrees with itself: that is why the
        # key has to come from outside.
        directory = small(OTHER_SEED).write(self.place())
        self.bad(directory, "wrong-key")
        self.assertEqual(run(directory)[0], 4)

    def test_edited_checkpoint(self):
        notes_ = [header["checkpoint"] for header in self.writer.headers]
        foreign = signed_note(285, tree_root(self.writer.leaves), OTHER_SEED)
        for data, kind in (
            (notes_[2].replace("\n285\n", "\n284\n"), "bad-signature"), (notes_[2][:-1], "unreadable-note"), ("", "unreadable-note"),
            (foreign, "bad-signature"), (notes_[0], "checkpoint-mismatch"), (signed_note(285, bytes(32)), "checkpoint-mismatch"),
            (signed_note(286, bytes(32)), "cut-back"), (notes_[2].splitlines(keepends=True)[0] + "\n", "unreadable-note"),
        ):
            with self.subTest(data=data):
                directory = self.copy()
                put(directory, "checkpoint", data.encode())
                self.bad(directory, kind, only=True)

    def test_checkpoint_behind(self):
        directory = self.copy()
        put(directory, "checkpoint", self.writer.headers[1]["checkpoint"].encode())
        self.good(directory, notes=["checkpoint-behind"])
        os.unlink(os.path.join(directory, "checkpoint"))
        self.bad(directory, "missing-checkpoint", only=True)
        writer = Writer()
        begin(writer)
        writer.seal()
        directory = writer.write(self.place())
        os.unlink(os.path.join(directory, "checkpoint"))
        self.good(directory, notes=["checkpoint-behind"])

    def test_edited_settings(self):
        directory = self.copy()
        put(directory, "ledger.json", dumps(self.writer.settings | {"id": "0" * 32}))
        self.bad(directory, "broken-chain", seq=0)
        put(directory, "ledger.json", dumps(self.writer.settings) + b"\n")
        self.bad(directory, "not-canonical")
        put(directory, "ledger.json", dumps(self.writer.settings | {"key": "x"}))
        self.bad(directory, "unreadable-key")
        os.unlink(os.path.join(directory, "ledger.json"))
        self.bad(directory, "missing-file")

    # Tiles

    def test_tiles(self):
        stored = get(self.original, "tile/0")
        for name, data, kind in (
            ("tile/0", stored[:-32], "missing-tile"), ("tile/0", stored[:-1], "missing-tile"), ("tile/0", b"", "missing-tile"),
            ("tile/0", stored[:64] + bytes(32) + stored[96:], "tile-mismatch"), ("tile/1", bytes(32), "tile-mismatch"), ("tile/1", b"", "missing-tile"),
        ):
            directory = self.copy()
            put(directory, name, data)
            self.bad(directory, kind, only=True)
        directory = self.copy()
        os.unlink(os.path.join(directory, "tile/1"))
        self.bad(directory, "missing-tile", only=True)
        directory = self.copy()
        put(directory, "tile/0", stored + b"more")
        put(directory, "tile/x", b"")
        self.good(directory, notes=["extra-tile-bytes", "other-file"])

    # Ends of ledgers

    def cut(self):
        """All that a writer had before the last block: nothing in it is wrong."""
        return small().write(self.place())

    def note_file(self, text):
        name = self.place()
        put(self.top, os.path.basename(name), text.encode())
        return name

    def test_at_least(self):
        full = self.note_file(self.writer.headers[2]["checkpoint"])
        self.good(self.original, "--at-least", full)
        self.good(self.original, "--at-least", self.note_file(self.writer.headers[0]["checkpoint"]))
        cut = self.cut()
        self.good(cut)
        self.bad(cut, "cut-back", "--at-least", full, only=True)
        # Unsealed records do not count.
        put(cut, segment(0), joined(self.lines()))
        self.good(cut, notes=["unsealed"])
        self.bad(cut, "cut-back", "--at-least", full, only=True)
        # The history before the note rewritten by the holder of the key.
        rewritten = small(text="y").write(self.place())
        self.good(rewritten)
        self.bad(rewritten, "other-history", "--at-least", self.note_file(self.writer.headers[0]["checkpoint"]), only=True)
        key = ("--key", vkey())
        for note in (self.note_file(signed_note(5, bytes(32), OTHER_SEED)), self.note_file("x")):
            self.assertEqual(run(self.original, *key, "--at-least", note)[0], 2)
        self.assertEqual(run(self.original, "--at-least", full)[0], 2, "without a key it says nothing")

    def test_damaged_tail(self):
        directory = self.copy()
        sealed = get(directory, segment(0))
        writer = large()
        writer.open()
        writer.event("a")
        writer.event("b")
        tail = joined(writer.lines[285:])
        put(directory, segment(0), sealed + tail)
        report = self.good(directory, notes=["unsealed"])
        self.assertEqual((report["size"], report["sealed"]), (288, 285))
        for damage in (b"{", b"\0" * 100, b"{}\n", b"x\n" * 50, writer.lines[287] + b"\n", b"x" * 70_000):
            with self.subTest(damage=damage[:20]):
                put(directory, segment(0), sealed + tail + damage)
                report = self.good(directory, notes=["unsealed", "damaged-tail"])
                note = next(n for n in report["notes"] if n["kind"] == "damaged-tail")
                self.assertEqual((note["seq"], note["offset"]), (288, len(sealed + tail)))
                self.assertEqual((note["length"], note["sha256"]), (len(damage), name_of(sha(damage))))
        put(directory, segment(0), sealed + tail.replace(b'"a"', b'"c"'))
        report = self.good(directory, notes=["unsealed", "damaged-tail"])
        self.assertEqual(report["size"], 287)
        # Too far from the end to be what one crash leaves.
        put(directory, segment(0), sealed + tail + b"x\n" + b"y" * (4 << 20))
        self.bad(directory, "not-canonical", seq=288)
        # Not in the last segment.
        put(directory, segment(0), sealed + tail + b"x\n")
        put(directory, segment(289), b"")
        self.bad(directory, "not-canonical", seq=288, only=True)

    def test_wrong_unsealed_opening(self):
        """An unsealed header is a function of the records too, so the next opening can be checked."""
        writer = small()
        writer.open()
        writer.event()
        writer.open()
        writer.event()
        self.good(writer.write(self.place()), notes=["unsealed"])
        writer = small()
        writer.open()
        writer.event()
        writer.system("block.opened", detail={"header": writer.genesis, "height": 3})
        self.bad(writer.write(self.place()), "wrong-opening", seq=10, only=True)

    def recovered(self):
        """Eight sealed records, a block of three that a crash left, sealed later, and the next run."""
        writer = small()
        writer.open()
        writer.event("a")
        writer.event("b")
        writer.seal()
        writer.open()
        writer.system("pipeline.started")
        copied = {"count": 3, "first": 8}
        damaged = {"bytes": 5, "offset": 1, "segment": segment(0), "sha256": name_of(sha(b'{"act'))}
        writer.system("recovery.completed", detail={"copied": copied, "damaged": damaged})
        writer.gap(cpu=None, lost=None, stage="downtime", **{"from": time_at(1), "to": time_at(2)})
        writer.seal()
        return writer

    def test_superseded_equal(self):
        writer = self.recovered()
        for torn, kinds in ((b"", ["superseded"]), (b'{"act', ["superseded", "superseded-damage"])):
            directory = writer.write(self.place(), {0: joined(writer.lines[:11]) + torn, 8: joined(writer.lines[8:])})
            report = self.good(directory, notes=kinds)
            note = report["notes"][0]
            self.assertEqual((note["offset"], note["length"]), (len(joined(writer.lines[:8])), len(joined(writer.lines[8:11]) + torn)))
        # Superseded twice, by segments of which one is superseded itself.
        lines = writer.lines
        directory = writer.write(self.place(), {0: joined(lines[:11]), 8: joined(lines[8:10]), 9: joined(lines[9:10]), 10: joined(lines[10:])})
        self.good(directory, notes=["superseded"])

    def test_superseded_unequal(self):
        writer = self.recovered()
        edited = writer.lines[8].replace(b"planner", b"plonner")
        directory = writer.write(self.place(), {0: joined([*writer.lines[:8], edited, *writer.lines[9:11]]), 8: joined(writer.lines[8:])})
        found = self.bad(directory, "superseded-differs", seq=8, only=True)
        self.assertEqual((found["file"], found["offset"]), (segment(0), len(joined(writer.lines[:8]))))
        # Damage there is no fault: it is what recovery leaves.
        damaged = writer.lines[8].replace(b"planner", b"pl\0nner")
        directory = writer.write(self.place(), {0: joined([*writer.lines[:8], damaged, *writer.lines[9:11]]), 8: joined(writer.lines[8:])})
        self.good(directory, notes=["superseded", "superseded-damage"])
        # Records that stood once and stand nowhere now.
        shorter = small()
        directory = shorter.write(self.place(), {0: joined(writer.lines[:11]), 8: joined(writer.lines[8:9])})
        self.bad(directory, "superseded-differs", seq=9, only=True)

    def test_other_files(self):
        directory = self.copy()
        os.mkdir(os.path.join(directory, "torn"))
        put(directory, "README", b"")
        put(directory, "segments/0.jsonl", b"")
        put(directory, b"\xff".decode("utf-8", "surrogateescape"), b"")
        self.good(directory, notes=["other-file"])

    # Anything

    def test_every_bit_counts(self):
        source = small()
        directory = source.write(self.place())
        chance = random.Random(4)
        for name in ("ledger.json", segment(0), "blocks.jsonl", "checkpoint", "tile/0"):
            data = get(directory, name)
            for _ in range(60):
                at, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
                edited = bytearray(data)
                edited[at] ^= bit
                put(directory, name, bytes(edited))
                code, report = run(directory, "--key", vkey())
                self.assertEqual(code, 1, (name, at, bit, report))
            for _ in range(20):
                put(directory, name, data[: chance.randrange(len(data))])
                code, report = run(directory, "--key", vkey())
                self.assertEqual(code, 1, (name, report))
            put(directory, name, data)
        self.good(directory)


if __name__ == "__main__":
    unittest.main()
