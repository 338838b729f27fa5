//! What clients ask of the service, and what becomes of their commands.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use super::rig::{Cgroup, Daemon, wait_for};
use super::{actions, has_mark, mark, two_marks};
use crate::support::{EVENT, GRAVEN, Ledger, code, have_root, lines_of, stderr, text};

#[test]
fn exec_and_append_hand_over() {
    if !have_root("handing over") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let socket = daemon.socket();
    let with = |args: &[&str]| {
        let mut command = ledger.command(args);
        command.env("GRAVEN_SOCKET", &socket);
        command
    };
    fs::write(ledger.home().join("events"), format!("{EVENT}\nnonsense\n{EVENT}\n"))
        .expect("events");
    let appended = with(&["append", "--receipts", "events"]).output().expect("graven runs");
    assert_eq!(code(appended.status), 2, "{}", text(&appended));
    assert!(stderr(&appended).contains("line 2: "), "{}", text(&appended));
    let receipts: Vec<Value> = String::from_utf8_lossy(&appended.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a receipt"))
        .collect();
    assert_eq!(receipts.iter().map(|it| it["line"].clone()).collect::<Vec<_>>(), [1, 3]);

    let script = format!("{}; exit 7", mark("handed-over"));
    let run = with(&["exec", "--summary", "--agent", "bot", "--", "sh", "-c", &script])
        .output()
        .expect("graven runs");
    assert_eq!(code(run.status), 7, "{}", text(&run));
    assert!(stderr(&run).contains("through the daemon"), "{}", text(&run));
    assert!(stderr(&run).contains("gaps        none"), "{}", text(&run));

    let refused = with(&["append", "--mirror", "x", "events"]).output().expect("graven runs");
    assert_eq!(code(refused.status), 2);
    assert!(
        stderr(&refused).contains("name the mirror in its configuration"),
        "{}",
        text(&refused)
    );
    for filter in [["--syscalls", "security"], ["--exclude-path", "/proc/**"]] {
        let refused = with(&[&["exec"], &filter[..], &["--", "true"]].concat()).output();
        let refused = refused.expect("graven runs");
        assert_eq!(code(refused.status), 125);
        assert!(stderr(&refused).contains("in its configuration"), "{}", text(&refused));
    }
    assert_eq!(daemon.stop(), 0);

    assert!(has_mark(&ledger, "handed-over"));
    let records = ledger.records();
    for receipt in &receipts {
        let at = usize::try_from(receipt["seq"].as_u64().expect("an index")).expect("small");
        assert_eq!(records[at]["action"], "trade.amended");
    }
    ledger.assert_good();
}

/// Whoever sends the next event once the last one is durable gets on, with a daemon as without one.
#[test]
fn a_receipt_comes_while_the_feed_stays_open() {
    let ledger = Ledger::new();
    let answered = |append: &mut Command| {
        let append = append.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut client = append.spawn().expect("graven starts");
        let mut feed = client.stdin.take().expect("a pipe");
        let lines = lines_of(client.stdout.take().expect("a pipe"));
        for line in 1..=2 {
            writeln!(feed, "{EVENT}").expect("it reads");
            let receipt = wait_for("a receipt", || lines.try_recv().ok());
            let receipt: Value = serde_json::from_str(&receipt).expect("a receipt");
            assert_eq!(receipt["line"], line);
        }
        drop(feed);
        assert!(client.wait().expect("it ends").success());
    };
    let mut append = ledger.command(&["append", "--receipts"]);
    answered(&mut append);
    let daemon = Daemon::start(&[(&ledger, "")], "");
    answered(append.env("GRAVEN_SOCKET", daemon.socket()));
    assert_eq!(daemon.stop(), 0);
    assert_eq!(actions(&ledger, "trade.amended").len(), 4);
    ledger.assert_good();
}

#[test]
fn a_daemon_that_dies_takes_the_handed_over_command_along() {
    if !have_root("a daemon's death") {
        return;
    }
    let ledger = Ledger::new();
    let mut daemon = Daemon::start(&[(&ledger, "")], "");
    let client = daemon.exec(&ledger, &[], "touch at-it; sleep 600");
    daemon.signal(Signal::KILL);
    let output = client.wait_with_output().expect("the client ends");
    assert_eq!(code(output.status), 125, "{}", text(&output));
    assert_eq!(daemon.wait(), None);
    let after = ledger.graven(&["exec", "--", "true"]);
    assert!(after.status.success(), "the ledger is taken up again: {}", text(&after));
    let gaps = actions(&ledger, "gap");
    assert!(gaps.iter().any(|gap| gap["gap"]["stage"] == "downtime"), "{gaps:?}");
    ledger.assert_good();
}

#[test]
fn a_service_that_stops_takes_its_commands_along_and_records_their_end() {
    if !have_root("a stop under a command") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let mut client = daemon.exec(&ledger, &[], &two_marks(&ledger));
    assert_eq!(daemon.stop(), 0);
    assert!(!client.wait().expect("it ends").success(), "the command was killed");
    fs::write(ledger.home().join("go"), "").expect("a sign");
    assert!(has_mark(&ledger, "early") && !has_mark(&ledger, "late"));
    let killed = actions(&ledger, "process.exited");
    assert!(
        killed.iter().any(|it| it["detail"]["signal"] == 9),
        "its end is on record: {killed:#?}"
    );
    assert!(actions(&ledger, "gap").is_empty());
    ledger.assert_good();
}

#[test]
fn a_command_that_is_to_go_on_is_recorded_to_its_end() {
    if !have_root("a command that goes on") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let script = format!("{}; touch over", two_marks(&ledger));
    let mut client = daemon.exec(&ledger, &["--keep-going"], &script);
    client.kill().expect("it runs");
    client.wait().expect("it ends");
    fs::write(ledger.home().join("go"), "").expect("a sign");
    wait_for("the command's end", || ledger.home().join("over").exists().then_some(()));
    assert_eq!(daemon.stop(), 0);
    assert!(has_mark(&ledger, "early") && has_mark(&ledger, "late"));
    ledger.assert_good();
}

#[test]
fn nothing_that_is_asked_brings_the_service_down() {
    if !have_root("bad requests") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let cgroup = Cgroup::new("asked");
    let inode = fs::metadata(cgroup.path()).expect("a cgroup").ino();
    let good = serde_json::json!({
        "ask": "watch", "ledger": ledger.path().canonicalize().expect("a path"), "agent": "a",
        "trace_id": "6f9619ff-8b86-4011-b42d-00cf4fc964ff", "cgroup": cgroup.path(), "cgroup_id": inode,
        "keep_going": false,
    });
    let ask = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(daemon.socket()).expect("it listens");
        stream.write_all(bytes).expect("it reads");
        let mut line = String::new();
        BufReader::new(stream.try_clone().expect("a descriptor"))
            .read_line(&mut line)
            .expect("an answer");
        (stream, line)
    };
    let ask_with = |name: &str, value: Value| {
        let mut request = good.clone();
        request["trace_id"] = "6f9619ff-8b86-4011-b42d-00cf4fc96500".into();
        request[name] = value;
        ask(format!("{request}\n").as_bytes()).1
    };
    let (held, answer) = ask(format!("{good}\n").as_bytes());
    assert!(answer.contains("ready"), "control: {answer}");
    assert!(ask(format!("{good}\n").as_bytes()).1.contains("at work already"));
    drop(held);
    wait_for("the watch's end", || {
        let (stream, answer) = ask(format!("{good}\n").as_bytes());
        drop(stream);
        answer.contains("ready").then_some(())
    });
    let up = cgroup.path().join("../../../../../etc");
    for (name, value, why) in [
        ("cgroup", up.to_str().expect("text").into(), "is no cgroup below"),
        ("cgroup", "/etc".into(), "is no cgroup below"),
        (
            "cgroup",
            cgroup.path().join("none").to_str().expect("text").into(),
            "is not the same cgroup",
        ),
        ("cgroup_id", 1.into(), "is not the same cgroup"),
        ("trace_id", "no uuid".into(), "no UUID"),
        ("agent", "".into(), "bytes: use 1 to"),
        ("agent", "x".repeat(5_000).into(), "bytes: use 1 to"),
        ("ledger", "/nonexistent".into(), "is none of the daemon's ledgers"),
        ("colour", "red".into(), "none that this version knows"),
    ] {
        let answer = ask_with(name, value);
        assert!(answer.contains("failed") && answer.contains(why), "{name}: {answer}");
    }
    for garbage in [&b"\n"[..], b"{\n", b"\xff\xfe\n", &vec![b'x'; 70_000]] {
        assert!(ask(garbage).1.contains("failed"));
    }
    assert_eq!(code(daemon.graven(&["status"]).status), 0);
    assert_eq!(daemon.stop(), 0);
    ledger.assert_good();
}

#[test]
fn a_second_daemon_and_a_stranger_are_refused() {
    if !have_root("refusals") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let second = Command::new(GRAVEN)
        .arg("run")
        .arg("--config")
        .arg(Daemon::config(daemon.home.path()))
        .output()
        .expect("graven runs");
    assert_eq!(code(second.status), 2, "{}", text(&second));
    assert!(stderr(&second).contains("another daemon listens on"), "{}", text(&second));
    fs::set_permissions(daemon.home.path(), fs::Permissions::from_mode(0o755))
        .expect("open to all");
    // A copy, since the build's own directory may be closed to strangers.
    let copy = daemon.home.path().join("graven");
    fs::copy(GRAVEN, &copy).expect("a copy");
    let stranger = Command::new(&copy)
        .args(["status"])
        .env("GRAVEN_SOCKET", daemon.socket())
        .uid(65_534)
        .output()
        .expect("graven runs");
    assert!(stderr(&stranger).contains("is not for you"), "{}", text(&stranger));
    assert_eq!(code(daemon.graven(&["status"]).status), 0, "control: its owner is answered");
    assert_eq!(daemon.stop(), 0);
    let nobody = Command::new(GRAVEN)
        .arg("status")
        .env("GRAVEN_SOCKET", "/nonexistent/sock")
        .output()
        .expect("graven runs");
    assert!(
        stderr(&nobody).contains("no daemon answers at /nonexistent/sock"),
        "{}",
        text(&nobody)
    );
}
