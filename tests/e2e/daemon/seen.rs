//! What the verbs show of a daemon.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::rig::{Daemon, wait_for};
use crate::support::{GRAVEN, Ledger, code, have_root, stderr, text};

/// The verdict first, an `exec` by its agent's name, and the ledger by its own.
#[test]
fn status_and_tail_call_things_by_their_names() {
    if !have_root("what a daemon shows") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let mut client = daemon.exec(&ledger, &["--agent", "bot"], "touch at-it; exec sleep 600");
    let status = daemon.graven(&["status"]);
    assert_eq!(code(status.status), 0, "{}", text(&status));
    let page = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(page.starts_with("one  all well\n"), "{page}");
    assert!(page.contains("  watches     exec  bot ("), "{page}");
    kill_process(Pid::from_child(&client), Signal::TERM).expect("it runs");
    client.wait().expect("it ends");

    // A record is shown once it is sealed.
    let shown = wait_for("sealed records", || {
        let tail = daemon.graven(&["tail", "one", "--no-follow", "--call", "pipeline.*"]);
        assert_eq!(code(tail.status), 0, "{}", text(&tail));
        Some(String::from_utf8_lossy(&tail.stdout).into_owned()).filter(|it| !it.is_empty())
    });
    assert!(shown.contains(" pipeline.started graven "), "{shown}");
    let none = daemon.graven(&["tail", "two", "--no-follow"]);
    assert_eq!(code(none.status), 2, "{}", text(&none));

    for verb in ["status", "status --json", "reload"] {
        let script = format!("{GRAVEN} {verb} 2>err | true; exit ${{PIPESTATUS[0]}}");
        let ran = Command::new("bash")
            .args(["-c", &script])
            .current_dir(ledger.home())
            .env("GRAVEN_SOCKET", daemon.socket())
            .status()
            .expect("bash runs");
        let said = fs::read_to_string(ledger.home().join("err")).expect("it is there");
        assert_eq!((code(ran), &*said), (0, ""), "{verb}");
    }
    assert_eq!(daemon.stop(), 0);
    ledger.assert_good();
}

#[test]
fn a_daemon_is_found_by_its_configuration() {
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let config = Daemon::config(daemon.home.path());
    let config = config.to_str().expect("text");
    let ask = |args: &[&str]| {
        let mut command = ledger.command(args);
        command.env("GRAVEN_SOCKET", "/nonexistent/sock").output().expect("graven runs")
    };
    for verb in ["status", "reload"] {
        let lost = ask(&[verb]);
        assert!(stderr(&lost).contains("no daemon answers at /nonexistent/sock"), "control");
        let found = ask(&[verb, "--config", config]);
        assert_eq!(code(found.status), 0, "{}", text(&found));
        let none = ask(&[verb, "--config", "elsewhere.toml"]);
        assert!(stderr(&none).contains("elsewhere.toml"), "{}", text(&none));
        assert_ne!(code(none.status), 0);
    }
    assert_eq!(daemon.stop(), 0);
    ledger.assert_good();
}
