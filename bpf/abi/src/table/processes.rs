//! Calls that start, signal or change the identity of processes.

use syscalls::x86_64::Sysno;

use super::Kind::{Argv, Count, Dirfd, Flags, Gid, Gids, Hex, Path, PathAt, Pid, Signal, Tid, Uid};
use super::{Syscall, calls};
use crate::flags::AT;

calls! {
    execve(pathname: Path, argv: Argv, envp: Hex) about caller;
    execveat(dirfd: Dirfd, pathname: PathAt(0), argv: Argv, envp: Hex, flags: Flags(&AT)) about caller;
    kill(pid: Pid, sig: Signal);
    tkill(tid: Tid, sig: Signal);
    tgkill(tgid: Pid, tid: Tid, sig: Signal);
    setuid(uid: Uid);
    setgid(gid: Gid);
    setreuid(ruid: Uid, euid: Uid);
    setregid(rgid: Gid, egid: Gid);
    setresuid(ruid: Uid, euid: Uid, suid: Uid);
    setresgid(rgid: Gid, egid: Gid, sgid: Gid);
    setfsuid(fsuid: Uid);
    setfsgid(fsgid: Gid);
    setgroups(size: Count, list: Gids { count: 0 });
}
