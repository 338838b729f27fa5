"""Calls that end in unusual ways: refused, cancelled, interrupted, restarted, never; and an execve by a second thread."""

import ctypes
import mmap
import os
import signal
import socket
import struct
import subprocess
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)


def child(action):
    """Runs `action` in a child and waits for its end."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def unknown_and_unreadable():
    libc.syscall(999, 1, 2)
    libc.syscall(-1, 3)
    libc.syscall(90, None, 0o644)  # chmod
    libc.syscall(90, 1, 0o644)
    libc.syscall(87, b"x" * 5000)  # unlink


def addresses():
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind("plain")
    abstract = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    abstract.bind("\0abs" + str(os.getpid()))
    abstract.sendto(b"one", "plain")
    abstract.sendmsg([b"two"], [], 0, "plain")
    server.recvfrom(10)
    server.recv(10)
    for family, address in ((socket.AF_INET6, ("::1", 1)), (socket.AF_INET, ("127.0.0.1", 1))):
        with socket.socket(family) as client:
            client.connect_ex(address)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.bind((0, 0))


def files():
    os.mkdir("dir", 0o750)
    directory = os.open("dir", os.O_RDONLY)
    os.mkfifo("fifo", dir_fd=directory)
    os.symlink("../elsewhere", "link", dir_fd=directory)
    os.chdir("dir")
    os.unlink("fifo")
    os.rename("link", "./new")
    os.unlink("new")
    os.fchdir(os.open("..", os.O_RDONLY))
    os.rmdir("dir")
    gone = os.open("gone", os.O_CREAT | os.O_RDWR, 0o600)
    os.unlink("gone")
    os.ftruncate(gone, 1 << 40)
    memory = os.memfd_create("memory")
    os.fchmod(memory, 0o600)
    os.setgroups([1, 2, 3])
    libc.syscall(437, -100, b".", (ctypes.c_uint64 * 3)(os.O_PATH, 0, 8), 24)  # openat2


def interrupted():
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    time.sleep(0.12)
    signal.setitimer(signal.ITIMER_REAL, 0)


def stopped_and_continued():
    pid = os.fork()
    if pid == 0:
        # poll(2) goes on by restart_syscall(2).
        libc.poll(None, 0, 300)
        os._exit(0)
    time.sleep(0.1)
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)


def killed_in_a_call():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def group_ends_while_others_are_in_calls():
    for _ in range(3):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    reader, _writer = os.pipe()
    threading.Thread(target=os.read, args=(reader, 1), daemon=True).start()
    time.sleep(0.05)


def crash():
    ctypes.string_at(0)


def refused_by_seccomp():
    """getppid(2) gives EPERM; mkdir(2) raises SIGSYS; sync(2) kills."""
    allow, errno, trap, kill = 0x7FFF0000, 0x00050001, 0x00030000, 0x80000000
    rules = [(110, errno), (83, trap), (162, kill)]
    code = [(0x20, 0, 0, 0)]
    for number, action in rules:
        code += [(0x15, 0, 1, number), (0x06, 0, 0, action)]
    code += [(0x06, 0, 0, allow)]
    instructions = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(instructions)
    program = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(buffer))
    signal.signal(signal.SIGSYS, lambda *_: None)
    libc.prctl(38, 1, 0, 0, 0)
    libc.prctl(22, 2, program)
    libc.syscall(110)
    libc.syscall(83, b"refused", 0o700)
    os.getpid()
    libc.syscall(162)


def thirty_two_bits():
    """getpid(2) by int 0x80."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    entry = ctypes.addressof(ctypes.c_char.from_buffer(page))
    ctypes.CFUNCTYPE(ctypes.c_int)(entry)()


def vfork():
    subprocess.run(["/bin/true"], check=True)
    subprocess.run(["/bin/sh", "-c", "exit 3"], check=False)


def execve_by_a_second_thread():
    threading.Thread(target=os.execv, args=("/bin/echo", ["echo", "-n"])).start()
    time.sleep(60)


def scripts_and_descriptors_executed():
    with open("script", "w", encoding="ascii") as script:
        script.write("#!/bin/sh -e\nexit 0\n")
    os.chmod("script", 0o755)
    subprocess.run(["./script", "one"], check=True)
    subprocess.run(["not its name", "two"], executable="./script", check=True)
    child(lambda: os.execve(os.open("/bin/true", os.O_RDONLY), ["by descriptor"], {}))
    child(lambda: os.execve(libc.open(b"script", os.O_RDONLY), ["script by descriptor"], {}))
    child(lambda: libc.syscall(59, b"/bin/true", None, None))
    child(lambda: os.execv("/bin/true", ["true", "", "x" * 3000, "", "y" * 3000]))


def odd_values():
    """Words whose upper halves the kernel ignores, and values out of range."""
    high = 1 << 32
    libc.syscall(257, ctypes.c_ulong(high | 0xFFFFFF9C), b"high", ctypes.c_ulong(high | 0o102), ctypes.c_ulong(high | 0o600))
    libc.syscall(76, b"high", ctypes.c_long(-1))  # truncate
    libc.syscall(117, -1, -1, -1)  # setresuid
    libc.syscall(116, 0, None)  # setgroups
    libc.syscall(116, ctypes.c_long(-1), None)
    libc.syscall(62, 0, 0)  # kill
    libc.syscall(62, os.getpid(), 99)
    libc.syscall(263, 77, b"no such directory", 0)  # unlinkat
    libc.syscall(87, b"")
    libc.syscall(133, b"node", 0o020600, 0x103)  # mknod
    os.close(os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600))
    for how, size in ((None, 24), ((ctypes.c_uint64 * 3)(), 8), ((ctypes.c_uint64 * 4)(), 32)):
        libc.syscall(437, -100, b".", how, size)
    libc.syscall(0x40000027)  # x32
    for bytes_, length in ((b"\2\0\0\1", 4), (b"\0\0" + bytes(14), 16), (b"\1\0" + b"n" * 108, 110), (b"\1\0\0a\0b", 6), (b"\1\0", 2)):
        with socket.socket(socket.AF_UNIX if bytes_[0] == 1 else socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            libc.connect(any_socket.fileno(), bytes_, length)
            libc.bind(any_socket.fileno(), bytes_, length)


def path_on_an_absent_page():
    with open("page", "wb") as file:
        file.write(b"from-a-file\0")
    descriptor = os.open("page", os.O_RDWR)
    libc.mmap.restype = ctypes.c_void_p
    page = libc.mmap(None, ctypes.c_size_t(4096), 1, 2, descriptor, ctypes.c_long(0))
    libc.mkdir(ctypes.c_void_p(page), 0o700)


def directory_gone():
    os.mkdir("gone-dir")
    os.chdir("gone-dir")
    os.rmdir("../gone-dir")
    libc.open(b"nothing", 0)


def other_root():
    os.makedirs("root/inside")
    os.chroot("root")
    os.chdir("/inside")
    os.mkdir("here")
    os.mkdir("/there")


def restarted():
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, False)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    reader, writer = os.pipe()
    if os.fork() == 0:
        time.sleep(0.1)
        os.write(writer, b"x")
        os._exit(0)
    libc.read(reader, ctypes.create_string_buffer(1), 1)
    signal.setitimer(signal.ITIMER_REAL, 0)


def leader_ends_first():
    def last():
        time.sleep(0.05)
        os.mkdir("after-the-leader")
        os._exit(0)

    threading.Thread(target=last).start()
    libc.syscall(60, 0)


def many_children():
    for _ in range(30):
        if os.fork() == 0:
            os._exit(7)
    with __import__("contextlib").suppress(ChildProcessError):
        while True:
            os.wait()


unknown_and_unreadable()
scripts_and_descriptors_executed()
odd_values()
path_on_an_absent_page()
child(directory_gone)
child(other_root)
child(restarted)
child(leader_ends_first)
child(many_children)
addresses()
files()
interrupted()
stopped_and_continued()
killed_in_a_call()
child(group_ends_while_others_are_in_calls)
child(crash)
child(refused_by_seccomp)
child(thirty_two_bits)
vfork()
child(execve_by_a_second_thread)
