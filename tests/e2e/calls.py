"""Makes a known list of system calls between two marks, for the test that looks for each of them."""

import ctypes
import os
import signal
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)


def main():
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    client = socket.socket()
    datagram, bound = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    print(port, os.getpid(), client.fileno(), flush=True)

    os.mkdir("begin-mark")

    os.mkdir("d", 0o750)
    directory = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
    os.close(os.open("f", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640, dir_fd=directory))
    os.close(os.open(b"caf\xe9", os.O_CREAT | os.O_WRONLY, 0o600))
    os.close(os.open("café", os.O_CREAT | os.O_WRONLY, 0o600))
    libc.syscall(85, b"created", 0o644)
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY, 0, 0x08)
    libc.syscall(437, -100, b"created", how, 24)
    os.rename("d/f", "d/g")
    os.link("d/g", "hard")
    os.symlink("../elsewhere", "soft")
    os.chmod("hard", 0o600)
    os.chown("hard", os.getuid(), os.getgid())
    os.unlink("hard")
    os.unlink("g", dir_fd=directory)
    os.rmdir("d")
    os.chdir("/")
    try:
        os.open("no/such/file", os.O_RDONLY)
    except FileNotFoundError:
        pass
    try:
        os.execv("/no/such/program", ["one", "two words", "drei"])
    except FileNotFoundError:
        pass
    client.connect(("127.0.0.1", port))
    accepted, _ = server.accept()
    datagram.sendto(b"x", ("127.0.0.1", port))
    bound.bind(("127.0.0.1", 0))
    os.kill(os.getpid(), signal.SIGCONT)
    os.setuid(os.getuid())
    os.setgid(os.getgid())

    os.chdir(sys.argv[1])
    os.mkdir("end-mark")


main()
