//! Calls of each family in words, from records made here.

use graven_abi::layout::{CallBody, ItemHeader, item_kind};
use graven_abi::{ArgValue, DecodedCall, Header, KernelRecord, Weakened, decode, encode, parse};
use syscalls::x86_64::Sysno;

const PID: u32 = 10;

/// A call that returned `ret`, in words.
fn returned(
    ret: i64,
    call: Sysno,
    args: [u64; 6],
    items: &[(u8, u8, &[u8])],
) -> DecodedCall<'static> {
    let header = Header {
        seq: 7,
        entry_ns: 100,
        cgroup_id: 5,
        cpu: 1,
        pid: PID,
        tid: 11,
        ppid: 1,
        uid: 1000,
        gid: 1000,
        comm: *b"comm\0\0\0\0\0\0\0\0\0\0\0\0",
        ..Header::default()
    };
    let nr = u32::try_from(call.id()).expect("not negative");
    let body = CallBody { exit_ns: 150, ret, args, nr, arch: 1, items_bytes: 0 };
    let item = |arg, kind| ItemHeader { arg, kind, err: 0, len: 0, flags: 0 };
    let items: Vec<_> =
        items.iter().map(|(arg, kind, bytes)| (item(*arg, *kind), *bytes)).collect();
    // The decoded call borrows from the record.
    let bytes: &'static [u8] = encode::call(header, body, &items).leak();
    match parse(bytes) {
        Ok(KernelRecord::Call(call)) => decode(&call),
        other => panic!("no call: {other:?}"),
    }
}

fn decoded(call: Sysno, args: [u64; 6], items: &[(u8, u8, &[u8])]) -> DecodedCall<'static> {
    returned(0, call, args, items)
}

fn arg<'a>(call: &'a DecodedCall<'_>, name: &str) -> &'a ArgValue<'a> {
    let found = call.args.iter().find(|(known, _)| *known == name);
    &found.unwrap_or_else(|| panic!("no {name} in {call:?}")).1
}

fn text(call: &DecodedCall<'_>, name: &str) -> String {
    match arg(call, name) {
        ArgValue::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("{name} is {other:?}"),
    }
}

fn flags(call: &DecodedCall<'_>, name: &str) -> Vec<String> {
    names(arg(call, name))
}

fn names(value: &ArgValue<'_>) -> Vec<String> {
    match value {
        ArgValue::Flags(names) => names.iter().map(ToString::to_string).collect(),
        other => panic!("no flags: {other:?}"),
    }
}

fn members<'a>(call: &'a DecodedCall<'_>, name: &str) -> &'a [(&'static str, ArgValue<'a>)] {
    match arg(call, name) {
        ArgValue::Object(members) => members,
        other => panic!("{name} is {other:?}"),
    }
}

fn subject(call: &DecodedCall<'_>) -> Option<(&'static str, String)> {
    let subject = call.subject.as_ref()?;
    Some((subject.kind, String::from_utf8_lossy(&subject.id).into_owned()))
}

const MINUS_ONE: u64 = u32::MAX as u64;
const AT_FDCWD: u64 = u32::MAX as u64 - 99;
use item_kind::{BYTES, DIR, STRING};

#[test]
fn files() {
    let items: [(u8, u8, &[u8]); 2] = [(0, STRING, b"/f"), (1, STRING, b"user.x")];
    let call = decoded(Sysno::setxattr, [1, 2, 3, 4, 0x11, 0], &items);
    assert_eq!((text(&call, "path"), text(&call, "name")), ("/f".into(), "user.x".into()));
    assert_eq!(flags(&call, "flags"), ["XATTR_CREATE", "0x10"]);
    assert_eq!(*arg(&call, "size"), ArgValue::Int(4));
    assert_eq!(subject(&call), Some(("file", "/f".into())));

    let call = decoded(Sysno::fallocate, [3, 0x83, 0, 4096, 0, 0], &[(0, DIR, b"f\0a\0")]);
    assert_eq!(text(&call, "path"), "/a/f");
    assert_eq!(flags(&call, "mode"), ["FALLOC_FL_KEEP_SIZE", "FALLOC_FL_PUNCH_HOLE", "0x80"]);
    let call = decoded(Sysno::access, [1, 0, 0, 0, 0, 0], &[(0, STRING, b"/f")]);
    assert_eq!(flags(&call, "mode"), ["F_OK"]);
    let call = decoded(Sysno::access, [1, 6, 0, 0, 0, 0], &[(0, STRING, b"/f")]);
    assert_eq!(flags(&call, "mode"), ["R_OK", "W_OK"]);
    let statx = [AT_FDCWD, 1, 0x100, 0x7ff, 5, 0];
    let call = decoded(Sysno::statx, statx, &[(1, STRING, b"/f")]);
    assert_eq!(flags(&call, "mask"), ["STATX_BASIC_STATS"]);
}

#[test]
fn a_path_of_null_is_the_file_behind_the_descriptor() {
    let call = decoded(Sysno::utimensat, [3, 0, 0, 0, 0, 0], &[(1, DIR, b"f\0a\0")]);
    assert_eq!(text(&call, "pathname"), "/a/f");
    assert_eq!(subject(&call), Some(("file", "/a/f".into())));
    assert!(call.weakened.is_empty());
    let call = decoded(Sysno::acct, [0; 6], &[(0, DIR, b"cwd\0")]);
    assert_eq!((arg(&call, "filename"), subject(&call)), (&ArgValue::Hex(0), None));
    assert!(call.weakened.is_empty());
    // Where NULL is no path, its absence weakens the record.
    let call = decoded(Sysno::stat, [0; 6], &[]);
    assert!(call.weakened.contains(Weakened::UNREAD));
}

#[test]
fn descriptors() {
    let call = decoded(Sysno::read, [5, 0x1000, 512, 0, 0, 0], &[]);
    assert_eq!(
        call.args,
        [("buf", ArgValue::Hex(0x1000)), ("count", ArgValue::Int(512)), ("fd", ArgValue::Int(5))]
    );
    let call = decoded(Sysno::fcntl, [5, 1033, 0xf, 0, 0, 0], &[]);
    assert_eq!(text(&call, "cmd"), "F_ADD_SEALS");
    let call = decoded(Sysno::fcntl, [5, 9999, 0, 0, 0, 0], &[]);
    assert_eq!(*arg(&call, "cmd"), ArgValue::Hex(9999));
    let call = decoded(Sysno::memfd_create, [1, 0x43, 0, 0, 0, 0], &[(0, STRING, b"x")]);
    assert_eq!(flags(&call, "flags"), ["MFD_ALLOW_SEALING", "MFD_CLOEXEC", "0x40"]);
    let call = decoded(Sysno::dup3, [1, 9, 0x8_0000, 0, 0, 0], &[]);
    assert_eq!(flags(&call, "flags"), ["O_CLOEXEC"]);
}

#[test]
fn mounts_and_watches() {
    let items: [(u8, u8, &[u8]); 2] = [(1, STRING, b"mnt"), (1, DIR, b"a\0")];
    let call = decoded(Sysno::mount, [0, 1, 0, 0x4_4000 | 1 << 40, 0, 0], &items);
    assert_eq!(text(&call, "target"), "/a/mnt");
    assert_eq!(flags(&call, "mountflags"), ["MS_PRIVATE", "MS_REC", "0x10000000000"]);
    assert_eq!(*arg(&call, "source"), ArgValue::Hex(0));
    assert!(call.weakened.is_empty(), "a source of NULL is no loss");
    let call = decoded(Sysno::mount, [1, 1, 0, 0xc0ed_0001, 0, 0], &items);
    assert_eq!(flags(&call, "mountflags"), ["MS_MGC_VAL", "MS_RDONLY"]);
    assert!(call.weakened.contains(Weakened::UNREAD), "a source that could not be read is");
    let attr = [[1u64, 2, 0x4_0000, 0].map(u64::to_le_bytes).concat()];
    let items: [(u8, u8, &[u8]); 2] = [(1, STRING, b"/m"), (3, BYTES, &attr[0])];
    let call = decoded(Sysno::mount_setattr, [AT_FDCWD, 1, 0x8000, 1, 32, 0], &items);
    let attr = members(&call, "attr");
    assert_eq!((attr[0].0, names(&attr[0].1)), ("attr_clr", vec!["MOUNT_ATTR_NOSUID".into()]));
    assert_eq!((attr[2].0, names(&attr[2].1)), ("propagation", vec!["MS_PRIVATE".into()]));
    let call = decoded(Sysno::fanotify_mark, [3, 1, 0x1_0020, 4, 0, 0], &[(4, DIR, b"d\0")]);
    assert_eq!(flags(&call, "mask"), ["FAN_OPEN", "FAN_OPEN_PERM"]);
    assert_eq!(subject(&call), Some(("file", "/d".into())));
    let watch = [3, 1, 0x8000_0100, 0, 0, 0];
    let call = decoded(Sysno::inotify_add_watch, watch, &[(1, STRING, b"/d")]);
    assert_eq!(flags(&call, "mask"), ["IN_CREATE", "IN_ONESHOT"]);
}

#[test]
fn tasks() {
    let call = decoded(Sysno::clone, [0x0100_0111, 0, 0, 0, 0, 0], &[]);
    assert_eq!(flags(&call, "flags"), ["SIGCHLD", "CLONE_CHILD_SETTID", "CLONE_VM"]);
    let mut args = [0u8; 88];
    args[..8].copy_from_slice(&(0x2_0002_0000u64 | 1 << 50).to_le_bytes());
    args[32] = 17;
    let call = decoded(Sysno::clone3, [1, 88, 0, 0, 0, 0], &[(0, BYTES, &args)]);
    let cl_args = members(&call, "cl_args");
    assert_eq!(cl_args[0], ("exit_signal", ArgValue::Text(b"SIGCHLD".into())));
    assert_eq!(names(&cl_args[1].1), ["CLONE_INTO_CGROUP", "CLONE_NEWNS", "0x4000000000000"]);
    let call = decoded(Sysno::clone3, [1, 8, 0, 0, 0, 0], &[(0, BYTES, &args[..8])]);
    assert_eq!(members(&call, "cl_args").len(), 1, "as far as it reaches");
    assert!(decoded(Sysno::fork, [9; 6], &[]).args.is_empty());
    let call = decoded(Sysno::exit_group, [MINUS_ONE, 0, 0, 0, 0, 0], &[]);
    assert_eq!(call.args, [("status", ArgValue::Int(-1))]);
    let call = decoded(Sysno::ptrace, [16, 42, 0, 0, 0, 0], &[]);
    assert_eq!(text(&call, "request"), "PTRACE_ATTACH");
    assert_eq!(subject(&call), Some(("process", "42".into())));
    let call = decoded(Sysno::prctl, [15, 0x1000, 0, 0, 0, 0], &[]);
    assert_eq!(text(&call, "option"), "PR_SET_NAME");
    let call = decoded(Sysno::unshare, [0x1002_0001, 0, 0, 0, 0, 0], &[]);
    assert_eq!(flags(&call, "flags"), ["CLONE_NEWNS", "CLONE_NEWUSER", "0x1"]);
    let limit = [1024u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat();
    let call = decoded(Sysno::prlimit64, [0, 7, 1, 0, 0, 0], &[(2, BYTES, &limit)]);
    assert_eq!(text(&call, "resource"), "RLIMIT_NOFILE");
    assert_eq!(
        members(&call, "new_limit"),
        [("rlim_cur", ArgValue::Int(1024)), ("rlim_max", ArgValue::Hex(u64::MAX))]
    );
    assert_eq!(subject(&call), Some(("process", PID.to_string())), "0 is the caller");
    let call = decoded(Sysno::sched_setscheduler, [0, 0x4000_0001, 0, 0, 0, 0], &[]);
    assert_eq!(flags(&call, "policy"), ["SCHED_FIFO", "SCHED_RESET_ON_FORK"]);
}

#[test]
fn capabilities() {
    let words = [1u32 << 21, 1 << 1, 0, 1 << 7, 1 << 20, 0].map(u32::to_le_bytes).concat();
    for (version, high) in [(0x2008_0522u32, true), (0x1998_0330, false)] {
        let header = [version.to_le_bytes(), 0u32.to_le_bytes()].concat();
        let items: [(u8, u8, &[u8]); 2] = [(0, BYTES, &header), (1, BYTES, &words)];
        let call = decoded(Sysno::capset, [1, 2, 0, 0, 0, 0], &items);
        let sets = members(&call, "datap");
        let mut effective = vec!["CAP_SYS_ADMIN"];
        if high {
            effective.insert(0, "CAP_BPF");
        }
        assert_eq!(
            (sets[0].0, names(&sets[0].1)),
            ("effective", effective.into_iter().map(Into::into).collect())
        );
        assert!(names(&sets[1].1).is_empty());
        let unknown = names(&sets[2].1).last().map(String::as_str) == Some("0x10000000000000");
        assert_eq!(unknown, high);
    }
}

#[test]
fn memory() {
    let call = decoded(Sysno::mmap, [0, 4096, 5, 0x22, MINUS_ONE, 0], &[]);
    assert_eq!(flags(&call, "prot"), ["PROT_EXEC", "PROT_READ"]);
    assert_eq!(flags(&call, "flags"), ["MAP_PRIVATE", "MAP_ANONYMOUS"]);
    assert_eq!(
        (arg(&call, "fd"), arg(&call, "length")),
        (&ArgValue::Int(-1), &ArgValue::Int(4096))
    );
    let call = decoded(Sysno::mprotect, [0x1000, 4096, 0, 0, 0, 0], &[]);
    assert_eq!(flags(&call, "prot"), ["PROT_NONE"]);
    let call = decoded(Sysno::mprotect, [0x1000, 4096, 0x12, 0, 0, 0], &[]);
    assert_eq!(flags(&call, "prot"), ["PROT_WRITE", "0x10"]);
    let call = decoded(Sysno::madvise, [0x1000, 4096, 4, 0, 0, 0], &[]);
    assert_eq!(text(&call, "advice"), "MADV_DONTNEED");
}

#[test]
fn network() {
    let peer = [2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let call = decoded(Sysno::recvmsg, [3, 1, 0x40, 0, 0, 0], &[(1, BYTES, &peer)]);
    assert_eq!(text(&call, "msg"), "127.0.0.1:80");
    assert_eq!(flags(&call, "flags"), ["MSG_DONTWAIT"]);
    assert_eq!(call.target_host.as_deref(), Some("127.0.0.1"));
    let call = returned(-11, Sysno::recvmsg, [3, 1, 0, 0, 0, 0], &[]);
    assert_eq!((arg(&call, "msg"), call.weakened.is_empty()), (&ArgValue::Hex(1), true));
    let call = decoded(Sysno::sendmmsg, [3, 1, 2, 0, 0, 0], &[(1, BYTES, &peer)]);
    assert!(call.weakened.contains(Weakened::TRUNCATED), "only the first peer is on record");
    let call = decoded(Sysno::setsockopt, [3, 1, 2, 0x1000, 4, 0], &[]);
    assert_eq!(
        (text(&call, "level"), text(&call, "optname")),
        ("SOL_SOCKET".into(), "SO_REUSEADDR".into())
    );
    let call = decoded(Sysno::setsockopt, [3, 6, 1, 0x1000, 4, 0], &[]);
    assert_eq!(
        (text(&call, "level"), text(&call, "optname")),
        ("IPPROTO_TCP".into(), "TCP_NODELAY".into())
    );
    let call = decoded(Sysno::setsockopt, [3, 7777, 1, 0x1000, 4, 0], &[]);
    assert_eq!(
        (arg(&call, "level"), arg(&call, "optname")),
        (&ArgValue::Hex(7777), &ArgValue::Hex(1))
    );
    let call = decoded(Sysno::shutdown, [3, 1, 0, 0, 0, 0], &[]);
    assert_eq!(text(&call, "how"), "SHUT_WR");
}

#[test]
fn the_kernel_itself() {
    let call = decoded(Sysno::bpf, [5, 0x1000, 128, 0, 0, 0], &[]);
    assert_eq!(text(&call, "cmd"), "BPF_PROG_LOAD");
    let items: [(u8, u8, &[u8]); 2] = [(0, DIR, b"m.ko\0"), (1, STRING, b"debug=1")];
    let call = decoded(Sysno::finit_module, [3, 1, 0xa, 0, 0, 0], &items);
    assert_eq!(
        (text(&call, "path"), text(&call, "param_values")),
        ("/m.ko".into(), "debug=1".into())
    );
    assert_eq!(flags(&call, "flags"), ["MODULE_INIT_IGNORE_VERMAGIC", "0x8"]);
    let call = decoded(Sysno::sethostname, [1, 4, 0, 0, 0, 0], &[(0, BYTES, b"host")]);
    assert_eq!(text(&call, "name"), "host");
    let items: [(u8, u8, &[u8]); 2] = [(0, STRING, b"user"), (1, STRING, b"k")];
    let call = decoded(Sysno::add_key, [1, 2, 3, 4, MINUS_ONE - 2, 0], &items);
    assert_eq!(text(&call, "keyring"), "KEY_SPEC_SESSION_KEYRING");
    let call = decoded(Sysno::add_key, [1, 2, 3, 4, 77, 0], &items);
    assert_eq!(*arg(&call, "keyring"), ArgValue::Int(77));
    let time = [5u64.to_le_bytes(), 6u64.to_le_bytes()].concat();
    let call = decoded(Sysno::clock_settime, [0, 1, 0, 0, 0, 0], &[(1, BYTES, &time)]);
    assert_eq!(text(&call, "clockid"), "CLOCK_REALTIME");
    assert_eq!(members(&call, "tp"), [("tv_nsec", ArgValue::Int(6)), ("tv_sec", ArgValue::Int(5))]);
    let call = decoded(Sysno::reboot, [0xfee1_dead, 0x2812_1969, 0x4321_fedc, 0, 0, 0], &[]);
    assert_eq!(text(&call, "cmd"), "LINUX_REBOOT_CMD_POWER_OFF");
    let call = decoded(Sysno::perf_event_open, [1, MINUS_ONE, 0, MINUS_ONE, 0x18, 0], &[]);
    assert_eq!(flags(&call, "flags"), ["PERF_FLAG_FD_CLOEXEC", "0x10"]);
    assert_eq!((arg(&call, "pid"), subject(&call)), (&ArgValue::Int(-1), None));
}

#[test]
fn devices() {
    for (number, name) in [
        (0x5412, "TIOCSTI"),
        (0x8914, "SIOCSIFFLAGS"),
        (0x4008_6602, "FS_IOC_SETFLAGS"),
        (0x8008_1272, "BLKGETSIZE64"),
    ] {
        let call = decoded(Sysno::ioctl, [1, number, 2, 0, 0, 0], &[]);
        assert_eq!(text(&call, "request"), name);
    }
    let call = decoded(Sysno::ioctl, [1, 0xdead_beef, 2, 0, 0, 0], &[]);
    assert_eq!(*arg(&call, "request"), ArgValue::Hex(0xdead_beef));
}
