//! kill -9 at any moment: what was acknowledged stands.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::Duration;

use graven_record::leaf_hash;

use crate::support::{EVENT, Ledger, code, text};

/// Rounds of one run of the test.
const ROUNDS: u64 = 50;

/// A pseudo-random number that differs from round to round, and is the same in every run.
fn scatter(round: u64) -> u64 {
    let mixed = (round + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

#[test]
fn every_acknowledged_record_survives_a_kill() {
    let ledger = Ledger::new();
    let mut acknowledged: Vec<(u64, String)> = Vec::new();
    for round in 0..ROUNDS {
        acknowledged.extend(one_round(&ledger, round));
    }
    assert!(acknowledged.len() > 1_000, "{} acknowledgements are no load", acknowledged.len());
    // The last start recovers what the last kill left.
    let output = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let paths = graven_ledger::Paths::new(&ledger.path());
    let mut cursor = graven_ledger::SegmentCursor::new(&paths, 0);
    let count = ledger.records().len() as u64;
    let (_, lines) = cursor.read(count, usize::MAX).expect("every record can be read");
    let leaves: Vec<String> = lines
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| leaf_hash(&line[..line.len() - 1]).to_string())
        .collect();
    for (seq, leaf) in &acknowledged {
        let stands = usize::try_from(*seq).ok().and_then(|seq| leaves.get(seq));
        assert_eq!(stands, Some(leaf), "acknowledged record {seq}");
    }
    ledger.assert_good();
}

/// Feeds events as fast as they are taken, kills at a moment of the round's own, and returns what was
/// acknowledged by then.
fn one_round(ledger: &Ledger, round: u64) -> Vec<(u64, String)> {
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
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let reader = std::thread::spawn(move || {
        let lines = stdout.lines().map_while(Result::ok);
        // A torn last line is no acknowledgement.
        lines
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok())
            .collect::<Vec<_>>()
    });
    std::thread::sleep(Duration::from_micros(20_000 + scatter(round) % 130_000));
    child.kill().expect("it runs until it is killed");
    child.wait().expect("it ends");
    feeder.join().expect("the feeder ends");
    let receipts = reader.join().expect("the reader ends");
    let receipt =
        |it: &serde_json::Value| Some((it["seq"].as_u64()?, it["leaf"].as_str()?.to_owned()));
    receipts.iter().filter_map(receipt).collect()
}
