//! A graph under the daemon, which rebuilds it.

use std::fs;
use std::io::Write as _;
use std::net::Shutdown;
use std::path::Path;
use std::thread;
use std::time::Duration;

use graven_daemon::Client;
use graven_daemon::control::{Answer, LedgerStatus, Request};
use graven_stages::{clock, failpoint};
use rustix::process::{Signal, getpid, kill_process};

use crate::home::{EVENT, Home};

/// How long anything may take before the test fails.
const PATIENCE_NS: u64 = 60_000_000_000;

/// The pauses before the four rebuildings: 0.2 s, and each twice the one before.
const PAUSES_NS: u64 = 3_000_000_000;

fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let since_ns = clock::mono_ns();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(clock::mono_ns() - since_ns < PATIENCE_NS, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn status(socket: &Path) -> Option<LedgerStatus> {
    match Client::ask(socket, &Request::Status {}).ok()?.answer() {
        Ok(Answer::Status(status)) => status.ledgers.into_iter().next(),
        other => panic!("{other:?}"),
    }
}

/// Sends events one after the other, each as a request of its own, until one is not acknowledged or `count` are.
fn append(socket: &Path, ledger: &Path, count: usize) -> Vec<(u64, String)> {
    let one = || -> Option<(u64, String)> {
        let request = Request::Append { ledger: ledger.to_owned(), strict: false };
        let mut client = Client::ask(socket, &request).ok()?;
        let Ok(Answer::Ready { .. }) = client.answer() else { return None };
        let mut sender = client.sender().ok()?;
        writeln!(sender, "{EVENT}").ok()?;
        sender.shutdown(Shutdown::Write).ok()?;
        match client.answer() {
            Ok(Answer::Receipt { leaf, seq, .. }) => Some((seq, leaf)),
            _ => None,
        }
    };
    (0..count).map_while(|_| one()).collect()
}

#[test]
fn a_graph_whose_stage_panicked_is_rebuilt() {
    let home = Home::new();
    let ledger = home.ledger().canonicalize().expect("it is there");
    let (config, socket) = (home.dir.path().join("config"), home.dir.path().join("socket"));
    let settings = format!(
        "[control]\nsocket = {socket:?}\n[[ledger]]\nname = \"one\"\ndir = {ledger:?}\nworm = \"off\"\nblock_ms_max = 100\n"
    );
    fs::write(&config, settings).expect("settings");
    let daemon = thread::spawn(move || actix::System::new().block_on(graven_daemon::run(&config)));
    wait_for("the daemon", || status(&socket));
    let mut acknowledged = append(&socket, &ledger, 3);
    assert_eq!(acknowledged.len(), 3, "control");

    let since_ns = clock::mono_ns();
    for (place, rebuilds) in
        ["normalize", "sequence", "commit, synced", "seal, block"].iter().zip(1..)
    {
        failpoint::arm(place, 2);
        acknowledged.extend(append(&socket, &ledger, 1_000));
        let down = wait_for("the failure", || status(&socket)?.down);
        let stage = place.split(',').next().unwrap_or(place);
        assert!(down.contains(&format!("the stage `{stage}` failed")), "{place}: {down}");
        assert!(down.contains("panicked"), "{place}: {down}");
        let up = wait_for("the rebuilt graph", || status(&socket).filter(|it| it.down.is_none()));
        assert_eq!(up.rebuilds, rebuilds, "{place}");
        let after = append(&socket, &ledger, 3);
        assert_eq!(after.len(), 3, "{place}: it is taken up again");
        acknowledged.extend(after);
    }
    let lasted_ns = clock::mono_ns() - since_ns;
    assert!(lasted_ns >= PAUSES_NS, "rebuilt without back-off, within {lasted_ns} ns");
    kill_process(getpid(), Signal::TERM).expect("it is us");
    daemon.join().expect("no panic of the daemon's own").expect("it ends in order");
    home.assert_good(&acknowledged);
}
