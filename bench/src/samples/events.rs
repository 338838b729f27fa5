//! Application events whose stored record has [`RECORD_BYTES`] bytes.

use std::sync::Arc;

use graven_record::event::{Admission, Defaults, Event};
use graven_record::{DraftBatch, Hash, Stamp, TrueTime};
use graven_stages::{BATCH_BYTES_MAX, EventBatch, clock};

use super::{ORIGIN, PAYLOAD_FIELDS, RECORD_BYTES};

/// Index that stands for all in measuring a record: of as many digits as most have.
const TYPICAL_SEQ: u64 = 500_000;
const TRACE_ID: &str = "6f9619ff-8b86-4011-b42d-00cf4fc964ff";
const FILLER: &str = "amended after review by the risk desk; ";

/// Events in the batches of a full-rate run: as many bytes as `graven append` puts into one.
pub const EVENTS_IN_BATCH: usize = BATCH_BYTES_MAX / 2 / 320;

/// Distinct batches that a feed holds; it sends them in turn. Made beforehand, so that making them takes
/// nothing from the stages that are measured.
const BATCHES: usize = 32;

fn admission() -> Admission {
    Admission { payload_fields: PAYLOAD_FIELDS.map(Into::into).to_vec() }
}

fn defaults(time: TrueTime) -> Defaults<'static> {
    Defaults { host: "host-1", ledger: ORIGIN, time, trace_id: TRACE_ID }
}

/// Event number `n`, with `note_bytes` bytes of text in its payload.
fn line(n: usize, note_bytes: usize) -> String {
    let note: String = FILLER.chars().cycle().take(note_bytes).collect();
    let limit = 10_000 + n % 90_000;
    let order = n % 100_000_000;
    format!(
        r#"{{"action":"order.amended","actor":{{"id":"pricing-agent","kind":"agent"}},"payload":{{"after":{{"limit":{limit},"note":"{note}"}},"before":{{"limit":10000}}}},"source":"api","subject":{{"id":"order-{order:08}","kind":"order"}},"where":{{"host":"desk-7"}}}}"#
    )
}

/// The finished record of an event, as the ledger stores it.
fn stored(line: &str) -> Vec<u8> {
    let time = clock::sample().true_time(clock::mono_ns());
    let event = Event::parse(line.as_bytes(), &admission()).expect("the event is admitted");
    let mut drafts = DraftBatch::default();
    drafts.push(&event.draft(&defaults(time))).expect("the event is short");
    let mut record = Vec::with_capacity(RECORD_BYTES);
    let stamp = Stamp { epoch: 1, prev: Hash([0x5a; 32]), seq: TYPICAL_SEQ };
    drafts.stamp(0, &stamp, &mut record);
    record
}

/// Event number `n` as one line of JSON, and what is needed to read it.
#[must_use]
pub fn event_line(n: usize) -> (String, Admission, Defaults<'static>) {
    let note_bytes = RECORD_BYTES.saturating_sub(stored(&line(n, 0)).len());
    let time = clock::sample().true_time(clock::mono_ns());
    (line(n, note_bytes), admission(), defaults(time))
}

/// The stored record of event number `n`, without newline.
#[must_use]
pub fn record(n: usize) -> Vec<u8> {
    stored(&event_line(n).0)
}

/// What of an [`EventBatch`] can be made beforehand.
#[derive(Debug, Clone, Default)]
struct Lines {
    bytes: Vec<u8>,
    ends: Vec<(usize, u64)>,
}

/// Batches of events.
#[derive(Debug)]
pub struct EventFeed {
    batches: Vec<Lines>,
    admission: Arc<Admission>,
    next: usize,
}

impl EventFeed {
    /// A feed of batches of `events` events each.
    #[must_use]
    pub fn new(events: usize) -> Self {
        let note_bytes = RECORD_BYTES.saturating_sub(stored(&line(0, 0)).len());
        let batch = |index: usize| {
            let mut lines = Lines::default();
            for (event, number) in (index * events..).take(events).zip(1..) {
                lines.bytes.extend_from_slice(line(event, note_bytes).as_bytes());
                lines.ends.push((lines.bytes.len(), number));
            }
            lines
        };
        Self {
            batches: (0..BATCHES).map(batch).collect(),
            admission: Arc::new(admission()),
            next: 0,
        }
    }

    /// The next batch.
    pub fn next_batch(&mut self) -> EventBatch {
        let Lines { bytes, ends } = self.batches[self.next % BATCHES].clone();
        self.next += 1;
        EventBatch {
            lines: bytes,
            ends,
            mono_ns: clock::mono_ns(),
            admission: Arc::clone(&self.admission),
        }
    }
}

/// Batches of records that are made in this process, one member after the other, as they are asked for: only
/// what they say is there beforehand.
#[derive(Debug)]
pub struct DraftFeed {
    events: Vec<Event>,
    next: usize,
}

impl Default for DraftFeed {
    fn default() -> Self {
        let event = |n| {
            let (line, admission, _) = event_line(n);
            Event::parse(line.as_bytes(), &admission).expect("the event is admitted")
        };
        Self { events: (0..BATCHES * EVENTS_IN_BATCH).map(event).collect(), next: 0 }
    }
}

impl DraftFeed {
    /// The next batch, of `records` records.
    pub fn next_batch(&mut self, records: usize) -> DraftBatch {
        let mut drafts = DraftBatch::default();
        let defaults = defaults(clock::sample().true_time(clock::mono_ns()));
        for event in self.events.iter().cycle().skip(self.next).take(records) {
            drafts.push(&event.draft(&defaults)).expect("the event is short");
        }
        self.next = (self.next + records) % self.events.len();
        drafts
    }
}
