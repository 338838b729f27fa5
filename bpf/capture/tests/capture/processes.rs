//! Which calls and processes are on record.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use graven_abi::{ArgValue, KernelRecord, Reason, Weakened, decode};

use crate::arguments::at;
use crate::rig::{Trace, args, shown, text};

#[test]
fn the_first_record_is_the_execve_of_the_command() {
    let Some(trace) = Trace::of("nothing") else {
        return;
    };
    let exe = std::env::current_exe().expect("this test's path");
    let Some(KernelRecord::Task(task)) = trace.parsed().next() else {
        panic!("the first record is not the task's");
    };
    // Until then it was a child of this test.
    assert_eq!(
        (task.reason, task.executable()),
        (Reason::Joined, exe.as_os_str().as_bytes().into())
    );
    let Some(KernelRecord::Exec(exec)) = trace.parsed().nth(1) else {
        panic!("the second record is not the exec event");
    };
    assert_eq!(exec.executable(), exe.as_os_str().as_bytes());
    let calls = trace.calls();
    let (call, first) = &calls[0];
    assert_eq!(first.name, "execve");
    assert_eq!(call.result(), Some(0));
    assert_eq!(text(first, "pathname"), exe.as_os_str().as_bytes());
    let subject = first.subject.as_ref().expect("the process");
    assert_eq!((subject.kind, shown(&subject.id)), ("process", call.header.pid.to_string()));
    let ArgValue::List(argv) = args(first, "argv") else { panic!("argv: {first:?}") };
    assert_eq!(argv.len(), 5);
    assert_eq!(&*argv[1], b"--ignored");
    assert!(first.weakened.is_empty(), "{:?}", first.weakened);
    assert_eq!(call.header.ppid, std::process::id());
    assert_eq!(
        trace.cgroup_path.as_deref(),
        Some(Path::new(&format!("/graven/{}", trace.cgroup_name)))
    );
}

#[test]
fn processes_are_followed_from_fork_to_exit() {
    let Some(trace) = Trace::of("processes") else {
        return;
    };
    let failed = trace.with_path("execve", "pathname", b"/nonexistent/program");
    assert_eq!(failed.0.result(), Some(-2));
    let ArgValue::List(argv) = args(&failed.1, "argv") else { panic!("argv") };
    assert_eq!(argv.last().map(|last| last.to_vec()), Some(b"not run \xff".to_vec()));

    let (echo, decoded) = trace.with_path("execve", "pathname", b"/bin/echo");
    let ArgValue::List(argv) = args(&decoded, "argv") else { panic!("argv") };
    assert_eq!(
        argv.iter().map(|string| shown(string)).collect::<Vec<_>>(),
        ["/bin/echo", "", "hello"]
    );
    let pid = echo.header.pid;
    let (mut forked, mut executed, mut exited) = (0, 0, None);
    for record in trace.parsed() {
        match record {
            KernelRecord::Fork(fork) if fork.body.child_pid == pid => {
                forked += 1;
                assert!(!fork.is_thread());
                assert_eq!(fork.header.pid, echo.header.ppid);
            }
            KernelRecord::Exec(exec) if exec.header.pid == pid => {
                executed += 1;
                assert!(exec.executable().ends_with(b"bin/echo"));
            }
            KernelRecord::Exit(exit) if exit.header.pid == pid => exited = Some(exit.body),
            _ => {}
        }
    }
    assert_eq!((forked, executed), (1, 1));
    let exited = exited.expect("an exit");
    assert_eq!((exited.status, exited.group_dead), (0, 1));

    let (killed, decoded) = trace.one("kill");
    assert_eq!(args(&decoded, "sig"), ArgValue::Text(b"SIGTERM".into()));
    let subject = decoded.subject.expect("a process");
    assert_eq!(subject.kind, "process");
    assert_eq!(killed.result(), Some(0));
    // The last program was executed by a thread, which became the leader.
    let (thread, _) = trace.with_path("execve", "pathname", b"/bin/true");
    assert_ne!(thread.header.tid, thread.header.pid, "the call began in a thread");
    let exec = trace.parsed().find_map(|record| match record {
        KernelRecord::Exec(exec) if exec.executable().ends_with(b"bin/true") => Some(exec),
        _ => None,
    });
    let exec = exec.expect("an exec event");
    assert_eq!(exec.body.old_tid, thread.header.tid);
    assert_eq!(exec.header.tid, exec.header.pid);
}

#[test]
fn a_program_in_memory_is_named() {
    let Some(trace) = Trace::of("memfd") else {
        return;
    };
    let executed = trace.with_path("execveat", "pathname", b"memfd:hidden");
    assert_eq!(executed.0.result(), Some(0));
    let ArgValue::List(argv) = args(&executed.1, "argv") else { panic!("argv") };
    assert_eq!(shown(&argv[0]), "innocent");
    let ArgValue::Flags(flags) = args(&executed.1, "flags") else { panic!("flags") };
    assert_eq!(flags, ["AT_EMPTY_PATH"]);
    let executables = trace.parsed().filter_map(|record| match record {
        KernelRecord::Exec(exec) => Some(shown(&exec.executable())),
        _ => None,
    });
    assert_eq!(executables.last().as_deref(), Some("memfd:hidden"));
}

#[test]
fn a_call_that_seccomp_refuses_is_on_record() {
    let Some(trace) = Trace::of("seccomp") else {
        return;
    };
    let refused = trace.with_path("mkdirat", "pathname", &at(&trace, b"refused"));
    assert_eq!(refused.0.result(), Some(-1));
    assert!(refused.1.weakened.contains(Weakened::EXIT_ONLY));
    assert_eq!(refused.0.duration_ns(), None);
}

#[test]
fn a_process_that_leaves_the_cgroup_is_still_watched() {
    let Some(trace) = Trace::of("leave") else {
        return;
    };
    let opened = trace.with_path("openat", "pathname", &at(&trace, b"after"));
    assert_ne!(opened.0.header.cgroup_id, trace.cgroup_id);
    trace.with_path("execve", "pathname", b"/bin/true");
}

#[test]
fn other_architectures_are_named() {
    let Some(trace) = Trace::of("x32") else {
        return;
    };
    let (call, decoded) =
        trace.calls().into_iter().find(|(_, call)| call.arch == "x32").expect("x32");
    assert_eq!(decoded.name, "getpid");
    assert_eq!(call.body.nr, 0x4000_0000 + 39);
    assert_eq!(decoded.args[3], ("arg3", ArgValue::Hex(0x2a)));
}

#[test]
fn a_path_that_changes_under_an_exec_is_flagged() {
    let Some(trace) = Trace::of("race") else {
        return;
    };
    let made = std::fs::read_dir(trace.directory.path()).expect("there").flatten();
    let raced = made.filter(|entry| entry.file_name().as_bytes().starts_with(b"raced-")).count();
    for name in ["execve", "execveat"] {
        let executed = trace.named(name).into_iter().filter(|(call, decoded)| {
            call.result() == Some(0) && shown(&text(decoded, "pathname")).contains("/program-")
        });
        let (changed, same): (Vec<_>, Vec<_>) =
            executed.partition(|(_, decoded)| decoded.weakened.contains(Weakened::CHANGED));
        assert!(changed.len() + same.len() >= 100, "control: {name}");
        // Where processors are emulated in turn, hardly any race is won.
        assert!(raced < 20 || !changed.is_empty(), "{name}: none of {} was seen", same.len());
    }
    // What the kernel had is on record, whatever was there at entry.
    let mut names = Vec::new();
    for record in trace.parsed() {
        match record {
            KernelRecord::Exec(exec) => names.push(exec.executable()),
            KernelRecord::Call(call) => {
                let decoded = decode(&call);
                if decoded.name == "execve" && call.result() == Some(0) {
                    let claimed = text(&decoded, "pathname");
                    let claimed = claimed.rsplit(|byte| *byte == b'/').next();
                    let executed = names
                        .iter()
                        .rev()
                        .take(4)
                        .any(|name| name.rsplit(|byte| *byte == b'/').next() == claimed);
                    assert!(executed, "{decoded:?}");
                }
            }
            _ => {}
        }
    }
    let (_, last) = trace.with_path("execve", "pathname", &at(&trace, b"./program-0"));
    assert!(last.weakened.is_empty(), "nobody changed it");
}
