//! Application events: good ones kept, bad ones named.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use crate::daemon::rig::wait_for;
use crate::support::{EVENT, Ledger, code, stderr, text};

fn actions(ledger: &Ledger) -> Vec<String> {
    let events = ledger.records().into_iter().filter(|record| record["kind"] == "event");
    events.map(|record| record["action"].as_str().expect("an action").to_owned()).collect()
}

#[test]
fn a_receipt_names_the_record_that_stands() {
    let ledger = Ledger::new();
    let output = ledger.feed(&["append", "--receipts"], format!("{EVENT}\n{EVENT}").as_bytes());
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let receipts: Vec<serde_json::Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a receipt is JSON"))
        .collect();
    assert_eq!(receipts.len(), 2, "the last line counts without a newline too");
    for (line, receipt) in (1..).zip(&receipts) {
        assert_eq!(receipt["line"], line);
        let shown = ledger.graven(&["show", &receipt["seq"].to_string()]);
        let leaf = receipt["leaf"].as_str().expect("a hash");
        assert!(text(&shown).contains(leaf), "{}", text(&shown));
        assert!(text(&shown).contains("in tree    yes"), "{}", text(&shown));
    }
    ledger.assert_good();
}

#[test]
fn bad_lines_are_named_and_the_good_ones_around_them_kept() {
    let bad: [(&[u8], &str); 16] = [
        (b"", "the line is empty"),
        (b"{", "is not JSON (EOF"),
        (br#"{"action":"a.b","actor":{"kind":"user","id":"ada"}"#, "EOF"),
        (b"not json", "send one object a line"),
        (br#"{"action":"a.b","subject":{"kind":"k","id":"i"}}"#, "`actor`: is missing"),
        (br#"{"action":1,"actor":{"kind":"user","id":"a"},"subject":{"kind":"k","id":"i"}}"#, "`action`: expected a string"),
        (br#"{"colour":1,"action":"a.b","actor":{"kind":"user","id":"a"},"subject":{"kind":"k","id":"i"}}"#, "`colour`: is not an admitted member"),
        (br#"{"action":"a.b","action":"a.b","actor":{"kind":"user","id":"a"},"subject":{"kind":"k","id":"i"}}"#, "`action`: the key is given twice"),
        (br#"{"bytes_severed":1.5,"action":"a.b","actor":{"kind":"user","id":"a"},"subject":{"kind":"k","id":"i"}}"#, "`bytes_severed`: number is not a plain integer"),
        (br#"{"bytes_severed":9007199254740992,"action":"a.b","actor":{"kind":"user","id":"a"},"subject":{"kind":"k","id":"i"}}"#, "send it as a string"),
        (br#"{"action":"a.b","actor":{"kind":"user","id":"\ud800"},"subject":{"kind":"k","id":"i"}}"#, "surrogate"),
        (b"{\"action\":\"a.b\",\"actor\":{\"kind\":\"user\",\"id\":\"\xff\"},\"subject\":{\"kind\":\"k\",\"id\":\"i\"}}", "invalid UTF-8 at byte"),
        (b"{\"action\":\"a.b\0\"}", "control character"),
        (b"\0\0\0\0", "expected value"),
        (br#"{"payload":{"after":{"prompt":"p"}},"action":"a.b","actor":{"kind":"user","id":"a"},"subject":{"kind":"k","id":"i"}}"#, "`payload.after.prompt`: is not an admitted payload field"),
        (br#"{"seq":0,"action":"a.b","actor":{"kind":"user","id":"a"},"subject":{"kind":"k","id":"i"}}"#, "`seq`: is not an admitted member"),
    ];
    let deep = format!(
        r#"{{"payload":{{"after":{{"f":{}1{}}}}},{}"#,
        "[".repeat(30),
        "]".repeat(30),
        &EVENT[1..]
    );
    let long = EVENT.replace("T-17", &"x".repeat(65_535));
    let mut cases: Vec<(Vec<u8>, &str)> =
        bad.iter().map(|(line, why)| (line.to_vec(), *why)).collect();
    cases.push((deep.into_bytes(), "nested deeper than 32"));
    cases.push((long.into_bytes(), "the limit is 65535"));

    let mut input = Vec::new();
    for (line, _) in &cases {
        input.extend_from_slice(EVENT.as_bytes());
        input.push(b'\n');
        input.extend_from_slice(line);
        input.push(b'\n');
    }
    input.extend_from_slice(EVENT.as_bytes());
    let ledger = Ledger::new();
    let output = ledger.feed(&["append", "--payload-field", "f"], &input);
    assert_eq!(code(output.status), 2, "{}", text(&output));
    let errors = stderr(&output);
    for (number, (_, why)) in (1..).map(|n| 2 * n).zip(&cases) {
        let line = errors.lines().find(|it| it.contains(&format!("line {number}:")));
        let line = line.unwrap_or_else(|| panic!("line {number} ({why}) is not named:\n{errors}"));
        assert!(line.contains(why), "line {number} should say `{why}`: {line}");
    }
    assert_eq!(actions(&ledger).len(), cases.len() + 1, "every good line is kept");
    ledger.assert_good();
}

#[test]
fn strict_stops_at_the_first_bad_line() {
    let ledger = Ledger::new();
    let output =
        ledger.feed(&["append", "--strict"], format!("{EVENT}\n{{}}\n{EVENT}\n").as_bytes());
    assert_eq!(code(output.status), 2, "{}", text(&output));
    assert!(stderr(&output).contains("line 2:"), "{}", text(&output));
    assert_eq!(actions(&ledger).len(), 1);
    ledger.assert_good();
}

/// A line of one gibibyte is passed over in bounded memory.
#[test]
fn an_endless_line_is_passed_over() {
    let ledger = Ledger::new();
    let mut child = ledger
        .command(&["append"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("graven starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mebibyte = vec![b'a'; 1 << 20];
    writeln!(stdin, "{EVENT}").expect("it reads");
    for _ in 0..1024 {
        stdin.write_all(&mebibyte).expect("it reads");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak_kib < 200 << 10, "{peak_kib} KiB for one line");
    writeln!(stdin, "\n{EVENT}").expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(code(output.status), 2, "{}", text(&output));
    assert!(
        stderr(&output).contains("line 2: the line is 1073741824 bytes long"),
        "{}",
        text(&output)
    );
    assert_eq!(actions(&ledger).len(), 2);
    ledger.assert_good();
}

#[test]
fn an_interrupt_drains_and_seals() {
    let ledger = Ledger::new();
    let mut child = ledger
        .command(&["append", "--receipts"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("graven starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    writeln!(stdin, "{EVENT}").expect("it reads");
    // The receipt shows that the event is in; standard input stays open.
    let mut receipt = [0; 1];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut receipt)
        .expect("a receipt");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let status = child.wait().expect("it ends");
    assert_eq!(code(status), 0);
    drop(stdin);
    let last = ledger.records().pop().expect("records");
    assert_eq!(last["action"], "pipeline.stopped");
    let verified = ledger.graven(&["verify", "ledger", "--key", "ledger.vkey"]);
    assert!(text(&verified).contains("0 unsealed"), "{}", text(&verified));
    ledger.assert_good();
}

#[test]
fn a_mirror_holds_the_same_lines() {
    let ledger = Ledger::new();
    for _ in 0..2 {
        let output = ledger.feed(&["append", "--mirror", "mirror.jsonl"], EVENT.as_bytes());
        assert_eq!(code(output.status), 0, "{}", text(&output));
    }
    // A mirror that begins late is brought up from the segments.
    let output = ledger.feed(&["append", "--mirror", "late.jsonl"], EVENT.as_bytes());
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let output = ledger.feed(&["append", "--mirror", "mirror.jsonl"], EVENT.as_bytes());
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let late = std::fs::read(ledger.home().join("late.jsonl")).expect("a mirror");
    let segment = std::fs::read(ledger.path().join("segments/00000000000000000000.jsonl"))
        .expect("a segment");
    let mirror = std::fs::read(ledger.home().join("mirror.jsonl")).expect("a mirror");
    assert_eq!(mirror, segment);
    assert!(
        segment.starts_with(&late) && late.ends_with(b"\n"),
        "the late one lacks the last run alone"
    );
    assert_eq!(
        late.split(|byte| *byte == b'\n').count(),
        segment.split(|byte| *byte == b'\n').count() - 4
    );
    ledger.assert_good();
}

#[test]
fn silence_is_broken_by_heartbeats() {
    let ledger = Ledger::new();
    let mut child = ledger
        .command(&["append", "--heartbeat-s", "1"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("graven starts");
    let beat =
        |ledger: &Ledger| ledger.records().iter().any(|record| record["action"] == "heartbeat");
    wait_for("a heartbeat", || beat(&ledger).then_some(()));
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    let records = ledger.records();
    let heartbeat = records.iter().find(|record| record["action"] == "heartbeat").expect("one");
    assert!(heartbeat["detail"]["clock"]["synchronised"].is_boolean(), "{heartbeat}");
    ledger.assert_good();
}

#[test]
fn a_run_that_did_not_stop_in_order_leaves_a_gap() {
    let ledger = Ledger::new();
    let mut child =
        ledger.command(&["append"]).stdin(Stdio::piped()).spawn().expect("graven starts");
    let started = |ledger: &Ledger| {
        ledger.records().iter().any(|record| record["action"] == "pipeline.started")
    };
    wait_for("its first record", || started(&ledger).then_some(()));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let output = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let records = ledger.records();
    let downtime =
        records.iter().find(|record| record["gap"]["stage"] == "downtime").expect("a gap");
    assert!(downtime["gap"]["from"].as_str() <= downtime["gap"]["to"].as_str());
    ledger.assert_good();
}

/// Receipts that nobody reads are an error, and what was taken in is sealed all the same.
#[test]
fn a_reader_that_leaves_does_not_lose_events_in_silence() {
    let ledger = Ledger::new();
    fs_write(&ledger, "events", &format!("{EVENT}\n").repeat(50_000));
    let script = format!(
        "{} append --receipts events | head -n 1; exit ${{PIPESTATUS[0]}}",
        crate::support::GRAVEN
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(ledger.home())
        .output()
        .expect("bash runs");
    assert_eq!(code(output.status), 3, "{}", text(&output));
    assert!(stderr(&output).contains("receipts could not be written"), "{}", text(&output));
    assert_eq!(ledger.records().pop().expect("records")["action"], "pipeline.stopped");
    ledger.assert_good();
}

/// A mirror of another history is refused, and said so.
#[test]
fn a_mirror_of_another_history_is_an_error() {
    let ledger = Ledger::new();
    fs_write(&ledger, "foreign.jsonl", "{\"seq\":0}\n{\"seq\":1}\n");
    let output = ledger.feed(&["append", "--mirror", "foreign.jsonl"], EVENT.as_bytes());
    assert_eq!(code(output.status), 3, "{}", text(&output));
    assert!(stderr(&output).contains("foreign.jsonl"), "{}", text(&output));
    ledger.assert_good();
}

/// A ledger that is being written is never called faulty.
#[test]
fn a_live_ledger_verifies() {
    let ledger = Ledger::new();
    let mut child =
        ledger.command(&["append"]).stdin(Stdio::piped()).spawn().expect("graven starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let feeder = std::thread::spawn(move || {
        let lines = format!("{EVENT}\n").repeat(20);
        while stdin.write_all(lines.as_bytes()).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    for _ in 0..15 {
        std::thread::sleep(Duration::from_millis(100));
        let output = ledger.graven(&["verify", "ledger", "--key", "ledger.vkey"]);
        assert_eq!(code(output.status), 0, "{}", text(&output));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(code(child.wait().expect("it ends")), 0, "a termination drains and seals");
    feeder.join().expect("the feeder ends");
    assert_eq!(ledger.records().pop().expect("records")["action"], "pipeline.stopped");
    ledger.assert_good();
}

fn fs_write(ledger: &Ledger, name: &str, text: &str) {
    std::fs::write(ledger.home().join(name), text).expect("ours");
}
