//! Whether records name what recoveries set aside: everything that stands on the disk and in no place of
//! the ledger.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use graven_ledger::{
    LineReader, Members, Paths, Placement, RECOVERED, ReadLine, SegmentCursor, VerifierKey,
};
use graven_record::{RECORD_BYTES_MAX, leaf_hash, sha256};
use graven_verify::{NoteKind, Report};
use serde_json::{Value, json};

use crate::writer::World;

/// Checks that a record names every superseded stretch, and all damage in these and in `torn/`.
pub(crate) fn all_is_named(world: &World, report: &Report) {
    let named = details(world, report.records);
    for note in &report.notes {
        let is_named = match note.kind {
            NoteKind::Superseded => {
                named.iter().any(|it| it["copied"]["first"].as_u64() == note.record)
            }
            NoteKind::SupersededDamage => {
                let segment = Path::new(note.file.as_deref().unwrap()).file_name().unwrap();
                let sha256 = note.sha256.unwrap().to_string();
                let damage = damage(segment, note.byte.unwrap(), note.bytes.unwrap(), &sha256);
                named.iter().any(|it| it["damaged"] == damage)
            }
            _ => true,
        };
        assert!(is_named, "{note:?}\n{named:#?}");
    }
    for damage in damage_in_torn(&world.dir, &world.verifier) {
        assert!(named.iter().any(|it| it["damaged"] == damage), "{damage}\n{named:#?}");
    }
}

/// What the records that name recoveries say.
pub(crate) fn details(world: &World, records: u64) -> Vec<Value> {
    let mut cursor = SegmentCursor::new(&Paths::new(&world.dir), 0);
    let mut details = Vec::new();
    while cursor.next() < records {
        let (_, lines) = cursor.read(records, 1 << 20).unwrap();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let mut record: Value = serde_json::from_slice(line).unwrap();
            if record["action"] == RECOVERED {
                details.push(record["detail"].take());
            }
        }
    }
    details
}

fn damage(segment: &OsStr, offset: u64, bytes: u64, sha256: &str) -> Value {
    let segment = segment.to_str().unwrap();
    json!({ "bytes": bytes, "offset": offset, "segment": segment, "sha256": sha256 })
}

/// Of each file in `torn/` the bytes from the first line on that does not continue it.
fn damage_in_torn(dir: &Path, verifier: &VerifierKey) -> Vec<Value> {
    let entries = fs::read_dir(Paths::new(dir).torn()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let damage = paths.filter_map(|path| {
        let bytes = fs::read(&path).unwrap();
        let at = standing_bytes(&bytes, verifier.origin().as_str());
        let torn = path.file_name().unwrap().to_str().unwrap();
        let segment = format!("{}.jsonl", &torn[..20]);
        let rest = &bytes[at..];
        let sha256 = sha256(rest).to_string();
        (!rest.is_empty()).then(|| damage(segment.as_ref(), at as u64, rest.len() as u64, &sha256))
    });
    damage.collect()
}

/// Bytes of the records at the beginning that continue one another.
fn standing_bytes(bytes: &[u8], origin: &str) -> usize {
    let mut lines = LineReader::new(bytes, RECORD_BYTES_MAX);
    let (mut at, mut before) = (0, None);
    while let Some((_, ReadLine::Whole(record))) = lines.next_line().unwrap() {
        let Ok(members) = Members::read(record) else { break };
        let Ok(placement) = Placement::read(&members, origin) else { break };
        if before.is_some_and(|before| before != (placement.prev, placement.seq)) {
            break;
        }
        before = Some((leaf_hash(record), placement.seq + 1));
        at += record.len() + 1;
    }
    at
}
