//! Records on their way into the ledger: everything but their place in the chain.

use crate::members::{Actor, Body, Source, Subject, Where};
use crate::write::{Canonical as _, ObjectWriter};
use crate::{Hash, RECORD_BYTES_MAX, SCHEMA_VERSION, TrueTime};

/// A record without its place in the chain (`epoch`, `prev` and `seq`).
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// What was done.
    pub action: &'a str,
    /// Who did it.
    pub actor: Actor<'a>,
    /// The members of its kind.
    pub body: Body<'a>,
    /// The ledger's origin.
    pub ledger: &'a str,
    /// Where.
    pub place: Where<'a>,
    /// Through which door it came.
    pub source: Source,
    /// On what.
    pub subject: Subject<'a>,
    /// When.
    pub time: TrueTime,
    /// The run it belongs to: a lower-case UUID.
    pub trace_id: &'a str,
}

/// A record that would exceed [`RECORD_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the record would be {bytes} bytes long, the limit is {RECORD_BYTES_MAX}: shorten it, or keep the \
     payload elsewhere and record its hash"
)]
pub struct Oversized {
    /// Bytes it would have.
    pub bytes: usize,
}

/// A record's place in the chain, given by the sequencer.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// `seq` of the newest `pipeline.started`.
    pub epoch: u64,
    /// Leaf hash of the record before.
    pub prev: Hash,
    /// Leaf index.
    pub seq: u64,
}

/// Most bytes that a [`Stamp`] adds: two numbers of at most 16 digits and a quoted hash.
const STAMP_BYTES_MAX: usize = 16 + 16 + Hash::TEXT_BYTES + 2;

/// What the sequencer has to know of a draft, beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct DraftMeta {
    /// Where the draft's bytes end in the batch.
    pub end: usize,
    /// The record's time.
    pub time: TrueTime,
    /// True for `kind: gap`.
    pub is_gap: bool,
    /// True for `pipeline.started`, which begins an epoch with itself.
    pub begins_epoch: bool,
    /// Offsets at which `epoch`, `prev` and `seq` are put in.
    cuts: [usize; 3],
}

/// Canonical drafts in one buffer.
#[derive(Debug, Default)]
pub struct DraftBatch {
    bytes: Vec<u8>,
    drafts: Vec<DraftMeta>,
}

impl DraftBatch {
    /// The drafts, in order.
    #[must_use]
    pub fn drafts(&self) -> &[DraftMeta] {
        &self.drafts
    }

    /// Bytes of all drafts, before their stamps.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a draft in canonical form.
    ///
    /// # Errors
    ///
    /// [`Oversized`] if the finished record could exceed [`RECORD_BYTES_MAX`]; the batch is then as
    /// it was.
    pub fn push(&mut self, draft: &Draft<'_>) -> Result<(), Oversized> {
        let start = self.bytes.len();
        let cuts = draft.write(&mut self.bytes);
        let bytes = self.bytes.len() - start + STAMP_BYTES_MAX;
        if bytes > RECORD_BYTES_MAX {
            self.bytes.truncate(start);
            return Err(Oversized { bytes });
        }
        self.drafts.push(DraftMeta {
            end: self.bytes.len(),
            time: draft.time,
            is_gap: matches!(draft.body, Body::Gap(_)),
            begins_epoch: draft.action == "pipeline.started" && draft.body.kind() == "system",
            cuts,
        });
        Ok(())
    }

    /// Appends the finished canonical record `index` to `out`, without newline.
    ///
    /// # Panics
    ///
    /// If `index` is out of range.
    pub fn stamp(&self, index: usize, stamp: &Stamp, out: &mut Vec<u8>) {
        let start = if index == 0 { 0 } else { self.drafts[index - 1].end };
        let DraftMeta { end, cuts: [epoch_at, prev_at, seq_at], .. } = self.drafts[index];
        out.extend_from_slice(&self.bytes[start..epoch_at]);
        stamp.epoch.write(out);
        out.extend_from_slice(&self.bytes[epoch_at..prev_at]);
        out.push(b'"');
        out.extend_from_slice(&stamp.prev.to_text());
        out.push(b'"');
        out.extend_from_slice(&self.bytes[prev_at..seq_at]);
        stamp.seq.write(out);
        out.extend_from_slice(&self.bytes[seq_at..end]);
    }
}

impl Draft<'_> {
    /// Writes the members in canonical order and returns where the stamp's parts belong.
    fn write(&self, out: &mut Vec<u8>) -> [usize; 3] {
        let body = &self.body;
        let mut record = ObjectWriter::begin(out);
        record.member("action", self.action);
        record.member("actor", &self.actor);
        if let Body::Event { bytes_severed: Some(bytes), .. } = body {
            record.member("bytes_severed", bytes);
        }
        if let Body::System { detail, .. } = body {
            record.member("detail", *detail);
        }
        if let Body::Syscall { .. } = body {
            record.member("enforcement", "observed");
        }
        let epoch_at = record.key("epoch").len();
        if let Body::Event { external_trace_id: Some(id), .. } = body {
            record.member("external_trace_id", id);
        }
        if let Body::Gap(gap) = body {
            record.member("gap", gap);
        }
        record.member("kind", body.kind());
        record.member("ledger", self.ledger);
        if let Body::Syscall { mono_ns, .. } = body {
            write_decimal(record.key("mono_ns"), *mono_ns);
        }
        if let Body::Event { occurred: Some(occurred), .. } = body {
            record.member("occurred", occurred);
        }
        if let Body::Event { payload: Some(payload), .. } = body {
            record.member("payload", payload);
        }
        let prev_at = record.key("prev").len();
        if let Body::Syscall { process, .. } | Body::System { process: Some(process), .. } = body {
            record.member("process", process);
        }
        record.member("schema_version", SCHEMA_VERSION);
        let seq_at = record.key("seq").len();
        record.member("source", &self.source);
        record.member("subject", &self.subject);
        if let Body::Syscall { syscall, .. } = body {
            syscall.write(record.key("syscall"));
        }
        if let Body::Syscall { target_host: Some(host), .. }
        | Body::Event { target_host: Some(host), .. } = body
        {
            record.member("target_host", host);
        }
        write_time(record.key("timestamp_truetime"), &self.time);
        record.member("trace_id", self.trace_id);
        if let Body::Syscall { .. } = body {
            record.member("verdict", "PERMIT");
        }
        record.member("where", &self.place);
        record.end();
        [epoch_at, prev_at, seq_at]
    }
}

/// A number that may be beyond 2^53−1, as a string.
fn write_decimal(out: &mut Vec<u8>, number: u64) {
    out.push(b'"');
    number.write(out);
    out.push(b'"');
}

fn write_time(out: &mut Vec<u8>, time: &TrueTime) {
    let clock = if time.synchronised { "" } else { r#""clock":"unsynchronised","# };
    for part in [
        b"{",
        clock.as_bytes(),
        br#""earliest":""#,
        &time.earliest.to_text(),
        br#"","latest":""#,
        &time.latest.to_text(),
        br#""}"#,
    ] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Admission, Defaults, Event};
    use crate::{ActorKind, Text, Timestamp, Value, canonical};

    /// Any JSON that a record may hold, as the parser's own type.
    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            (-crate::INTEGER_MAX..=crate::INTEGER_MAX).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn stamped(batch: &DraftBatch) -> Vec<u8> {
        let stamp = Stamp { epoch: 2, prev: crate::sha256(b"prev"), seq: 7 };
        let mut out = Vec::new();
        batch.stamp(0, &stamp, &mut out);
        out
    }

    proptest! {
        /// Parse → canonical → parse is the identity, the bytes are those of another
        /// implementation of RFC 8785, and the strict reader accepts them.
        #[test]
        fn canonical_form_round_trips(json in any_json()) {
            let text = serde_json::to_vec_pretty(&json).unwrap();
            let value = Value::parse(&text).unwrap();
            let bytes = value.to_canonical();
            prop_assert_eq!(&bytes, &serde_json_canonicalizer::to_vec(&json).unwrap());
            prop_assert_eq!(&Value::parse(&bytes).unwrap(), &value);
            let wrapped = [b"{\"\":", &bytes[..], b"}"].concat();
            prop_assert_eq!(canonical::object(&wrapped, |_, _| {}), Ok(()));
        }

        /// A whole record is canonical, whatever the event holds.
        #[test]
        fn drafts_are_canonical(id in "\\PC+", synchronised: bool, json in any_json()) {
            let line = serde_json::json!({
                "action": "a.b", "actor": {"id": id, "kind": "user", "via": "x"}, "bytes_severed": 5,
                "external_trace_id": id, "occurred": "then", "payload": {"before": {"f": json}},
                "source": "ui", "subject": {"id": id, "kind": "k"}, "target_host": "h",
                "where": {"device": "d", "ip": "i"},
            });
            let admission = Admission { payload_fields: vec!["f".into()] };
            let event = Event::parse(line.to_string().as_bytes(), &admission).unwrap();
            let at = Timestamp { unix_ns: 1 };
            let defaults = Defaults {
                host: "host", ledger: "o", trace_id: "t",
                time: TrueTime { earliest: at, latest: at, synchronised },
            };
            let mut batch = DraftBatch::default();
            batch.push(&event.draft(&defaults)).unwrap();
            let bytes = stamped(&batch);
            let again: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&bytes, &serde_json_canonicalizer::to_vec(&again).unwrap());
            prop_assert_eq!(canonical::object(&bytes, |_, _| {}), Ok(()));
            prop_assert_eq!(&again["seq"], 7);
            prop_assert_eq!(again["payload"]["before"]["f"].clone(), json);
        }

        /// Names that are not UTF-8 stay distinct from each other and from every text.
        #[test]
        fn bytes_stay_distinct(a: Vec<u8>, b: Vec<u8>) {
            let encode = |bytes: &[u8]| Text::from(bytes).to_canonical();
            prop_assert_eq!(a == b, encode(&a) == encode(&b));
            let value = Value::from(Text::from(&*a));
            prop_assert_eq!(value.to_canonical(), encode(&a));
        }

        /// Arbitrary bytes never panic the readers.
        #[test]
        fn readers_take_anything(bytes: Vec<u8>) {
            drop(Value::parse(&bytes));
            let canonical = canonical::object(&bytes, |_, _| {}).is_ok();
            prop_assert!(!canonical || bytes.first() == Some(&0x7b));
        }
    }

    fn system<'a>(detail: &'a Value, id: &'a str) -> Draft<'a> {
        let at = Timestamp { unix_ns: 0 };
        Draft {
            action: "pipeline.started",
            actor: Actor { id: "graven".into(), kind: ActorKind::System, via: None },
            body: Body::System { detail, process: None },
            ledger: "o",
            place: Where { device: None, host: "h".into(), ip: None },
            source: Source::System,
            subject: Subject { id: id.into(), kind: "pipeline".into() },
            time: TrueTime { earliest: at, latest: at, synchronised: false },
            trace_id: "t",
        }
    }

    #[test]
    fn a_record_over_the_limit_is_refused_and_leaves_the_batch_alone() {
        let detail = Value::Object(Vec::new());
        let mut batch = DraftBatch::default();
        batch.push(&system(&detail, "short")).unwrap();
        let before = batch.bytes_len();
        let long = "x".repeat(RECORD_BYTES_MAX);
        let error = batch.push(&system(&detail, &long)).unwrap_err();
        assert!(error.bytes > RECORD_BYTES_MAX);
        assert_eq!((batch.bytes_len(), batch.drafts().len()), (before, 1));
        assert!(batch.drafts()[0].begins_epoch);
    }

    /// The bytes of one record, spelled out.
    #[test]
    fn a_record_looks_like_this() {
        let detail = Value::parse(br#"{"b":[1,"x"],"a":null}"#).unwrap();
        let mut batch = DraftBatch::default();
        batch.push(&system(&detail, "run")).unwrap();
        let expected = concat!(
            r#"{"action":"pipeline.started","actor":{"id":"graven","kind":"system"},"detail":{"a":null,"b":[1,"x"]},"#,
            r#""epoch":2,"kind":"system","ledger":"o","#,
            r#""prev":"PREV","#,
            r#""schema_version":"4.0.0","seq":7,"source":"system","subject":{"id":"run","kind":"pipeline"},"#,
            r#""timestamp_truetime":{"clock":"unsynchronised","earliest":"1970-01-01T00:00:00.000000000Z","#,
            r#""latest":"1970-01-01T00:00:00.000000000Z"},"trace_id":"t","where":{"host":"h"}}"#,
        );
        let expected = expected.replace("PREV", &crate::sha256(b"prev").to_string());
        assert_eq!(String::from_utf8(stamped(&batch)).unwrap(), expected);
    }
}
