//! What must hold of a ledger whatever happened to its writers and its disk.

use std::collections::BTreeMap;
use std::fs;

use graven_ledger::{Paths, Recovered, SegmentCursor, Signer, SignerState};
use graven_record::{Hash, leaf_hash};
use graven_verify::{NoteKind, Report, Trust, Verdict, verify};

use crate::named::all_is_named;
use crate::writer::World;

/// Checks the ledger as it stands, before or after recovery: the verifier finds no fault, and every
/// acknowledged record is in its place, once.
pub(crate) fn stands(world: &World) -> Report {
    let trust = Trust::in_key(world.verifier.clone());
    let report = verify(&world.dir, &trust, &()).unwrap();
    assert_eq!(report.verdict, Verdict::Good, "{report}");
    let state = fs::read(Signer::state_path(&world.key)).unwrap();
    let signer: SignerState = serde_json::from_slice(&state).unwrap();
    assert!(signer.size >= report.sealed, "signed and forgotten: {signer:?}\n{report}");
    let (leaves, events) = standing(world, report.records);
    for (seq, leaf) in &world.acknowledged {
        let stands = leaves.get(seq);
        assert_eq!(stands, Some(leaf), "acknowledged record {seq} does not stand\n{report}");
    }
    assert!(events.is_sorted_by(|before, after| before < after), "twice or disordered: {events:?}");
    if let Some(last) = events.last() {
        assert!(*last < world.submitted, "event {last} was never submitted");
    }
    report
}

/// Checks a ledger that was written to an orderly end: [`stands`], all of it is sealed, and a record
/// names whatever was set aside.
pub(crate) fn is_whole(world: &World) -> Report {
    let report = stands(world);
    assert_eq!(report.unsealed, 0, "{report}");
    let kinds: Vec<_> = report.notes.iter().map(|note| note.kind).collect();
    let superseded = [NoteKind::Superseded, NoteKind::SupersededDamage, NoteKind::LedgerCreated];
    assert!(kinds.iter().all(|kind| superseded.contains(kind)), "{report}");
    all_is_named(world, &report);
    assert!(
        !world.dir.join("recovering").exists(),
        "all is named, and no later start names it again"
    );
    report
}

/// The verifier's and recovery's account of the tail are one.
pub(crate) fn same_tail(before: &Report, recovered: &[Recovered]) {
    let noted = before.notes.iter().find(|note| note.kind == NoteKind::DamagedTail);
    if noted.is_none() && before.unsealed == 0 {
        return;
    }
    let damage = noted.map(|note| (note.byte.unwrap(), note.bytes.unwrap(), note.sha256.unwrap()));
    let accounts = recovered.iter().map(|it| {
        let damaged = it.damaged.as_ref();
        let damage = damaged.map(|damage| (damage.offset_bytes, damage.bytes, damage.sha256));
        (it.first, it.copied, damage)
    });
    let accounts: Vec<_> = accounts.collect();
    assert!(accounts.contains(&(before.sealed, before.unsealed, damage)), "{accounts:?}\n{before}");
}

/// The leaf hashes of the standing records, and the numbers of the events among them, in order.
fn standing(world: &World, records: u64) -> (BTreeMap<u64, Hash>, Vec<u64>) {
    let mut cursor = SegmentCursor::new(&Paths::new(&world.dir), 0);
    let (mut leaves, mut events) = (BTreeMap::new(), Vec::new());
    while cursor.next() < records {
        let (first, lines) = cursor.read(records, 1 << 20).unwrap();
        for (seq, line) in (first..).zip(lines.split_inclusive(|byte| *byte == b'\n')) {
            let record = &line[..line.len() - 1];
            leaves.insert(seq, leaf_hash(record));
            let value: serde_json::Value = serde_json::from_slice(record).unwrap();
            let id = value["subject"]["id"].as_str().unwrap();
            events.extend(id.strip_prefix("T-").map(|id| id.parse::<u64>().unwrap()));
        }
    }
    (leaves, events)
}
