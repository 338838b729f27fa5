//! Calls that make, wait for, trace and confine processes, and change how they run.

use syscalls::x86_64::Sysno;

use super::Kind::{
    Capabilities, Count, Enum, Fd, Flags, Hex, Int, Pid, PidOrSelf, Signal, Struct, StructOrNull,
    Tid,
};
use super::{Syscall, calls};
use crate::flags::processes::{
    ARCH_PRCTL, CLONE, NAMESPACE, PERSONALITY, PIDFD_OPEN, PIDFD_SIGNAL, PRCTL, PRIORITY, PTRACE,
    RLIMIT as RESOURCE, SCHED_POLICY, SECCOMP, SECCOMP_FILTER, WAIT, WAITID,
};
use crate::structures::{CAPABILITY_HEADER, CLONE_ARGS, RLIMIT};

calls! {
    clone(flags: Flags(&CLONE), stack: Hex, parent_tid: Hex, child_tid: Hex, tls: Hex);
    clone3(cl_args: Struct(&CLONE_ARGS), size: Count);
    fork();
    vfork();
    wait4(pid: Int, wstatus: Hex, options: Flags(&WAIT), rusage: Hex) is routine;
    waitid(idtype: Enum(WAITID), id: Int, infop: Hex, options: Flags(&WAIT), rusage: Hex) is routine;
    exit(status: Int);
    exit_group(status: Int);
    ptrace(request: Enum(PTRACE), pid: PidOrSelf, addr: Hex, data: Hex);
    process_vm_readv(pid: Pid, local_iov: Hex, liovcnt: Count, remote_iov: Hex, riovcnt: Count, flags: Hex);
    process_vm_writev(pid: Pid, local_iov: Hex, liovcnt: Count, remote_iov: Hex, riovcnt: Count, flags: Hex);
    kcmp(pid1: Pid, pid2: Int, type: Int, idx1: Hex, idx2: Hex);
    pidfd_open(pid: Pid, flags: Flags(&PIDFD_OPEN));
    pidfd_send_signal(pidfd: Fd, sig: Signal, info: Hex, flags: Flags(&PIDFD_SIGNAL));
    pidfd_getfd(pidfd: Fd, targetfd: Fd, flags: Hex);
    process_mrelease(pidfd: Fd, flags: Hex);
    rt_sigqueueinfo(tgid: Pid, sig: Signal, info: Hex);
    rt_tgsigqueueinfo(tgid: Pid, tid: Tid, sig: Signal, info: Hex);
    prctl(option: Enum(PRCTL), arg2: Hex, arg3: Hex, arg4: Hex, arg5: Hex);
    arch_prctl(code: Enum(ARCH_PRCTL), addr: Hex);
    setns(fd: Fd, nstype: Flags(&NAMESPACE));
    unshare(flags: Flags(&NAMESPACE));
    seccomp(operation: Enum(SECCOMP), flags: Flags(&SECCOMP_FILTER), args: Hex);
    landlock_create_ruleset(attr: Hex, size: Count, flags: Hex);
    landlock_add_rule(ruleset_fd: Fd, rule_type: Int, rule_attr: Hex, flags: Hex);
    landlock_restrict_self(ruleset_fd: Fd, flags: Hex);
    capget(hdrp: Struct(&CAPABILITY_HEADER), datap: Hex) is routine;
    capset(hdrp: Struct(&CAPABILITY_HEADER), datap: Capabilities { header: 0 });
    getrlimit(resource: Enum(RESOURCE), rlim: Hex) is routine;
    setrlimit(resource: Enum(RESOURCE), rlim: Struct(&RLIMIT));
    prlimit64(pid: PidOrSelf, resource: Enum(RESOURCE), new_limit: StructOrNull(&RLIMIT), old_limit: Hex);
    personality(persona: Flags(&PERSONALITY));
    getpriority(which: Enum(PRIORITY), who: Int) is routine;
    setpriority(which: Enum(PRIORITY), who: Int, prio: Int);
    sched_setaffinity(pid: PidOrSelf, cpusetsize: Count, mask: Hex);
    sched_getaffinity(pid: PidOrSelf, cpusetsize: Count, mask: Hex) is routine;
    sched_setscheduler(pid: PidOrSelf, policy: Flags(&SCHED_POLICY), param: Hex);
    sched_setparam(pid: PidOrSelf, param: Hex);
    sched_setattr(pid: PidOrSelf, attr: Hex, flags: Hex);
    setsid();
    setpgid(pid: PidOrSelf, pgid: Int);
}
