//! What the stages count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use graven_ledger::BlockHeader;
use graven_record::Value;

/// Figures of one run.
#[derive(Debug, Default)]
pub struct Counters {
    records: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
    blocks: AtomicU64,
    rejected: AtomicU64,
    last_header: Mutex<Option<BlockHeader>>,
}

impl Counters {
    pub(crate) fn committed(&self, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn synced(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rejected(&self, lines: u64) {
        self.rejected.fetch_add(lines, Ordering::Relaxed);
    }

    pub(crate) fn sealed(&self, header: BlockHeader) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        *self.last_header.lock().unwrap_or_else(PoisonError::into_inner) = Some(header);
    }

    /// Records made durable.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Blocks sealed.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// The newest header, with its checkpoint.
    #[must_use]
    pub fn last_header(&self) -> Option<BlockHeader> {
        self.last_header.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The figures as members of a record's `detail`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let figure = |name: &str, counter: &AtomicU64| {
            let value = i64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            (name.to_owned(), Value::Integer(value))
        };
        Value::Object(vec![
            figure("blocks", &self.blocks),
            figure("bytes", &self.bytes),
            figure("records", &self.records),
            figure("rejected", &self.rejected),
            figure("syncs", &self.syncs),
        ])
    }
}

/// Where a heartbeat finds what a source has lost: the source writes, the heartbeat reads.
#[derive(Debug, Clone, Default)]
pub struct Losses(Arc<Mutex<Option<Value>>>);

impl Losses {
    /// Replaces what is known.
    pub fn set(&self, losses: Value) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(losses);
    }

    pub(crate) fn get(&self) -> Value {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or(Value::Null)
    }
}
