//! Records on their way into the ledger: everything but their place in the chain.

use std::borrow::Cow;
use std::io::Write as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::{Hash, RECORD_BYTES_MAX, SCHEMA_VERSION, TrueTime, Value};

/// Bytes from the kernel: text where they are UTF-8, `{"b64":"…"}` where they are not, so that two
/// different names never look the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, [u8]>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text.into_bytes()))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("b64", &BASE64_STANDARD.encode(&self.0))?;
        map.end()
    }
}

/// What kind of actor did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    /// A person.
    User,
    /// An autonomous agent.
    Agent,
    /// A machine or its kernel, Graven included.
    System,
    /// A program that acts for others.
    Service,
}

/// Who did it: on every record.
#[derive(Debug, Clone, Serialize)]
pub struct Actor<'a> {
    /// The actor's name among its kind.
    pub id: Cow<'a, str>,
    /// Its kind.
    pub kind: ActorKind,
    /// Through what it acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Cow<'a, str>>,
}

/// The entity acted on.
#[derive(Debug, Clone, Serialize)]
pub struct Subject<'a> {
    /// The entity's name among its kind.
    pub id: Text<'a>,
    /// Its kind, for instance `file` or `socket`.
    pub kind: Cow<'a, str>,
}

/// On which machine.
#[derive(Debug, Clone, Serialize)]
pub struct Where<'a> {
    /// The device, where the source names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Cow<'a, str>>,
    /// The host's name.
    pub host: Cow<'a, str>,
    /// The address, where the source names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Cow<'a, str>>,
}

/// Through which door a record came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is named by the word itself; schemas/format.md lists them")]
pub enum Source {
    Kernel,
    Api,
    Ui,
    Fix,
    Chain,
    Kafka,
    File,
    System,
}

/// The process that made a system call.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub struct Process<'a> {
    pub cgroup: Text<'a>,
    pub comm: Text<'a>,
    pub executable: Text<'a>,
    pub gid: u32,
    pub pid: u32,
    pub ppid: u32,
    pub tid: u32,
    pub uid: u32,
}

/// A system call with its normalized arguments.
#[derive(Debug, Clone)]
pub struct Syscall<'a> {
    /// `x86_64`, `i386` or `x32`.
    pub arch: &'a str,
    /// Canonical JSON of the argument object.
    pub args: &'a [u8],
    /// From entry to exit; `None` for a call that does not return.
    pub duration_ns: Option<u64>,
    /// What weakens the record, sorted.
    pub flags: &'a [&'a str],
    /// The call's number on `arch`.
    pub id: u32,
    /// The call's name.
    pub name: &'a str,
    /// What the kernel returned, −errno on failure.
    pub result: Option<i64>,
}

impl Syscall<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::begin(out);
        object.member("arch", self.arch);
        object.key("args").extend_from_slice(self.args);
        if let Some(duration_ns) = self.duration_ns {
            object.member("duration_ns", &Value::from(duration_ns));
        }
        if !self.flags.is_empty() {
            object.member("flags", self.flags);
        }
        object.member("id", &self.id);
        object.member("name", self.name);
        match self.result {
            Some(result) if result.unsigned_abs() > crate::INTEGER_MAX.unsigned_abs() => {
                object.member("result", &result.to_string());
            }
            Some(result) => object.member("result", &result),
            None => {}
        }
        object.end();
    }
}

/// What could not be handed over (G1). Members that are not known are `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The CPU on which it was lost.
    pub cpu: Option<u32>,
    /// First lost sequence number, or the time at which the silence began.
    pub from: Value,
    /// How many records were lost.
    pub lost: Option<u64>,
    /// Where they were lost: `ring`, `stash`, `recursion`, `decode` or `downtime`.
    pub stage: &'static str,
    /// Last lost sequence number, or the time at which the silence ended.
    pub to: Value,
}

/// The members that one kind of record has and the others lack.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// `kind: syscall`
    Syscall {
        /// `CLOCK_MONOTONIC` at entry.
        mono_ns: u64,
        /// Who called.
        process: Process<'a>,
        /// The call.
        syscall: Syscall<'a>,
        /// The IP peer, where the call names one.
        target_host: Option<&'a str>,
    },
    /// `kind: event`
    Event {
        /// Bytes cut off, as the source counts them.
        bytes_severed: Option<u64>,
        /// The source's own trace id.
        external_trace_id: Option<&'a str>,
        /// The time the source gives, as it gave it.
        occurred: Option<&'a str>,
        /// `{after?, before?}`.
        payload: Option<&'a Value>,
        /// The host concerned.
        target_host: Option<&'a str>,
    },
    /// `kind: gap`
    Gap(Gap),
    /// `kind: system`
    System {
        /// The action's own members.
        detail: &'a Value,
        /// The task concerned, of what the kernel's scheduler reports.
        process: Option<Process<'a>>,
    },
}

impl Body<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Syscall { .. } => "syscall",
            Self::Event { .. } => "event",
            Self::Gap(_) => "gap",
            Self::System { .. } => "system",
        }
    }
}

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
        write_integer(out, stamp.epoch);
        out.extend_from_slice(&self.bytes[epoch_at..prev_at]);
        out.push(b'"');
        out.extend_from_slice(&stamp.prev.to_text());
        out.push(b'"');
        out.extend_from_slice(&self.bytes[prev_at..seq_at]);
        write_integer(out, stamp.seq);
        out.extend_from_slice(&self.bytes[seq_at..end]);
    }
}

fn write_integer(out: &mut Vec<u8>, value: u64) {
    write!(out, "{value}").expect("a Vec takes every byte");
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
            record.member("detail", detail);
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
            record.member("mono_ns", &mono_ns.to_string());
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

fn write_time(out: &mut Vec<u8>, time: &TrueTime) {
    let clock = if time.synchronised { "" } else { r#""clock":"unsynchronised","# };
    write!(out, r#"{{{clock}"earliest":"{}","latest":"{}"}}"#, time.earliest, time.latest)
        .expect("a Vec takes every byte");
}

/// Writes one JSON object; the caller gives the members in canonical order.
#[derive(Debug)]
pub struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
    #[cfg(debug_assertions)]
    last_key: Option<&'static str>,
}

impl<'a> ObjectWriter<'a> {
    /// Opens the object.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            first: true,
            #[cfg(debug_assertions)]
            last_key: None,
        }
    }

    /// Writes a key, which needs no escape, and returns the buffer for its value.
    pub fn key(&mut self, key: &'static str) -> &mut Vec<u8> {
        #[cfg(debug_assertions)]
        {
            assert!(self.last_key < Some(key), "{key} is out of canonical order");
            self.last_key = Some(key);
        }
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Writes a member whose `Serialize` gives canonical JSON.
    pub fn member(&mut self, key: &'static str, value: &(impl Serialize + ?Sized)) {
        serde_json::to_writer(self.key(key), value).expect("plain data serialises into a Vec");
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Admission, Defaults, Event};
    use crate::{Timestamp, canonical};

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
            let bytes = serde_json::to_vec(&value).unwrap();
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
            let encode = |bytes: &[u8]| serde_json::to_vec(&Text::from(bytes)).unwrap();
            prop_assert_eq!(a == b, encode(&a) == encode(&b));
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
