//! What the stages count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use graven_ledger::BlockHeader;
use graven_record::Value;

use crate::clock;
use crate::figures::{KernelFigures, SinkFigures};
use crate::meter::{LatencyMeter, StageMeter};

/// Figures of one run.
#[derive(Debug, Default)]
pub struct Counters {
    size: AtomicU64,
    sealed_size: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
    blocks: AtomicU64,
    rejected: AtomicU64,
    gaps: AtomicU64,
    heartbeat_ns: AtomicU64,
    last_header: Mutex<Option<BlockHeader>>,
    pub(crate) normalize: StageMeter,
    pub(crate) sequence: StageMeter,
    pub(crate) commit: StageMeter,
    pub(crate) seal: StageMeter,
    pub(crate) sync: LatencyMeter,
}

impl Counters {
    /// Counters of a run over a ledger that holds `size` records, all of them sealed.
    pub(crate) fn over(size: u64) -> Self {
        let heartbeat_ns = clock::mono_ns().into();
        Self { size: size.into(), sealed_size: size.into(), heartbeat_ns, ..Self::default() }
    }

    pub(crate) fn committed(&self, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.size.fetch_add(records, Ordering::Relaxed);
    }

    /// Takes note of a sync of `bytes` bytes that began at `since_ns`.
    pub(crate) fn synced(&self, bytes: u64, since_ns: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync.record(since_ns);
    }

    pub(crate) fn rejected(&self, lines: u64) {
        self.rejected.fetch_add(lines, Ordering::Relaxed);
    }

    /// Takes note of a heartbeat that has gone in.
    pub(crate) fn beat(&self) {
        self.heartbeat_ns.store(clock::mono_ns(), Ordering::Relaxed);
    }

    pub(crate) fn gap(&self) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sealed(&self, header: BlockHeader) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.sealed_size.store(header.size, Ordering::Relaxed);
        *self.last_header.lock().unwrap_or_else(PoisonError::into_inner) = Some(header);
    }

    /// Durable records of the ledger, those of earlier runs included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Records below the newest signed checkpoint.
    #[must_use]
    pub fn sealed_size(&self) -> u64 {
        self.sealed_size.load(Ordering::Relaxed)
    }

    /// Records made durable.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Bytes made durable.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Syncs of the ledger.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Blocks sealed.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Lines of input refused.
    #[must_use]
    pub fn rejections(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Gaps put on record.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    /// Milliseconds since the newest heartbeat went in, or since the run began.
    #[must_use]
    pub fn heartbeat_age_ms(&self) -> u64 {
        clock::mono_ns().saturating_sub(self.heartbeat_ns.load(Ordering::Relaxed)) / 1_000_000
    }

    /// The newest header, with its checkpoint.
    #[must_use]
    pub fn last_header(&self) -> Option<BlockHeader> {
        self.last_header.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The figures as members of a record's `detail`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::object([
            ("blocks", self.blocks().into()),
            ("bytes", self.bytes().into()),
            ("gaps", self.gaps().into()),
            ("records", self.records().into()),
            ("rejected", self.rejections().into()),
            ("syncs", self.syncs().into()),
        ])
    }
}

/// How far a sink has come: the fan-out writes, the observer reads.
#[derive(Debug)]
pub(crate) struct SinkMeter {
    name: String,
    cursor: AtomicU64,
    /// Records that the destination has taken or compared in this run, and those before them.
    holds: AtomicU64,
    /// When the sink last held everything durable, on `CLOCK_MONOTONIC`.
    whole_ns: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl SinkMeter {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cursor: AtomicU64::new(0),
            holds: AtomicU64::new(0),
            whole_ns: AtomicU64::new(clock::mono_ns()),
            failure: Mutex::default(),
        }
    }

    pub(crate) fn reached(&self, cursor: u64, durable: u64) {
        self.cursor.store(cursor, Ordering::Relaxed);
        if cursor >= durable {
            self.whole_ns.store(clock::mono_ns(), Ordering::Relaxed);
        }
    }

    /// The same, after the destination has answered to records of this ledger.
    pub(crate) fn taken(&self, cursor: u64, durable: u64) {
        self.holds.store(cursor, Ordering::Relaxed);
        self.reached(cursor, durable);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Records that the destination is known to hold; 0 once it has failed.
    pub(crate) fn holds(&self) -> u64 {
        let failed = self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if failed { 0 } else { self.holds.load(Ordering::Relaxed) }
    }

    pub(crate) fn failed(&self, failure: &str) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.to_owned());
    }

    pub(crate) fn figures(&self, durable: u64) -> SinkFigures {
        let cursor = self.cursor.load(Ordering::Relaxed);
        let lag_records = durable.saturating_sub(cursor);
        let since_ns = clock::mono_ns().saturating_sub(self.whole_ns.load(Ordering::Relaxed));
        SinkFigures {
            name: self.name.clone(),
            cursor,
            lag_records,
            lag_ms: if lag_records == 0 { 0 } else { since_ns / 1_000_000 },
            failure: self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// Where a heartbeat finds what a source has lost: the source writes, the heartbeat reads.
#[derive(Debug, Clone, Default)]
pub struct Losses(Arc<Mutex<Option<KernelFigures>>>);

impl Losses {
    /// Replaces what is known.
    pub fn set(&self, losses: KernelFigures) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(losses);
    }

    /// What is known; `None` where no source has told.
    pub(crate) fn get(&self) -> Option<KernelFigures> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same as a member of a record's `detail`.
    pub(crate) fn to_value(&self) -> Value {
        self.get().map(KernelFigures::to_value).into()
    }
}
