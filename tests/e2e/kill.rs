//! kill -9 at any moment: what was acknowledged stands.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use crate::daemon::rig::PATIENCE;
use crate::support::{EVENT, Ledger, Receipt, assert_stand, code, lines_of, receipts, text};

/// Rounds of one run of the test.
const ROUNDS: u64 = 50;

/// Receipts that a kill under load waits for: so there is a load whatever the machine.
const RECEIPTS: usize = 32;

/// A pseudo-random number that differs from round to round, and is the same in every run.
fn scatter(round: u64) -> u64 {
    let mixed = (round + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

#[test]
fn every_acknowledged_record_survives_a_kill() {
    let ledger = Ledger::new();
    let mut acknowledged: Vec<Receipt> = Vec::new();
    for round in 0..ROUNDS {
        acknowledged.extend(one_round(&ledger, round));
    }
    assert!(acknowledged.len() > 1_000, "control: {} acknowledgements", acknowledged.len());
    // The last start recovers what the last kill left.
    let output = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(output.status), 0, "{}", text(&output));
    assert_stand(&ledger.path(), &acknowledged);
    ledger.assert_good();
}

/// Feeds events as fast as they are taken, kills at a moment of the round's own, and returns what was
/// acknowledged by then.
fn one_round(ledger: &Ledger, round: u64) -> Vec<Receipt> {
    let mut child = ledger
        .command(&["append", "--receipts"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("graven starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let feeder = std::thread::spawn(move || {
        // Until the kill closes the pipe.
        while writeln!(stdin, "{EVENT}").is_ok() {}
    });
    let lines = lines_of(child.stdout.take().expect("a pipe"));
    // Some kills come while it starts and recovers, however slow the machine; the others under load.
    let (awaited, within_us) =
        if round.is_multiple_of(5) { (0, 150_000) } else { (RECEIPTS, 40_000) };
    let receipt = || lines.recv_timeout(PATIENCE).expect("a receipt");
    let mut told: Vec<String> = std::iter::repeat_with(receipt).take(awaited).collect();
    std::thread::sleep(Duration::from_micros(scatter(round) % within_us));
    child.kill().expect("it runs until it is killed");
    child.wait().expect("it ends");
    feeder.join().expect("the feeder ends");
    told.extend(lines);
    receipts(told.join("\n").as_bytes())
}
