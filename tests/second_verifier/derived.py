"""What follows from the records alone: block headers (format.md section 4) and tiles (section 3)."""

import os

import canonical
import merkle
import record as records
from files import MAX_SMALL, digest_from, lines_of, open_file

HEADERS = "blocks.jsonl"


def header_hash(header):
    """The hash is of the header without its checkpoint, so it is a function of the records alone."""
    members = {name: value for name, value in header.items() if name != "checkpoint"}
    return merkle.text_of(merkle.sha256(canonical.encode(members)))


def header_lines(directory, report, end=None):
    """Yields (offset, end, header, None), or (offset, end, None, (offset of the error, why)), for each
    whole line of the headers' file, up to the byte `end` if given."""
    try:
        file = open_file(os.path.join(directory, HEADERS))
    except FileNotFoundError:
        return
    with file:
        for offset, line, not_whole in lines_of(file, MAX_SMALL, end):
            line_end = offset + len(line) + 1
            hole = b"\0" in line and line_end == os.fstat(file.fileno()).st_size
            if hole or not_whole and len(line) <= MAX_SMALL:
                text = "the last header line is torn and was dropped"
                report.note("torn-header", text, file=HEADERS, offset=offset, **digest_from(file, offset))
                return
            try:
                if not_whole:
                    raise records.Wrong("the line " + not_whole)
                header, unknown = canonical.parse(line), []
                records.HEADER(header, "header", unknown)
                if unknown:  # section 4: exactly these members
                    raise records.Wrong(f"{ascii(unknown[0])} is no member of a header")
            except (canonical.NotCanonical, records.Wrong) as error:
                yield offset, line_end, None, (offset + getattr(error, "offset", 0), str(error))
            else:
                yield offset, line_end, header, None


class Block:
    """What the records of one block say its header must be."""

    def __init__(self, height, prev, first):
        self.height, self.prev, self.first = height, prev, first
        self.tree = merkle.Tree()
        self.gaps = 0
        self.released = False  # in part: then times and kinds of some records are not known
        self.head = self.earliest = self.latest = self.date = None

    def add(self, leaf):
        self.tree.append(leaf)
        self.head = merkle.text_of(leaf)

    def add_times(self, earliest, latest):
        self.earliest = min(self.earliest or earliest, earliest)
        self.latest = max(self.latest or latest, latest)
        self.date = self.date or earliest[:10]

    def header(self, root):
        return {
            "block_root": merkle.text_of(self.tree.root()),
            "count": self.tree.size,
            "earliest": self.earliest,
            "first": self.first,
            "gaps": self.gaps,
            "head": self.head,
            "height": self.height,
            "latest": self.latest,
            "prev": self.prev,
            "root": merkle.text_of(root),
            "size": self.first + self.tree.size,
        }


class Tiles:
    """The tile files, read alongside the tree as it grows."""

    def __init__(self, directory, report):
        self.directory, self.report = directory, report
        self.files = {}

    def compare(self, level, index, digest):
        name = f"tile/{level}"
        if level not in self.files:
            try:
                self.files[level] = open_file(os.path.join(self.directory, name))
            except FileNotFoundError:
                self.files[level] = None
                self.report.fault("missing-tile", "the tile file is missing", name)
        file = self.files[level]
        if file is None:
            return
        stored = file.read(32)
        first = index << (8 * level)
        if len(stored) < 32:
            text = f"the file ends before the end of hash {index}"
            self.report.fault("missing-tile", text, name, 32 * index, first)
            file.close()
            self.files[level] = None
        elif stored != digest:
            what = f"the root of the records from {first} on" if level else f"the leaf hash of record {index}"
            self.report.fault("tile-mismatch", f"hash {index} is not {what}", name, 32 * index, first)

    def check_lengths(self, names, sealed):
        for name in names:
            if len(name) != 1 or name not in "0123456789":
                self.report.note("other-file", ascii("tile/" + name))
                continue
            name, wanted = "tile/" + name, 32 * merkle.tile_count(sealed, int(name))
            beyond = os.stat(os.path.join(self.directory, name)).st_size - wanted
            if beyond > 0:
                text = f"{beyond} bytes beyond the last header's size"
                self.report.note("extra-tile-bytes", text, file=name, offset=wanted, length=beyond)

    def close(self):
        for file in self.files.values():
            if file:
                file.close()
