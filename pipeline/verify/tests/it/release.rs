//! Release: what a sealed record accounts for is no fault, what none accounts for is.

use std::fs;

use graven_ledger::{
    LedgerError, SegmentCursor, TileReader, newest_release, oldest, proof, release,
};
use graven_record::leaf_hash;
use graven_verify::{FaultKind, Progress, Report, Verdict, verify};

use crate::support::{Home, faults, ledger, lines, overwrite};

const SEGMENT: u64 = 6000;

/// The ledger with its `count` oldest segments put on record as released; their files still stand.
fn recorded(count: u64) -> Home {
    let home = ledger();
    let mut writer = home.start(SEGMENT);
    for released in 0..count {
        writer.release(released);
        writer.events(3);
    }
    writer.seal();
    home
}

/// The same, and the files gone.
fn released(count: u64) -> Home {
    let home = recorded(count);
    release_files(&home, count);
    home
}

fn release_files(home: &Home, count: u64) {
    for path in &home.segments()[..usize::try_from(count).unwrap()] {
        release(path).unwrap();
    }
}

fn begins(home: &Home) -> u64 {
    graven_ledger::begins(&home.paths()).unwrap()
}

fn accounted(report: &Report) -> (u64, u64) {
    let released = report.released.expect("something was released");
    (released.records, released.segments)
}

#[test]
fn what_a_sealed_record_accounts_for_is_no_fault() {
    let control = ledger().assert_good();
    assert_eq!(control.released, None, "control");
    for count in 1..=2 {
        let home = recorded(count);
        let still_there = home.assert_good();
        assert_eq!(accounted(&still_there).1, count, "between record and removal");
        release_files(&home, count);
        let report = home.assert_good();
        assert_eq!(accounted(&report), (begins(&home), count));
        assert!(begins(&home) > 0);
        assert_eq!(report.root, still_there.root, "the tree is the same");
        assert!(report.to_string().contains("released    records 0 to "), "{report}");
    }
}

/// Goal: no record, no release. Method: take away what is not accounted for, in every way.
#[test]
fn what_no_sealed_record_accounts_for_is_missing() {
    let missing = |home: &Home, first: u64| {
        let report = home.verify();
        assert_eq!(faults(&report), [FaultKind::MissingRecords], "{report}");
        assert_eq!(report.faults[0].record, Some(first), "{report}");
    };
    let never = ledger();
    release(&never.segments()[0]).unwrap();
    missing(&never, 0);

    let unsealed = ledger();
    let mut writer = unsealed.start(SEGMENT);
    writer.release(0);
    drop(writer);
    unsealed.assert_good();
    release(&unsealed.segments()[0]).unwrap();
    missing(&unsealed, 0);

    let more = released(1);
    more.assert_good();
    let first = begins(&more);
    release(&more.segments()[0]).unwrap();
    missing(&more, first);

    let middle = released(1);
    let second = graven_ledger::list_segments(&middle.paths()).unwrap()[1].clone();
    release(&second.path).unwrap();
    missing(&middle, second.first);
}

/// A record speaks for the segments before its own, whose records are released by then.
#[test]
fn the_records_that_say_so_are_released_themselves() {
    let home = released(2);
    for already in 2..9 {
        let mut writer = home.start(2_000);
        writer.events(4);
        writer.seal();
        writer.release(already);
        writer.seal();
        drop(writer);
        let newest = newest_release(&home.paths(), home.verify().sealed).unwrap().unwrap();
        assert_eq!(newest.segments, already + 1);
        release(&home.segments()[0]).unwrap();
        let report = home.assert_good();
        assert_eq!(accounted(&report), (begins(&home), already + 1));
    }
    let standing = home.assert_good();
    assert_eq!(standing.actions.iter().find(|it| it.action == "ledger.created"), None, "control");
}

/// What is left of a released record proves where it stood, and is held against what was signed.
#[test]
fn released_records_are_proved_by_their_leaf_hashes() {
    let home = recorded(2);
    let mut cursor = SegmentCursor::new(&home.paths(), 0);
    let (_, text) = cursor.read(5, usize::MAX).unwrap();
    let record = text.split(|byte| *byte == b'\n').nth(4).unwrap().to_vec();
    release_files(&home, 2);
    let report = home.assert_good();
    let (size, tiles) = (report.sealed, TileReader::new(&home.paths()));
    let path = proof::prove_inclusion(4, size, |first, end| tiles.root_of(first, end)).unwrap();
    let root = report.root.unwrap();
    proof::verify_inclusion(&leaf_hash(&record), 4, size, &path, &root).unwrap();

    let level = home.paths().tile_level(0);
    let mut hashes = fs::read(&level).unwrap();
    hashes[4 * 32] ^= 1;
    overwrite(&level, &hashes);
    assert!(faults(&home.verify()).contains(&FaultKind::HeaderMismatch), "{}", home.verify());
    hashes.truncate(4 * 32);
    overwrite(&level, &hashes);
    assert!(faults(&home.verify()).contains(&FaultKind::MissingTile), "{}", home.verify());
}

#[test]
fn a_ledger_that_begins_later_is_written_and_read() {
    let home = released(2);
    let mut writer = home.start(SEGMENT);
    assert_eq!(writer.opened.recovered, []);
    writer.events(2);
    drop(writer);
    let mut writer = home.start(SEGMENT);
    assert!(!writer.opened.recovered.is_empty(), "an unsealed tail is recovered as ever");
    writer.seal();
    drop(writer);
    home.assert_good();
    let first = begins(&home);
    let found = graven_ledger::find(&home.paths(), first).unwrap();
    assert!(found.is_some() && graven_ledger::find(&home.paths(), first - 1).unwrap().is_none());
    let read = |from| SegmentCursor::new(&home.paths(), from).read(first + 1, usize::MAX);
    assert_eq!(read(first).unwrap().0, first);
    let error = read(first - 1).unwrap_err();
    assert!(matches!(error, LedgerError::Released { begins, .. } if begins == first), "{error}");
}

/// The tiles of such a ledger are all that is left of a part of it: they are not emptied to be made again.
#[test]
fn damaged_tiles_of_released_records_are_left_as_they_are() {
    let control = ledger();
    let level = control.paths().tile_level(0);
    overwrite(&level, &vec![0; fs::read(&level).unwrap().len()]);
    control.open().map(drop).unwrap();
    control.assert_good();

    let home = released(1);
    let level = home.paths().tile_level(0);
    let zeros = vec![0; fs::read(&level).unwrap().len()];
    overwrite(&level, &zeros);
    let error = home.open().map(drop).unwrap_err();
    assert!(error.to_string().contains("were released"), "{error}");
    assert!(fs::read(&level).unwrap() == zeros);
}

/// A writer that releases a segment under the verifier's eyes.
struct Releasing(std::path::PathBuf);

impl Progress for Releasing {
    fn begin(&self, _: u64) {
        release(&self.0).unwrap();
    }
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

#[test]
fn a_segment_that_is_released_meanwhile_is_no_failure() {
    let home = recorded(1);
    let releasing = Releasing(home.segments()[0].clone());
    let report = verify(&home.dir(), &home.trust(), &releasing).unwrap();
    assert_eq!(report.verdict, Verdict::Good, "{report}");
    assert!(begins(&home) > 0, "control: it went meanwhile");
}

/// What was changed since it was signed is not released: it is kept for whoever asks why.
#[test]
fn a_changed_segment_is_not_released() {
    let home = ledger();
    let first = oldest(&home.paths()).unwrap().unwrap();
    let contents = first.read(&home.paths(), crate::support::ORIGIN).unwrap();
    assert_eq!(contents.bytes, fs::metadata(&first.path).unwrap().len(), "control");
    let text = lines(&first.path).concat();
    let edited = String::from_utf8(text.clone()).unwrap().replacen("T-3", "T-4", 1).into_bytes();
    let cut = lines(&first.path).split_last().unwrap().1.concat();
    for wrong in [edited, cut] {
        assert_ne!(wrong, text, "control");
        overwrite(&first.path, &wrong);
        let error = first.read(&home.paths(), crate::support::ORIGIN).unwrap_err();
        assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
    }
}
