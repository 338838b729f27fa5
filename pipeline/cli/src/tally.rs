//! A sink that only counts: what the summary at the end of `exec` is made of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use graven_ledger::Members;
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
        for record in new.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Ok(members) = Members::read(record) else {
                continue;
            };
            let action = members.action.and_then(canonical::string).unwrap_or_default();
            let is_call = members.kind == Some(b"\"syscall\"");
            let names = if is_call { &mut counts.calls } else { &mut counts.others };
            match names.get_mut(&*action) {
                Some(count) => *count += 1,
                None => {
                    names.insert(action.into_owned(), 1);
                }
            }
        }
        self.next = new.end();
        Ok(self.next)
    }

    async fn close(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}
