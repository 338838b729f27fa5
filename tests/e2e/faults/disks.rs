//! Disks that are full, and file systems that the kernel has given up.

use std::fs;

use super::recorder::Recorder;
use super::small_disk::SmallDisk;
use crate::daemon::rig::{Daemon, wait_for};
use crate::support::{EVENT, Ledger, assert_stand, code, have_root, receipts, stderr, text};

/// Room that is left on a disk that is nearly full, in bytes: for some of the events below.
const NEARLY_FULL: u64 = 2 << 20;
const MANY: usize = 20_000;

#[test]
fn a_full_disk_ends_append() {
    if !have_root("a full disk") {
        return;
    }
    let ledger = Ledger::new();
    let disk = SmallDisk::under(&ledger);
    let events = format!("{EVENT}\n").repeat(MANY);
    let control = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(control.status), 0, "{}", text(&control));
    disk.fill(NEARLY_FULL);
    let full = ledger.feed(&["append", "--receipts"], events.as_bytes());
    assert_eq!(code(full.status), 3, "{}", stderr(&full));
    for part in ["No space left on device", "ledger/", "make room there, then run it again"] {
        assert!(stderr(&full).contains(part), "no `{part}`: {}", stderr(&full));
    }
    let acknowledged = receipts(&full.stdout);
    assert!((1..MANY).contains(&acknowledged.len()), "{} receipts", acknowledged.len());
    disk.make_room();
    let again = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(again.status), 0, "{}", text(&again));
    assert_stand(&ledger.path(), &acknowledged);
    ledger.assert_good();
}

#[test]
fn a_disk_that_becomes_read_only_ends_append() {
    if !have_root("a read-only disk") {
        return;
    }
    let ledger = Ledger::new();
    let disk = SmallDisk::under(&ledger);
    let mut append = ledger.command(&["append", "--receipts"]);
    let mut recorder = Recorder::start(&mut append, &ledger.home().join("complaints"));
    recorder.submit(3);
    assert_eq!(recorder.receipts.len(), 3, "control");
    disk.fail();
    recorder.submit(3);
    let ended = recorder.end();
    assert_eq!(ended.receipts.len(), 3, "nothing more is acknowledged");
    assert_eq!(code(ended.status), 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("ledger/"), "{}", ended.stderr);
    assert!(ended.stderr.contains("then run it again"), "{}", ended.stderr);
    let still = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(still.status), 3, "{}", text(&still));
    disk.repair();
    let again = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(again.status), 0, "{}", text(&again));
    assert_stand(&ledger.path(), &ended.receipts);
    ledger.assert_good();
}

/// Waits until the daemon's first ledger is down; gives the reason.
fn down(daemon: &Daemon) -> String {
    wait_for("the failure", || daemon.status()["ledgers"][0]["down"].as_str().map(str::to_owned))
}

fn wait_until_up(daemon: &Daemon) {
    wait_for("the ledger", || daemon.status()["ledgers"][0]["down"].is_null().then_some(()));
}

#[test]
fn under_the_daemon_a_full_disk_stops_one_ledger() {
    if !have_root("a full disk") {
        return;
    }
    let (ledger, other) = (Ledger::new(), Ledger::new());
    let disk = SmallDisk::under(&ledger);
    let daemon = Daemon::start(&[(&ledger, ""), (&other, "")], "");
    let append = |ledger: &Ledger, count: usize| {
        let events = ledger.home().join("events");
        fs::write(&events, format!("{EVENT}\n").repeat(count)).expect("events");
        let mut append = ledger.command(&["append", "--receipts", "events"]);
        append.env("GRAVEN_SOCKET", daemon.socket()).output().expect("graven runs")
    };
    let control = append(&ledger, 1);
    assert_eq!(code(control.status), 0, "{}", text(&control));
    disk.fill(NEARLY_FULL);
    let full = append(&ledger, MANY);
    assert_ne!(code(full.status), 0, "{}", stderr(&full));
    assert!(down(&daemon).contains("No space left on device"));
    let beside = append(&other, 1);
    assert_eq!(code(beside.status), 0, "the other goes on: {}", text(&beside));
    let acknowledged = receipts(&full.stdout);
    assert!((1..MANY).contains(&acknowledged.len()), "{} receipts", acknowledged.len());
    disk.make_room();
    wait_until_up(&daemon);
    let again = append(&ledger, 1);
    assert_eq!(code(again.status), 0, "{}", text(&again));
    assert_eq!(daemon.stop(), 0);
    assert_stand(&ledger.path(), &acknowledged);
    ledger.assert_good();
    other.assert_good();
}

#[test]
fn under_the_daemon_a_read_only_disk_stops_one_ledger() {
    if !have_root("a read-only disk") {
        return;
    }
    let (ledger, other) = (Ledger::new(), Ledger::new());
    let disk = SmallDisk::under(&ledger);
    let daemon = Daemon::start(&[(&ledger, ""), (&other, "")], "");
    let append = |ledger: &Ledger, events: u32| {
        let mut append = ledger.command(&["append", "--receipts"]);
        append.env("GRAVEN_SOCKET", daemon.socket());
        let mut recorder = Recorder::start(&mut append, &ledger.home().join("complaints"));
        recorder.submit(events);
        recorder
    };
    let mut recorder = append(&ledger, 3);
    assert_eq!(recorder.receipts.len(), 3, "control");
    disk.fail();
    recorder.submit(3);
    let ended = recorder.end();
    assert_eq!(ended.receipts.len(), 3, "nothing more is acknowledged");
    assert!(!ended.status.success(), "{}", ended.stderr);
    assert!(down(&daemon).contains("ledger/"), "{}", down(&daemon));
    let beside = append(&other, 1).end();
    assert_eq!(code(beside.status), 0, "the other goes on: {}", beside.stderr);
    // While it is unmounted, there is no ledger: which is no reason to give it up.
    disk.repair();
    wait_until_up(&daemon);
    let again = append(&ledger, 1).end();
    assert_eq!(code(again.status), 0, "{}", again.stderr);
    assert_eq!(daemon.stop(), 0);
    assert_stand(&ledger.path(), &ended.receipts);
    assert_stand(&ledger.path(), &again.receipts);
    ledger.assert_good();
    other.assert_good();
}
