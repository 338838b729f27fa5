//! Ledgers that somebody, or a disk, has put back to what they were, and pages that never got to the disk.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use graven_ledger::{BlockHeader, Paths};

use super::recorder::Recorder;
use crate::support::{EVENT, Ledger, code, stderr, text};

const PAGE_BYTES: usize = 4_096;
const VERIFY: [&str; 4] = ["verify", "ledger", "--key", "ledger.vkey"];

fn append(ledger: &Ledger, events: usize) {
    let appended = ledger.feed(&["append"], format!("{EVENT}\n").repeat(events).as_bytes());
    assert_eq!(code(appended.status), 0, "{}", text(&appended));
}

fn paths(ledger: &Ledger) -> Paths {
    Paths::new(&ledger.path())
}

/// Who restores the signer's state along with an older copy is found by those who know a newer checkpoint, and
/// by them alone.
#[test]
fn an_old_copy_with_the_signers_state() {
    let ledger = Ledger::new();
    append(&ledger, 1);
    let shell = |script: &str| {
        let ran = Command::new("sh").args(["-e", "-c", script]).current_dir(ledger.home()).status();
        assert!(ran.expect("sh runs").success());
    };
    shell("mkdir old && cp -a ledger ledger.key.state old");
    append(&ledger, 1);
    shell("cp ledger/checkpoint note && rm -r ledger && cp -a old/. .");
    let verify = || ledger.graven(&VERIFY);
    let at_least = || ledger.graven(&[&VERIFY[..], &["--at-least", "note"]].concat());
    assert_eq!(code(verify().status), 0, "by itself the old copy is sound");
    assert_eq!(code(at_least().status), 1, "{}", text(&at_least()));
    // Grown again, past what was cut away.
    append(&ledger, 5);
    ledger.assert_good();
    let forked = at_least();
    assert_eq!(code(forked.status), 1, "{}", text(&forked));
}

/// A cut of all files to an older checkpoint agrees with itself; the signer beside the key knows better.
#[test]
fn a_ledger_cut_to_an_older_checkpoint() {
    let ledger = Ledger::new();
    append(&ledger, 2);
    append(&ledger, 2);
    ledger.assert_good();
    let paths = paths(&ledger);
    fs::copy(paths.checkpoint(), ledger.home().join("note")).expect("a checkpoint");
    let headers = fs::read(paths.blocks()).expect("headers");
    let line = headers.split_inclusive(|byte| *byte == b'\n').next().expect("a header");
    let older = BlockHeader::parse(&line[..line.len() - 1]).expect("a good header");
    fs::write(paths.blocks(), line).expect("ours");
    fs::write(paths.checkpoint(), older.checkpoint.expect("signed")).expect("ours");
    let leaves = fs::read(paths.tile_level(0)).expect("tiles");
    let size = usize::try_from(older.size).expect("it is small");
    fs::write(paths.tile_level(0), &leaves[..size * 32]).expect("ours");
    let segment = paths.segment(0);
    let records = fs::read(&segment).expect("a segment");
    let kept: usize =
        records.split_inclusive(|byte| *byte == b'\n').take(size).map(<[u8]>::len).sum();
    fs::write(&segment, &records[..kept]).expect("ours");

    ledger.assert_good();
    let refused = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(refused.status), 1, "{}", text(&refused));
    assert!(stderr(&refused).contains("records were removed"), "{}", text(&refused));
    let at_least = ledger.graven(&[&VERIFY[..], &["--at-least", "note"]].concat());
    assert_eq!(code(at_least.status), 1, "{}", text(&at_least));
}

/// Where the records of the segment begin, its end included.
fn starts(segment: &Path) -> Vec<usize> {
    let bytes = fs::read(segment).expect("a segment");
    let newlines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    [0].into_iter().chain(newlines.map(|(at, _)| at + 1)).collect()
}

/// What a page reads as that was never written, whereas a later one was; gives the first record that it damages.
fn lose_page(segment: &Path, page: usize) -> usize {
    let starts = starts(segment);
    let at = page * PAGE_BYTES;
    fs::set_permissions(segment, fs::Permissions::from_mode(0o644)).expect("ours");
    let file = fs::OpenOptions::new().write(true).open(segment).expect("ours");
    file.write_all_at(&[0; PAGE_BYTES], at as u64).expect("it can be written");
    starts.iter().rposition(|start| *start <= at).expect("a record begins before it")
}

/// A ledger whose last run was killed with four pages or more of records that are not sealed; the first of them.
fn killed() -> (Ledger, usize) {
    // A slow machine may seal a block meanwhile.
    for _ in 0..20 {
        let ledger = Ledger::new();
        append(&ledger, 1);
        let mut command = ledger.command(&["append", "--receipts"]);
        let mut recorder = Recorder::start(&mut command, &ledger.home().join("complaints"));
        recorder.submit(60);
        assert_eq!(recorder.kill().len(), 60);
        let headers = fs::read(paths(&ledger).blocks()).expect("headers");
        let last =
            headers.strip_suffix(b"\n").and_then(|it| it.rsplit(|byte| *byte == b'\n').next());
        let sealed = BlockHeader::parse(last.expect("a header")).expect("a good header").size;
        let sealed = usize::try_from(sealed).expect("it is small");
        if starts(&segment(&ledger)).len() > sealed + 50 {
            return (ledger, sealed);
        }
    }
    panic!("every run has sealed its records before it could be killed");
}

fn segment(ledger: &Ledger) -> PathBuf {
    paths(ledger).segment(0)
}

#[test]
fn a_page_of_the_tail_that_never_got_to_the_disk() {
    let (ledger, sealed) = killed();
    let control = ledger.graven(&VERIFY);
    assert_eq!(code(control.status), 0, "{}", text(&control));
    let all = starts(&segment(&ledger));
    let page = all[sealed].div_ceil(PAGE_BYTES) + 1;
    let lost = lose_page(&segment(&ledger), page);
    assert!(
        sealed < lost && lost + 10 < all.len(),
        "{lost} lies between {sealed} and {}",
        all.len()
    );
    let damaged = ledger.graven(&VERIFY);
    assert_eq!(code(damaged.status), 0, "no fault: {}", text(&damaged));
    append(&ledger, 1);
    ledger.assert_good();
    let records = ledger.records();
    let recovery = records.iter().find(|record| record["action"] == "recovery.completed");
    let detail = &recovery.expect("it is on record")["detail"];
    assert_eq!(detail["copied"]["first"], sealed, "{detail}");
    assert_eq!(detail["copied"]["count"], lost - sealed, "what stands before the page: {detail}");
    assert_eq!(detail["damaged"]["offset"], all[lost], "{detail}");
}

#[test]
fn a_sealed_page_that_never_got_to_the_disk() {
    let ledger = Ledger::new();
    append(&ledger, 60);
    ledger.assert_good();
    let segment = segment(&ledger);
    let all = starts(&segment);
    let lost = lose_page(&segment, 2);
    let found = ledger.graven(&VERIFY);
    assert_eq!(code(found.status), 1, "{}", text(&found));
    let name = "segments/00000000000000000000.jsonl";
    for part in [&format!("record {lost},"), name, &format!("byte {}", all[lost])] {
        assert!(text(&found).contains(part), "no `{part}`: {}", text(&found));
    }
    // The last sealed record, on which the next one would be chained.
    lose_page(&segment, all[all.len() - 2] / PAGE_BYTES);
    let refused = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(refused.status), 1, "{}", text(&refused));
    for part in ["record ", name, "keep a copy of the ledger and run `graven verify`"] {
        assert!(stderr(&refused).contains(part), "no `{part}`: {}", stderr(&refused));
    }
}
