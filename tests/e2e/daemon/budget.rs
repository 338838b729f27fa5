//! A ledger that has used what it may of its disk: who waits, who does not, and how it goes on.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::rig::{Cgroup, Daemon, wait_for};
use super::{actions, watch};
use crate::schema;
use crate::support::{EVENT, GRAVEN, Ledger, code, have_root, text};

/// The least budget there is, and what holds all that the tests write.
const SMALL: &str = "budget = { bytes_max = 16777216 }\nheartbeat_s = 1\n";
const LARGE: &str = "budget = { bytes_max = 67108864 }\nheartbeat_s = 1\n";

/// Events that need more than the small budget and less than the large one.
const EVENTS: usize = 40_000;

/// What the ledger's figures say of its disk.
fn disk(daemon: &Daemon) -> Value {
    daemon.status()["ledgers"][0]["figures"]["disk"].clone()
}

fn wait_until(daemon: &Daemon, standing: &str) {
    wait_for(standing, || (disk(daemon)["standing"] == standing).then_some(()));
}

/// Bytes in the files below `dir`.
fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry"));
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        // One that has just been renamed.
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

/// Appends events through the daemon; their receipts go to a file.
fn append(ledger: &Ledger, daemon: &Daemon) -> Child {
    let events = ledger.home().join("events");
    fs::write(&events, format!("{EVENT}\n").repeat(EVENTS)).expect("events");
    let receipts = fs::File::create(ledger.home().join("receipts")).expect("a file");
    let mut command = ledger.command(&["append", "--receipts", "events"]);
    command.env("GRAVEN_SOCKET", daemon.socket()).stdin(Stdio::null()).stdout(receipts);
    command.spawn().expect("graven starts")
}

fn receipts(ledger: &Ledger) -> usize {
    let text = fs::read_to_string(ledger.home().join("receipts")).expect("receipts");
    text.lines().count()
}

#[test]
fn at_its_budget_sources_wait_until_there_is_more() {
    if !have_root("a budget of disk") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, SMALL)], "");
    assert_eq!(disk(&daemon)["standing"], "open", "control");
    let mut appending = append(&ledger, &daemon);
    wait_until(&daemon, "reached");
    let page = daemon.graven(&["status"]);
    assert!(text(&page).contains("FULL: its budget of disk is reached"), "{}", text(&page));
    assert_eq!(code(page.status), 1, "somebody has to look");

    // Graven's own records go on: a heartbeat comes in although nothing else does.
    let heartbeats = || actions(&ledger, "heartbeat").len();
    let let_pass = || {
        let before = heartbeats();
        wait_for("a heartbeat", || (heartbeats() > before + 1).then_some(()));
    };
    // What was let in before is in the ledger then.
    let_pass();
    let held = actions(&ledger, "trade.amended").len();
    wait_for("its receipts", || (receipts(&ledger) == held).then_some(()));
    let_pass();
    assert!(appending.try_wait().expect("it is ours").is_none(), "it waits");
    assert_eq!(actions(&ledger, "trade.amended").len(), held, "nothing is taken in meanwhile");
    assert!((1..EVENTS).contains(&held), "{held}");
    assert!(bytes_below(&ledger.path()) <= 16 << 20, "{}", bytes_below(&ledger.path()));

    daemon.reconfigure(&[(&ledger, LARGE)], "");
    let applied = daemon.graven(&["reload"]);
    assert!(
        text(&applied).contains("budget.bytes_max: 16777216 -> 67108864"),
        "{}",
        text(&applied)
    );
    assert!(appending.wait().expect("it ends").success());
    assert_eq!(receipts(&ledger), EVENTS, "the same command went on where it stood");
    assert_eq!(daemon.status()["ledgers"][0]["rebuilds"], 0);
    // The checkpoint, which is only ever replaced, is not counted.
    wait_for("the count of bytes to be that on disk", || {
        let counted = disk(&daemon)["used_bytes"].as_u64()?;
        (counted.abs_diff(bytes_below(&ledger.path())) < 1024).then_some(())
    });
    assert_eq!(daemon.stop(), 0);

    let [reached, resumed] = ["budget.reached", "budget.resumed"].map(|action| {
        let records = actions(&ledger, action);
        assert_eq!(records.len(), 1, "{records:#?}");
        schema::assert_valid_record(&records[0]);
        records[0].clone()
    });
    assert!(reached["seq"].as_u64() < resumed["seq"].as_u64());
    assert_eq!(reached["detail"]["bytes_max"], 16 << 20);
    assert_eq!(resumed["detail"]["bytes_max"], 64 << 20);
    ledger.assert_good();
}

#[test]
fn calls_wait_in_the_ring_and_what_it_loses_is_on_record_exactly() {
    if !have_root("a full ledger's ring") {
        return;
    }
    let ledger = Ledger::new();
    let cgroup = Cgroup::new("full");
    let watched = watch("ci", &format!("cgroups = [\"{}\"]", cgroup.below()));
    let settings = |budget: &str| format!("ring_bytes = 65536\n{budget}{watched}");
    let daemon = Daemon::start(&[(&ledger, &settings(SMALL))], "");
    let calls = "import os\nfor i in range(20000): os.sched_get_priority_max(os.SCHED_FIFO)";
    fs::write(ledger.home().join("calls.py"), calls).expect("a script");
    cgroup.run("true");
    let mut appending = append(&ledger, &daemon);
    wait_until(&daemon, "reached");
    cgroup.run(&format!("exec python3 {}/calls.py", ledger.home().display()));
    // Long enough for a hole that is none to be taken for one.
    thread::sleep(Duration::from_secs(2));
    assert!(actions(&ledger, "gap").is_empty(), "control: what waits is not lost");

    daemon.reconfigure(&[(&ledger, &settings(LARGE))], "");
    assert_eq!(code(daemon.graven(&["reload"]).status), 0);
    assert!(appending.wait().expect("it ends").success());
    wait_for("the gap", || (!actions(&ledger, "gap").is_empty()).then_some(()));
    assert_eq!(daemon.stop(), 0);
    assert_kernel_counts(&ledger);
    ledger.assert_good();
}

/// The budget by what is free: others may fill the disk too, and make room on it.
#[test]
fn what_is_to_stay_free_stays_free() {
    if !have_root("a disk of others") {
        return;
    }
    let ledger = Ledger::new();
    let disk_dir = ledger.home().join("disk");
    fs::create_dir(&disk_dir).expect("a mount point");
    // In a mount namespace of its own: the daemon alone sees the small disk.
    let before = format!(
        "[ -n \"$INSIDE\" ] || INSIDE=1 exec unshare --mount sh -c \"$(cat {0}/enter)\" \"$0\"",
        ledger.home().display()
    );
    let enter = format!(
        "mount -t tmpfs -o size=64m none {1} && cp -r {0} {1}/ledger && mount --bind {1}/ledger {0} && exec {GRAVEN} run --config \"$0\"",
        ledger.path().display(),
        disk_dir.display()
    );
    fs::write(ledger.home().join("enter"), enter).expect("a script");
    let settings = "budget = { free_bytes_min = 33554432 }\n";
    let daemon = Daemon::spawn(&[(&ledger, settings)], "", &before);
    wait_for("the daemon", || daemon.graven(&["status"]).status.code().filter(|code| *code < 2));
    assert_eq!(disk(&daemon)["standing"], "open", "control");
    let inside = |path: &Path| format!("/proc/{}/root{}", daemon.pid(), path.display());
    let filler = inside(&disk_dir.join("filler"));
    fs::write(&filler, vec![0; 29 << 20]).expect("most of the disk");
    wait_until(&daemon, "slowed");
    fs::write(&filler, vec![0; 40 << 20]).expect("more of the disk");
    wait_until(&daemon, "reached");
    let mut appending = append(&ledger, &daemon);
    thread::sleep(Duration::from_secs(2));
    assert!(appending.try_wait().expect("it is ours").is_none(), "it waits");
    assert_eq!(receipts(&ledger), 0);
    fs::remove_file(&filler).expect("room again");
    wait_until(&daemon, "open");
    assert!(appending.wait().expect("it ends").success());
    let copied = ledger.home().join("copied");
    let from = inside(&ledger.path());
    let copy = Command::new("cp").args(["-r", &from]).arg(&copied).status();
    assert!(copy.expect("cp runs").success());
    assert_eq!(daemon.stop(), 0);
    let verdict = ledger.graven(&["verify", "copied", "--key", "ledger.vkey"]);
    assert!(verdict.status.success(), "{}", text(&verdict));
}

/// A service that is told to stop while nothing is taken in keeps what the ring holds, and tells of the rest.
#[test]
fn a_full_ledger_stops_without_losing_what_the_ring_holds() {
    if !have_root("the end of a full ledger") {
        return;
    }
    let ledger = Ledger::new();
    let cgroup = Cgroup::new("stop");
    let watched = watch("ci", &format!("cgroups = [\"{}\"]", cgroup.below()));
    let daemon = Daemon::start(&[(&ledger, &format!("{SMALL}{watched}"))], "");
    let mut appending = append(&ledger, &daemon);
    wait_until(&daemon, "reached");
    cgroup.run("true; cat /nonexistent/waiting 2> /dev/null || true");
    assert!(!super::has_mark(&ledger, "waiting"), "control: it waits in the ring");
    assert_eq!(daemon.stop(), 0);
    assert!(!appending.wait().expect("it ends").success(), "not all of it is in the ledger");
    assert!(super::has_mark(&ledger, "waiting"));
    assert_kernel_counts(&ledger);
    ledger.assert_good();
}

/// What the kernel has counted is what is on record: each record handed over, and each dropped one in a gap.
fn assert_kernel_counts(ledger: &Ledger) {
    let records = ledger.records();
    let stopped = actions(ledger, "pipeline.stopped").pop().expect("the last record");
    let counted = |name: &str| stopped["detail"]["losses"][name].as_u64().expect("a count");
    let from_kernel = records.iter().filter(|it| it["source"] == "kernel").count() as u64;
    let gaps = records.iter().filter(|record| record["gap"]["stage"] == "ring");
    let lost: u64 = gaps.filter_map(|record| record["gap"]["lost"].as_u64()).sum();
    assert!(from_kernel > 0, "control");
    assert_eq!((from_kernel, lost), (counted("emitted"), counted("dropped")));
}
