//! Attacks: each begins with a control, the untouched ledger, that must be good.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use graven_ledger::BlockHeader;
use graven_record::leaf_hash;
use graven_verify::{FaultKind, NoteKind, Report, Trust, Verdict, verify};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{Home, ORIGIN, faults, ledger, lines, overwrite};

fn relative(home: &Home, path: &Path) -> String {
    let path = path.strip_prefix(home.dir()).unwrap();
    path.to_str().unwrap().to_owned()
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

/// The edits that the specification calls notes, or that change nothing that is signed.
fn is_harmless(name: &str, original: &[u8], edited: &[u8]) -> bool {
    let appended = edited.len() > original.len() && edited.starts_with(original);
    match name {
        // Section 4: a last line without newline is torn, and dropped.
        "blocks.jsonl" => appended && !edited[original.len()..].contains(&b'\n'),
        // Section 3: the tiles beyond the last header's size are not evidence yet.
        "tile/0" => appended,
        // C2SP signed-note: the order of signature lines says nothing.
        "checkpoint" => {
            let signatures = |note: &[u8]| -> Option<BTreeSet<Vec<u8>>> {
                let at = note.windows(2).position(|pair| pair == b"\n\n")?;
                let lines = note[at + 2..].split_inclusive(|it| *it == b'\n');
                Some(lines.chain([&note[..at]]).map(<[u8]>::to_vec).collect())
            };
            signatures(original) == signatures(edited)
        }
        // Section 3.1: what follows the last sealed record is an unsealed damaged tail, or
        // superseded damage.
        _ => name.starts_with("segments/") && appended,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

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
            let expected = if is_harmless(&name, &original, &edited) {
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
        (2, 3, "ada", "\u{e4}da", FaultKind::RecordChanged),
        (2, 3, "\"user\"", "\"ghost\"", FaultKind::WrongShape),
        (2, 3, ":\"user\"", ": \"user\"", FaultKind::NotCanonical),
        (2, 3, ORIGIN, "b.example", FaultKind::WrongLedger),
        (2, 3, "\"epoch\":2", "\"epoch\":1", FaultKind::WrongEpoch),
        (2, 3, "sha256:", "sha256:0", FaultKind::WrongShape),
        (2, 3, "\"4.0.0\"", "\"4.0.1\"", FaultKind::WrongShape),
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
