//! Sealed segments held by file attributes: what root can do to them, and who could lift them.
//!
//! Held files cannot be deleted. So each of these tests runs in a mount namespace of its own, with its temporary
//! directories on a file system that goes with it.

mod attacks;
mod place;
mod release;
mod rights;
mod warden;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::daemon::rig::{Daemon, free_port, http_get, wait_for};
use crate::support::{EVENT, GRAVEN, Ledger, code, stderr, text};
use attacks::{ATTACKS, append, assert_refused};
use place::{on, own_attributes};

const APPEND_ONLY: &str = "a";
const CLOSED: &str = "ai";

/// The segments in order, each with its attributes.
fn segments(ledger: &Ledger) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(ledger.path().join("segments")).expect("segments");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), own_attributes(&path))).collect()
}

fn attributes(ledger: &Ledger) -> Vec<String> {
    segments(ledger).into_iter().map(|(_, attributes)| attributes).collect()
}

/// Has the daemon take an event in; it is durable then, and may be unsealed.
fn append_through(daemon: &Daemon, ledger: &Ledger) {
    let socket = daemon.socket();
    let args = ["append", "--socket", socket.to_str().expect("a path in UTF-8")];
    let appended = ledger.feed(&args, EVENT.as_bytes());
    assert!(appended.status.success(), "{}", text(&appended));
}

/// Waits until all that is durable is sealed.
fn wait_until_sealed(daemon: &Daemon) {
    wait_for("a seal", || {
        let figures = daemon.status()["ledgers"][0]["figures"].clone();
        (figures["sealed_size"].as_u64() > Some(0) && figures["size"] == figures["sealed_size"])
            .then_some(())
    });
}

fn worm(daemon: &Daemon) -> String {
    let page = text(&daemon.graven(&["status"]));
    let line = page.lines().find_map(|line| line.trim().strip_prefix("worm "));
    line.unwrap_or_else(|| panic!("{page}")).trim().to_owned()
}

#[test]
fn sealed_segments_withstand_root() {
    on("ext4", "worm::sealed_segments_withstand_root", || {
        let control = Ledger::new();
        assert_eq!(code(control.feed(&["append"], EVENT.as_bytes()).status), 0);
        let open = &segments(&control)[0].0;
        append(open).expect("control: what nobody holds can be appended to");
        for (what, attack) in ATTACKS {
            attack(open).unwrap_or_else(|error| panic!("control: {what}: {error}"));
        }

        let ledger = Ledger::new();
        let settings = "worm = \"required\"\nblock_ms_max = 3000\n";
        let port = free_port();
        let more = format!("[metrics]\nlisten = \"127.0.0.1:{port}\"");
        let mut daemon = Daemon::start(&[(&ledger, settings)], &more);
        append_through(&daemon, &ledger);
        assert_eq!(attributes(&ledger), [""], "control: no checkpoint covers it yet");
        wait_until_sealed(&daemon);
        assert_eq!(attributes(&ledger), [APPEND_ONLY]);
        assert_eq!(worm(&daemon), "append-only and immutable");
        let metrics = http_get(port, "/metrics");
        assert!(metrics.contains("graven_worm_active{ledger=\"one\"} 1"), "{metrics}");
        assert_refused(&segments(&ledger)[0].0);

        // The rest of the first segment is superseded by recovery: it is closed.
        append_through(&daemon, &ledger);
        daemon.signal(rustix::process::Signal::KILL);
        daemon.wait();
        assert_eq!(attributes(&ledger), [APPEND_ONLY], "it outlives recorder and warden");
        assert_refused(&segments(&ledger)[0].0);
        let daemon = Daemon::start(&[(&ledger, settings)], "");
        assert_eq!(attributes(&ledger), [CLOSED, APPEND_ONLY]);
        append_through(&daemon, &ledger);
        let segments = segments(&ledger);
        assert_refused(&segments[0].0);
        assert_eq!(append(&segments[0].0).expect_err("closed").raw_os_error(), Some(1));
        assert_refused(&segments[1].0);
        assert_eq!(daemon.stop(), 0);
        ledger.assert_good();

        let remove = || Command::new("rm").arg("-rf").arg(ledger.path()).output().expect("rm runs");
        assert!(!remove().status.success(), "control: it is held");
        let lift = Command::new("chattr").args(["-R", "-i", "-a"]).arg(ledger.path()).status();
        assert!(lift.expect("chattr runs").success());
        assert!(remove().status.success(), "root with a shell and every right lifts what it likes");
    });
}

/// Goal: no number of crashes leaves a ledger that its own attributes keep from being opened.
#[test]
fn kills_and_restarts_go_on_over_held_segments() {
    on("ext4", "worm::kills_and_restarts_go_on_over_held_segments", || {
        let ledger = Ledger::new();
        let settings = "worm = \"required\"\nblock_ms_max = 50\n";
        for round in 0..12 {
            let mut daemon = Daemon::start(&[(&ledger, settings)], "");
            for _ in 0..round % 4 {
                append_through(&daemon, &ledger);
            }
            daemon.signal(rustix::process::Signal::KILL);
            daemon.wait();
        }
        let daemon = Daemon::start(&[(&ledger, settings)], "");
        wait_until_sealed(&daemon);
        let attributes = attributes(&ledger);
        assert!(attributes.len() > 2, "control: recovery made segments: {attributes:?}");
        let (open, closed) = attributes.split_last().expect("segments");
        assert!(open == APPEND_ONLY && closed.iter().all(|it| it == CLOSED), "{attributes:?}");
        assert_eq!(daemon.stop(), 0);
        ledger.assert_good();
    });
}

#[test]
fn where_there_are_no_attributes_it_is_said() {
    on("ramfs", "worm::where_there_are_no_attributes_it_is_said", || {
        let ledger = Ledger::new();
        let daemon = Daemon::start(&[(&ledger, "worm = \"auto\"\n")], "");
        wait_until_sealed(&daemon);
        assert_eq!(worm(&daemon), "not here: the file system has none (ramfs)");
        assert_eq!(daemon.stop(), 0);
        ledger.assert_good();

        let mut refused = Daemon::spawn(&[(&ledger, "worm = \"required\"\n")], "", "");
        assert_eq!(refused.wait(), Some(2), "{}", refused.log());
        assert!(refused.log().contains("the file system has none (ramfs); "), "{}", refused.log());
    });
}

#[test]
fn without_the_right_it_is_said() {
    on("ext4", "worm::without_the_right_it_is_said", || {
        let ledger = Ledger::new();
        let without =
            format!("exec setpriv --bounding-set=-linux_immutable {GRAVEN} run --config \"$0\"");
        let daemon = Daemon::spawn(&[(&ledger, "worm = \"auto\"\n")], "", &without);
        daemon.wait_until_up();
        wait_until_sealed(&daemon);
        assert_eq!(worm(&daemon), "not here: no CAP_LINUX_IMMUTABLE");
        assert_eq!(attributes(&ledger), [""]);
        assert_eq!(daemon.stop(), 0);
        ledger.assert_good();
    });
}

/// The warden knows what it was told at its start, and nobody can tell it more.
#[test]
fn a_reload_changes_nothing_about_what_is_held() {
    on("ext4", "worm::a_reload_changes_nothing_about_what_is_held", || {
        let (ledger, late) = (Ledger::new(), Ledger::new());
        let daemon = Daemon::start(&[(&ledger, "worm = \"required\"\n")], "");
        daemon.reconfigure(&[(&ledger, "worm = \"off\"\n")], "");
        let refused = daemon.graven(&["reload"]);
        assert!(!refused.status.success() && stderr(&refused).contains("a restart alone"));
        let held = (&ledger, "worm = \"required\"\n");
        daemon.reconfigure(&[held, (&late, "worm = \"required\"\n")], "");
        let refused = daemon.graven(&["reload"]);
        assert!(!refused.status.success() && stderr(&refused).contains("from a restart on"));
        daemon.reconfigure(&[held, (&late, "worm = \"auto\"\n")], "");
        let applied = daemon.graven(&["reload"]);
        assert!(applied.status.success(), "{}", text(&applied));
        let status = daemon.status();
        assert_eq!(status["ledgers"][0]["worm"]["state"], "held");
        assert_eq!(status["ledgers"][1]["worm"]["state"], "missing", "{status:#}");
        assert_eq!(daemon.stop(), 0);
        late.assert_good();
    });
}

#[test]
fn off_is_off() {
    on("ext4", "worm::off_is_off", || {
        let ledger = Ledger::new();
        let daemon = Daemon::start(&[(&ledger, "worm = \"off\"\n")], "");
        wait_until_sealed(&daemon);
        assert_eq!((worm(&daemon), attributes(&ledger)), ("off".to_owned(), vec![String::new()]));
        assert_eq!(daemon.stop(), 0);
    });
}

/// A ledger that an earlier version, or a copy, left without attributes is held at once.
#[test]
fn what_is_sealed_already_is_held_at_the_start() {
    on("ext4", "worm::what_is_sealed_already_is_held_at_the_start", || {
        let ledger = Ledger::new();
        assert_eq!(code(ledger.feed(&["append"], EVENT.as_bytes()).status), 0);
        assert_eq!(attributes(&ledger), [""], "control: append holds nothing unasked");
        let appended = ledger.feed(&["append", "--worm"], EVENT.as_bytes());
        assert!(appended.status.success(), "{}", text(&appended));
        assert_eq!(attributes(&ledger), [APPEND_ONLY]);
        assert_refused(&segments(&ledger)[0].0);
        let ran = ledger.graven(&["exec", "--worm", "--", "true"]);
        assert!(ran.status.success(), "{}", text(&ran));
        // Without a warden the held segment is written on all the same.
        assert_eq!(code(ledger.feed(&["append"], EVENT.as_bytes()).status), 0);
        assert_eq!(attributes(&ledger), [APPEND_ONLY]);
        ledger.assert_good();
    });
    on("ramfs", "worm::what_is_sealed_already_is_held_at_the_start", || {
        let ledger = Ledger::new();
        let appended = ledger.feed(&["append", "--worm"], EVENT.as_bytes());
        assert_eq!(code(appended.status), 2, "{}", text(&appended));
        assert!(stderr(&appended).contains("(ramfs)"), "{}", text(&appended));
    });
}
