"""The unit's system call filter, held against the calls that a recorder really makes.

A call that the filter refuses need not end the daemon: refused clock_adjtime(2), say, only makes every record call
the clock unsynchronised. Needs root, strace, systemd-analyze, and the binary in $GRAVEN:

    GRAVEN=target/debug/graven python3 -m unittest discover -s tests/ops
"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

UNIT = pathlib.Path(__file__).parents[2] / "configs/systemd/graven.service"


def expand(name):
    """The calls of a set such as @file-system; of a call, itself."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
    members = (line.strip() for line in listed.stdout.splitlines()[1:])
    return set().union(*(expand(member) for member in members if member and not member.startswith("#")))


def allowed(unit):
    """As in systemd.exec(5): lines add up, those with a tilde take away, and @default is always there."""
    calls = expand("@default")
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        named = set().union(*(expand(name) for name in line.lstrip("~").split()))
        calls = calls - named if line.startswith("~") else calls | named
    return calls


class SystemCallFilter(unittest.TestCase):
    def test_every_call_of_a_recorder_passes(self):
        graven = pathlib.Path(os.environ["GRAVEN"]).resolve()
        with tempfile.TemporaryDirectory() as home:
            subprocess.run([graven, "init", "l", "--origin", "example.org/unit"], cwd=home, check=True, capture_output=True)
            strace = ["strace", "-f", "-qq", "-o", "calls", graven, "exec", "--ledger", "l", "--", "true"]
            subprocess.run(strace, cwd=home, check=True, timeout=60)
            text = pathlib.Path(home, "calls").read_text()
        made = set(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
        self.assertIn("bpf", made, "control: the kernel program was loaded")
        self.assertIn("clock_adjtime", made, "control: the clock was read")
        unit = UNIT.read_text()
        self.assertEqual(made - allowed(unit), set())
        narrow = unit.replace(" clock_adjtime", "")
        self.assertIn("clock_adjtime", made - allowed(narrow), "without the line it would be refused")


if __name__ == "__main__":
    unittest.main()
