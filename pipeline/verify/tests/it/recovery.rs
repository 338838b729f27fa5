//! Recovery: what a crash may leave stands again, and what no crash explains is refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use graven_ledger::{LedgerError, UNSYNCED_BYTES_MAX};
use graven_verify::{FaultKind, NoteKind, Report, Verdict};

use crate::support::{Home, copy_dir, faults, overwrite};

/// Segments so large that all is in one.
const ONE_SEGMENT: u64 = 1 << 30;

/// Two sealed blocks and `events` unsealed events behind them; the tail is synced.
fn with_tail(events: u32) -> Home {
    let home = Home::with_blocks(2, 3, ONE_SEGMENT);
    let mut writer = home.start(ONE_SEGMENT);
    writer.events(events);
    drop(writer);
    home
}

fn has(report: &Report, kind: NoteKind) -> bool {
    report.notes.iter().any(|note| note.kind == kind)
}

fn replace_end(home: &Home, bytes: &[u8]) {
    overwrite(home.segments().last().unwrap(), bytes);
}

/// Goal: whatever byte a crash cut the tail at, every whole line stands. Method: every byte.
#[test]
fn a_tail_torn_at_any_byte_recovers() {
    let home = with_tail(1);
    let control = home.assert_good();
    assert_eq!(control.unsealed, 3, "{control}");
    let path = home.segments()[0].clone();
    let whole = fs::read(&path).unwrap();
    let sealed = usize::try_from(control.sealed).unwrap();
    let ends: Vec<_> = memchr_lines(&whole);
    for cut in ends[sealed - 1]..=whole.len() {
        let torn = home.copy();
        replace_end(&torn, &whole[..cut]);
        let standing = ends.iter().filter(|end| **end <= cut).count() as u64;
        let before = torn.assert_good();
        assert_eq!(before.records, standing, "cut at {cut}: {before}");
        let torn_line = !ends.contains(&cut);
        assert_eq!(has(&before, NoteKind::DamagedTail), torn_line, "cut at {cut}");

        let mut writer = torn.start(ONE_SEGMENT);
        assert!(writer.opened.chain.size() > standing);
        let recovered = writer.opened.recovered.first().cloned();
        assert_eq!(recovered.is_some(), cut > ends[sealed - 1], "cut at {cut}");
        if let Some(recovered) = recovered {
            assert_eq!(recovered.first, control.sealed);
            assert_eq!(recovered.first + recovered.copied, standing, "cut at {cut}");
            let damaged = recovered.damaged.map(|damage| damage.bytes);
            let rest = cut - ends.iter().filter(|end| **end <= cut).max().unwrap();
            assert_eq!(damaged, torn_line.then_some(rest as u64));
        }
        writer.events(1);
        writer.seal();
        drop(writer);
        let after = torn.assert_good();
        assert_eq!(after.unsealed, 0);
        assert_eq!(has(&after, NoteKind::Superseded), cut > ends[sealed - 1], "{after}");
        let kept = standing.saturating_sub(control.sealed);
        assert_eq!(after.checks.superseded, kept, "cut at {cut}: {after}");
        assert_eq!(has(&after, NoteKind::SupersededDamage), torn_line, "{after}");
    }
}

/// Where each line ends.
fn memchr_lines(bytes: &[u8]) -> Vec<usize> {
    let newlines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    newlines.map(|(at, _)| at + 1).collect()
}

/// Goal: any one wrong byte in the tail costs what follows it, and nothing before. Method: flip a
/// bit of every seventh byte.
#[test]
fn a_tail_damaged_anywhere_keeps_what_is_before() {
    let home = with_tail(2);
    let control = home.assert_good();
    let whole = fs::read(&home.segments()[0]).unwrap();
    let ends = memchr_lines(&whole);
    let sealed = usize::try_from(control.sealed).unwrap();
    for at in (ends[sealed - 1]..whole.len()).step_by(7) {
        let damaged = home.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        replace_end(&damaged, &bytes);
        let before = ends.iter().filter(|end| **end <= at).count() as u64;
        let opened = damaged.open().unwrap();
        let recovered = &opened.recovered[0];
        // The edited record itself stands where only its successor, or nobody, can tell.
        assert!(recovered.first + recovered.copied >= before, "byte {at}");
        assert!(recovered.first + recovered.copied <= before + 1 || recovered.damaged.is_none());
    }
}

#[test]
fn the_signed_part_of_a_tail_must_stand() {
    // The signer has signed, but neither header nor checkpoint was written.
    let home = Home::with_blocks(2, 3, ONE_SEGMENT);
    let before = home.copy();
    let mut writer = home.start(ONE_SEGMENT);
    writer.events(2);
    writer.seal();
    drop(writer);
    for path in [home.paths().blocks(), home.paths().checkpoint()] {
        let name = path.file_name().unwrap();
        fs::copy(before.dir().join(name), &path).unwrap();
    }
    let crashed = home.copy();
    drop(crashed.open().unwrap());
    assert_eq!(crashed.assert_good().unsealed, 0);
    // One byte less of what was signed is no crash.
    let bytes = fs::read(&home.segments()[0]).unwrap();
    replace_end(&home, &bytes[..bytes.len() - 1]);
    let error = home.open().unwrap_err();
    assert!(matches!(error, LedgerError::GoneBack { .. }), "{error}");
}

#[test]
fn damage_that_no_crash_explains_is_refused() {
    let home = with_tail(2);
    let control = home.assert_good();
    let whole = fs::read(&home.segments()[0]).unwrap();
    let ends = memchr_lines(&whole);
    let sealed = usize::try_from(control.sealed).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };

    // The last sealed record.
    let last = home.copy();
    replace_end(&last, &flipped(ends[sealed - 1] - 30));
    let error = last.open().unwrap_err();
    assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");

    // Any sealed record, where the tiles have to be made again from the records.
    for at in [10, ends[2] + 40, ends[sealed - 2] + 50] {
        let sealed = home.copy();
        replace_end(&sealed, &flipped(at));
        fs::remove_file(sealed.paths().tile_level(0)).unwrap();
        let error = sealed.open().unwrap_err();
        assert!(matches!(error, LedgerError::Corrupt { .. }), "{at}: {error}");
        assert_eq!(sealed.verify().verdict, Verdict::Fault);
    }

    // A tail that is damaged more than 4 MiB before its end: one byte less is still a crash.
    for (extra, refused) in [(0, false), (1, true)] {
        let long = home.copy();
        let mut bytes = whole.clone();
        let damage = usize::try_from(UNSYNCED_BYTES_MAX).unwrap() + extra;
        bytes.resize(bytes.len() + damage, b'x');
        replace_end(&long, &bytes);
        let verdict = long.verify().verdict;
        assert_eq!(verdict == Verdict::Fault, refused);
        match long.open() {
            Ok(_) => assert!(!refused),
            Err(error) => {
                assert!(refused && matches!(error, LedgerError::Corrupt { .. }), "{error}");
            }
        }
    }
}

/// Section 3.1: damage is what a crash can make of a line; a record with a wrong member is a fault.
#[test]
fn an_unsealed_record_with_a_wrong_member_is_no_damage() {
    let home = with_tail(2);
    let whole = fs::read_to_string(&home.segments()[0]).unwrap();
    let last = whole.lines().last().unwrap();
    for (from, to, verdict) in [
        ("\"epoch\":12", "\"epoch\":2", Verdict::Fault),
        ("\"epoch\":12", "\"epoch\":\"12\"", Verdict::Fault),
        ("\"earliest\"", "\"earlier\"", Verdict::Fault),
        ("\"user\"", "\"ghost\"", Verdict::Fault),
        ("\"seq\":14", "\"seq\":15", Verdict::Good),
        ("sha256:", "sha512:", Verdict::Good),
        ("acme", "acne", Verdict::Good),
        ("{\"action", "{ \"action", Verdict::Good),
    ] {
        assert!(last.contains(from), "{from}: {last}");
        let edited = whole.replace(last, &last.replacen(from, to, 1));
        replace_end(&home, edited.as_bytes());
        let report = home.verify();
        assert_eq!(report.verdict, verdict, "{from} to {to}: {report}");
        let is_damage = has(&report, NoteKind::DamagedTail);
        assert_eq!(is_damage, verdict == Verdict::Good, "{from} to {to}: {report}");
    }
}

#[test]
fn an_unsealed_record_outside_any_block_does_not_stand() {
    let home = Home::with_blocks(2, 3, ONE_SEGMENT);
    let control = home.assert_good();
    let path = home.segments()[0].clone();
    let mut text = fs::read_to_string(&path).unwrap();
    let last = text.lines().last().unwrap().to_owned();
    let head = graven_record::leaf_hash(last.as_bytes()).to_string();
    let at = last.find("\"prev\":\"").unwrap() + 8;
    let forged = last.replace(&last[at..at + head.len()], &head).replace(
        &format!("\"seq\":{}", control.sealed - 1),
        &format!("\"seq\":{}", control.sealed),
    );
    text += &forged;
    text.push('\n');
    overwrite(&path, text.as_bytes());
    let mut writer = home.start(ONE_SEGMENT);
    assert_eq!(writer.opened.recovered[0].copied, 0);
    writer.seal();
    drop(writer);
    // What is left of it is superseded, and equal to no record.
    let report = home.verify();
    assert_eq!(report.faults_total, 1, "{report}");
    assert_eq!(report.faults[0].kind.as_str(), "superseded-differs");
}

#[test]
fn an_older_copy_of_the_directory_is_noticed() {
    let home = Home::with_blocks(2, 3, ONE_SEGMENT);
    let older = home.copy();
    let mut writer = home.start(ONE_SEGMENT);
    writer.events(2);
    writer.seal();
    drop(writer);
    home.assert_good();
    fs::remove_dir_all(home.dir()).unwrap();
    fs::create_dir(home.dir()).unwrap();
    copy_dir(&older.dir(), &home.dir());
    home.assert_good();
    let error = home.open().unwrap_err();
    assert!(matches!(error, LedgerError::GoneBack { .. }), "{error}");
}

#[test]
fn there_is_one_writer() {
    let home = Home::with_blocks(1, 1, ONE_SEGMENT);
    let first = home.open().unwrap();
    let error = home.open().unwrap_err();
    assert!(matches!(error, LedgerError::InUse(_)), "{error}");
    drop(first);
    home.open().unwrap();
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let home = Home::with_blocks(1, 1, ONE_SEGMENT);
    home.open().unwrap();
    fs::set_permissions(home.key_path(), Permissions::from_mode(0o644)).unwrap();
    let error = home.open().unwrap_err();
    assert!(matches!(error, LedgerError::Key { .. }), "{error}");
    assert!(error.to_string().contains("chmod 600"), "{error}");
    fs::set_permissions(home.key_path(), Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(home.state_path()).unwrap();
    let error = home.open().unwrap_err();
    assert!(matches!(error, LedgerError::Key { .. }), "{error}");
}

/// Goal: a header line torn at any byte is made again. Method: every 13th byte of the last one.
#[test]
fn a_torn_header_is_made_again() {
    let home = Home::with_blocks(3, 2, ONE_SEGMENT);
    let control = home.assert_good();
    let whole = fs::read(home.paths().blocks()).unwrap();
    let start = memchr_lines(&whole)[1];
    let before = String::from_utf8(whole[..start].to_vec()).unwrap();
    let before =
        graven_ledger::BlockHeader::parse(before.lines().last().unwrap().as_bytes()).unwrap();
    for cut in (start..whole.len()).step_by(13) {
        let torn = home.copy();
        overwrite(&torn.paths().blocks(), &whole[..cut]);
        // In the order of durability the checkpoint is written later.
        let note = before.checkpoint.clone().unwrap();
        overwrite(&torn.paths().checkpoint(), note.as_bytes());
        assert_eq!(has(&torn.assert_good(), NoteKind::TornHeader), cut > start);
        drop(torn.open().unwrap());
        let after = torn.assert_good();
        assert_eq!((after.sealed, after.root), (control.sealed, control.root), "{after}");
        assert_eq!(fs::read(torn.paths().blocks()).unwrap(), whole, "the same bytes again");
    }
}

/// Goal: a header line whose first page never reached the disk is made again, and a hole in any
/// line before is damage.
#[test]
fn a_header_with_a_hole_is_made_again_if_it_is_the_last() {
    let home = Home::with_blocks(3, 2, ONE_SEGMENT);
    let control = home.assert_good();
    let whole = fs::read(home.paths().blocks()).unwrap();
    let starts = memchr_lines(&whole);
    let before = str::from_utf8(&whole[starts[0]..starts[1] - 1]).unwrap();
    let before = graven_ledger::BlockHeader::parse(before.as_bytes()).unwrap();
    let holed = |line: usize| {
        let copy = home.copy();
        let mut bytes = whole.clone();
        bytes[starts[line]..starts[line] + 300].fill(0);
        overwrite(&copy.paths().blocks(), &bytes);
        copy
    };
    let last = holed(1);
    // In the order of durability the checkpoint is written later.
    overwrite(&last.paths().checkpoint(), before.checkpoint.unwrap().as_bytes());
    assert!(has(&last.assert_good(), NoteKind::TornHeader));
    drop(last.open().unwrap());
    assert_eq!(last.assert_good().root, control.root);
    assert_eq!(fs::read(last.paths().blocks()).unwrap(), whole, "the same bytes again");

    assert_eq!(faults(&holed(0).verify()), [FaultKind::UnreadableHeader]);
}

#[test]
fn a_checkpoint_one_behind_or_absent_is_a_note() {
    let home = Home::with_blocks(2, 2, ONE_SEGMENT);
    let headers = fs::read_to_string(home.paths().blocks()).unwrap();
    let first = headers.lines().next().unwrap();
    let first = graven_ledger::BlockHeader::parse(first.as_bytes()).unwrap();
    overwrite(&home.paths().checkpoint(), first.checkpoint.unwrap().as_bytes());
    assert!(has(&home.assert_good(), NoteKind::CheckpointBehind));
    home.open().unwrap();
    fs::remove_file(home.paths().checkpoint()).unwrap();
    assert_eq!(home.verify().verdict, Verdict::Fault, "absent beside two headers");

    let single = Home::with_blocks(1, 2, ONE_SEGMENT);
    fs::remove_file(single.paths().checkpoint()).unwrap();
    assert!(has(&single.assert_good(), NoteKind::CheckpointBehind));
    single.open().unwrap();
}

type Harm = fn(&Home);

#[test]
fn tiles_are_made_again() {
    let home = Home::new();
    let mut writer = home.start(20_000);
    for _ in 0..3 {
        writer.events(100);
        writer.seal();
    }
    drop(writer);
    home.assert_good();
    let original: Vec<_> =
        [0, 1].map(|level| fs::read(home.paths().tile_level(level)).unwrap()).into();
    let harms: [Harm; 5] = [
        |it| fs::remove_file(it.paths().tile_level(0)).unwrap(),
        |it| fs::remove_file(it.paths().tile_level(1)).unwrap(),
        |it| overwrite(&it.paths().tile_level(0), &[0; 40]),
        |it| overwrite(&it.paths().tile_level(1), &[0; 32]),
        // Left over from a larger ledger, behind a level that there is none of yet.
        |it| overwrite(&it.paths().tile_level(3), &[0; 32]),
    ];
    for (index, harm) in harms.iter().enumerate() {
        let harmed = home.copy();
        harm(&harmed);
        drop(harmed.open().unwrap());
        for (level, original) in (0..).zip(&original) {
            let tiles = fs::read(harmed.paths().tile_level(level)).unwrap();
            assert!(tiles == *original, "harm {index}, level {level}");
        }
        let report = harmed.assert_good();
        assert!(report.notes.is_empty(), "harm {index}: {report}");
    }
}

#[test]
fn a_ledger_without_records_recovers_from_its_first_crash() {
    let home = Home::new();
    let empty = home.assert_good();
    assert_eq!((empty.records, empty.blocks), (0, 0));
    drop(home.start(ONE_SEGMENT));
    let whole = fs::read(&home.segments()[0]).unwrap();
    for cut in (0..=whole.len()).step_by(37) {
        let torn = Home::copy(&home);
        overwrite(&torn.segments()[0], &whole[..cut]);
        torn.assert_good();
        let mut writer = torn.start(ONE_SEGMENT);
        writer.seal();
        drop(writer);
        let report = torn.assert_good();
        assert_eq!(report.unsealed, 0, "cut at {cut}: {report}");
        assert!(report.sealed >= 3, "cut at {cut}: {report}");
    }
}

/// Two crashes between header and checkpoint must not leave the file two blocks behind.
#[test]
fn a_checkpoint_that_lags_is_brought_up_at_the_next_start() {
    let home = Home::with_blocks(1, 3, ONE_SEGMENT);
    let old = fs::read(home.paths().checkpoint()).unwrap();
    for _ in 0..2 {
        let mut writer = home.start(ONE_SEGMENT);
        writer.events(1);
        writer.seal();
        drop(writer);
        overwrite(&home.paths().checkpoint(), &old);
        drop(home.open().unwrap());
        home.assert_good();
    }
    let note = fs::read_to_string(home.paths().checkpoint()).unwrap();
    let headers = fs::read_to_string(home.paths().blocks()).unwrap();
    let last: serde_json::Value = serde_json::from_str(headers.lines().last().unwrap()).unwrap();
    assert_eq!(last["checkpoint"], note);
}

/// A start that was cut short before its own gap record passes the silence on.
#[test]
fn silence_is_not_shortened_by_a_start_that_was_cut_short() {
    let home = Home::with_blocks(2, 3, ONE_SEGMENT);
    let since = home.open().unwrap().silent_since.expect("the run did not stop in order");
    for _ in 0..2 {
        // `block.opened` and `pipeline.started` alone.
        drop(home.start(ONE_SEGMENT));
        assert_eq!(home.open().unwrap().silent_since, Some(since));
    }
    home.assert_good();
}

/// Two copies of one ledger cannot both be signed for.
#[test]
fn a_key_signs_for_one_writer_at_a_time() {
    let home = Home::with_blocks(1, 3, ONE_SEGMENT);
    let writer = home.start(ONE_SEGMENT);
    let copy = home.root.path().join("copy");
    fs::create_dir(&copy).unwrap();
    copy_dir(&home.dir(), &copy);
    let second = graven_ledger::open(&copy, &home.key_path(), crate::support::NOW_S);
    assert!(matches!(second, Err(LedgerError::InUse(_))), "{second:?}");
    drop(writer);
    graven_ledger::open(&copy, &home.key_path(), crate::support::NOW_S).unwrap();
}

/// An unsealed record that lacks what every record has is not sealed, whoever wrote it.
#[test]
fn a_forged_tail_without_an_actor_is_set_aside() {
    let home = with_tail(1);
    let path = home.segments()[0].clone();
    let text = fs::read_to_string(&path).unwrap();
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap();
    let from = last.find("\"actor\":").unwrap();
    let to = last.find("},").unwrap() + 2;
    let forged = format!("{before}\n{}{}\n", &last[..from], &last[to..]);
    overwrite(&path, forged.as_bytes());
    let opened = home.open().unwrap();
    assert!(opened.recovered[0].damaged.is_some());
}
