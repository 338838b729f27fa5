//! Calls that name files.

use syscalls::x86_64::Sysno;

use super::Kind::{
    Count, CreateMode, Dirfd, Fd, FdPath, Flags, Gid, Hex, Mode, Path, PathAt, PathAtOrNull, Str,
    Struct, Uid,
};
use super::{Syscall, calls};
use crate::flags::files::{ACCESS, FACCESS, FALLOCATE, HANDLE, STAT, STATX, XATTR};
use crate::flags::{AT, LINK, OPEN, RENAME, UNLINK};
use crate::structures::OPEN_HOW;

calls! {
    open(pathname: Path, flags: Flags(&OPEN), mode: CreateMode(1));
    openat(dirfd: Dirfd, pathname: PathAt(0), flags: Flags(&OPEN), mode: CreateMode(2));
    openat2(dirfd: Dirfd, pathname: PathAt(0), how: Struct(&OPEN_HOW), size: Count);
    creat(pathname: Path, mode: Mode);
    unlink(pathname: Path);
    unlinkat(dirfd: Dirfd, pathname: PathAt(0), flags: Flags(&UNLINK));
    rename(oldpath: Path, newpath: Path);
    renameat(olddirfd: Dirfd, oldpath: PathAt(0), newdirfd: Dirfd, newpath: PathAt(2));
    renameat2(olddirfd: Dirfd, oldpath: PathAt(0), newdirfd: Dirfd, newpath: PathAt(2), flags: Flags(&RENAME));
    link(oldpath: Path, newpath: Path);
    linkat(olddirfd: Dirfd, oldpath: PathAt(0), newdirfd: Dirfd, newpath: PathAt(2), flags: Flags(&LINK));
    symlink(target: Str, linkpath: Path);
    symlinkat(target: Str, newdirfd: Dirfd, linkpath: PathAt(1));
    mkdir(pathname: Path, mode: Mode);
    mkdirat(dirfd: Dirfd, pathname: PathAt(0), mode: Mode);
    rmdir(pathname: Path);
    mknod(pathname: Path, mode: Mode, dev: Hex);
    mknodat(dirfd: Dirfd, pathname: PathAt(0), mode: Mode, dev: Hex);
    chmod(pathname: Path, mode: Mode);
    fchmod(fd: FdPath, mode: Mode);
    fchmodat(dirfd: Dirfd, pathname: PathAt(0), mode: Mode);
    fchmodat2(dirfd: Dirfd, pathname: PathAt(0), mode: Mode, flags: Flags(&AT));
    chown(pathname: Path, owner: Uid, group: Gid);
    fchown(fd: FdPath, owner: Uid, group: Gid);
    lchown(pathname: Path, owner: Uid, group: Gid);
    fchownat(dirfd: Dirfd, pathname: PathAt(0), owner: Uid, group: Gid, flags: Flags(&AT));
    truncate(path: Path, length: Count);
    ftruncate(fd: FdPath, length: Count);
    chdir(path: Path);
    fchdir(fd: FdPath);
    chroot(path: Path);
    fallocate(fd: FdPath, mode: Flags(&FALLOCATE), offset: Count, len: Count);
    utime(filename: Path, times: Hex);
    utimes(filename: Path, times: Hex);
    futimesat(dirfd: Dirfd, pathname: PathAtOrNull(0), times: Hex);
    utimensat(dirfd: Dirfd, pathname: PathAtOrNull(0), times: Hex, flags: Flags(&AT));
    readlink(pathname: Path, buf: Hex, bufsiz: Count) is routine;
    readlinkat(dirfd: Dirfd, pathname: PathAt(0), buf: Hex, bufsiz: Count) is routine;
    access(pathname: Path, mode: Flags(&ACCESS)) is routine;
    faccessat(dirfd: Dirfd, pathname: PathAt(0), mode: Flags(&ACCESS)) is routine;
    faccessat2(dirfd: Dirfd, pathname: PathAt(0), mode: Flags(&ACCESS), flags: Flags(&FACCESS)) is routine;
    stat(pathname: Path, statbuf: Hex) is routine;
    lstat(pathname: Path, statbuf: Hex) is routine;
    fstat(fd: Fd, statbuf: Hex) is routine;
    newfstatat(dirfd: Dirfd, pathname: PathAtOrNull(0), statbuf: Hex, flags: Flags(&STAT)) is routine;
    statx(dirfd: Dirfd, pathname: PathAtOrNull(0), flags: Flags(&STAT), mask: Flags(&STATX), statxbuf: Hex) is routine;
    name_to_handle_at(dirfd: Dirfd, pathname: PathAt(0), handle: Hex, mount_id: Hex, flags: Flags(&HANDLE));
    open_by_handle_at(mount_fd: FdPath, handle: Hex, flags: Flags(&OPEN));
    setxattr(path: Path, name: Str, value: Hex, size: Count, flags: Flags(&XATTR));
    lsetxattr(path: Path, name: Str, value: Hex, size: Count, flags: Flags(&XATTR));
    fsetxattr(fd: FdPath, name: Str, value: Hex, size: Count, flags: Flags(&XATTR));
    setxattrat(dirfd: Dirfd, pathname: PathAt(0), at_flags: Flags(&AT), name: Str, args: Hex, size: Count);
    getxattr(path: Path, name: Str, value: Hex, size: Count) is routine;
    lgetxattr(path: Path, name: Str, value: Hex, size: Count) is routine;
    fgetxattr(fd: FdPath, name: Str, value: Hex, size: Count) is routine;
    getxattrat(dirfd: Dirfd, pathname: PathAt(0), at_flags: Flags(&AT), name: Str, args: Hex, size: Count) is routine;
    listxattr(path: Path, list: Hex, size: Count) is routine;
    llistxattr(path: Path, list: Hex, size: Count) is routine;
    flistxattr(fd: FdPath, list: Hex, size: Count) is routine;
    listxattrat(dirfd: Dirfd, pathname: PathAt(0), at_flags: Flags(&AT), list: Hex, size: Count) is routine;
    removexattr(path: Path, name: Str);
    lremovexattr(path: Path, name: Str);
    fremovexattr(fd: FdPath, name: Str);
    removexattrat(dirfd: Dirfd, pathname: PathAt(0), at_flags: Flags(&AT), name: Str);
    file_getattr(dirfd: Dirfd, pathname: PathAt(0), attr: Hex, size: Count, at_flags: Flags(&AT)) is routine;
    file_setattr(dirfd: Dirfd, pathname: PathAt(0), attr: Hex, size: Count, at_flags: Flags(&AT));
}
