//! The fuzz targets' bodies, run on the committed corpus: what was found once stays found, without a fuzzer.

use std::fs;
use std::path::Path;

#[expect(unreachable_pub, reason = "the fuzz targets' library")]
#[path = "src/lib.rs"]
mod bodies;

/// Runs every input; gives how many were admitted, and how many there are.
fn replay(target: &str, body: fn(&[u8]) -> bool) -> (usize, usize) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(target);
    let inputs = fs::read_dir(&corpus).expect("the corpus is there");
    let admitted: Vec<bool> = inputs
        .map(|entry| body(&fs::read(entry.expect("an entry").path()).expect("it can be read")))
        .collect();
    (admitted.iter().filter(|admitted| **admitted).count(), admitted.len())
}

/// Control: some inputs get through; then the attack: some are refused. Neither breaks what must hold.
fn replay_both(target: &str, body: fn(&[u8]) -> bool) {
    let (admitted, inputs) = replay(target, body);
    assert!(0 < admitted && admitted < inputs, "{admitted} of {inputs} were admitted");
}

/// Which of them are admitted depends on the layout of the records; `calls` depends on it less.
#[test]
fn kernel_records() {
    let (_, inputs) = replay("parse", bodies::parse);
    assert!(inputs > 0);
}

#[test]
fn calls() {
    replay_both("call", bodies::call);
}

#[test]
fn events() {
    replay_both("event", bodies::event);
}

#[test]
fn notes_and_keys() {
    replay_both("note", bodies::note);
}

#[test]
fn ledger_files() {
    replay_both("ledger", bodies::ledger);
}

#[test]
fn block_headers() {
    replay_both("header", bodies::header);
}

#[test]
fn segment_lines() {
    replay_both("line", bodies::line);
}

#[test]
fn tiles() {
    replay_both("tile", bodies::tile);
}

#[test]
fn proofs() {
    replay_both("proof", bodies::proof);
}

#[test]
fn settings() {
    replay_both("config", bodies::config);
}
