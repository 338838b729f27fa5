//! Graphs that fail, disks that are full, users that mean ill.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::rig::{Cgroup, Daemon, free_port, http_get, wait_for};
use crate::support::{EVENT, GRAVEN, Ledger, have_root, text};

#[test]
fn a_graph_that_failed_is_rebuilt() {
    if !have_root("a rebuild") {
        return;
    }
    let ledger = Ledger::new();
    // Too few threads are allowed for the graph's stages, as on a machine that has run out of them.
    let cramped = Cgroup::of_pids("cramped");
    fs::write(cramped.path().join("pids.max"), "6").expect("the pids controller");
    let enter = format!("echo $$ > {}/cgroup.procs", cramped.path().display());
    let daemon = Daemon::spawn(&[(&ledger, "")], "", &enter);
    let down = wait_for("the failure", || {
        let output = daemon.graven(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        status["ledgers"][0]["down"].as_str().map(str::to_owned)
    });
    assert!(down.contains("thread"), "{down}");
    fs::write(cramped.path().join("pids.max"), "max").expect("room");
    wait_for("the rebuilt graph", || daemon.status()["ledgers"][0]["down"].is_null().then_some(()));
    assert!(daemon.status()["ledgers"][0]["rebuilds"].as_u64() >= Some(1));
    let events = ledger.home().join("events");
    fs::write(&events, EVENT).expect("an event");
    let appended = ledger
        .command(&["append", "events"])
        .env("GRAVEN_SOCKET", daemon.socket())
        .output()
        .expect("graven runs");
    assert!(appended.status.success(), "{}", text(&appended));
    assert_eq!(daemon.stop(), 0);
    ledger.assert_good();
}

#[test]
fn a_ledger_that_cannot_be_written_is_down_alone_and_comes_back() {
    if !have_root("a full disk") {
        return;
    }
    let (full, other) = (Ledger::new(), Ledger::new());
    let disk = full.home().join("disk");
    fs::create_dir(&disk).expect("a mount point");
    // In a mount namespace of its own: the daemon alone sees the small disk.
    let before = format!(
        "[ -n \"$INSIDE\" ] || INSIDE=1 exec unshare --mount sh -c \"$(cat {0}/enter)\" \"$0\"",
        full.home().display()
    );
    let enter = format!(
        "mount -t tmpfs -o size=6m none {1} && cp -r {0} {1}/ledger && head -c 4m /dev/zero > {1}/filler && mount --bind {1}/ledger {0} && exec {GRAVEN} run --config \"$0\"",
        full.path().display(),
        disk.display()
    );
    fs::write(full.home().join("enter"), enter).expect("a script");
    let daemon = Daemon::spawn(&[(&full, ""), (&other, "")], "", &before);
    wait_for("the daemon", || daemon.graven(&["status"]).status.code().filter(|code| *code < 2));
    let inside = |path: &std::path::Path| {
        PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), path.display()))
    };
    let events = full.home().join("events");
    fs::write(&events, format!("{EVENT}\n").repeat(20_000)).expect("events");
    let small = other.home().join("events");
    fs::write(&small, EVENT).expect("an event");
    let socket = daemon.socket();
    let append = |ledger: &Ledger, file: &std::path::Path| {
        let mut command = ledger.command(&["append", "--receipts", "--ledger"]);
        command.arg(ledger.path()).arg(file).env("GRAVEN_SOCKET", &socket);
        command.output().expect("graven runs")
    };
    let appended = append(&full, &events);
    assert!(!appended.status.success(), "the disk holds a part of it: {}", text(&appended));
    let down = wait_for("the failure", || {
        daemon.status()["ledgers"][0]["down"].as_str().map(str::to_owned)
    });
    assert!(down.contains("No space left on device"), "{down}");
    let control = append(&other, &small);
    assert!(control.status.success(), "the other goes on: {}", text(&control));
    let receipts = String::from_utf8_lossy(&appended.stdout).lines().count();

    fs::remove_file(inside(&disk.join("filler"))).expect("room again");
    wait_for("the ledger", || daemon.status()["ledgers"][0]["down"].is_null().then_some(()));
    let again = append(&full, &small);
    assert!(again.status.success(), "{}", text(&again));
    let copied = full.home().join("copied");
    let copy = Command::new("cp").arg("-r").arg(inside(&full.path())).arg(&copied).status();
    assert!(copy.expect("cp runs").success());
    assert_eq!(daemon.stop(), 0);
    let verdict = full.graven(&["verify", "copied", "--key", "ledger.vkey"]);
    assert!(verdict.status.success(), "{}", text(&verdict));
    let kept = fs::read_dir(copied.join("segments")).expect("segments");
    let kept: usize = kept
        .map(|entry| fs::read_to_string(entry.expect("a file").path()).expect("text"))
        .map(|text| text.matches("trade.amended").count())
        .sum();
    assert!(
        kept > receipts,
        "{kept} events stand, {receipts} were acknowledged, and one more since"
    );
    other.assert_good();
}

#[test]
fn idle_connections_to_the_metrics_starve_nobody() {
    if !have_root("metrics under siege") {
        return;
    }
    let (ledger, port) = (Ledger::new(), free_port());
    let more = format!("[metrics]\nlisten = \"127.0.0.1:{port}\"");
    let daemon = Daemon::start(&[(&ledger, "")], &more);
    http_get(port, "/metrics");
    let descriptors =
        || fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("its descriptors").count();
    let before = descriptors();
    let idle: Vec<_> = (0..150)
        .map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).expect("a backlog"))
        .collect();
    wait_for("some of them", || (descriptors() > before + 10).then_some(()));
    assert!(descriptors() < before + 50, "{} descriptors more", descriptors() - before);
    // Each is cut in its time, and whoever waits behind them is served.
    assert!(http_get(port, "/metrics").contains("graven_up"));
    drop(idle);
    assert_eq!(daemon.stop(), 0);
    ledger.assert_good();
}
