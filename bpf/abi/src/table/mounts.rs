//! Calls that change what is mounted where, and where memory is swapped to.

use syscalls::x86_64::Sysno;

use super::Kind::{
    Count, Dirfd, Enum, Fd, Flags, Hex, Int, LongFlags, Path, PathAt, PathOrNull, Str, StrOrNull,
    Struct,
};
use super::{Syscall, calls};
use crate::flags::mounts::{
    FSCONFIG, FSMOUNT, FSOPEN, FSPICK, MOUNT, MOUNT_ATTR, MOUNT_SETATTR as SETATTR, MOVE_MOUNT,
    OPEN_TREE, SWAPON, UMOUNT,
};
use crate::structures::MOUNT_SETATTR;

calls! {
    mount(source: StrOrNull, target: Path, filesystemtype: StrOrNull, mountflags: LongFlags(&MOUNT), data: Hex);
    umount2(target: Path, flags: Flags(&UMOUNT));
    pivot_root(new_root: Path, put_old: Path);
    fsopen(fsname: Str, flags: Flags(&FSOPEN));
    fsconfig(fd: Fd, cmd: Enum(FSCONFIG), key: StrOrNull, value: Hex, aux: Int);
    fsmount(fd: Fd, flags: Flags(&FSMOUNT), attr_flags: Flags(&MOUNT_ATTR));
    fspick(dirfd: Dirfd, path: PathAt(0), flags: Flags(&FSPICK));
    move_mount(from_dirfd: Dirfd, from_path: PathAt(0), to_dirfd: Dirfd, to_path: PathAt(2), flags: Flags(&MOVE_MOUNT));
    open_tree(dirfd: Dirfd, path: PathAt(0), flags: Flags(&OPEN_TREE));
    open_tree_attr(dirfd: Dirfd, path: PathAt(0), flags: Flags(&OPEN_TREE), attr: Struct(&MOUNT_SETATTR), size: Count);
    mount_setattr(dirfd: Dirfd, pathname: PathAt(0), flags: Flags(&SETATTR), attr: Struct(&MOUNT_SETATTR), size: Count);
    quotactl(cmd: Hex, special: PathOrNull, id: Int, addr: Hex);
    quotactl_fd(fd: Fd, cmd: Hex, id: Int, addr: Hex);
    swapon(path: Path, swapflags: Flags(&SWAPON));
    swapoff(path: Path);
    acct(filename: PathOrNull);
}
