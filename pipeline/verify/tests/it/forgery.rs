//! Histories that agree with themselves, and what the verifier trusts.

use std::fs;

use graven_ledger::{BlockHeader, Checkpoint, PrivateKey};
use graven_record::leaf_hash;
use graven_verify::{FaultKind, NoteKind, Trust, Verdict, VerifyError, verify};

use crate::support::{Home, NOW_S, ORIGIN, copy_dir, faults, ledger, lines, overwrite};

#[test]
fn a_ledger_cut_to_an_older_checkpoint_is_found_by_those_who_know_a_newer_one() {
    let home = ledger();
    home.assert_good();
    let trust = home.trust_at_least();
    let headers = lines(&home.paths().blocks());
    let older = BlockHeader::parse(headers[1].strip_suffix(b"\n").unwrap()).unwrap();
    overwrite(&home.paths().blocks(), &headers[..2].concat());
    overwrite(&home.paths().checkpoint(), older.checkpoint.unwrap().as_bytes());
    let tiles = fs::read(home.paths().tile_level(0)).unwrap();
    overwrite(&home.paths().tile_level(0), &tiles[..usize::try_from(older.size).unwrap() * 32]);
    let mut first = 0;
    for path in home.segments() {
        let all = lines(&path);
        let keep = usize::try_from(older.size.saturating_sub(first)).unwrap().min(all.len());
        first += all.len() as u64;
        fs::remove_file(&path).unwrap();
        if keep > 0 {
            fs::write(&path, all[..keep].concat()).unwrap();
        }
    }
    let report = home.assert_good();
    assert_eq!((report.sealed, report.unsealed), (older.size, 0), "{report}");
    assert!(report.notes.is_empty(), "a consistent cut leaves no trace: {report}");
    let report = verify(&home.dir(), &trust, &()).unwrap();
    assert_eq!(faults(&report), [FaultKind::CutBack], "{report}");
}

/// Writes the ledger again from record `from` on, consistently, with every event changed.
///
/// Headers and checkpoints are signed with `key`, or keep the notes that they had.
fn rewrite(home: &Home, from: usize, key: Option<&PrivateKey>) {
    let mut text = String::new();
    for path in home.segments() {
        text += &fs::read_to_string(path).unwrap();
    }
    let mut tree = graven_ledger::Frontier::default();
    let mut tiles = Vec::new();
    let mut bytes = String::new();
    let (mut old_head, mut new_head) = (String::new(), String::new());
    let mut headers: Vec<BlockHeader> = lines(&home.paths().blocks())
        .iter()
        .map(|line| BlockHeader::parse(line.strip_suffix(b"\n").unwrap()).unwrap())
        .collect();
    let mut block = graven_ledger::Frontier::default();
    let mut height = 0;
    for (seq, line) in text.lines().enumerate() {
        let mut new = line.to_owned();
        if seq > from {
            new = new.replacen(&old_head, &new_head, 1);
        }
        if seq >= from {
            new = new.replace("\"ada\"", "\"eve\"");
        }
        if new.contains("\"block.opened\"") && height > 0 {
            let old = &headers[height];
            let hash = headers[height - 1].hash();
            new = new.replacen(&old.prev.to_string(), &hash.to_string(), 1);
            headers[height].prev = hash;
        }
        let leaf = leaf_hash(new.as_bytes());
        (old_head, new_head) = (leaf_hash(line.as_bytes()).to_string(), leaf.to_string());
        tree.push(leaf);
        block.push(leaf);
        tiles.extend(leaf.0);
        bytes += &new;
        bytes += "\n";
        if headers[height].size == seq as u64 + 1 {
            let header = &mut headers[height];
            (header.root, header.block_root, header.head) = (tree.root(), block.root(), leaf);
            if let Some(key) = key {
                let checkpoint = Checkpoint {
                    origin: ORIGIN.parse().unwrap(),
                    size: header.size,
                    root: header.root,
                };
                header.checkpoint = Some(key.sign(&checkpoint, NOW_S));
            }
            block = graven_ledger::Frontier::default();
            height += 1;
        }
    }
    for path in home.segments() {
        fs::remove_file(path).unwrap();
    }
    fs::write(home.paths().segment(0), bytes).unwrap();
    overwrite(&home.paths().tile_level(0), &tiles);
    let all: Vec<u8> =
        headers.iter().flat_map(|it| [it.to_line(), b"\n".to_vec()].concat()).collect();
    overwrite(&home.paths().blocks(), &all);
    let newest = headers.last().unwrap().checkpoint.clone().unwrap();
    overwrite(&home.paths().checkpoint(), newest.as_bytes());
}

#[test]
fn a_rewritten_history_needs_the_key() {
    let home = ledger();
    home.assert_good();
    // The control: the same hand with the right key leaves no trace but for those who know more.
    let known = home.trust_at_least();
    let secret = fs::read_to_string(home.key_path()).unwrap();
    rewrite(&home, 20, Some(&secret.parse().unwrap()));
    home.assert_good();
    let report = verify(&home.dir(), &known, &()).unwrap();
    assert_eq!(faults(&report), [FaultKind::OtherHistory], "{report}");

    let home = ledger();
    rewrite(&home, 20, None);
    let report = home.verify();
    assert_eq!(faults(&report)[0], FaultKind::HeaderMismatch, "{report}");

    let home = ledger();
    let stranger = PrivateKey::from_seed(ORIGIN.parse().unwrap(), &[9; 32]);
    rewrite(&home, 20, Some(&stranger));
    let report = home.verify();
    assert_eq!(faults(&report), [FaultKind::BadSignature], "{report}");
    assert!(report.faults[0].sentence.contains("5 checkpoints"), "{report}");
}

#[test]
fn a_ledger_of_another_key_fails_against_the_right_one() {
    let home = ledger();
    let other = ledger();
    other.assert_good();
    let report = verify(&other.dir(), &home.trust(), &()).unwrap();
    assert_eq!(faults(&report), [FaultKind::WrongKey, FaultKind::BadSignature], "{report}");
    // Of another origin.
    let elsewhere = PrivateKey::from_seed("b.example".parse().unwrap(), &[9; 32]).verifier();
    let report = verify(&home.dir(), &Trust::in_key(elsewhere), &()).unwrap();
    assert_eq!(faults(&report), [FaultKind::WrongKey, FaultKind::BadSignature], "{report}");
}

#[test]
fn without_a_key_the_signer_is_unproven() {
    let home = ledger();
    let report = verify(&home.dir(), &Trust::default(), &()).unwrap();
    assert_eq!(report.verdict, Verdict::Unproven, "{report}");
    assert_eq!(report.verdict.exit_code(), 4);
}

#[test]
fn what_is_no_ledger_is_no_fault() {
    let empty = tempfile::tempdir().unwrap();
    let error = verify(empty.path(), &Trust::default(), &()).unwrap_err();
    assert!(matches!(error, VerifyError::NotALedger(_)), "{error}");
    assert_eq!(error.exit_code(), 2);
    // A ledger from which ledger.json was taken is one, and at fault.
    let home = ledger();
    fs::remove_file(home.paths().info()).unwrap();
    assert_eq!(faults(&home.verify()), [FaultKind::MissingFile]);
    // What cannot be read gives no verdict.
    let home = ledger();
    fs::remove_file(home.paths().checkpoint()).unwrap();
    fs::create_dir(home.paths().checkpoint()).unwrap();
    let error = verify(&home.dir(), &home.trust(), &()).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
}

#[test]
fn a_bad_note_from_outside_is_a_usage_error() {
    let home = ledger();
    let note = fs::read_to_string(home.paths().checkpoint()).unwrap();
    home.trust().and_at_least(&note).unwrap();
    for bad in ["", "x", &note.replace("acme", "b"), &note.replacen('\n', "\n1", 1)] {
        let error = home.trust().and_at_least(bad).unwrap_err();
        assert!(matches!(error, VerifyError::AtLeast(_)), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    let error = Trust::default().and_at_least(&note).unwrap_err();
    assert!(error.to_string().contains("--key"), "{error}");
    // One of the two signatures is enough.
    let mut some: Vec<_> = note.lines().collect();
    some.remove(4);
    home.trust().and_at_least(&(some.join("\n") + "\n")).unwrap();
}

#[test]
fn tiles_are_compared_at_every_level() {
    let home = Home::new();
    let mut writer = home.start(1 << 20);
    for _ in 0..3 {
        writer.events(200);
        writer.seal();
    }
    drop(writer);
    let report = home.assert_good();
    assert_eq!(report.checks.tile_hashes, report.sealed + 2, "{report}");
    for (level, at) in [(0, 40), (1, 40)] {
        let path = home.paths().tile_level(level);
        let original = fs::read(&path).unwrap();
        let mut edited = original.clone();
        edited[at] ^= 1;
        overwrite(&path, &edited);
        let report = home.verify();
        assert_eq!(faults(&report), [FaultKind::TileMismatch], "{report}");
        assert_eq!(report.faults[0].byte, Some(32), "{report}");
        overwrite(&path, &original[..original.len() - 1]);
        assert_eq!(faults(&home.verify()), [FaultKind::MissingTile]);
        fs::remove_file(&path).unwrap();
        assert_eq!(faults(&home.verify()), [FaultKind::MissingTile]);
        overwrite(&path, &[&original[..], &[0; 32]].concat());
        let report = home.assert_good();
        assert!(report.notes.iter().any(|it| it.kind == NoteKind::LongerTile), "{report}");
        overwrite(&path, &original);
    }
    home.assert_good();
    // Other files are no part of it.
    copy_dir(&home.paths().tiles(), &home.dir());
    let report = home.assert_good();
    assert_eq!(report.notes[0].kind, NoteKind::OtherFiles, "{report}");
}

/// Even who has the key gets an answer, and no panic, for a header of a ledger without records.
#[test]
fn a_signed_header_of_no_record_is_refused() {
    let home = ledger();
    home.assert_good();
    drop(home.open().unwrap());
    let headers = lines(&home.paths().blocks());
    let last = BlockHeader::parse(headers.last().unwrap().strip_suffix(b"\n").unwrap()).unwrap();
    let secret = fs::read_to_string(home.key_path()).unwrap();
    let key: PrivateKey = secret.trim_end().parse().unwrap();
    let none = Checkpoint { origin: ORIGIN.parse().unwrap(), size: 0, root: last.root };
    let checkpoint = Some(key.sign(&none, NOW_S));
    let mut line = BlockHeader { size: 0, checkpoint, ..last }.to_line();
    line.push(b'\n');
    overwrite(&home.paths().blocks(), &[headers.concat(), line].concat());
    let error = home.open().unwrap_err().to_string();
    assert!(error.contains("no record"), "{error}");
    assert_eq!(home.verify().verdict, Verdict::Fault);
}
