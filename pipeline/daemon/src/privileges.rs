//! Least privilege once the kernel program is loaded.

use std::collections::BTreeMap;

use anyhow::Context as _;
use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// What the service still needs: new rings after a reload, and an end to processes that have left their cgroup.
pub(crate) const SERVICE: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::KILL);

/// Gives up every capability but those of `wanted`, for this thread and all that it starts from now on.
///
/// The user stays: the ledgers are that user's files.
pub(crate) fn keep(wanted: CapabilitySet) -> anyhow::Result<()> {
    let held = rustix::thread::capabilities(None)?;
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().difference(wanted).iter() {
            // A kernel may know fewer than we do.
            let _unknown = remove_capability_from_bounding_set(capability);
        }
    }
    let kept = held.permitted.intersection(wanted);
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).context("failed to give up capabilities")?;
    set_no_new_privs(true).context("failed to set no_new_privs")
}

/// The system calls of a thread that serves HTTP over a socket that is open already.
const SERVING: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_futex,
    libc::SYS_getpeername,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_tgkill,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Confines this thread to answering over sockets that are open, or come out of `accept`: any other call
/// fails with EPERM. It opens no file, makes no connection and starts nothing.
pub(crate) fn confine_to_serving() -> anyhow::Result<()> {
    let allowed = SERVING.iter().map(|call| (*call, Vec::new())).collect();
    confine(allowed).context("failed to confine the metrics thread")
}

/// System calls by their number, each with what its arguments may be; without a rule, anything.
pub(crate) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Has any call but the allowed fail with EPERM, for this thread and all that it starts.
pub(crate) fn confine(allowed: Rules) -> anyhow::Result<()> {
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(allowed, refused, SeccompAction::Allow, TargetArch::x86_64)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(apply_filter(&program)?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::thread;

    use super::*;

    #[test]
    fn a_confined_thread_opens_nothing() {
        let opened = thread::spawn(|| {
            File::open("/dev/null").expect("control: an unconfined thread opens it");
            set_no_new_privs(true).expect("it may give up rights");
            confine_to_serving().expect("the filter is taken");
            File::open("/dev/null").map(drop)
        });
        let error = opened.join().expect("it is not killed").expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn what_is_given_up_is_gone_from_the_thread() {
        let held = thread::spawn(|| {
            keep(SERVICE).expect("giving up is always allowed");
            rustix::thread::capabilities(None).expect("they can be read")
        });
        let held = held.join().expect("the thread ends");
        assert!(SERVICE.contains(held.effective), "{:?}", held.effective);
        assert!(held.inheritable.is_empty());
    }
}
