//! Calls of each family as they are on record when a program makes them.

use graven_abi::{ArgValue, DecodedCall, Weakened};

use crate::arguments::at;
use crate::rig::{Trace, args, shown, text};

fn flags(call: &DecodedCall<'_>, name: &str) -> Vec<String> {
    match args(call, name) {
        ArgValue::Flags(names) => names.iter().map(ToString::to_string).collect(),
        other => panic!("{name} is {other:?} in {call:?}"),
    }
}

fn subject(call: &DecodedCall<'_>) -> Option<(&'static str, String)> {
    call.subject.as_ref().map(|subject| (subject.kind, shown(&subject.id)))
}

#[test]
fn files_and_mounts_are_in_words() {
    let Some(trace) = Trace::of("families") else {
        return;
    };
    let made = trace.with_path("memfd_create", "name", b"named").1;
    assert_eq!(flags(&made, "flags"), ["MFD_ALLOW_SEALING"]);
    let allocated = trace.with_path("fallocate", "path", &at(&trace, b"file")).1;
    assert_eq!(flags(&allocated, "mode"), ["FALLOC_FL_KEEP_SIZE"]);
    assert_eq!(args(&allocated, "len"), ArgValue::Int(4096));
    let labelled = trace.with_path("setxattr", "path", &at(&trace, b"file")).1;
    assert_eq!(text(&labelled, "name"), b"user.graven");
    assert_eq!(flags(&labelled, "flags"), ["XATTR_CREATE"]);
    let sealed = trace.with_path("fcntl", "cmd", b"F_ADD_SEALS");
    assert_eq!(sealed.0.result(), Some(0));
    let touched = trace.with_path("utimensat", "pathname", &at(&trace, b"file")).1;
    assert!(touched.weakened.is_empty(), "{touched:?}");
    assert_eq!(subject(&touched).map(|(kind, _)| kind), Some("file"));

    let mounts = trace.named("mount");
    let [(first, named), (_, unnamed)] = &mounts[..] else { panic!("{} mounts", mounts.len()) };
    assert_eq!(first.result(), Some(-2));
    assert_eq!(text(named, "source"), b"none");
    assert_eq!(text(named, "target"), at(&trace, b"absent"));
    assert_eq!(text(named, "filesystemtype"), b"tmpfs");
    assert_eq!(flags(named, "mountflags"), ["MS_NOSUID"]);
    assert_eq!(args(unnamed, "source"), ArgValue::Hex(0));
    assert_eq!(flags(unnamed, "mountflags"), ["MS_PRIVATE", "MS_REC"]);
    assert!(unnamed.weakened.is_empty(), "{unnamed:?}");
}

#[test]
fn tasks_and_memory_are_in_words() {
    let Some(trace) = Trace::of("families") else {
        return;
    };
    let mapped = trace
        .named("mmap")
        .into_iter()
        .find(|(_, call)| {
            args(call, "length") == ArgValue::Int(8192) && flags(call, "prot")[0] == "PROT_EXEC"
        })
        .expect("an executable mapping");
    assert_eq!(flags(&mapped.1, "prot"), ["PROT_EXEC", "PROT_READ"]);
    assert_eq!(flags(&mapped.1, "flags"), ["MAP_PRIVATE"]);
    assert_eq!(trace.one("unshare").1.args, [("flags", ArgValue::Flags(Vec::new()))]);
    trace.with_path("prctl", "option", b"PR_SET_NAME");
    let limited = trace.with_path("prlimit64", "resource", b"RLIMIT_CORE");
    let limits = [("rlim_cur", ArgValue::Int(64)), ("rlim_max", ArgValue::Hex(u64::MAX))];
    assert_eq!(args(&limited.1, "new_limit"), ArgValue::Object(limits.to_vec()));
    let own = limited.0.header.pid.to_string();
    assert_eq!(subject(&limited.1), Some(("process", own)));
    // The thread, and the one with arguments that nobody can read.
    let calls = trace.named("clone3");
    let thread = calls.iter().find(|(call, _)| call.result().is_some_and(|ret| ret > 0));
    let ArgValue::Object(made) = args(&thread.expect("a thread").1, "cl_args") else {
        panic!("no structure")
    };
    let ArgValue::Flags(names) = &made[1].1 else { panic!("flags: {made:?}") };
    assert!(names.iter().any(|name| name == "CLONE_THREAD"), "{names:?}");
    let unread = calls.iter().find(|(call, _)| call.result() == Some(-14)).expect("EFAULT");
    assert_eq!(args(&unread.1, "cl_args"), ArgValue::Hex(8));
    assert!(unread.1.weakened.contains(Weakened::UNREAD));
    let ended = trace.named("exit_group");
    assert_eq!(ended[0].1.args, [("status", ArgValue::Int(0))]);
}

#[test]
fn sockets_devices_and_keys_are_in_words() {
    let Some(trace) = Trace::of("families") else {
        return;
    };
    let received = trace.with_path("recvmsg", "msg", trace.output.as_bytes());
    assert_eq!(received.0.result(), Some(1));
    assert_eq!(received.1.target_host.as_deref(), Some("127.0.0.1"));
    assert!(received.1.weakened.is_empty(), "a result is read at the right time");
    let option = trace.with_path("setsockopt", "optname", b"SO_REUSEADDR").1;
    assert_eq!(text(&option, "level"), b"SOL_SOCKET");
    let asked = trace.with_path("ioctl", "request", b"TIOCGWINSZ");
    assert_eq!(asked.0.result(), Some(-25), "/dev/null is no terminal");
    let key = trace.with_path("add_key", "type", b"graven").1;
    assert_eq!(text(&key, "description"), b"k");
    assert_eq!(text(&key, "keyring"), b"KEY_SPEC_PROCESS_KEYRING");
}
