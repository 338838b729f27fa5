//! Events from outside: what is admitted becomes one canonical record, and canonical bytes have one spelling.

use graven_ledger::{Members, Placement};
use graven_record::event::{Admission, Defaults, Event};
use graven_record::{
    Canonical as _, DraftBatch, Stamp, Timestamp, TrueTime, Value, canonical, sha256,
};

const LEDGER: &str = "example.org/fuzz";

/// Reads any JSON, canonical JSON and an event, and writes each again.
pub fn event(bytes: &[u8]) -> bool {
    if let Ok(value) = Value::parse(bytes) {
        let written = value.to_canonical();
        assert_eq!(Value::parse(&written), Ok(value));
        let other: serde_json::Value = serde_json::from_slice(bytes).expect("it was read");
        let other = serde_json_canonicalizer::to_vec(&other).expect("it can be written");
        assert_eq!(written, other, "two implementations of RFC 8785 agree");
    }
    if canonical::object(bytes, |_, _| {}).is_ok() {
        assert_canonical(bytes);
    }
    let admission = Admission { payload_fields: vec!["price".into()] };
    let Ok(event) = Event::parse(bytes, &admission) else {
        return false;
    };
    let at = Timestamp { unix_ns: 0 };
    let defaults = Defaults {
        host: "host",
        ledger: LEDGER,
        time: TrueTime { earliest: at, latest: at, synchronised: true },
        trace_id: "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
    };
    let mut batch = DraftBatch::default();
    if batch.push(&event.draft(&defaults)).is_err() {
        return false;
    }
    let mut record = Vec::new();
    batch.stamp(0, &Stamp { epoch: 2, prev: sha256(b"prev"), seq: 7 }, &mut record);
    assert_canonical(&record);
    let members = Members::read(&record).expect("what was admitted can be read back");
    assert!(members.are_complete() && members.unknown.is_none(), "{members:?}");
    let placement = Placement::read(&members, LEDGER).expect("it has its place");
    assert!(!placement.is_gap && !placement.opens_block && !placement.begins_epoch);
    true
}

fn assert_canonical(bytes: &[u8]) {
    assert_eq!(canonical::object(bytes, |_, _| {}), Ok(()));
    let value = Value::parse(bytes).expect("canonical bytes are JSON");
    assert_eq!(value.to_canonical(), bytes, "canonical bytes have one spelling");
}
