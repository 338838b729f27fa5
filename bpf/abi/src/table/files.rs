//! Calls that name files.

use syscalls::x86_64::Sysno;

use super::Kind::{
    Count, CreateMode, Dirfd, FdPath, Flags, Gid, Hex, Mode, OpenHow, Path, PathAt, Str, Uid,
};
use super::{Syscall, calls};
use crate::flags::{AT, LINK, OPEN, RENAME, UNLINK};

calls! {
    open(pathname: Path, flags: Flags(&OPEN), mode: CreateMode(1));
    openat(dirfd: Dirfd, pathname: PathAt(0), flags: Flags(&OPEN), mode: CreateMode(2));
    openat2(dirfd: Dirfd, pathname: PathAt(0), how: OpenHow { size: 3 }, size: Count);
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
}
