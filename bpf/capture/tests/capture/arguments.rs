//! What is on record of arguments: paths, addresses, and what weakens them.

use std::os::unix::ffi::OsStrExt;

use graven_abi::{ArgValue, Weakened};

use crate::rig::{Trace, args, shown, text};

/// Path of the scenario's directory joined with `name`, as text.
pub(crate) fn at(trace: &Trace, name: &[u8]) -> Vec<u8> {
    [trace.directory.path().as_os_str().as_bytes(), b"/", name].concat()
}

#[test]
fn paths_are_absolute_as_the_process_saw_them() {
    let Some(trace) = Trace::of("files") else {
        return;
    };
    let created = trace.with_path("openat", "pathname", &at(&trace, b"by-cwd"));
    assert_eq!(text(&created.1, "dirfd"), b"AT_FDCWD");
    assert_eq!(args(&created.1, "mode"), ArgValue::Octal(0o640));
    let ArgValue::Flags(flags) = args(&created.1, "flags") else { panic!("flags") };
    assert_eq!(flags, ["O_RDWR", "O_CLOEXEC", "O_CREAT", "O_LARGEFILE"]);
    assert_eq!(created.1.subject.as_ref().map(|subject| subject.kind), Some("file"));

    trace.with_path("mkdirat", "pathname", &at(&trace, b"inner/by-dirfd"));
    // `..` depends on symbolic links, so it stays.
    trace.with_path("openat", "pathname", &at(&trace, b"inner/../by-cwd"));
    trace.with_path("openat", "pathname", &at(&trace, b"not-\xff-utf8"));
    let fchmod = trace.with_path("fchmod", "path", &at(&trace, b"by-cwd"));
    assert_eq!(args(&fchmod.1, "mode"), ArgValue::Octal(0o600));
    let renamed = trace.with_path("renameat2", "oldpath", &at(&trace, b"by-cwd"));
    assert_eq!(text(&renamed.1, "newpath"), at(&trace, b"inner/renamed"));
    let linked = trace.with_path("symlinkat", "linkpath", &at(&trace, b"link"));
    assert_eq!(text(&linked.1, "target"), b"inner/renamed");
    let owned = trace.with_path("fchownat", "pathname", &at(&trace, b"inner"));
    assert_eq!(args(&owned.1, "owner"), ArgValue::Int(-1));
    let opened = trace.with_path("openat2", "pathname", &at(&trace, b"inner/renamed"));
    let ArgValue::Object(how) = args(&opened.1, "how") else { panic!("how") };
    assert_eq!(how[2].1, ArgValue::Flags(vec!["RESOLVE_NO_SYMLINKS".into()]));
    let deep = trace.with_path(
        "openat",
        "pathname",
        &at(&trace, &[b"d/".repeat(60), b"x".to_vec()].concat()),
    );
    assert_eq!(deep.0.result(), Some(-2));
    assert!(deep.1.weakened.is_empty());
    for (_, call) in trace.calls() {
        assert!(!call.weakened.contains(Weakened::UNREAD), "{call:?}");
    }
}

#[test]
fn a_changed_root_is_on_record() {
    let Some(trace) = Trace::of("chroot") else {
        return;
    };
    let opened = trace.with_path("openat", "pathname", b"/inside");
    assert_eq!(text(&opened.1, "root"), trace.directory.path().as_os_str().as_bytes());
    let outside = trace.with_path("openat", "pathname", b"(unreachable)/outside");
    assert_eq!(outside.0.result(), Some(-2));
}

#[test]
fn addresses_are_text() {
    let Some(trace) = Trace::of("network") else {
        return;
    };
    let port = trace.output.trim();
    let address = format!("127.0.0.1:{port}");
    let connect = trace.with_path("connect", "addr", address.as_bytes());
    assert_eq!(connect.1.target_host.as_deref(), Some("127.0.0.1"));
    let subject = connect.1.subject.as_ref().expect("a socket");
    assert_eq!((subject.kind, shown(&subject.id)), ("socket", address.clone()));
    let bound = trace.with_path("bind", "addr", b"127.0.0.1:0");
    assert_eq!(bound.1.target_host, None, "a bind has no peer");
    let accepted = trace.one("accept4");
    assert!(shown(&text(&accepted.1, "addr")).starts_with("127.0.0.1:"));
    assert!(accepted.1.weakened.is_empty());
    assert_eq!(accepted.1.target_host.as_deref(), Some("127.0.0.1"));
    trace.with_path("bind", "addr", b"unix:@graven-\xfe");
    trace.with_path("sendto", "dest_addr", b"[::1]:9");
    trace.with_path("sendmsg", "msg", b"127.0.0.1:9");
    let socket = trace.one("listen");
    assert_eq!(args(&socket.1, "backlog"), ArgValue::Int(7));
    let made = &trace.named("socket")[0].1;
    assert_eq!(text(made, "domain"), b"AF_INET");
}

#[test]
fn long_arguments_are_cut_and_flagged() {
    let Some(trace) = Trace::of("long") else {
        return;
    };
    let cut = trace.with_path("execve", "pathname", b"/bin/true");
    let ArgValue::List(argv) = args(&cut.1, "argv") else { panic!("argv") };
    let bytes: usize = argv.iter().map(|string| string.len() + 1).sum();
    assert!(bytes > 8000, "{bytes} bytes were kept");
    assert!(cut.1.weakened.contains(Weakened::TRUNCATED));
    let whole =
        trace.named("openat").into_iter().any(|(_, call)| text(&call, "pathname").len() == 4094);
    assert!(whole, "a path of nearly PATH_MAX is whole");
}

#[test]
fn a_path_in_an_absent_page_is_read_at_exit() {
    let Some(trace) = Trace::of("absent-page") else {
        return;
    };
    let opened = trace.with_path("openat", "pathname", &at(&trace, b"hidden"));
    assert!(opened.1.weakened.contains(Weakened::READ_AT_EXIT));
    let moved = trace.with_path("chdir", "path", &at(&trace, b"inner"));
    assert!(moved.1.weakened.contains(Weakened::READ_AT_EXIT));
    assert_eq!(moved.0.result(), Some(0));
    let unread = trace.named("openat").into_iter().find(|(call, _)| call.result() == Some(-14));
    assert!(unread.expect("EFAULT").1.weakened.contains(Weakened::UNREAD));
}
