//! The in-memory window of recent records, from which sinks read while they keep up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use graven_sink::CommittedBatch;
use tokio::sync::watch;

/// Bytes of recent records kept for the sinks.
pub(crate) const WINDOW_BYTES: usize = 8 << 20;

#[derive(Debug, Default)]
struct Recent {
    batches: VecDeque<Arc<CommittedBatch>>,
    bytes: usize,
}

/// Commit's end: never waits for a sink.
#[derive(Debug)]
pub(crate) struct WindowWriter {
    recent: Arc<Mutex<Recent>>,
    durable: watch::Sender<u64>,
}

/// A sink's end.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    recent: Arc<Mutex<Recent>>,
    durable: watch::Receiver<u64>,
}

/// A window over a ledger of `size` durable records.
pub(crate) fn window(size: u64) -> (WindowWriter, Window) {
    let recent = Arc::new(Mutex::new(Recent::default()));
    let (sender, durable) = watch::channel(size);
    (WindowWriter { recent: Arc::clone(&recent), durable: sender }, Window { recent, durable })
}

impl WindowWriter {
    pub(crate) fn push(&self, batch: CommittedBatch) {
        let end = batch.end();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.bytes += batch.lines.len();
        recent.batches.push_back(Arc::new(batch));
        while recent.bytes > WINDOW_BYTES
            && let Some(oldest) = recent.batches.pop_front()
        {
            recent.bytes -= oldest.lines.len();
        }
        drop(recent);
        self.durable.send_replace(end);
    }
}

impl Window {
    /// Number of durable records.
    pub(crate) fn durable(&mut self) -> u64 {
        *self.durable.borrow_and_update()
    }

    /// Waits for more durable records; false once commit has ended.
    pub(crate) async fn changed(&mut self) -> bool {
        self.durable.changed().await.is_ok()
    }

    /// Waits until commit has ended.
    pub(crate) async fn closed(&self) {
        let mut durable = self.durable.clone();
        while durable.changed().await.is_ok() {}
    }

    /// The batch that holds record `index`, while the window does.
    pub(crate) fn batch(&self, index: u64) -> Option<Arc<CommittedBatch>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.batches.iter().find(|batch| batch.first <= index && index < batch.end()).cloned()
    }
}
