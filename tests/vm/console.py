"""What a virtual machine's console says, and whether it is good. Pure: text in, report out."""

import re
from dataclasses import dataclass, field

# What each step must print. A step that is missing, that fails or that says something else is a fault.
EXPECTED = {
    "tests": r"^test result: ok\. (?P<passed>[1-9]\d*) passed; 0 failed; (?P<ignored>\d+) ignored",
    "init": r"^verifier key ",
    "doctor": r"^capture +ok ",
    "exec": r"^  gaps +none: ",
    # The sixth of six events is durable, in its order.
    "clock": r'^\{"leaf":"[^"]*","line":6,',
    "verify": r"^good: (?s:.*?)^  records +(?P<records>[1-9][\d,]*):",
}
# A test that skips itself passes, but shows nothing.
SKIPPED = re.compile(r"^SKIPPED: (.*)$", re.MULTILINE)
FACTS = ("release", "lsm", "btf", "cgroup2")


@dataclass
class Report:
    """One kernel's row of the table; what was not said is `-`."""

    facts: dict[str, str] = field(default_factory=dict)
    figures: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "FAIL" if self.faults else "pass"


def judge(console: str) -> Report:
    """Reads the whole console; what qemu exited with says nothing."""
    console = console.replace("\r", "")
    report = Report()
    for name in FACTS:
        found = re.search(rf"^@@ {name} (.+)$", console, re.MULTILINE)
        report.facts[name] = found[1] if found else "-"
        if not found:
            report.faults.append(f"{name}: not said")
    for name, pattern in EXPECTED.items():
        judge_step(console, name, pattern, report)
    if not re.search(r"^@@ done$", console, re.MULTILINE):
        report.faults.append("the machine did not come to its end")
    return report


def judge_step(console: str, name: str, pattern: str, report: Report) -> None:
    step = re.search(
        rf"^@@ begin {name}$\n(?P<said>.*?)^@@ end {name} (?P<status>\d+)$", console, re.DOTALL | re.MULTILINE
    )
    if not step:
        report.faults.append(f"{name}: did not end")
        return
    said = re.search(pattern, step["said"], re.MULTILINE)
    if said:
        report.figures |= said.groupdict()
    if step["status"] != "0":
        report.faults.append(f"{name}: ended with status {step['status']}")
    elif not said:
        report.faults.append(f"{name}: did not say what it must")
    for skipped in SKIPPED.finditer(step["said"]):
        report.faults.append(f"{name}: skipped: {skipped[1]}")


def table(rows: list[list[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
