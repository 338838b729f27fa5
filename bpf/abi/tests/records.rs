//! Records from outside: whatever the bytes, an answer and no panic.

use graven_abi::layout::{
    CallBody, CgroupBody, ExecBody, ExitBody, ForkBody, ITEMS_BYTES, ItemHeader, MovedBody,
    TaskBody, flag, item_flag, item_kind,
};
use graven_abi::{
    ArgValue, Header, KernelRecord, ParseError, Reason, Weakened, decode, encode, name, parse,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn header() -> Header {
    Header {
        kind: 0,
        flags: 0,
        size: 0,
        seq: 7,
        entry_ns: 100,
        cgroup_id: 5,
        cpu: 1,
        pid: 10,
        tid: 11,
        ppid: 1,
        uid: 1000,
        gid: 1000,
        euid: 0,
        egid: 0,
        mnt_ns: 4_026_531_841,
        pid_ns: 4_026_531_836,
        net_ns: 4_026_531_840,
        watch: 3,
        comm: *b"comm\0\0\0\0\0\0\0\0\0\0\0\0",
    }
}

fn body(nr: u32, args: [u64; 6]) -> CallBody {
    CallBody { exit_ns: 150, ret: 3, args, nr, arch: 1, items_bytes: 0 }
}

fn item(arg: u8, kind: u8, flags: u16) -> ItemHeader {
    ItemHeader { arg, kind, err: 0, len: 0, flags }
}

fn call(bytes: &[u8]) -> graven_abi::Call<'_> {
    match parse(bytes) {
        Ok(KernelRecord::Call(call)) => call,
        other => panic!("no call: {other:?}"),
    }
}

prop_compose! {
    fn any_item()(arg in 0u8..8, kind in 1u8..8, err in prop_oneof![Just(0i16), Just(-14)], flags in 0u16..16,
        bytes in vec(any::<u8>(), 0..300)) -> (ItemHeader, Vec<u8>) {
        (ItemHeader { arg, kind, err, len: 0, flags }, bytes)
    }
}

proptest! {
    /// Goal: no bytes bring the parser down. Method: any bytes at all.
    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..400)) {
        let _answer = parse(&bytes);
    }

    /// Goal: damage is answered, and what still parses decodes. Method: a valid record of any call and items, then one
    /// byte changed and the end cut off.
    #[test]
    fn damaged_records_are_answered(
        nr in 0u32..520, args in any::<[u64; 6]>(), items in vec(any_item(), 0..6),
        at in any::<prop::sample::Index>(), with in any::<u8>(), cut in 0usize..40,
    ) {
        let items: Vec<_> = items.iter().map(|(header, bytes)| (*header, bytes.as_slice())).collect();
        let mut bytes = encode::call(header(), body(nr, args), &items);
        prop_assert!(decode(&call(&bytes)).args.is_sorted_by_key(|(name, _)| *name), "control");
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(KernelRecord::Call(call)) = parse(&bytes) {
            let _decoded = decode(&call);
        }
        bytes.truncate(bytes.len() - cut);
        prop_assert!(cut == 0 || parse(&bytes).is_err());
    }

    /// Goal: what was written is what is read. Method: encode, parse, compare.
    #[test]
    fn calls_come_back(nr in any::<u32>(), args in any::<[u64; 6]>(), items in vec(any_item(), 0..6)) {
        let given: Vec<_> = items.iter().map(|(header, bytes)| (*header, bytes.as_slice())).collect();
        let bytes = encode::call(header(), body(nr, args), &given);
        let call = call(&bytes);
        prop_assert_eq!((call.body.nr, call.body.args), (nr, args));
        let read: Vec<_> = call.items.iter().map(|item| (item.header.arg, item.header.kind, item.bytes)).collect();
        let written: Vec<_> = given.iter().map(|(header, bytes)| (header.arg, header.kind, *bytes)).collect();
        prop_assert_eq!(read, written);
    }
}

#[test]
fn the_other_kinds_come_back() {
    let bytes = encode::fork(header(), ForkBody { child_pid: 10, child_tid: 12 });
    assert!(matches!(parse(&bytes), Ok(KernelRecord::Fork(fork)) if fork.is_thread()));
    let bytes = encode::exit(header(), ExitBody { status: 256, group_dead: 1 });
    assert!(matches!(parse(&bytes), Ok(KernelRecord::Exit(exit)) if exit.body.status == 256));
    let path = [(item(0, item_kind::EXE, 0), b"true\0bin\0usr\0".as_slice())];
    let bytes = encode::exec(header(), ExecBody { old_tid: 11, items_bytes: 0 }, &path);
    let Ok(KernelRecord::Exec(exec)) = parse(&bytes) else { panic!("no exec") };
    assert_eq!(exec.executable(), b"/usr/bin/true");
    assert_eq!(exec.environment(), None, "not asked for");
}

#[test]
fn what_came_under_watch_and_what_was_moved_come_back() {
    let items = [
        (item(0, item_kind::EXE, 0), b"sh\0bin\0".as_slice()),
        (item(0, item_kind::ARGV, item_flag::TRUNCATED), b"sh\0\0-c\0".as_slice()),
    ];
    let body = TaskBody { reason: 2, items_bytes: 0, start_ns: 77 };
    let bytes = encode::task(header(), body, &items);
    let Ok(KernelRecord::Task(task)) = parse(&bytes) else { panic!("no task") };
    assert_eq!((task.reason, task.body.start_ns), (Reason::Joined, 77));
    assert_eq!(task.executable(), b"/bin/sh");
    let argv = task.argv().expect("it was read");
    assert_eq!(argv.iter().collect::<Vec<_>>(), [b"sh".as_slice(), b"", b"-c"]);
    assert!(argv.is_truncated);

    let bytes = encode::task(header(), TaskBody { reason: 4, ..body }, &[]);
    assert_eq!(parse(&bytes), Err(ParseError::Reason(4)));

    let moved = MovedBody { from_cgroup: 5, to_cgroup: 6 };
    let bytes = encode::moved(header(), moved);
    assert!(matches!(parse(&bytes), Ok(KernelRecord::Moved(seen)) if seen.body == moved));

    let name = [(item(0, item_kind::STRING, 0), b"job".as_slice())];
    let body = CgroupBody { cgroup_id: 8, parent_id: 5, made: 1, items_bytes: 0 };
    let bytes = encode::cgroup(header(), body, &name);
    let Ok(KernelRecord::Cgroup(cgroup)) = parse(&bytes) else { panic!("no cgroup") };
    assert_eq!((cgroup.name(), cgroup.is_made()), (b"job".as_slice(), true));
    assert_eq!((cgroup.body.cgroup_id, cgroup.header.watch), (8, 3));
}

#[test]
fn an_environment_is_its_strings() {
    for (bytes, strings) in [
        (b"".as_slice(), Vec::<&[u8]>::new()),
        (b"A=1\0\0B=", vec![b"A=1", b"", b"B="]),
        (b"A=1\0", vec![b"A=1"]),
    ] {
        let bytes = [(item(0, item_kind::ENV, 0), bytes)];
        let bytes = encode::exec(header(), ExecBody { old_tid: 11, items_bytes: 0 }, &bytes);
        let Ok(KernelRecord::Exec(exec)) = parse(&bytes) else { panic!("no exec") };
        let environment = exec.environment().expect("asked for");
        assert_eq!(environment.iter().collect::<Vec<_>>(), strings);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let good = encode::fork(header(), ForkBody { child_pid: 1, child_tid: 1 });
    assert!(parse(&good).is_ok(), "control");
    assert!(matches!(parse(&good[..40]), Err(ParseError::Short { needed: 96, actual: 40 })));
    assert!(matches!(parse(&good[..103]), Err(ParseError::Size { stated: 104, actual: 103 })));
    let mut unknown = good;
    unknown[0] = 9;
    assert_eq!(parse(&unknown), Err(ParseError::Kind(9)));
    let bytes = encode::call(header(), CallBody { arch: 4, ..body(0, [0; 6]) }, &[]);
    assert_eq!(parse(&bytes), Err(ParseError::Arch(4)));
    let bytes = encode::call(header(), body(0, [0; 6]), &[(item(0, 99, 0), b"")]);
    assert_eq!(parse(&bytes), Err(ParseError::ItemKind(99)));
    let mut long = encode::call(header(), body(0, [0; 6]), &[(item(0, 1, 0), b"abc")]);
    long[size_of::<Header>() + size_of::<CallBody>() + 4] = 200;
    assert_eq!(parse(&long), Err(ParseError::ItemRange { offset: 0 }));
}

#[test]
fn a_relative_path_is_joined_to_its_directory() {
    let at_fdcwd = u64::from(u32::MAX - 99);
    let items = [
        (item(1, item_kind::STRING, 0), b"../x".as_slice()),
        (item(1, item_kind::DIR, 0), b"b\0a\0".as_slice()),
    ];
    let bytes = encode::call(header(), body(257, [at_fdcwd, 0, 0, 0, 0, 0]), &items);
    let call = call(&bytes);
    let decoded = decode(&call);
    assert_eq!((&*decoded.name, call.result(), call.duration_ns()), ("openat", Some(3), Some(50)));
    let path = ArgValue::Text(b"/a/b/../x".into());
    let flags = ArgValue::Flags(vec!["O_RDONLY".into()]);
    let directory = ArgValue::Text(b"AT_FDCWD".into());
    assert_eq!(decoded.args, [("dirfd", directory), ("flags", flags), ("pathname", path)]);
    assert!(decoded.weakened.is_empty());
}

#[test]
fn what_weakens_a_record_is_listed() {
    let flags = item_flag::AT_EXIT | item_flag::TRUNCATED;
    let items = [(item(0, item_kind::STRING, flags), b"/x".as_slice())];
    let bytes = encode::call(header(), body(82, [1, 2, 0, 0, 0, 0]), &items);
    let decoded = decode(&call(&bytes)).weakened;
    assert_eq!(decoded.names().collect::<Vec<_>>(), ["read_at_exit", "truncated", "unread"]);
    assert!(decoded.contains(Weakened::UNREAD), "the second path is missing");
}

#[test]
fn a_changed_path_is_flagged() {
    let items =
        [(item(0, item_kind::STRING, 0), b"/x".as_slice()), (item(1, item_kind::ARGV, 0), b"x\0")];
    let named = |flags| {
        let bytes = encode::call(Header { flags, ..header() }, body(59, [1; 6]), &items);
        decode(&call(&bytes)).weakened.names().collect::<Vec<_>>()
    };
    assert!(named(0).is_empty(), "control");
    assert_eq!(named(flag::CHANGED), ["changed"]);
}

#[test]
fn unknown_bits_and_numbers_stay_visible() {
    let flags = 0o100 | 0x4000_0000;
    let items = [(item(0, item_kind::STRING, 0), b"/x".as_slice())];
    let bytes = encode::call(header(), body(2, [1, flags, 0o600, 0, 0, 0]), &items);
    let decoded = decode(&call(&bytes));
    let names = ["O_RDONLY", "O_CREAT", "0x40000000"].map(Into::into).to_vec();
    assert_eq!(decoded.args[0], ("flags", ArgValue::Flags(names)));
    assert_eq!(decoded.args[1], ("mode", ArgValue::Octal(0o600)));
    assert_eq!(name(graven_abi::Arch::X86_64, 9999), "syscall_9999");
    assert_eq!(name(graven_abi::Arch::I386, 5), "open");
    assert_eq!(name(graven_abi::Arch::X32, 0x4000_0000 + 520), "execve");
    assert_eq!(name(graven_abi::Arch::X32, 0x4000_0000 + 2), "open");
}

#[test]
fn every_plan_fits_the_capacity() {
    let plans = graven_abi::fetch_plan();
    assert!(plans.iter().flatten().all(|op| usize::from(op.max_bytes) <= ITEMS_BYTES / 2));
}

#[test]
fn the_kernels_name_for_a_program_is_undone() {
    for (name, path) in
        [(b"/dev/fd/3".as_slice(), "/a"), (b"/dev/fd/3/b", "/a/b"), (b"/dev/fd/30", "/dev/fd/30")]
    {
        let items = [
            (item(1, item_kind::DIR, 0), b"a\0".as_slice()),
            (item(1, item_kind::STRING, 0), name),
        ];
        let bytes = encode::call(header(), body(322, [3, 0, 0, 0, 0x1000, 0]), &items);
        let decoded = decode(&call(&bytes)).args;
        let found = decoded.iter().find(|(name, _)| *name == "pathname");
        let path = ArgValue::Text(path.as_bytes().to_vec().into());
        assert_eq!(found.map(|(_, value)| value), Some(&path));
    }
}
