"""The programs that are watched: each makes ready what it needs in a directory of its own, outside the capture."""

import contextlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

AGENTS = Path(__file__).resolve().parent / "agents"


class Missing(Exception):
    """A tool is not on this machine."""


def tool(name):
    path = shutil.which(name)
    if path is None:
        raise Missing(name)
    return path


def quiet(*command, **options):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)


def agent(name):
    # The interpreter itself, since `python3` may be a script that looks for it.
    return [sys.executable, str(AGENTS / name)]


@contextlib.contextmanager
def bash(_home):
    yield [tool("bash"), "-c", "ls /usr/bin | sort | head -50 | wc -l"]


@contextlib.contextmanager
def threads(_home):
    yield agent("threads.py")


@contextlib.contextmanager
def edges(_home):
    yield agent("edges.py")


@contextlib.contextmanager
def sqlite(_home):
    yield agent("database.py")


@contextlib.contextmanager
def git(home):
    tool("git")
    for number in range(5):
        (home / f"file-{number}").write_text("text\n" * number)
    names = " ".join(f"-c user.{key}=ada@example.org" for key in ("name", "email"))
    yield ["/bin/sh", "-c", f"git init -q . && git add . && git {names} commit -qm one && git status -s"]


@contextlib.contextmanager
def curl(home):
    tool("curl")
    (home / "served").write_bytes(bytes(100_000))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(home))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield ["curl", "-sSf", "-o", "got", f"http://localhost:{server.server_port}/served"]
        server.shutdown()


@contextlib.contextmanager
def cargo(home):
    tool("cc")
    cargo = tool("cargo")
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        # The compiler itself, not rustup's proxy, which looks for it.
        found = subprocess.run(["rustup", "which", "cargo"], check=True, capture_output=True, text=True)
        cargo = found.stdout.strip()
    rustc = str(Path(cargo).with_name("rustc"))
    (home / "src").mkdir()
    (home / "Cargo.toml").write_text('[package]\nname = "hello"\nversion = "0.1.0"\nedition = "2024"\n')
    (home / "src/main.rs").write_text('fn main() { println!("hello"); }\n')
    settings = [f"RUSTC={rustc}", f"CARGO_TARGET_DIR={home}/target", f"CARGO_HOME={home}/cargo"]
    yield ["env", *settings, cargo, "build", "--offline", "--quiet"]


@contextlib.contextmanager
def node(_home):
    yield [tool("node"), str(AGENTS / "files.js")]


@contextlib.contextmanager
def tar(home):
    tool("tar")
    (home / "in/deep").mkdir(parents=True)
    for number in range(20):
        (home / f"in/deep/file-{number}").write_bytes(os.urandom(number * 1000))
    (home / "in/link").symlink_to("deep/file-1")
    yield ["/bin/sh", "-c", "tar -czf a.tar.gz in && mkdir out && tar -xzf a.tar.gz -C out && diff -r in out/in"]


@contextlib.contextmanager
def apt(_home):
    yield [tool("apt-get"), "--simulate", "--quiet", "install", "dpkg"]


@contextlib.contextmanager
def go(home):
    built = str(home.parent / "hello")
    quiet(tool("go"), "build", "-o", built, str(AGENTS / "hello.go"), cwd=home)
    yield [built]


PROGRAMS = {make.__name__: make for make in (bash, threads, git, tar, sqlite, curl, edges, cargo, node, apt, go)}
# Those of the test suite: fast, and (but for git and curl) with tools that any machine that builds Graven has.
SHORT = ["bash", "threads", "git", "tar", "sqlite", "curl", "edges"]
