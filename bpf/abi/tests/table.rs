//! The table itself: what no line may do.

use std::collections::BTreeSet;

use graven_abi::CallSet;
use graven_abi::flags::network::{
    IP_OPTION, IPV6_OPTION, NETLINK_OPTION, SOL_SOCKET_OPTION, TCP_OPTION, UDP_OPTION,
};
use graven_abi::flags::processes::CAPABILITY;
use graven_abi::flags::{EnumTable, FlagTable, SIGNAL};
use graven_abi::table::{self, Kind};

/// Every kind of the table, those of structures' members included, with the call it stands in.
fn kinds() -> Vec<(&'static str, Kind)> {
    let mut kinds = Vec::new();
    for line in table::lines() {
        let name = line.sysno.name();
        for (_, kind) in line.params {
            kinds.push((name, *kind));
            if let Kind::Struct(structure) | Kind::StructOrNull(structure) = kind {
                kinds.extend(structure.members.iter().map(|member| (name, member.kind)));
            }
        }
    }
    kinds
}

fn check(place: &str, what: &str, pairs: &[(&str, u64)]) {
    let names: BTreeSet<_> = pairs.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), pairs.len(), "{place}: a name stands twice among its {what}");
    let numbers: BTreeSet<_> = pairs.iter().map(|(_, number)| number).collect();
    assert_eq!(numbers.len(), pairs.len(), "{place}: a number stands twice among its {what}");
}

fn check_flags(place: &str, table: &FlagTable) {
    check(place, "field", table.field);
    check(place, "bits", table.bits);
    let mut seen = 0;
    for (name, bits) in table.bits {
        assert_ne!(*bits, 0, "{place}: {name} has no bit");
        // Where the field has one value, that is "none of these bits".
        let none = matches!(table.field, [(_, 0)]);
        assert!(none || bits & table.field_mask == 0, "{place}: {name} is in the field");
        // A name of several bits would never show behind the one that takes a bit of it.
        assert!(
            bits.is_power_of_two() || bits & seen != *bits,
            "{place}: {name} is behind its bits"
        );
        if bits.is_power_of_two() {
            seen |= bits;
        }
    }
    for (name, number) in table.field {
        assert_eq!(number & !table.field_mask, 0, "{place}: {name} is outside the field");
    }
}

fn check_values(place: &str, table: &EnumTable) {
    check(place, "values", table);
    for (name, number) in table {
        assert!(u32::try_from(*number).is_ok(), "{place}: {name} has more than 32 bits");
    }
}

#[test]
fn names_and_bits_are_unique() {
    for (place, kind) in kinds() {
        match kind {
            Kind::Flags(table) => {
                check_flags(place, table);
                let bits = table.bits.iter().fold(0, |all, (_, bits)| all | bits);
                assert!(u32::try_from(bits).is_ok(), "{place} has only 32 bits");
            }
            Kind::LongFlags(table) => check_flags(place, table),
            Kind::Enum(table) | Kind::EnumOrInt(table) => check_values(place, table),
            _ => {}
        }
    }
    check_flags("capset", &CAPABILITY);
    check_values("signals", SIGNAL);
    for table in [IP_OPTION, IPV6_OPTION, NETLINK_OPTION, SOL_SOCKET_OPTION, TCP_OPTION, UDP_OPTION]
    {
        check_values("setsockopt", table);
    }
}

#[test]
fn members_are_sorted_and_within_what_is_read() {
    for (place, kind) in kinds() {
        let (Kind::Struct(structure) | Kind::StructOrNull(structure)) = kind else { continue };
        assert!(structure.members.is_sorted_by_key(|member| member.name), "{place}");
        for member in structure.members {
            let name = member.name;
            assert!(matches!(member.width, 4 | 8), "{place}: {name}");
            assert!(
                member.offset + member.width <= usize::from(structure.bytes_max),
                "{place}: {name}"
            );
        }
    }
}

#[test]
fn arguments_refer_to_arguments() {
    for line in table::lines() {
        let (name, count) = (line.sysno.name(), line.params.len());
        let names: BTreeSet<_> = line.params.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), count, "{name}: two arguments have one name");
        let paths = line.params.iter().filter(|(_, kind)| matches!(kind, Kind::FdPath)).count();
        assert!(paths == 0 || paths == 1 && !names.contains(&"path"), "{name}: `path` is taken");
        for (_, kind) in line.params {
            let other = match kind {
                Kind::PathAt(other)
                | Kind::PathAtOrNull(other)
                | Kind::CreateMode(other)
                | Kind::Bytes { len: other }
                | Kind::SocketOption { level: other }
                | Kind::Capabilities { header: other }
                | Kind::Gids { count: other }
                | Kind::PeerMessages { count: other }
                | Kind::LocalAddr { len: other }
                | Kind::LocalAddrOut { len: other }
                | Kind::PeerAddr { len: other }
                | Kind::PeerAddrOut { len: other } => Some(*other),
                Kind::Struct(structure) | Kind::StructOrNull(structure) => structure.size,
                _ => None,
            };
            assert!(other.is_none_or(|other| usize::from(other) < count), "{name}: {kind:?}");
        }
    }
}

#[test]
fn security_is_everything_but_what_is_marked_as_routine() {
    let set = CallSet::security();
    let recorded = "open openat creat execve execveat fork clone3 kill tgkill connect bind accept4 sendto \
                    recvmsg mount umount2 ptrace bpf mmap mprotect write unlinkat renameat2 chmod setuid \
                    exit_group dup2 prctl unshare setns io_uring_enter keyctl reboot umask shmat";
    let routine =
        "read lseek close stat newfstatat futex epoll_wait clock_gettime brk munmap getpid wait4";
    for name in recorded.split_whitespace() {
        let call = CallSet::of([name]).expect(name);
        assert!((0..512).any(|nr| call.contains(nr) && set.contains(nr)), "{name} is left out");
    }
    for name in routine.split_whitespace() {
        let call = CallSet::of([name]).expect(name);
        assert!(!(0..512).any(|nr| call.contains(nr) && set.contains(nr)), "{name} is in");
    }
    let left_out: u32 = set.left_out().iter().map(|word| word.count_ones()).sum();
    let marked = table::lines().filter(|line| line.is_routine).count();
    // 94 calls have no line; none of them stands twice, here or there.
    assert_eq!(usize::try_from(left_out).ok(), Some(marked + 94));
    assert!(set.contains(511), "a call that nobody knows is recorded");
}

/// How many arguments the kernel's entry points take (`SYSCALL_DEFINE<n>`).
const ARITY: [&str; 7] = [
    "fork vfork setsid inotify_init munlockall",
    "close dup fsync fdatasync chdir fchdir chroot rmdir unlink exit exit_group unshare brk acct \
     swapoff iopl personality adjtimex userfaultfd memfd_secret inotify_init1 mlockall pkey_free \
     setuid setgid setfsuid setfsgid pipe",
    "creat rename link symlink mkdir chmod fchmod truncate ftruncate access stat lstat fstat dup2 \
     flock utime utimes removexattr lremovexattr fremovexattr umount2 pivot_root swapon fsopen \
     memfd_create pipe2 kill tkill setpgid setreuid setregid setgroups getrlimit setrlimit capget \
     capset arch_prctl setns pidfd_open clone3 munmap mlock munlock pkey_alloc listen shutdown \
     delete_module settimeofday clock_settime clock_adjtime sethostname setdomainname \
     io_uring_setup fanotify_init inotify_rm_watch getpriority sched_setparam process_mrelease \
     landlock_restrict_self",
    "open read write readv writev lseek chown fchown lchown mknod readlink fcntl ioctl getdents \
     getdents64 dup3 mkdirat unlinkat symlinkat fchmodat faccessat futimesat listxattr llistxattr \
     flistxattr open_by_handle_at close_range execve tgkill setresuid setresgid seccomp \
     pidfd_getfd setpriority sched_setaffinity sched_getaffinity sched_setscheduler sched_setattr \
     rt_sigqueueinfo mprotect madvise msync mlock2 mseal socket connect bind accept getsockname \
     getpeername sendmsg recvmsg bpf init_module finit_module syslog ioperm open_tree fsmount \
     fspick inotify_add_watch landlock_create_ruleset",
    "openat openat2 pread64 pwrite64 mknodat renameat readlinkat newfstatat faccessat2 fchmodat2 \
     utimensat fallocate sendfile tee vmsplice getxattr lgetxattr fgetxattr removexattrat wait4 \
     ptrace prlimit64 pidfd_send_signal rt_tgsigqueueinfo pkey_mprotect socketpair accept4 \
     sendmmsg kexec_load request_key reboot quotactl quotactl_fd io_uring_register \
     landlock_add_rule",
    "linkat renameat2 fchownat setxattr lsetxattr fsetxattr listxattrat name_to_handle_at statx \
     preadv pwritev mount fsconfig move_mount open_tree_attr mount_setattr file_getattr \
     file_setattr execveat clone waitid prctl kcmp mremap remap_file_pages process_madvise \
     setsockopt getsockopt recvmmsg kexec_file_load keyctl add_key perf_event_open fanotify_mark",
    "mmap sendto recvfrom preadv2 pwritev2 copy_file_range splice setxattrat getxattrat \
     process_vm_readv process_vm_writev io_uring_enter",
];

#[test]
fn every_line_has_the_kernels_number_of_arguments() {
    for line in table::lines() {
        let name = line.sysno.name();
        let arity =
            ARITY.iter().position(|calls| calls.split_whitespace().any(|call| call == name));
        assert_eq!(Some(line.params.len()), arity, "{name}");
    }
    let listed: usize = ARITY.iter().map(|calls| calls.split_whitespace().count()).sum();
    assert_eq!(listed, table::lines().count());
}
