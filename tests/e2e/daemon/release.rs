//! Segments that leave the ledger once they are elsewhere, and what is left to show it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::actions;
use super::rig::{Daemon, wait_for};
use crate::schema;
use crate::support::{EVENT, Ledger, code, have_root, stderr, text};

/// Events that fill a few of the smallest segments.
const EVENTS: usize = 10_000;

fn mirror(ledger: &Ledger) -> PathBuf {
    ledger.home().join("mirror")
}

/// Settings with a mirror that is required, and a retention that is soon over.
fn settings(ledger: &Ledger) -> String {
    format!(
        "mirror = \"{}\"\nheartbeat_s = 1\nsegment_bytes = 1048576\n[ledger.release]\nretention = \"PT1S\"\nrequired_sinks = [\"mirror\"]\n",
        mirror(ledger).display()
    )
}

/// Has the daemon take in enough for several of the smallest segments.
pub(crate) fn append(ledger: &Ledger, daemon: &Daemon) {
    let events = ledger.home().join("events");
    fs::write(&events, format!("{EVENT}\n").repeat(EVENTS)).expect("events");
    let mut command = ledger.command(&["append", "events"]);
    let appended = command.env("GRAVEN_SOCKET", daemon.socket()).output().expect("graven runs");
    assert!(appended.status.success(), "{}", text(&appended));
}

/// The segments' first records.
fn segments(ledger: &Ledger) -> Vec<u64> {
    let paths = graven_ledger::Paths::new(&ledger.path());
    let segments = graven_ledger::list_segments(&paths).expect("segments");
    segments.into_iter().map(|segment| segment.first).collect()
}

fn verdict(ledger: &Ledger) -> String {
    text(&ledger.graven(&["verify", "ledger", "--key", "ledger.vkey"]))
}

#[test]
fn old_segments_leave_once_the_mirror_has_them() {
    if !have_root("a release") {
        return;
    }
    let (ledger, keeping) = (Ledger::new(), Ledger::new());
    let keeps = "segment_bytes = 1048576\n";
    let daemon = Daemon::start(&[(&ledger, &settings(&ledger)), (&keeping, keeps)], "");
    append(&ledger, &daemon);
    append(&keeping, &daemon);
    wait_for("the last segment alone", || (segments(&ledger).len() == 1).then_some(()));
    assert!(segments(&keeping).len() > 3, "control: without a retention nothing is released");
    let release = daemon.status()["ledgers"][0]["figures"]["release"].clone();
    assert!(release["segments"].as_u64() >= Some(3), "{release}");
    assert!(text(&daemon.graven(&["status"])).contains("released    "));
    // Begins anew where it stands, the mirror too.
    assert_eq!(daemon.stop(), 0);
    let daemon = Daemon::start(&[(&ledger, &settings(&ledger))], "");
    assert_eq!(daemon.stop(), 0);

    ledger.assert_good();
    keeping.assert_good();
    let begins = segments(&ledger)[0];
    let told = verdict(&ledger);
    assert!(told.contains("released    records 0 to "), "{told}");
    let records = actions(&ledger, "segment.released");
    records.iter().for_each(schema::assert_valid_record);
    let last = records.last().expect("a record that says so");
    let [first, count] = ["first", "count"].map(|it| last["detail"][it].as_u64().expect("a count"));
    assert_eq!(first + count, begins);
    let copied = fs::read(mirror(&ledger)).expect("the mirror");
    let lines: Vec<_> = copied.split_inclusive(|byte| *byte == b'\n').collect();
    let standing = ledger.records().len();
    assert_eq!(lines.len(), usize::try_from(begins).expect("a count") + standing);

    let shown = ledger.graven(&["show", "7"]);
    assert_eq!(code(shown.status), 0, "{}", text(&shown));
    for words in [
        format!("not any more: the ledger's records begin with {begins}"),
        graven_record::leaf_hash(&lines[7][..lines[7].len() - 1]).to_string(),
        "in tree    yes".to_owned(),
    ] {
        assert!(text(&shown).contains(&words), "{words}: {}", text(&shown));
    }
    let asked = ledger.graven(&["show", "7", "--json"]);
    assert!(stderr(&asked).contains("record 7 is not in the ledger any more"), "{}", text(&asked));
    let tail = ledger.graven(&["tail", "--no-follow", "--json", "-n", "100000"]);
    assert_eq!(code(tail.status), 0, "{}", text(&tail));
    assert_eq!(String::from_utf8_lossy(&tail.stdout).lines().count(), standing);

    // What nobody put on record is missing.
    let path = keeping.path().join(format!("segments/{:020}.jsonl", 0));
    fs::remove_file(path).expect("removed");
    let told = verdict(&keeping);
    assert!(told.contains("missing-records, record 0"), "{told}");
}

/// Goal: a release makes room, and nobody has to do anything. Method: more than the budget, through it.
#[test]
fn what_is_released_makes_room_in_the_budget() {
    if !have_root("a release under a budget") {
        return;
    }
    let ledger = Ledger::new();
    let budget = "budget = { bytes_max = 16777216 }\n";
    let daemon = Daemon::start(&[(&ledger, &format!("{budget}{}", settings(&ledger)))], "");
    for _ in 0..4 {
        append(&ledger, &daemon);
    }
    assert_eq!(daemon.stop(), 0);
    ledger.assert_good();
    let size = ledger.records().last().expect("records")["seq"].as_u64().expect("a number");
    assert!(size >= 4 * EVENTS as u64, "control: all of it came in");
    let bytes = fs::metadata(mirror(&ledger)).expect("the mirror").len();
    assert!(bytes > 16 << 20, "control: it is more than the budget, {bytes}");
}

/// A file that may not be removed is tried again later; after a start, a sealed record is reason enough.
#[test]
fn what_a_record_names_is_removed_by_the_next_start() {
    if !have_root("an interrupted release") {
        return;
    }
    let ledger = Ledger::new();
    // As under a writer that has closed it for good.
    let daemon = Daemon::start(&[(&ledger, "segment_bytes = 1048576\n")], "");
    append(&ledger, &daemon);
    assert_eq!(daemon.stop(), 0);
    let path = ledger.path().join(format!("segments/{:020}.jsonl", 0));
    let chattr = |flag| Command::new("chattr").arg(flag).arg(&path).status().expect("chattr runs");
    assert!(chattr("+i").success(), "the file system of {} knows no +i", path.display());

    let daemon = Daemon::start(&[(&ledger, &settings(&ledger))], "");
    let failure = wait_for("the failure", || {
        let figures = daemon.status()["ledgers"][0]["figures"].clone();
        figures["release"]["failure"].as_str().map(str::to_owned)
    });
    assert!(failure.contains("may not remove") && failure.contains("00000.jsonl"), "{failure}");
    assert_eq!(daemon.stop(), 0, "it is no reason to go down");
    assert!(chattr("-i").success());
    assert!(path.exists());
    ledger.assert_good();
    assert_eq!(actions(&ledger, "segment.released").len(), 1, "control: it is on record");

    // Even under settings that release nothing.
    let daemon = Daemon::start(&[(&ledger, "")], "");
    wait_for("the removal", || (!path.exists()).then_some(()));
    assert_eq!(daemon.stop(), 0);
    assert_eq!(actions(&ledger, "segment.released").len(), 1, "it was not said twice");
    ledger.assert_good();
}
