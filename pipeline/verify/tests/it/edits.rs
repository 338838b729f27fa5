//! Attacks: each begins with a control, the untouched ledger, that must be good.

use std::fs;
use std::path::{Path, PathBuf};

use graven_ledger::{BlockHeader, Checkpoint, PrivateKey};
use graven_record::leaf_hash;
use graven_verify::{FaultKind, NoteKind, Report, Trust, Verdict, VerifyError, verify};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{Home, NOW_S, ORIGIN, copy_dir, overwrite};

/// Small enough for several segments, with all kinds of file in it.
fn ledger() -> Home {
    Home::with_blocks(4, 12, 6000)
}

fn faults(report: &Report) -> Vec<FaultKind> {
    report.faults.iter().map(|fault| fault.kind).collect()
}

fn relative(home: &Home, path: &Path) -> String {
    let path = path.strip_prefix(home.dir()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The lines of a file, each with its newline.
fn lines(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    bytes.split_inclusive(|it| *it == b'\n').map(<[u8]>::to_vec).collect()
}

/// Every file that is evidence.
fn evidence(home: &Home) -> Vec<PathBuf> {
    let paths = home.paths();
    let mut files = home.segments();
    files.extend([paths.blocks(), paths.checkpoint(), paths.info(), paths.tile_level(0)]);
    files
}

/// What is done to a file.
#[derive(Debug, Clone)]
enum Edit {
    FlipBit(Index),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
    DropLine(Index),
    RepeatLine(Index),
    SwapLines(Index),
}

fn any_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => any::<Index>().prop_map(Edit::FlipBit),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        1 => any::<Index>().prop_map(Edit::Remove),
        1 => any::<Index>().prop_map(Edit::Truncate),
        1 => any::<Index>().prop_map(Edit::DropLine),
        1 => any::<Index>().prop_map(Edit::RepeatLine),
        1 => any::<Index>().prop_map(Edit::SwapLines),
    ]
}

impl Edit {
    fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut edited = bytes.to_vec();
        let mut lines: Vec<_> = bytes.split_inclusive(|it| *it == b'\n').collect();
        match self {
            Self::FlipBit(at) => {
                let bit = at.index(bytes.len() * 8);
                edited[bit / 8] ^= 1 << (bit % 8);
            }
            Self::Insert(at, byte) => edited.insert(at.index(bytes.len() + 1), *byte),
            Self::Remove(at) => drop(edited.remove(at.index(bytes.len()))),
            Self::Truncate(at) => edited.truncate(at.index(bytes.len())),
            Self::DropLine(at) => {
                lines.remove(at.index(lines.len()));
                edited = lines.concat();
            }
            Self::RepeatLine(at) => {
                let at = at.index(lines.len());
                lines.insert(at, lines[at]);
                edited = lines.concat();
            }
            Self::SwapLines(at) => {
                let at = at.index(lines.len());
                let other = (at + 1) % lines.len();
                lines.swap(at, other);
                edited = lines.concat();
            }
        }
        edited
    }
}

/// The one kind of edit that evidence cannot show: bytes behind what was sealed.
fn is_note_by_specification(
    name: &str,
    original: &[u8],
    edited: &[u8],
    is_last_segment: bool,
) -> bool {
    let appended = edited.len() > original.len() && edited.starts_with(original);
    match name {
        // Section 4: a last line without newline is torn, and dropped.
        "blocks.jsonl" => appended && !edited[original.len()..].contains(&b'\n'),
        // Section 3: the tiles beyond the last header's size are not evidence yet.
        "tile/0" => appended,
        // Section 3.1: what follows the last sealed record is an unsealed damaged tail, or
        // superseded damage.
        _ if name.starts_with("segments/") => appended,
        _ => is_last_segment && appended,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Goal: no edit of any sealed evidence survives, and none makes the verifier panic. Method: one
    /// edit of one file, against the key and the newest checkpoint known.
    #[test]
    fn every_edit_of_evidence_is_found(file in any::<Index>(), edit in any_edit()) {
        thread_local! {
            static GOOD: (Home, Trust) = {
                let home = ledger();
                home.assert_good();
                let trust = home.trust_at_least();
                (home, trust)
            };
        }
        GOOD.with(|(home, trust)| {
            let files = evidence(home);
            let path = &files[file.index(files.len())];
            let name = relative(home, path);
            let original = fs::read(path).unwrap();
            let edited = edit.apply(&original);
            prop_assume!(edited != original);
            overwrite(path, &edited);
            let report = verify(&home.dir(), trust, &()).unwrap();
            overwrite(path, &original);
            let is_last = home.segments().last() == Some(path);
            let expected = if is_note_by_specification(&name, &original, &edited, is_last) {
                Verdict::Good
            } else {
                Verdict::Fault
            };
            prop_assert_eq!(report.verdict, expected, "{}: {:?}\n{}", name, edit, report);
            // One edit is one edit: it does not set every record behind it at fault.
            prop_assert!(report.faults_total < 25, "{}: {:?}\n{}", name, edit, report);
            Ok(())
        })?;
    }

    /// Goal: nothing panics, whatever the bytes are. Method: garbage in the place of each file.
    #[test]
    fn garbage_never_panics(file in any::<Index>(), garbage in proptest::collection::vec(any::<u8>(), 0..300)) {
        thread_local! {
            static HOME: Home = Home::with_blocks(2, 3, 2000);
        }
        HOME.with(|home| {
            let files = evidence(home);
            let path = &files[file.index(files.len())];
            let original = fs::read(path).unwrap();
            overwrite(path, &garbage);
            let report = verify(&home.dir(), &home.trust(), &()).unwrap();
            overwrite(path, &original);
            prop_assert_eq!(report.verdict, Verdict::Fault, "{}\n{}", path.display(), report);
            Ok(())
        })?;
    }
}

/// Edits one line of the sealed part and gives the report, the record, its file and its byte.
fn edit_record(
    home: &Home,
    segment: usize,
    line: usize,
    from: &str,
    to: &str,
) -> (Report, u64, String, u64) {
    let path = &home.segments()[segment];
    let mut all = lines(path);
    let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let at_byte = all[..line].iter().map(Vec::len).sum::<usize>() as u64;
    let text = String::from_utf8(all[line].clone()).unwrap();
    assert!(text.contains(from), "{text}");
    all[line] = text.replacen(from, to, 1).into_bytes();
    overwrite(path, &all.concat());
    (home.verify(), first + line as u64, relative(home, path), at_byte)
}

#[test]
fn an_edited_record_is_named_with_file_and_byte() {
    let home = ledger();
    home.assert_good();
    for (segment, line, from, to, kind) in [
        (0, 4, "ada", "eve", FaultKind::RecordChanged),
        (1, 3, "ada", "\u{00e4}da", FaultKind::RecordChanged),
        (1, 5, "\"kind\":\"user\"", "\"kind\":\"ghost\"", FaultKind::WrongShape),
        (1, 2, ":\"user\"", ": \"user\"", FaultKind::NotCanonical),
        (1, 2, ORIGIN, "b.example", FaultKind::WrongLedger),
        (1, 2, "\"epoch\":2", "\"epoch\":1", FaultKind::WrongEpoch),
        (1, 4, "\"prev\":\"sha256:", "\"prev\":\"sha256:0", FaultKind::WrongShape),
        (
            1,
            4,
            "\"schema_version\":\"4.0.0\"",
            "\"schema_version\":\"4.0.1\"",
            FaultKind::WrongShape,
        ),
    ] {
        let copy = home.copy();
        let (report, record, file, byte) = edit_record(&copy, segment, line, from, to);
        let fault = report.faults.iter().find(|fault| fault.kind == kind);
        let fault = fault.unwrap_or_else(|| panic!("{from} to {to}: {report}"));
        assert_eq!(fault.record, Some(record), "{report}");
        assert_eq!(fault.file.as_deref(), Some(&*file), "{report}");
        assert_eq!(fault.byte, Some(byte), "{report}");
        assert!(report.faults_total <= 3, "one edit, few faults: {report}");
    }
}

#[test]
fn a_wrong_link_is_named_where_it_stands() {
    let home = ledger();
    home.assert_good();
    let text = String::from_utf8(lines(&home.segments()[1])[4].clone()).unwrap();
    let at = text.find("\"prev\":\"sha256:").unwrap() + "\"prev\":\"sha256:".len();
    let digit = if &text[at..=at] == "0" { "1" } else { "0" };
    let from = &text[at - 7..at + 5];
    let to = format!("sha256:{digit}{}", &from[8..]);
    let (report, record, file, byte) = edit_record(&home, 1, 4, from, &to);
    let fault = &report.faults[0];
    assert_eq!(fault.kind, FaultKind::BrokenChain, "{report}");
    assert_eq!((fault.record, fault.byte), (Some(record), Some(byte)), "{report}");
    assert_eq!(fault.file.as_deref(), Some(&*file));
}

#[test]
fn the_last_sealed_record_is_guarded_by_its_header() {
    let home = ledger();
    home.assert_good();
    let last = home.segments().len() - 1;
    let line = lines(&home.segments()[last]).len() - 1;
    let (report, record, file, byte) = edit_record(&home, last, line, "ada", "eve");
    assert_eq!(faults(&report), [FaultKind::RecordChanged], "{report}");
    let fault = &report.faults[0];
    assert_eq!((fault.record, fault.byte), (Some(record), Some(byte)));
    assert_eq!(fault.file.as_deref(), Some(&*file));
}

#[test]
fn removed_repeated_and_swapped_lines_are_named() {
    let home = ledger();
    home.assert_good();
    let path = home.segments()[1].clone();
    let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let original = lines(&path);
    let offset = |line: usize| original[..line].iter().map(Vec::len).sum::<usize>() as u64;
    let check = |edited: Vec<Vec<u8>>, kind, record, byte| {
        overwrite(&path, &edited.concat());
        let report = home.verify();
        let fault = &report.faults[0];
        let found = (fault.kind, fault.record, fault.byte);
        assert_eq!(found, (kind, Some(record), Some(byte)), "{report}");
        assert!(report.faults_total <= 3, "one edit, few faults: {report}");
    };

    let mut removed = original.clone();
    removed.remove(3);
    check(removed, FaultKind::MissingRecords, first + 3, offset(3));

    let mut repeated = original.clone();
    repeated.insert(4, original[3].clone());
    check(repeated, FaultKind::WrongSeq, first + 3, offset(4));

    let mut swapped = original.clone();
    swapped.swap(2, 3);
    check(swapped, FaultKind::MissingRecords, first + 2, offset(2));

    let mut garbage = original.clone();
    garbage.insert(3, b"{}\n".to_vec());
    check(garbage, FaultKind::WrongLedger, first + 3, offset(3));

    let mut cut = original.clone();
    cut.truncate(original.len() - 2);
    let end = offset(original.len() - 2);
    check(cut, FaultKind::MissingRecords, first + original.len() as u64 - 2, end);

    overwrite(&path, &original.concat());
    home.assert_good();
}

#[test]
fn a_missing_segment_is_found() {
    let home = ledger();
    home.assert_good();
    fs::remove_file(&home.segments()[1]).unwrap();
    let report = home.verify();
    assert_eq!(report.faults[0].kind, FaultKind::MissingRecords, "{report}");
    fs::remove_dir_all(home.paths().segments()).unwrap();
    assert_eq!(home.verify().faults[0].kind, FaultKind::MissingRecords);
}

#[test]
fn every_member_of_a_header_is_compared() {
    let home = ledger();
    home.assert_good();
    let original = lines(&home.paths().blocks());
    let header = BlockHeader::parse(original[1].strip_suffix(b"\n").unwrap()).unwrap();
    let other = leaf_hash(b"other");
    let edited = |edit: &dyn Fn(&mut BlockHeader)| {
        let mut header = header.clone();
        edit(&mut header);
        header
    };
    let edits: [(&str, BlockHeader); 11] = [
        ("block_root", edited(&|it| it.block_root = other)),
        ("count", edited(&|it| it.count += 1)),
        ("earliest", edited(&|it| it.earliest = it.latest.clone())),
        ("first", edited(&|it| it.first += 1)),
        ("gaps", edited(&|it| it.gaps += 1)),
        ("head", edited(&|it| it.head = other)),
        ("height", edited(&|it| it.height += 1)),
        ("latest", edited(&|it| it.latest = it.earliest.clone())),
        ("prev", edited(&|it| it.prev = other)),
        ("root", edited(&|it| it.root = other)),
        ("size", edited(&|it| it.size += 1)),
    ];
    for (member, header) in edits {
        let mut all = original.clone();
        all[1] = [&header.to_line()[..], b"\n"].concat();
        overwrite(&home.paths().blocks(), &all.concat());
        let report = home.verify();
        let at_byte = original[0].len() as u64;
        let named = report.faults.iter().any(|fault| {
            fault.kind == FaultKind::HeaderMismatch
                && fault.byte == Some(at_byte)
                && fault.sentence.ends_with(&format!(": {member}"))
        });
        assert!(named, "{member}: {report}");
        assert!(report.faults_total <= 2, "{member}: {report}");
    }
}

#[test]
fn headers_removed_repeated_and_torn() {
    let home = ledger();
    home.assert_good();
    let trust = home.trust_at_least();
    let original = lines(&home.paths().blocks());
    let verify_with = |edited: &[Vec<u8>]| {
        overwrite(&home.paths().blocks(), &edited.concat());
        home.verify()
    };
    let mut removed = original.clone();
    removed.remove(1);
    assert_eq!(faults(&verify_with(&removed)), [FaultKind::MissingHeader]);
    let mut repeated = original.clone();
    repeated.insert(2, original[1].clone());
    assert_eq!(faults(&verify_with(&repeated)), [FaultKind::ExtraHeader]);
    let mut unreadable = original.clone();
    unreadable[1] = b"{}\n".to_vec();
    assert_eq!(faults(&verify_with(&unreadable)), [FaultKind::UnreadableHeader]);

    // A torn last line is a note in itself, but here `checkpoint` is ahead of what is left.
    let mut torn = original.clone();
    torn[3].truncate(100);
    assert_eq!(faults(&verify_with(&torn)), [FaultKind::CutBack]);
    // With an older `checkpoint` a crash explains it all, unless somebody knows better.
    let older = BlockHeader::parse(original[2].strip_suffix(b"\n").unwrap()).unwrap();
    overwrite(&home.paths().checkpoint(), older.checkpoint.unwrap().as_bytes());
    let report = home.assert_good();
    assert!(report.notes.iter().any(|it| it.kind == NoteKind::TornHeader), "{report}");
    let report = verify(&home.dir(), &trust, &()).unwrap();
    assert_eq!(faults(&report), [FaultKind::CutBack], "{report}");
}

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
    for bad in ["", "x", &note.replace("acme", "b"), &note.replacen('1', "2", 1)] {
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
