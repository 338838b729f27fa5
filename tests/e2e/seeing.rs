//! What an operator sees: `tail`, `status`, completions, manual pages.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::daemon::rig::wait_for;
use crate::support::{EVENT, GRAVEN, Ledger, code, lines_of, stderr, text};

fn lines(ledger: &Ledger, args: &[&str]) -> Vec<String> {
    let output = ledger.graven(&[&["tail", "--no-follow"], args].concat());
    assert_eq!(code(output.status), 0, "{}", text(&output));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn event(action: &str, actor: &str, subject: &str) -> String {
    format!(
        r#"{{"action":"{action}","actor":{{"kind":"user","id":"{actor}"}},"subject":{{"kind":"file","id":"{subject}"}}}}"#
    )
}

#[test]
fn tail_shows_the_last_records_that_pass() {
    let ledger = Ledger::new();
    let events = [
        event("file.read", "ada", "/etc/passwd"),
        event("file.write", "ada", "/etc/app/conf"),
        event("file.write", "bob", "/home/bob/x"),
        event("file.write", "bob", "/etc/app/deep/conf"),
    ];
    ledger.feed(&["append"], events.join("\n").as_bytes());
    let all = lines(&ledger, &["-n", "100"]);
    assert_eq!(all.len(), ledger.records().len() + 1, "control: a day, and all of them");
    assert!(all[0].starts_with("── 20") && all[0].ends_with(" UTC ──"), "{}", all[0]);
    assert_eq!(lines(&ledger, &["-n", "2"])[1..], all[all.len() - 2..]);
    for (seq, line) in all[1..].iter().enumerate() {
        assert_eq!(line.split_whitespace().next(), Some(&*seq.to_string()), "{line}");
    }
    let subjects = |args: &[&str]| -> Vec<String> {
        let json = lines(&ledger, &[args, &["--json"]].concat());
        let values = json.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        values.map(|it| it["subject"]["id"].as_str().expect("a subject").to_owned()).collect()
    };
    assert_eq!(subjects(&["--actor", "ada"]), ["/etc/passwd", "/etc/app/conf"]);
    assert_eq!(subjects(&["--call", "*.read"]), ["/etc/passwd"]);
    assert_eq!(subjects(&["--path", "/etc/*"]), ["/etc/passwd"], "a star stops at a slash");
    assert_eq!(subjects(&["--path", "/etc/**", "-n", "1"]), ["/etc/app/deep/conf"]);
    assert_eq!(subjects(&["--actor", "bob", "--path", "/home/**"]), ["/home/bob/x"]);
    assert!(subjects(&["--actor", "nobody"]).is_empty());
    assert!(subjects(&["--verdict", "block"]).is_empty());
    assert_eq!(subjects(&["--kind", "event", "-n", "1"]), ["/etc/app/deep/conf"]);
    assert_eq!(subjects(&["--kind", "event", "--since", "1h"]).len(), 4);
    assert!(subjects(&["--since", "2099-01-01T00:00:00Z"]).is_empty());
    assert!(subjects(&["--until", "1h"]).is_empty());
    assert!(subjects(&["--failed"]).is_empty());
    let stored: Vec<Value> = ledger.records();
    let shown: Vec<Value> = lines(&ledger, &["-n", "100", "--json"])
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(shown, stored, "as they are stored");
    ledger.assert_good();
}

#[test]
fn tail_follows_a_ledger_that_grows() {
    let ledger = Ledger::new();
    ledger.feed(&["append"], event("a.first", "ada", "x").as_bytes());
    let mut tail = ledger
        .command(&["tail", "-n", "1", "--call", "a.*"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("graven starts");
    let shown = lines_of(tail.stdout.take().expect("a pipe"));
    let next = || wait_for("a line", || shown.try_recv().ok());
    let day = next();
    assert!(day.starts_with("── "), "{day}");
    let line = next();
    assert!(line.contains("a.first"), "control: {line}");
    // It is past that by now: what comes later is followed.
    ledger.feed(&["append"], format!("{EVENT}\n{}", event("a.second", "ada", "y")).as_bytes());
    let line = next();
    assert!(line.contains("a.second") && line.contains("ada"), "{line}");
    assert!(!line.contains('\u{1b}'), "no colour where nobody looks: {line:?}");
    tail.kill().expect("it runs");
    tail.wait().expect("it ends");
    ledger.assert_good();
}

#[test]
fn tail_says_what_is_no_ledger() {
    let ledger = Ledger::new();
    let output = ledger.graven(&["tail", "--ledger", "elsewhere"]);
    assert_eq!(code(output.status), 2);
    assert!(stderr(&output).contains("elsewhere is not a ledger"), "{}", text(&output));
    let output = ledger.graven(&["tail", "elsewhere"]);
    assert_eq!(code(output.status), 2, "{}", text(&output));
    assert_eq!(lines(&ledger, &["ledger"]), lines(&ledger, &[]), "by its directory, or by default");
    for args in [["--path", "["], ["--since", "yesterday"], ["--lines", "few"]] {
        let output = ledger.graven(&[&["tail"][..], &args].concat());
        assert_eq!(code(output.status), 2, "{}", text(&output));
    }
    assert!(stderr(&ledger.graven(&["tail", "-n", "few"])).contains("expected a number"));
}

#[test]
fn shells_and_man_know_every_verb() {
    let help = Command::new(GRAVEN).arg("--help").output().expect("graven runs");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let (_, verbs) = help.split_once("Commands:\n").expect("a list of verbs");
    let verbs: Vec<&str> = verbs
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !matches!(*verb, "" | "help"))
        .collect();
    assert!(verbs.len() > 10, "control: {verbs:?}");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let made = Command::new(GRAVEN).arg("man").arg(dir.path()).output().expect("graven runs");
    assert!(made.status.success(), "{}", text(&made));
    for shell in ["bash", "zsh", "fish"] {
        let script =
            Command::new(GRAVEN).args(["completions", shell]).output().expect("graven runs");
        let script = String::from_utf8_lossy(&script.stdout).into_owned();
        for verb in &verbs {
            assert!(script.contains(verb), "{shell} does not know {verb}");
        }
        assert!(!script.contains("guard"), "{shell} offers what is hidden");
    }
    for verb in verbs {
        let page = fs::read_to_string(dir.path().join(format!("graven-{verb}.1"))).expect(verb);
        for part in ["SYNOPSIS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "SEE ALSO"] {
            let heading = format!(".SH {part}");
            let quoted = format!(".SH \"{part}\"");
            assert!(page.contains(&heading) || page.contains(&quoted), "no {part} in\n{page}");
        }
        assert!(page.lines().any(|line| line.starts_with(".TH") && line.contains("graven ")));
    }
}
