"""One ledger, read from front to back (format.md sections 1 to 5 and 8).

The headers are read first, then the records, and beside these the headers again. One line, one header and a
few dozen hashes are in memory, however long the ledger is.

Kinds of fault:

missing-file, wrong-shape, not-canonical    a file or record that is not in the form of the specification
unreadable-key, wrong-key                   the key in ledger.json
wrong-seq, broken-chain, torn-record,
missing-records, superseded-differs         the order of records
wrong-epoch, wrong-ledger, wrong-opening,
block-boundary                              members of a record that depend on the records before it
unreadable-header, header-mismatch          blocks.jsonl
unreadable-note, bad-signature,
missing-checkpoint, checkpoint-mismatch     checkpoints
missing-tile, tile-mismatch                 tiles
cut-back, other-history                     the ledger is shorter than, or other than, what a note says
"""

import os
import re

import canonical
import merkle
import note as notes
import record as records
from derived import HEADERS, Block, Tiles, header_hash, header_lines
from files import digest_from, lines_of, names_in, open_file, read_small
from report import Report

MAX_RECORD = 65_535
MAX_BLOCK = 65_536
TAIL = 4 << 20
KNOWN_FILES = {"ledger.json", "lock", "segments", "blocks.jsonl", "tile", "checkpoint"}
RESERVED = {"anchors.jsonl", "blobs", "recovering", "releasing", "torn"}  # named by the specification, and no evidence yet
SEGMENT = re.compile(r"[0-9]{20}\.jsonl")


def is_segment(name):
    """Section 3: the digits are those of a record."""
    return SEGMENT.fullmatch(name) and int(name[:20]) <= canonical.MAX_INTEGER


class Stop(Exception):
    """The place of the records that follow is not known, so reading them further would say nothing."""


class Ledger:
    def __init__(self, directory, key=None, at_least=None):
        self.directory = directory
        self.report = Report(key_given=key is not None)
        self.key = key
        self.at_least = at_least  # (file name, bytes)
        self.wanted = None  # the note in it
        self.settings = None  # ledger.json
        self.tree = merkle.Tree()
        self.tiles = Tiles(directory, self.report)
        self.segments = []  # (first seq, name)
        self.superseded = []  # (index of the segment, offset, seq, hash of the leaf before)
        self.headers = iter(())
        self.last_sizes = [(0, None)]  # (size, root) of the last two headers
        self.epoch = 0  # None: whatever the first record says
        self.begins = 0  # the first record that stands
        self.newest_release = None  # (seq, detail)
        self.block = None
        self.pending = None  # (offset, header) that the block being read must match
        self.height = 0
        self.paired = 0
        self.ledger_created = None

    def path(self, name):
        return os.path.join(self.directory, name)

    def verify(self):
        self.read_settings()
        # The checkpoint before the headers and these before the records: beside a writer at work, what is
        # read later can only reach further.
        checkpoint = self.read_checkpoint()
        self.read_headers()
        self.compare_checkpoint(checkpoint)
        self.read_at_least()
        self.list_segments()
        try:
            self.read_records()
            self.end_of_records()
            for tail in self.superseded:
                self.read_superseded(*tail)
        except Stop:
            text = f"records from {self.tree.size} on, and what covers them, were not checked"
            self.report.note("not-checked", text, seq=self.tree.size)
        finally:
            self.tiles.close()
        self.other_files()
        self.report.size = self.tree.size
        return self.report.finish()

    # ledger.json and the key (sections 3 and 5)

    def read_settings(self):
        fault = self.report.fault
        data = read_small(self.path("ledger.json"))
        if data is None:
            fault("missing-file", "ledger.json is missing", "ledger.json")
            data = b""
        # The value from which the chain of records and that of headers begin.
        self.prev = self.prev_header = merkle.text_of(merkle.sha256(data))
        unknown = []
        try:
            settings = canonical.parse(data)
            records.LEDGER(settings, "ledger", unknown)
        except canonical.NotCanonical as error:
            return fault("not-canonical", f"ledger.json: {error}", "ledger.json", error.offset)
        except records.Wrong as error:
            return fault("wrong-shape", f"ledger.json: {error}", "ledger.json", 0)
        self.report.unknown(unknown, None)
        self.settings = settings
        try:
            own = notes.parse_key(settings["key"])
        except notes.BadKey as error:
            return fault("unreadable-key", f"ledger.json: {error}", "ledger.json", 0)
        if own.name != settings["origin"]:
            fault("unreadable-key", "the key in ledger.json names another origin", "ledger.json", 0)
        if self.key is None:
            self.key = own
        elif self.key != own:
            fault("wrong-key", "the key in ledger.json is not the key given", "ledger.json", 0)

    # Headers, as far as they can be checked without records (sections 4 and 5)

    def read_note(self, data, file, offset, both=True):
        """The note, if its form and its signatures are right."""
        try:
            note = notes.parse_note(data)
            if self.key:
                notes.check_signatures(note, self.key, both)
            return note
        except notes.BadNote as error:
            self.report.fault("unreadable-note", str(error), file, offset)
        except notes.BadSignature as error:
            self.report.fault("bad-signature", str(error), file, offset)
        return None

    def read_headers(self):
        report, end = self.report, 0
        for offset, end, header, problem in header_lines(self.directory, report):
            report.blocks += 1
            if header is None:
                report.fault("unreadable-header", problem[1], HEADERS, problem[0])
                continue
            note = self.read_note(header["checkpoint"].encode("utf-8"), HEADERS, offset)
            if note and (note.size, merkle.text_of(note.root)) != (header["size"], header["root"]):
                text = f"the checkpoint in header {header['height']} is of another size or root"
                report.fault("header-mismatch", text, HEADERS, offset)
            self.last_sizes = [self.last_sizes[-1], (header["size"], header["root"])]
        report.sealed = self.last_sizes[-1][0]
        # To be read again beside the records, up to where it was read now: a torn line has been noted.
        self.headers = header_lines(self.directory, report, end)

    def read_checkpoint(self):
        self.checkpoint_bytes = read_small(self.path("checkpoint"))
        if self.checkpoint_bytes is None:
            return None
        return (self.read_note(self.checkpoint_bytes, "checkpoint", 0),)

    def compare_checkpoint(self, checkpoint):
        """Section 5: the last header's {size, root}; after a crash the header's before, or none yet."""
        report = self.report
        if read_small(self.path("checkpoint")) != self.checkpoint_bytes:
            return  # a writer is at work: which header it belonged to at which moment cannot be said
        if checkpoint is None:
            if report.blocks > 1:
                report.fault("missing-checkpoint", "the file checkpoint is missing", "checkpoint")
            elif report.blocks == 1:
                text = "the file checkpoint is absent beside a single header"
                report.note("checkpoint-behind", text, file="checkpoint")
            return
        note = checkpoint[0]
        if note is None:
            return
        named = (note.size, merkle.text_of(note.root))
        if named == self.last_sizes[-1]:
            return
        if note.size > report.sealed:
            text = f"checkpoint is of {note.size} records, the last header ends at {report.sealed}"
            report.fault("cut-back", text, "checkpoint", 0)
        elif report.blocks > 1 and named == self.last_sizes[0]:
            report.note("checkpoint-behind", "the file checkpoint is one block behind", file="checkpoint")
        else:
            text = "checkpoint names neither the last header's size and root nor those before"
            report.fault("checkpoint-mismatch", text, "checkpoint", 0)

    def read_at_least(self):
        """Section 8: one valid signature of the key; a root at that size; no smaller sealed size."""
        if self.at_least is None:
            return
        name, data = self.at_least
        note = self.read_note(data, name, 0, both=False)
        if note is None:
            return
        if note.size > self.report.sealed:
            text = f"the note covers {note.size} records, the last header ends at {self.report.sealed}"
            self.report.fault("cut-back", text, name, 0)
        else:
            self.wanted = note

    # Records (sections 1 to 3)

    def list_segments(self):
        for name in names_in(self.path("segments")):
            if is_segment(name):
                self.segments.append((int(name[:20]), "segments/" + name))
            else:
                self.report.note("other-file", ascii("segments/" + name))

    def end_of(self, index, last=None):
        """A segment ends where the next one's name begins."""
        return self.segments[index + 1][0] if index + 1 < len(self.segments) else last

    def read_records(self):
        self.tree_grew()
        for index, (first, name) in enumerate(self.segments):
            end = self.end_of(index)
            if first > 0 and index == 0:
                self.read_released(first, name)
            if first > self.tree.size:
                self.missing(first, name)
            with open_file(self.path(name)) as file:
                # Only here may damage be the trace of a crash.
                tail_from = os.fstat(file.fileno()).st_size - TAIL if end is None else None
                self.read_segment(file, name, index, end, tail_from)

    def read_released(self, first, name):
        """Section 9: of the records before the first segment the leaf hashes are left."""
        try:
            hashes = open_file(self.path("tile/0"))
        except FileNotFoundError:
            self.missing(first, name)
        with hashes:
            if os.fstat(hashes.fileno()).st_size < 32 * first or first > self.report.sealed:
                self.missing(first, name)
            for seq in range(first):
                if self.block is None or self.header_ends_at(seq):
                    self.open_block(seq)
                self.block.released = True
                self.add_leaf(hashes.read(32), seq)
        self.begins, self.epoch = first, None

    def check_released(self):
        """A standing and sealed record must say so."""
        end = 0
        if self.newest_release:
            seq, detail = self.newest_release
            end = detail["first"] + detail["count"]
            self.report.released = {"last": end - 1, "segments": detail["segments"], "seq": seq}
        if end < self.begins:
            text = f"records {end} to {self.begins - 1} are missing"
            self.report.fault("missing-records", text, self.segments[0][1], 0, end)

    def read_segment(self, file, name, index, end, tail_from):
        for offset, line, not_whole in lines_of(file, MAX_RECORD):
            seq = self.tree.size
            if end is not None and seq >= end:
                self.superseded.append((index, offset, end, self.prev))
                return
            value, damage = self.read_line(line, not_whole, offset, seq, self.prev)
            if damage and tail_from is not None and seq >= self.report.sealed and offset >= tail_from:
                facts = digest_from(file, offset)
                text = f"unsealed damaged tail of {facts['length']} bytes: {damage[2]}"
                self.report.note("damaged-tail", text, seq=seq, file=name, offset=offset, **facts)
                return
            if damage:
                kind, at, text, place_lost = damage
                self.report.fault(kind, text, name, at, seq)
                if place_lost:
                    raise Stop
            self.add_record(line, value, name, offset, seq)

    @staticmethod
    def read_line(line, not_whole, offset, seq, prev):
        """Whole, canonical and chained? The value if it can be read, and None or what is wrong as
        (kind, offset, text, whether it is unknown which record this is)."""
        if not_whole:
            kind = "torn-record" if len(line) <= MAX_RECORD else "not-canonical"
            return None, (kind, offset, f"record {seq}: the line {not_whole}", True)
        try:
            value = canonical.parse(line)
        except canonical.NotCanonical as error:
            return None, ("not-canonical", offset + error.offset, f"record {seq}: {error}", False)
        if not isinstance(value, dict):
            return None, ("wrong-shape", offset, f"record {seq} is not an object", False)
        stated = value.get("seq")
        if not records.is_integer(stated):
            return None, ("wrong-shape", offset, f"record {seq} has no seq", False)
        if stated != seq:
            return None, ("wrong-seq", offset, f"record {seq} should stand here, the line says {stated}", True)
        if value.get("prev") != prev:
            before = f"the leaf hash of record {seq - 1}" if seq else "the hash of ledger.json"
            return value, ("broken-chain", offset, f"prev of record {seq} is not {before}", False)
        return value, None

    def add_record(self, line, value, name, offset, seq):
        report = self.report
        opens = value is not None and value.get("kind") == "system" and value.get("action") == "block.opened"
        lost = value is None and self.header_ends_at(seq)
        if self.block is None or opens or seq == report.sealed or lost:
            self.open_block(seq)
            if value is not None and not opens:
                report.fault("block-boundary", f"record {seq} should be a block.opened", name, offset, seq)
        elif self.block.tree.size == MAX_BLOCK:
            text = f"the block from {self.block.first} on holds more than {MAX_BLOCK} records"
            report.fault("block-boundary", text, name, offset, seq)
        if value is not None:
            self.check_members(value, opens, name, offset, seq)
        self.add_leaf(merkle.leaf_hash(line), seq)

    def add_leaf(self, leaf, seq):
        self.block.add(leaf)
        for level, index, digest in self.tree.append(leaf):
            if seq < self.report.sealed:
                self.tiles.compare(level, index, digest)
        self.prev = merkle.text_of(leaf)
        self.tree_grew()

    def check_members(self, value, opens, name, offset, seq):
        def fault(kind, text):
            self.report.fault(kind, f"record {seq}: {text}", name, offset, seq)

        whole = True
        try:
            self.report.unknown(records.check_record(value), seq)
        except records.Wrong as error:
            whole = False
            fault("wrong-shape", str(error))
        if value.get("kind") == "gap":
            self.block.gaps += 1
            self.report.gaps += 1
        times = value.get("timestamp_truetime")
        times = times if isinstance(times, dict) else {}
        earliest, latest = times.get("earliest"), times.get("latest")
        if records.is_time(earliest) and records.is_time(latest):
            self.block.add_times(earliest, latest)
            # Section 4: a block is sealed before the first record of a later UTC date.
            if earliest[:10] > self.block.date:
                fault("block-boundary", "its date is later than that of the block's first record")
        if self.settings and value.get("ledger") != self.settings["origin"]:
            fault("wrong-ledger", "ledger is not this ledger's origin")
        if value.get("kind") == "system":
            detail = value.get("detail")
            if value.get("action") == "pipeline.started":
                self.epoch = seq  # that record names itself
            if value.get("action") == "ledger.created":
                self.check_ledger_created(detail, fault, seq)
            if opens and isinstance(detail, dict):
                if (detail.get("header"), detail.get("height")) != (self.prev_header, self.height):
                    fault("wrong-opening", "block.opened does not name the header before and this block's height")
            if value.get("action") == "segment.released" and seq < self.report.sealed and whole:
                self.newest_release = (seq, detail)
        if self.epoch is None and records.is_integer(value.get("epoch")):
            self.epoch = value["epoch"]
        if value.get("epoch") != self.epoch:
            fault("wrong-epoch", f"epoch should be {self.epoch}")

    def check_ledger_created(self, detail, fault, seq):
        if self.ledger_created is not None:
            fault("wrong-ledger", f"ledger.created a second time, after record {self.ledger_created}")
        elif self.height:
            self.report.note("ledger-created", "ledger.created does not stand in block 0", seq=seq)
        self.ledger_created = seq
        if self.settings and detail != self.settings:
            fault("wrong-ledger", "ledger.created does not have the members of ledger.json")

    # Blocks (section 4)

    def header_ends_at(self, seq):
        """A record that cannot be read may be a block.opened: there the header has to say."""
        return bool(self.pending and self.pending[1] and self.pending[1]["size"] == seq)

    def open_block(self, seq):
        self.close_block()
        self.block = Block(self.height, self.prev_header, seq)
        following = next(self.headers, None)
        self.pending = following and (following[0], following[2])  # (offset, header or None)

    def close_block(self):
        """Every member of the header but the checkpoint is recomputed from the records."""
        if self.block is None:
            return
        recomputed = self.block.header(self.tree.root())
        if self.pending:
            self.paired += 1
            offset, header = self.pending
            if self.block.released and header:  # section 9: as they stand
                recomputed.update({name: header[name] for name in ("earliest", "gaps", "latest")})
            wrong = [name for name in recomputed if header and header[name] != recomputed[name]]
            if wrong:
                first, last = recomputed["first"], recomputed["size"] - 1
                text = f"header {self.height} does not match its records {first} to {last}: {', '.join(wrong)}"
                self.report.fault("header-mismatch", text, HEADERS, offset, first)
        self.prev_header = header_hash(recomputed)
        self.height += 1
        self.block = self.pending = None

    def tree_grew(self):
        """What is due at this size of the tree, 0 included."""
        size = self.tree.size
        if size == self.report.sealed:
            self.report.root = merkle.text_of(self.tree.root())
        if self.wanted and size == self.wanted.size and self.wanted.root != self.tree.root():
            text = f"the note's root is not that of this ledger's first {size} records"
            self.report.fault("other-history", text, self.at_least[0], 0)

    def missing(self, until, name):
        size = self.tree.size
        self.report.fault("missing-records", f"records {size} to {until - 1} are missing", name, None, size)
        raise Stop

    def end_of_records(self):
        report, size = self.report, self.tree.size
        if size < report.sealed:
            self.missing(report.sealed, self.segments[-1][1] if self.segments else "segments")
        if size == report.sealed or self.pending:
            self.close_block()
        self.check_released()
        if size > report.sealed:
            text = f"{size - report.sealed} records from {report.sealed} on are unsealed"
            report.note("unsealed", text, seq=report.sealed)
        if self.paired < report.blocks:
            text = f"{report.blocks - self.paired} headers have no block of records"
            report.fault("header-mismatch", text, HEADERS)
        if not report.blocks:
            report.note("nothing-signed", "there is no header, so nothing is signed yet")
        elif self.ledger_created is None and not self.begins:
            report.note("ledger-created", "there is no record ledger.created")

    # Superseded bytes (section 3.1)

    def standing(self, index, seq):
        """The lines that stand, from record `seq` on, which is the first of segment `index`."""
        for number in range(index, len(self.segments)):
            end = self.end_of(number, self.tree.size)
            with open_file(self.path(self.segments[number][1])) as file:
                for _, line, _ in lines_of(file, MAX_RECORD):
                    if seq >= end:
                        break
                    yield line
                    seq += 1

    def read_superseded(self, index, start, seq, prev):
        name = self.segments[index][1]
        first, damaged = seq, None
        standing = self.standing(index + 1, seq)
        with open_file(self.path(name)) as file:
            file.seek(start)
            for offset, line, not_whole in lines_of(file, MAX_RECORD):
                if self.read_line(line, not_whole, offset, seq, prev)[1]:
                    damaged = offset
                    break
                if line != next(standing, None):
                    text = f"the superseded record {seq} is not equal to the one that stands in its place"
                    self.report.fault("superseded-differs", text, name, offset, seq)
                    break
                prev = merkle.text_of(merkle.leaf_hash(line))
                seq += 1
            standing.close()
            note = self.report.note
            text = f"superseded bytes; {seq - first} records in them are equal to those that stand"
            note("superseded", text, seq=first, file=name, offset=start, **digest_from(file, start))
            if damaged is not None:
                text = "superseded bytes that are no records"
                note("superseded-damage", text, seq=seq, file=name, offset=damaged, **digest_from(file, damaged))

    # What else lies there (section 3)

    def other_files(self):
        for name in names_in(self.directory):
            if name not in KNOWN_FILES | RESERVED:
                self.report.note("other-file", ascii(name))
        self.tiles.check_lengths(names_in(self.path("tile")), self.report.sealed)
