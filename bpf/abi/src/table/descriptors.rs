//! Calls that read, write, copy and close descriptors. What they move is not on record; how much is.

use syscalls::x86_64::Sysno;

use super::Kind::{Count, Enum, Fd, Flags, Hex, Int, Str};
use super::{Syscall, calls};
use crate::flags::files::{CLOEXEC, CLOSE_RANGE, FCNTL, FLOCK, MEMFD, WHENCE};

calls! {
    read(fd: Fd, buf: Hex, count: Count) is routine;
    write(fd: Fd, buf: Hex, count: Count);
    pread64(fd: Fd, buf: Hex, count: Count, offset: Count) is routine;
    pwrite64(fd: Fd, buf: Hex, count: Count, offset: Count);
    readv(fd: Fd, iov: Hex, iovcnt: Count) is routine;
    writev(fd: Fd, iov: Hex, iovcnt: Count);
    preadv(fd: Fd, iov: Hex, iovcnt: Count, offset: Count, offset_high: Hex) is routine;
    pwritev(fd: Fd, iov: Hex, iovcnt: Count, offset: Count, offset_high: Hex);
    preadv2(fd: Fd, iov: Hex, iovcnt: Count, offset: Count, offset_high: Hex, flags: Hex) is routine;
    pwritev2(fd: Fd, iov: Hex, iovcnt: Count, offset: Count, offset_high: Hex, flags: Hex);
    lseek(fd: Fd, offset: Count, whence: Enum(WHENCE)) is routine;
    copy_file_range(fd_in: Fd, off_in: Hex, fd_out: Fd, off_out: Hex, size: Count, flags: Hex);
    sendfile(out_fd: Fd, in_fd: Fd, offset: Hex, count: Count);
    splice(fd_in: Fd, off_in: Hex, fd_out: Fd, off_out: Hex, size: Count, flags: Hex);
    tee(fd_in: Fd, fd_out: Fd, size: Count, flags: Hex);
    vmsplice(fd: Fd, iov: Hex, nr_segs: Count, flags: Hex);
    fsync(fd: Fd) is routine;
    fdatasync(fd: Fd) is routine;
    dup(oldfd: Fd);
    dup2(oldfd: Fd, newfd: Fd);
    dup3(oldfd: Fd, newfd: Fd, flags: Flags(&CLOEXEC));
    fcntl(fd: Fd, cmd: Enum(FCNTL), arg: Hex);
    flock(fd: Fd, operation: Flags(&FLOCK)) is routine;
    getdents(fd: Fd, dirp: Hex, count: Count) is routine;
    getdents64(fd: Fd, dirp: Hex, count: Count) is routine;
    close(fd: Fd) is routine;
    close_range(first: Int, last: Int, flags: Flags(&CLOSE_RANGE)) is routine;
    pipe(pipefd: Hex);
    pipe2(pipefd: Hex, flags: Flags(&CLOEXEC));
    memfd_create(name: Str, flags: Flags(&MEMFD));
}
