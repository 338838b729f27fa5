//! What is held leaves the ledger after its retention, by the warden's leave and by no other.

use std::fs;
use std::process::Command;

use graven_daemon::warden::{Order, VERB, Ward, Warden};
use rustix::io::Errno;

use super::{
    APPEND_ONLY, CLOSED, assert_refused, attributes, on, segments, wait_until_sealed, worm,
};
use crate::daemon::actions;
use crate::daemon::release::append;
use crate::daemon::rig::{Daemon, wait_for};
use crate::support::{EVENT, GRAVEN, Ledger, stderr, text};

/// Settings that hold what is sealed, and let it go after `retention`.
fn settings(retention: &str) -> String {
    format!(
        "worm = \"required\"\nheartbeat_s = 1\nsegment_bytes = 1048576\n\
         [ledger.release]\nretention = \"{retention}\"\nwithout_copy = true\n"
    )
}

/// Goal: retention and attributes are one promise. Method: the same segments before their retention is over, asked
/// for by everybody, and after it.
#[test]
fn held_segments_leave_after_their_retention_and_no_earlier() {
    on("ext4", "worm::release::held_segments_leave_after_their_retention_and_no_earlier", || {
        let ledger = Ledger::new();
        let daemon = Daemon::start(&[(&ledger, &settings("PT1H"))], "");
        append(&ledger, &daemon);
        wait_until_sealed(&daemon);
        let held = attributes(&ledger);
        let (open, closed) = held.split_last().expect("segments");
        assert!(closed.len() > 2 && closed.iter().all(|it| it == CLOSED), "control: {held:?}");
        assert_eq!((&**open, &*worm(&daemon)), (APPEND_ONLY, "append-only and immutable"));

        // Neither root, nor the daemon under a shorter retention, nor whoever asks a warden.
        let oldest = segments(&ledger)[0].0.clone();
        assert_refused(&oldest);
        let removed = Command::new("rm").arg("-f").arg(&oldest).output().expect("rm runs");
        assert!(!removed.status.success() && oldest.exists(), "{}", text(&removed));
        daemon.reconfigure(&[(&ledger, &settings("PT2S"))], "");
        let reload = daemon.graven(&["reload"]);
        assert!(!reload.status.success(), "{}", text(&reload));
        assert!(stderr(&reload).contains("shorter than at the start"), "{}", text(&reload));
        daemon.reconfigure(&[(&ledger, &settings("PT2H"))], "");
        let reload = daemon.graven(&["reload"]);
        assert!(reload.status.success(), "longer is no question: {}", text(&reload));
        assert_eq!(daemon.stop(), 0);
        let ward = |retention_s| Ward { segments: ledger.path().join("segments"), retention_s };
        let wards = [ward(None), ward(Some(3600))];
        let warden = Warden::start(Command::new(GRAVEN).arg(VERB), &wards).expect("it starts");
        for ledger in 0..2 {
            let refused = warden.order(Order::Release, ledger, 0).expect_err("it is too early");
            assert_eq!(Errno::from_io_error(&refused), Some(Errno::PERM), "{refused}");
        }
        drop(warden);
        assert_refused(&oldest);
        assert_eq!(actions(&ledger, "segment.released").len(), 0, "nor was it ever claimed");
        ledger.assert_good();

        let daemon = Daemon::start(&[(&ledger, &settings("PT2S"))], "");
        wait_for("the last segment alone", || (segments(&ledger).len() == 1).then_some(()));
        let figures = daemon.status()["ledgers"][0]["figures"]["release"].clone();
        assert!(figures["failure"].is_null(), "{figures}");
        assert!(!oldest.exists());
        assert_refused(&segments(&ledger)[0].0);
        assert_eq!(daemon.stop(), 0);
        assert!(actions(&ledger, "segment.released").len() > 2);
        ledger.assert_good();
    });
}

/// What a warden has let go is removed by the next start, with attributes or without.
#[test]
fn a_release_that_broke_off_is_finished_over_held_segments() {
    on("ext4", "worm::release::a_release_that_broke_off_is_finished_over_held_segments", || {
        let ledger = Ledger::new();
        for _ in 0..3 {
            let mut daemon = Daemon::start(&[(&ledger, &settings("PT1S"))], "");
            append(&ledger, &daemon);
            wait_for("a release", || {
                let figures = daemon.status()["ledgers"][0]["figures"]["release"].clone();
                (figures["segments"].as_u64() > Some(0)).then_some(())
            });
            daemon.signal(rustix::process::Signal::KILL);
            daemon.wait();
        }
        let daemon = Daemon::start(&[(&ledger, &settings("PT1S"))], "");
        wait_for("the last segment alone", || (segments(&ledger).len() == 1).then_some(()));
        assert_eq!(daemon.stop(), 0);
        ledger.assert_good();
        let appended = ledger.feed(&["append"], EVENT.as_bytes());
        assert!(appended.status.success(), "it is written on: {}", text(&appended));
        ledger.assert_good();
    });
}

#[test]
fn check_tells_whether_a_retention_would_be_kept() {
    let checked = |worm: &str, words: &str| {
        let ledger = Ledger::new();
        let held = settings("P7D").replace("required", worm);
        let dir = ledger.path().canonicalize().expect("a ledger");
        let file = format!("[[ledger]]\nname = \"one\"\ndir = \"{}\"\n{held}", dir.display());
        fs::write(ledger.home().join("graven.toml"), file).expect("settings");
        let output = ledger.graven(&["check", "graven.toml"]);
        assert!(output.status.success(), "{}", text(&output));
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(told.contains("warning: ledger \"one\" worm: "), !words.is_empty(), "{told}");
        assert!(told.contains(words), "{told}");
    };
    on("ext4", "worm::release::check_tells_whether_a_retention_would_be_kept", || {
        for worm in ["required", "auto", "off"] {
            checked(worm, "");
        }
    });
    on("ramfs", "worm::release::check_tells_whether_a_retention_would_be_kept", || {
        checked(
            "required",
            "the daemon will not start, for sealed segments cannot be held: the file system",
        );
        checked(
            "auto",
            "nothing holds segments until `release.retention` is over: the file system has none",
        );
        checked("off", "");
    });
}
