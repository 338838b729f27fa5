"""What the verifier found (format.md section 8)."""

import collections

LISTED = 20  # faults, or notes, of one kind that are listed one by one


class Report:
    def __init__(self, key_given):
        self.key_given = key_given
        self.faults, self.notes = [], []
        self.size = self.sealed = self.blocks = self.gaps = 0
        self.root = self.released = None
        self._counts = {"faults": collections.Counter(), "notes": collections.Counter()}
        self._unknown = {}  # path: [first record, how many]

    def fault(self, kind, text, file=None, offset=None, seq=None):
        self._add("faults", {"kind": kind, "seq": seq, "file": file, "offset": offset, "text": text})

    def note(self, kind, text, **facts):
        self._add("notes", {"kind": kind, "text": text, **facts})

    def _add(self, where, entry):
        # One wrong leaf makes every later root wrong: so a count stands for the rest.
        self._counts[where][entry["kind"]] += 1
        if self._counts[where][entry["kind"]] <= LISTED:
            getattr(self, where).append(entry)

    def unknown(self, paths, seq):
        """Members that the specification does not name: each path once, with its first record."""
        for path in paths:
            if path in self._unknown or len(self._unknown) < 1000:
                self._unknown.setdefault(path, [seq, 0])[1] += 1

    def finish(self):
        for path, (seq, count) in self._unknown.items():
            self.note("unknown-member", f"{ascii(path)}, {count} times", seq=seq)
        for where, counts in self._counts.items():
            for kind, count in counts.items():
                if count > LISTED:
                    text = f"{count - LISTED} more {where} of kind {kind} are not listed"
                    self.notes.append({"kind": "not-listed", "text": text})
        return self

    @property
    def verdict(self):
        return "fault" if self.faults else "good" if self.key_given else "unproven"

    @property
    def exit_code(self):
        return {"good": 0, "fault": 1, "unproven": 4}[self.verdict]

    def as_dict(self):
        names = ("verdict", "size", "sealed", "blocks", "root", "gaps", "released", "faults", "notes")
        return {name: getattr(self, name) for name in names}

    def as_text(self):
        yield f"{self.verdict}: {self.size} records, {self.sealed} sealed in {self.blocks} blocks, {self.gaps} gaps"
        if self.released:
            yield "released: records 0 to {last}, in {segments} segments (record {seq})".format(**self.released)
        yield f"root {self.root}" if self.root else "root not reached"
        for entry in self.faults:
            place = [f"record {entry['seq']}"] if entry["seq"] is not None else []
            place += [entry["file"]] if entry["file"] else []
            place += [f"byte {entry['offset']}"] if entry["offset"] is not None else []
            yield f"fault {entry['kind']} ({', '.join(place)}): {entry['text']}"
        for entry in self.notes:
            facts = [f"{k} {v}" for k, v in entry.items() if k not in ("kind", "text") and v is not None]
            yield f"note {entry['kind']}: {entry['text']}" + (f" ({', '.join(facts)})" if facts else "")
        if self.verdict == "unproven":
            yield "signer unproven: no key was given, and the key in ledger.json proves self-consistency alone"
