//! What the summary at the end of `exec` is made of: a sink that only counts, or a look back at the ledger.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use graven_ledger::{LedgerError, Members, Paths, SegmentCursor, records};
use graven_record::canonical;
use graven_sink::{CommittedBatch, Sink, SinkError};

/// What one run put into the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// System calls by name.
    pub(crate) calls: BTreeMap<String, u64>,
    /// Records that are not system calls, by action.
    pub(crate) others: BTreeMap<String, u64>,
}

impl Counts {
    fn add(&mut self, members: &Members<'_>) {
        let action = members.action.and_then(canonical::string).unwrap_or_default();
        let is_call = members.kind == Some(b"\"syscall\"");
        let names = if is_call { &mut self.calls } else { &mut self.others };
        match names.get_mut(&*action) {
            Some(count) => *count += 1,
            None => {
                names.insert(action.into_owned(), 1);
            }
        }
    }

    /// All records.
    pub(crate) fn records(&self) -> u64 {
        self.calls.values().chain(self.others.values()).sum()
    }
}

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// Counts the records of one run, and the gaps, among those from `first` to before `end`.
pub(crate) fn count(
    paths: &Paths,
    first: u64,
    end: u64,
    trace_id: &str,
) -> Result<Counts, LedgerError> {
    let mut counts = Counts::default();
    let mut cursor = SegmentCursor::new(paths, first);
    let own = format!("\"{trace_id}\"");
    while cursor.next() < end {
        let (_, lines) = cursor.read(end, READ_BYTES)?;
        for record in records(&lines) {
            if let Ok(members) = Members::read(record)
                && (members.trace_id == Some(own.as_bytes()) || members.kind == Some(b"\"gap\""))
            {
                counts.add(&members);
            }
        }
    }
    Ok(counts)
}

/// Counts the records from `next` on. Its destination is memory, so it begins where this run does.
#[derive(Debug)]
pub(crate) struct Tally {
    next: u64,
    counts: Arc<Mutex<Counts>>,
}

impl Tally {
    /// A tally of what follows the first `size` records, and its result.
    pub(crate) fn new(size: u64) -> (Self, Arc<Mutex<Counts>>) {
        let counts = Arc::<Mutex<Counts>>::default();
        (Self { next: size, counts: Arc::clone(&counts) }, counts)
    }
}

#[async_trait]
impl Sink for Tally {
    fn name(&self) -> &'static str {
        "tally"
    }

    async fn cursor(&mut self) -> Result<u64, SinkError> {
        Ok(self.next)
    }

    async fn append(&mut self, batch: &CommittedBatch) -> Result<u64, SinkError> {
        let Some(new) = batch.since(self.next) else {
            return Ok(self.next);
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records(&new.lines) {
            if let Ok(members) = Members::read(record) {
                counts.add(&members);
            }
        }
        self.next = new.end();
        Ok(self.next)
    }

    async fn close(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}
