"""The kernel matrix: boots Debian's cloud kernels in qemu, and captures in each with the same binaries.

    python3 tests/vm/matrix.py              # every kernel
    python3 tests/vm/matrix.py --self-test  # shows that a bad run is found to be bad

Needs no root. CAPTURE_TESTS and GRAVEN name other binaries than those that it builds; ACCEL=kvm another of
qemu's accelerators than software emulation, which is the same everywhere: KVM inside a virtual machine may
offer a processor on which no kernel starts.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from console import FACTS, Report, judge, table

HERE = Path(__file__).parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
CACHE = TARGET / "vm"
# Kernel, and how cgroup2 is mounted: each way once. The build is the newest that the registry has.
KERNELS = {"6.1": "hybrid", "6.12": "plain"}
# What the tests and the recorded command run; the rest is busybox's.
PROGRAMS = ["sh", "cat", "chmod", "date", "echo", "mkdir", "rm", "sleep", "true", "unshare"]
MOUNT_POINTS = ["dev", "proc", "sys", "tmp"]
LSM = "lockdown,capability,landlock,bpf"
BOOT_S_MAX = 300
LINES_SHOWN = 40


class Unusable(Exception):
    """The matrix cannot be run here; says what to do."""


def newest_package(version: str) -> str:
    pattern = rf"^linux-image-{re.escape(version)}\.[0-9.-]*(\+deb[0-9]+)?-cloud-amd64$"
    listed = subprocess.run(
        ["apt-cache", "search", "--names-only", pattern], check=True, capture_output=True, text=True
    )
    names = [line.split()[0] for line in listed.stdout.splitlines()]
    if not names:
        raise Unusable(f"no package of Linux {version}: run `apt-get update`; Debian 12 has it")
    return max(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def kernel_image(version: str) -> Path:
    """The kernel's image, downloaded once and unpacked, never installed."""
    package = newest_package(version)
    image = CACHE / package.replace("linux-image-", "vmlinuz-")
    if not image.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            # Root's apt would warn that its unprivileged user cannot write here.
            download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package]
            subprocess.run(download, check=True, cwd=directory)
            (archive,) = Path(directory).glob("*.deb")
            subprocess.run(["dpkg-deb", "--extract", archive, directory], check=True)
            Path(directory, "boot", image.name).rename(image)
    return image


def built(*arguments: str) -> Path:
    """Builds with cargo, and finds the one executable among its messages."""
    command = ["cargo", *arguments, "--locked", "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    messages = map(json.loads, done.stdout.splitlines())
    (executable,) = [path for message in messages if (path := message.get("executable"))]
    return Path(executable)


def initramfs(programs: dict[str, Path], archive: Path) -> None:
    """Packs `programs`, by name, with the libraries they need."""
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        root = Path(directory)
        for name in ["bin", *MOUNT_POINTS]:
            (root / name).mkdir()
        shutil.copy(HERE / "init", root / "init")
        for name, program in programs.items():
            shutil.copy(program, root / "bin" / name)
            # A script or a static program has no libraries, which ldd counts as a failure.
            listed = subprocess.run(["ldd", program], check=False, capture_output=True, text=True)
            for library in re.findall(r"/\S+", listed.stdout):
                copy = root / library.lstrip("/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, copy)
        names = "\n".join(str(path.relative_to(root)) for path in root.rglob("*"))
        with archive.open("wb") as out:
            pack = ["busybox", "cpio", "-o", "-H", "newc"]
            subprocess.run(pack, check=True, cwd=root, input=names.encode(), stdout=out, stderr=subprocess.DEVNULL)


def boot(image: Path, archive: Path, cgroup: str, log: Path, limit_s: int = BOOT_S_MAX) -> Report:
    command = ["qemu-system-x86_64", "-accel", os.environ.get("ACCEL", "tcg,thread=single"), "-cpu", "max", "-smp", "2"]
    command += ["-m", "2048", "-nodefaults", "-no-user-config", "-no-reboot"]
    command += ["-display", "none", "-serial", "stdio", "-kernel", image, "-initrd", archive]
    command += ["-append", f"console=ttyS0 quiet panic=-1 lsm={LSM} CGROUP={cgroup}"]
    begin_s = time.monotonic()
    late = False
    with log.open("wb") as out:
        try:
            subprocess.run(
                command, check=False, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=limit_s
            )
        except subprocess.TimeoutExpired:
            late = True
    report = judge(log.read_text(errors="replace"))
    report.figures["seconds"] = f"{time.monotonic() - begin_s:.0f}"
    if late:
        report.faults.append(f"not over after {limit_s} s")
    return report


def show(report: Report, log: Path) -> None:
    last = "\n".join(log.read_text(errors="replace").splitlines()[-LINES_SHOWN:])
    print(f"{last}\n{log}: {'; '.join(report.faults)}\n", file=sys.stderr)


def programs_of(capture_tests: Path, graven: Path) -> dict[str, Path]:
    found = {}
    for name in [*PROGRAMS, "busybox"]:
        path = shutil.which(name)
        if path is None:
            raise Unusable(f"no {name}: run `tests/packages.sh vm`")
        found[name] = Path(path)
    return found | {"capture-tests": capture_tests, "graven": graven}


def matrix() -> bool:
    tests = os.environ.get("CAPTURE_TESTS") or built("test", "-p", "graven-capture", "--test", "capture", "--no-run")
    graven = os.environ.get("GRAVEN") or built("build", "-p", "graven")
    archive = CACHE / "initramfs"
    initramfs(programs_of(Path(tests), Path(graven)), archive)
    figures = ("passed", "ignored", "records", "seconds")
    rows, good = [[*FACTS, *figures, "verdict"]], True
    for version, cgroup in KERNELS.items():
        log = CACHE / f"console-{version}.log"
        report = boot(kernel_image(version), archive, cgroup, log)
        if report.faults:
            show(report, log)
            good = False
        rows.append([*report.facts.values(), *(report.figures.get(name, "-") for name in figures), report.verdict])
    print(table(rows))
    return good


@dataclass
class Trial:
    """Stand-ins for the binaries, and the fault that must be found; none in the control."""

    what: str
    fault: str | None
    tests: str = "echo 'test result: ok. 1 passed; 0 failed; 0 ignored'"
    graven: str = (
        "case $1 in init) echo 'verifier key x' ;; doctor) echo 'capture ok x' ;; "
        "exec) echo '  gaps none: x' ;; append) echo '{\"leaf\":\"x\",\"line\":6,\"seq\":9}' ;; "
        "verify) printf 'good: x\\n  records 1: x\\n' ;; esac"
    )
    limit_s: int = BOOT_S_MAX


TRIALS = [
    Trial("control: all is said", None),
    Trial("a test fails", "tests: ended with status 101", tests="echo 'test result: FAILED.'; exit 101"),
    Trial("no test ran", "tests: did not say what it must", tests=Trial.tests.replace("1", "0")),
    Trial("the tests say nothing", "tests: did not say what it must", tests="true"),
    Trial("a test skips itself", "tests: skipped: no root", tests=f"{Trial.tests}; echo 'SKIPPED: no root'"),
    Trial("a verb fails", "verify: ended with status 1", graven=f"{Trial.graven}; [ $1 != verify ]"),
    Trial("the machine dies", "tests: did not end", tests="echo c > /proc/sysrq-trigger"),
    Trial("the machine hangs", "not over after 20 s", tests="sleep 1000", limit_s=20),
]


def self_test() -> bool:
    image = kernel_image("6.12")
    archive, log = CACHE / "self-test", CACHE / "console-self-test.log"
    rows, good = [["trial", "fault", "found"]], True
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        tests, graven = Path(directory, "tests"), Path(directory, "graven")
        for trial in TRIALS:
            for path, script in ((tests, trial.tests), (graven, trial.graven)):
                path.write_text(f"#!/bin/sh\n{script}\n")
                path.chmod(0o755)
            initramfs(programs_of(tests, graven), archive)
            report = boot(image, archive, "plain", log, trial.limit_s)
            found = trial.fault in report.faults if trial.fault else not report.faults
            if not found:
                show(report, log)
                good = False
            rows.append([trial.what, trial.fault or "none", "yes" if found else "NO"])
    print(table(rows))
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the capture tests and a recording on each kernel, in qemu.")
    parser.add_argument("--self-test", action="store_true", help="show that a bad run is found to be bad")
    arguments = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        good = self_test() if arguments.self_test else matrix()
    except Unusable as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
