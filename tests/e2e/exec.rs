//! Capture, through `graven exec`.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use crate::daemon::rig::wait_for;
use crate::support::{GRAVEN, Ledger, code, have_root, root, stderr, text};

fn exec(ledger: &Ledger, args: &[&str]) -> std::process::Output {
    ledger.graven(&[&["exec"], args].concat())
}

fn calls<'a>(records: &'a [Value], name: &str) -> Vec<&'a Value> {
    records
        .iter()
        .filter(|record| record["kind"] == "syscall" && record["action"] == name)
        .collect()
}

/// An agent that makes a known list of calls: each is in the ledger once, in order, with the right
/// arguments and result.
#[test]
fn a_known_list_of_calls_is_on_the_record() {
    if !have_root("capture") {
        return;
    }
    let ledger = Ledger::new();
    let home = fs::canonicalize(ledger.home()).expect("a directory");
    let home = home.to_str().expect("a plain name");
    let script = root().join("tests/e2e/calls.py");
    // Not by the name `python3`, which may be a script that looks for the real one.
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let python = String::from_utf8(python.expect("python3 runs").stdout).expect("a path");
    let output = exec(
        &ledger,
        &["--agent", "lister", "--", python.trim(), script.to_str().expect("a path"), home],
    );
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said: Vec<i64> =
        said.split_whitespace().map(|word| word.parse().expect("numbers")).collect();
    let [port, pid, socket] = said[..] else { panic!("three numbers, not {said:?}") };

    let records = ledger.records();
    let expected = expected_calls(home, port, pid, socket);
    let named: Vec<&str> = expected.iter().map(|(name, ..)| *name).collect();
    let of_agent = |record: &&Value| record["kind"] == "syscall" && record["process"]["pid"] == pid;
    let path_of = |record: &Value| record["syscall"]["args"]["pathname"].clone();
    let found: Vec<&Value> = records
        .iter()
        .filter(of_agent)
        .skip_while(|record| path_of(record) != format!("{home}/begin-mark"))
        .skip(1)
        .take_while(|record| path_of(record) != format!("{home}/end-mark"))
        .filter(|record| named.contains(&record["action"].as_str().unwrap_or_default()))
        .collect();
    for ((name, args, result), record) in expected.iter().zip(&found) {
        assert_eq!(record["action"], *name, "{record}");
        for (key, value) in args.as_object().expect("an object") {
            assert_eq!(&record["syscall"]["args"][key], value, "`{key}` of {record}");
        }
        match result {
            Some(result) => assert_eq!(&record["syscall"]["result"], result, "{record}"),
            None => assert!(record["syscall"]["result"].as_i64() >= Some(0), "{record}"),
        }
        assert_eq!(record["actor"], json!({"id": "lister", "kind": "agent", "via": "graven exec"}));
    }
    assert_eq!(found.len(), expected.len(), "each once, and nothing else");
    assert_eq!(ledger.records().iter().filter(|record| record["kind"] == "gap").count(), 0);
    ledger.assert_good();
}

/// Name, arguments that are looked at, and the result where it is known.
type Expected = (&'static str, Value, Option<i64>);

fn expected_calls(home: &str, port: i64, pid: i64, socket: i64) -> Vec<Expected> {
    let path = |name: &str| format!("{home}/{name}");
    let peer = format!("127.0.0.1:{port}");
    let ok = Some(0);
    vec![
        ("mkdir", json!({"pathname": path("d"), "mode": "0750"}), ok),
        (
            "openat",
            json!({"dirfd": "AT_FDCWD", "pathname": path("d"), "flags": ["O_RDONLY", "O_CLOEXEC", "O_DIRECTORY"]}),
            None,
        ),
        (
            "openat",
            json!({"pathname": path("d/f"), "flags": ["O_WRONLY", "O_CLOEXEC", "O_CREAT", "O_EXCL"], "mode": "0640"}),
            None,
        ),
        // "caf" and a byte that is no UTF-8, in the directory's path: base64 of the whole.
        (
            "openat",
            json!({"pathname": {"b64": base64(&[path("caf").as_bytes(), b"\xe9"].concat())}}),
            None,
        ),
        ("openat", json!({"pathname": path("café")}), None),
        ("creat", json!({"pathname": path("created"), "mode": "0644"}), None),
        (
            "openat2",
            json!({"pathname": path("created"), "how": {"flags": ["O_RDONLY"], "mode": "0000", "resolve": ["RESOLVE_BENEATH"]}, "size": 24}),
            None,
        ),
        ("rename", json!({"oldpath": path("d/f"), "newpath": path("d/g")}), ok),
        ("link", json!({"oldpath": path("d/g"), "newpath": path("hard")}), ok),
        ("symlink", json!({"target": "../elsewhere", "linkpath": path("soft")}), ok),
        ("chmod", json!({"pathname": path("hard"), "mode": "0600"}), ok),
        ("chown", json!({"pathname": path("hard"), "owner": 0, "group": 0}), ok),
        ("unlink", json!({"pathname": path("hard")}), ok),
        ("unlinkat", json!({"pathname": path("d/g"), "flags": []}), ok),
        ("rmdir", json!({"pathname": path("d")}), ok),
        ("openat", json!({"pathname": "/no/such/file"}), Some(-2)),
        (
            "execve",
            json!({"pathname": "/no/such/program", "argv": ["one", "two words", "drei"]}),
            Some(-2),
        ),
        ("connect", json!({"sockfd": socket, "addr": peer}), ok),
        ("accept4", json!({"flags": ["SOCK_CLOEXEC"]}), None),
        ("sendto", json!({"dest_addr": peer, "len": 1}), Some(1)),
        ("bind", json!({"addr": "127.0.0.1:0"}), ok),
        ("kill", json!({"pid": pid, "sig": "SIGCONT"}), ok),
        ("setuid", json!({"uid": 0}), ok),
        ("setgid", json!({"gid": 0}), ok),
    ]
}

fn base64(bytes: &[u8]) -> String {
    let mut child = Command::new("base64")
        .arg("-w0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("base64");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), bytes).expect("it reads");
    String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("text")
}

#[test]
fn the_commands_status_is_passed_on() {
    if !have_root("capture") {
        return;
    }
    let ledger = Ledger::new();
    fs::write(ledger.home().join("plain"), "no program").expect("ours");
    for (command, status) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 3"], 3),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["no-such-program"], 127),
        (&["./plain"], 126),
    ] {
        let output = exec(&ledger, &[&["--"], command].concat());
        assert_eq!(code(output.status), status, "{command:?}: {}", text(&output));
    }
    ledger.assert_good();
}

/// Who called, what ran, and how it ended: the tasks of a pipeline of children.
#[test]
fn children_are_followed_to_the_last() {
    if !have_root("capture") {
        return;
    }
    let ledger = Ledger::new();
    // The grandchild outlives its parent and the command itself.
    let output = exec(&ledger, &["--", "sh", "-c", "(sleep 0.3; touch late) & exit 0"]);
    assert_eq!(code(output.status), 0, "{}", text(&output));
    assert!(ledger.home().join("late").exists(), "exec waits for the last process");
    let records = ledger.records();
    let execs = calls(&records, "execve");
    let programs: Vec<_> =
        execs.iter().map(|record| &record["syscall"]["args"]["argv"][0]).collect();
    assert_eq!(programs, [&json!("sh"), &json!("sleep"), &json!("touch")]);
    assert_eq!(
        execs[0]["seq"],
        records.iter().find(|it| it["kind"] == "syscall").expect("calls")["seq"],
        "the first call on record is the command's own execve"
    );
    let late = records.iter().find(|record| {
        record["action"] == "openat"
            && record["process"]["comm"] == "touch"
            && record["subject"]["id"].as_str().is_some_and(|id| id.ends_with("/late"))
    });
    let late = late.expect("the grandchild's call is on record");
    assert!(
        late["process"]["executable"].as_str().is_some_and(|path| path.ends_with("touch")),
        "{late}"
    );
    let forked = records.iter().filter(|record| record["action"] == "process.forked").count();
    let exited = records.iter().filter(|record| record["action"] == "process.exited").count();
    // The subshell forks for `sleep` and then becomes `touch`.
    assert_eq!((forked, exited), (2, 3), "the command, its subshell, and that one's child");
    assert!(
        late["process"]["cgroup"].as_str().is_some_and(|path| path.starts_with("/graven/exec-"))
    );
    assert_eq!(late["timestamp_truetime"]["clock"].as_str(), clock_state(), "{late}");
    ledger.assert_good();
}

/// What adjtimex(2) says of this machine, by another program.
fn clock_state() -> Option<&'static str> {
    let script = "import ctypes; b = ctypes.create_string_buffer(208); \
                  s = ctypes.CDLL(None).adjtimex(b); \
                  print(s == 5 or int.from_bytes(b.raw[40:44], 'little') & 0x40)";
    let output = Command::new("python3").args(["-c", script]).output().expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if said == "0" || said == "False" { None } else { Some("unsynchronised") }
}

fn start_sleeper(ledger: &Ledger, options: &[&str]) -> (std::process::Child, Pid) {
    let command = ["sh", "-c", "echo $$ > pid.new && mv pid.new pid && exec sleep 1000"];
    let child = ledger
        .command(&[&["exec"], options, &["--"], &command].concat())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("graven starts");
    let file = ledger.home().join("pid");
    wait_for("the command's start", || file.exists().then_some(()));
    let pid = fs::read_to_string(&file).expect("a file").trim().parse().expect("a number");
    (child, Pid::from_raw(pid).expect("a process"))
}

#[test]
fn nothing_runs_on_unrecorded_when_graven_dies() {
    if !have_root("capture") {
        return;
    }
    let ledger = Ledger::new();
    let (mut graven, command) = start_sleeper(&ledger, &[]);
    graven.kill().expect("it runs");
    graven.wait().expect("it ends");
    wait_for("the command's end", || test_kill_process(command).err());
    // The next run recovers, and says that there was silence.
    let output = exec(&ledger, &["--", "true"]);
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let downtime = ledger.records().iter().any(|record| record["gap"]["stage"] == "downtime");
    assert!(downtime, "the gap is on the record");
    ledger.assert_good();
}

/// Leaving the cgroup is no way out: the process stays on the record, and ends with the command.
#[test]
fn leaving_the_cgroup_is_no_way_out() {
    if !have_root("capture") {
        return;
    }
    let ledger = Ledger::new();
    let script = "root=$(awk '$3 == \"cgroup2\" {print $2; exit}' /proc/mounts); \
                  sh -c \"echo \\$\\$ > $root/cgroup.procs; echo \\$\\$ > pid; touch escaped; exec sleep 1000\" & \
                  while [ ! -e escaped ]; do sleep 0.02; done";
    let output = exec(&ledger, &["--", "sh", "-c", script]);
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let pid = fs::read_to_string(ledger.home().join("pid")).expect("it ran");
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process");
    wait_for("the straggler's end", || test_kill_process(pid).err());
    let records = ledger.records();
    let escaped = records.iter().any(|record| {
        record["kind"] == "syscall"
            && record["subject"]["id"].as_str().is_some_and(|id| id.ends_with("/escaped"))
            && record["process"]["comm"] == "touch"
    });
    assert!(escaped, "what it did outside is on the record");
    let killed = records.iter().any(|record| {
        record["action"] == "process.exited"
            && record["detail"]["signal"] == 9
            && record["process"]["pid"] == pid.as_raw_pid()
    });
    assert!(killed, "and so is its end");
    assert!(stderr(&output).contains("had left the command's cgroup"), "{}", text(&output));
    ledger.assert_good();
}

/// Whose rights a call had and where its paths are to be read, where that is not what is to be expected.
#[test]
fn effective_ids_and_namespaces_are_on_the_record_where_they_differ() {
    if !have_root("capture") {
        return;
    }
    let ledger = Ledger::new();
    let script = "unshare --mount --net true; \
                  python3 -c 'import os; os.setegid(7); os.seteuid(8); os.getppid()'";
    let output = exec(&ledger, &["--", "sh", "-c", script]);
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let records = ledger.records();
    let namespaces = |record: &Value| {
        ["mnt_ns", "net_ns", "pid_ns"].map(|name| record["process"].get(name).is_some())
    };
    let asked = calls(&records, "getppid");
    let with_rights = asked.iter().find(|it| it["process"]["euid"] == 8).expect("python's own");
    assert_eq!(with_rights["process"]["egid"], 7);
    let of_true = calls(&records, "exit_group").into_iter();
    let of_true = of_true.map(namespaces).collect::<Vec<_>>();
    assert!(of_true.contains(&[true, true, false]), "{of_true:?}");
    let first = calls(&records, "execve")[0];
    assert_eq!((namespaces(first), first["process"].get("euid")), ([false; 3], None));
    let started = records.iter().find(|it| it["action"] == "pipeline.started").expect("a run");
    assert!(started["detail"]["host"]["namespaces"]["mnt"].as_u64() > Some(0));
    crate::schema::assert_valid(&ledger.path());
    ledger.assert_good();
}

#[test]
fn keep_going_lets_the_command_live() {
    if !have_root("capture") {
        return;
    }
    let ledger = Ledger::new();
    let (mut graven, command) = start_sleeper(&ledger, &["--keep-going"]);
    graven.kill().expect("it runs");
    graven.wait().expect("it ends");
    sleep(Duration::from_millis(500));
    assert!(test_kill_process(command).is_ok(), "it lives on");
    kill_process(command, Signal::KILL).expect("it is ours");
}

#[test]
fn a_termination_is_passed_on_and_the_ledger_sealed() {
    if !have_root("capture") {
        return;
    }
    let ledger = Ledger::new();
    let (graven, _) = start_sleeper(&ledger, &[]);
    kill_process(Pid::from_child(&graven), Signal::TERM).expect("it runs");
    let output = graven.wait_with_output().expect("it ends");
    assert_eq!(code(output.status), 128 + 15, "{}", text(&output));
    assert_eq!(ledger.records().pop().expect("records")["action"], "pipeline.stopped");
    ledger.assert_good();
}

#[test]
fn a_ledger_that_cannot_be_written_kills_the_command() {
    if !have_root("capture") {
        return;
    }
    let ledger = Ledger::new();
    fs::create_dir(ledger.home().join("full")).expect("ours");
    // A loop of calls on a ledger whose disk holds half a mebibyte.
    let script = format!(
        "set -e; mount -t tmpfs -o size=512k none full; cp -a ledger/. full/; \
         code=0; {GRAVEN} exec --ledger full --key ledger.key -- sh -c 'while :; do : > f; done' || code=$?; \
         cp -a full after; exit $code"
    );
    let output = Command::new("timeout")
        .args(["60", "unshare", "--mount", "sh", "-c", &script])
        .current_dir(ledger.home())
        .output()
        .expect("unshare runs");
    assert_eq!(code(output.status), 125, "{}", text(&output));
    assert!(stderr(&output).contains("No space left on device"), "{}", text(&output));
    let output = ledger.graven(&["verify", "after", "--key", "ledger.vkey"]);
    assert!(output.status.success(), "{}", text(&output));
}

/// As in a daemon's watch: what is left out is counted, and nothing is a gap.
#[test]
fn what_is_left_out_is_counted() {
    if !have_root("filters") {
        return;
    }
    let ledger = Ledger::new();
    let script = "import os\nfor i in range(100): os.sched_get_priority_max(os.SCHED_FIFO)\n\
                  for name in ['seen'] + 7 * ['hidden/x']:\n try: os.open('/nonexistent/' + name, 0)\n except OSError: pass";
    fs::write(ledger.home().join("calls.py"), script).expect("a script");
    let command = ["--summary", "--", "python3", "calls.py"];
    let counts = |records: &[Value]| {
        let on = |path: &str| {
            let opens = calls(records, "openat").into_iter();
            opens.filter(|it| it["subject"]["id"] == path).count()
        };
        let asked = calls(records, "sched_get_priority_max").len();
        [asked, on("/nonexistent/seen"), on("/nonexistent/hidden/x")]
    };
    let output = exec(&ledger, &command);
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let before = ledger.records();
    assert_eq!(counts(&before), [100, 1, 7], "control: without a filter all is recorded");

    let filters = ["--syscalls", "openat,execve", "--exclude-path", "/nonexistent/hidden/**"];
    let output = exec(&ledger, &[&filters[..], &command].concat());
    assert_eq!(code(output.status), 0, "{}", text(&output));
    assert!(stderr(&output).contains("or left out and counted there"), "{}", text(&output));
    let records = ledger.records().split_off(before.len());
    assert_eq!(counts(&records), [0, 1, 0]);
    let sum = |pointer: &str| -> u64 {
        let left_out = records.iter().filter(|it| it["action"] == "capture.left_out");
        left_out.filter_map(|it| it.pointer(pointer)?.as_u64()).sum()
    };
    assert_eq!(sum("/detail/by/filter/sched_get_priority_max"), 100);
    assert_eq!(sum("/detail/by/path/openat"), 7);
    assert!(!records.iter().any(|it| it["kind"] == "gap"));

    for (filter, why) in [
        (["--syscalls", "opennat"], "did you mean `openat`?"),
        (["--syscalls", ""], "there is no system call"),
        (["--exclude-path", "hidden"], "begin it with `/`"),
        (["--exclude-path", "/["], "is no glob"),
    ] {
        let output = exec(&ledger, &[&filter[..], &command].concat());
        assert_eq!(code(output.status), 125, "{}", text(&output));
        assert!(stderr(&output).contains(why), "{}", text(&output));
    }
    ledger.assert_good();
}
