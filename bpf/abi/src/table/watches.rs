//! Calls that watch files.

use syscalls::x86_64::Sysno;

use super::Kind::{Dirfd, Fd, Flags, Int, LongFlags, Path, PathAtOrNull};
use super::{Syscall, calls};
use crate::flags::OPEN;
use crate::flags::watches::{
    FANOTIFY_EVENT, FANOTIFY_INIT, FANOTIFY_MARK, INOTIFY_EVENT, INOTIFY_INIT,
};

calls! {
    fanotify_init(flags: Flags(&FANOTIFY_INIT), event_f_flags: Flags(&OPEN));
    fanotify_mark(fanotify_fd: Fd, flags: Flags(&FANOTIFY_MARK), mask: LongFlags(&FANOTIFY_EVENT), dirfd: Dirfd, pathname: PathAtOrNull(3));
    inotify_init();
    inotify_init1(flags: Flags(&INOTIFY_INIT));
    inotify_add_watch(fd: Fd, pathname: Path, mask: Flags(&INOTIFY_EVENT));
    inotify_rm_watch(fd: Fd, wd: Int);
}
