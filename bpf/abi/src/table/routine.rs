//! Calls without a line of their own that only look, wait or keep house.
//!
//! What is neither here nor marked `is routine` on its line is in
//! [`CallSet::security`](crate::CallSet::security), so a call that nobody thought of is recorded.

use syscalls::x86_64::Sysno;

macro_rules! named {
    ($($name:ident)*) => { &[$(Sysno::$name),*] };
}

/// One line for each subject.
#[rustfmt::skip]
pub(super) static CALLS: &[Sysno] = named! {
    getpid gettid getppid getuid geteuid getgid getegid getresuid getresgid getgroups getpgid getpgrp getsid
    clock_gettime clock_getres clock_nanosleep gettimeofday time nanosleep times getitimer setitimer alarm
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete
    timerfd_create timerfd_settime timerfd_gettime
    futex futex_waitv futex_wake futex_wait futex_requeue set_robust_list get_robust_list rseq membarrier
    poll ppoll select pselect6 pause restart_syscall
    epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2
    rt_sigaction rt_sigprocmask rt_sigpending rt_sigreturn rt_sigsuspend rt_sigtimedwait sigaltstack
    signalfd signalfd4
    sched_yield sched_getparam sched_getscheduler sched_getattr sched_rr_get_interval
    sched_get_priority_max sched_get_priority_min ioprio_get
    getcpu getrusage getrandom getcwd uname sysinfo set_tid_address
    statfs fstatfs ustat sysfs statmount listmount cachestat
    sync syncfs sync_file_range readahead fadvise64
    mincore get_mempolicy io_getevents io_pgetevents
};
