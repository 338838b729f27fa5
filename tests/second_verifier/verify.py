"""A second verifier of Graven ledgers, written from schemas/format.md alone.

    python3 verify.py DIR [--key VKEY_OR_FILE] [--at-least NOTE_FILE] [--json]

Exit: 0 good, 1 evidence at fault, 2 usage, 3 I/O error, 4 self-consistent but no key was given.
"""

import argparse
import json
import os
import sys

import note as notes
from files import names_in, read_small
from ledger import Ledger, is_segment


class Usage(Exception):
    """Exit 2."""


def key_from(text):
    try:
        return notes.parse_key(text)
    except notes.BadKey as error:
        problem = error
    try:
        data = read_small(text)
    except (OSError, ValueError):
        data = None
    if data is None:
        raise Usage(f"--key is neither a verifier key nor a file that can be read: {problem}")
    try:
        return notes.parse_key(data.decode("utf-8").strip())
    except (notes.BadKey, UnicodeDecodeError) as error:
        # Never the content: it could be the private key, given by mistake.
        raise Usage(f"the key file holds no verifier key: {error}") from None


def check_note(data, key):
    """Section 8: a note that is not the key's proves nothing about the ledger."""
    try:
        notes.check_signatures(notes.parse_note(data), key, False)
    except (notes.BadNote, notes.BadSignature) as error:
        raise Usage(f"--at-least: {error}") from error


def begins(directory):
    """The name of the first segment."""
    return min(filter(is_segment, names_in(os.path.join(directory, "segments"))), default=None)


def run(arguments):
    directory = arguments.directory
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        names = []
    # Without ledger.json it may still be one, from which that file was taken.
    if not {"ledger.json", "segments", "blocks.jsonl"} & set(names):
        raise Usage("not a ledger directory")
    key = key_from(arguments.key) if arguments.key is not None else None
    at_least = None
    if arguments.at_least is not None:
        if key is None:
            raise Usage("--at-least needs --key: only a signature of a known key says anything")
        data = None if "\0" in arguments.at_least else read_small(arguments.at_least)
        if data is None:
            raise Usage("--at-least: no such file")
        check_note(data, key)
        at_least = (ascii(arguments.at_least)[1:-1], data)
    # A writer may release what was about to be read (section 9): then the ledger is read anew.
    while True:
        before = begins(directory)
        try:
            report = Ledger(directory, key, at_least).verify()
        except FileNotFoundError:
            if begins(directory) == before:
                raise
        else:
            if not report.faults or begins(directory) == before:
                return report


def main(argv=None):
    parser = argparse.ArgumentParser(prog="verify.py", description="Verifies a Graven ledger.")
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--key", metavar="VKEY_OR_FILE", help="the ledger's verifier key, from outside the ledger")
    parser.add_argument("--at-least", metavar="NOTE_FILE", help="a checkpoint that the ledger must extend")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    try:
        arguments = parser.parse_args(argv)
        report = run(arguments)
        if arguments.json:
            print(json.dumps(report.as_dict()))
        else:
            print(*report.as_text(), sep="\n")
        sys.stdout.flush()
    except SystemExit as error:  # argparse has spoken
        return error.code
    except Usage as error:
        print(f"verify.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"verify.py: I/O error: {ascii(str(error))[1:-1]}", file=sys.stderr)
        return 3
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
