"""The unit's system call filter, held against the calls that a recorder really makes.

A call that the filter refuses need not end the daemon: refused clock_adjtime(2), say, only makes every record call
the clock unsynchronised. Needs root, strace, systemd-analyze, and the binary in $GRAVEN:

    GRAVEN=target/debug/graven python3 -m unittest discover -s tests/ops
"""

import json
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
    def worm(self, graven, home):
        """The warden's calls too, where the file system has what it needs."""
        doctor = subprocess.run([graven, "doctor", "--json", "--dir", home], capture_output=True, text=True)
        findings = {it["what"]: it["state"] for it in json.loads(doctor.stdout)["findings"]}
        return ["--worm"] if findings["worm"] == "ok" else []

    def test_the_rights_that_are_asked_for_are_granted(self):
        granted = re.search(r"^CapabilityBoundingSet=(.*)$", UNIT.read_text(), re.MULTILINE)[1].split()
        for right in ["CAP_BPF", "CAP_PERFMON", "CAP_KILL", "CAP_LINUX_IMMUTABLE", "CAP_SETPCAP"]:
            self.assertIn(right, granted)

    def test_every_call_of_a_recorder_passes(self):
        graven = pathlib.Path(os.environ["GRAVEN"]).resolve()
        with tempfile.TemporaryDirectory() as home:
            subprocess.run([graven, "init", "l", "--origin", "example.org/unit"], cwd=home, check=True, capture_output=True)
            strace = ["strace", "-f", "-qq", "-o", "calls", graven, "exec", "--ledger", "l"]
            try:
                subprocess.run([*strace, *self.worm(graven, home), "--", "true"], cwd=home, check=True, timeout=60)
            finally:
                subprocess.run(["chattr", "-R", "-i", "-a", "l/segments"], cwd=home, check=False, capture_output=True)
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
