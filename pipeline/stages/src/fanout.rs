//! Fan-out: brings each sink what it lacks, behind the commit and never in its way.

use std::sync::Arc;
use std::time::Duration;

use graven_ledger::{LedgerError, Paths, SegmentCursor};
use graven_sink::{CommittedBatch, Sink, SinkError};

use crate::counters::SinkMeter;
use crate::failpoint;
use crate::figures::SinkFigures;
use crate::window::Window;

/// Bytes read from the segments at a time for a sink that lags.
const READ_BYTES: usize = 1 << 20;

/// First and longest wait between two attempts at a destination that is not available.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How long a drain waits for a destination that is not available.
const DRAIN_ATTEMPTS: u32 = 5;

/// Why a sink was given up. The ledger is not touched by it.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The destination.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The segments could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// How far a sink has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkReport {
    /// The sink.
    pub name: String,
    /// Records its destination holds.
    pub cursor: u64,
    /// Why it stopped before the end, where it did.
    pub failure: Option<String>,
}

impl SinkReport {
    /// The report of a sink that can give none.
    pub(crate) fn panicked(meter: &SinkMeter) -> Self {
        let failure = "the sink has panicked; this is a defect, please report it".to_owned();
        meter.failed(&failure);
        let SinkFigures { name, cursor, .. } = meter.figures(0);
        tracing::error!(sink = name, cursor, "{failure}; the ledger keeps its records");
        Self { name, cursor, failure: Some(failure) }
    }
}

/// Delivers to one sink until commit has ended and everything is delivered.
pub(crate) async fn deliver(
    mut sink: Box<dyn Sink>,
    window: Window,
    paths: Paths,
    meter: Arc<SinkMeter>,
) -> SinkReport {
    let name = sink.name().to_owned();
    let mut cursor = 0;
    let delivered = follow(sink.as_mut(), window, &paths, &mut cursor, &meter).await;
    let closed = sink.close().await.map_err(DeliveryError::from);
    let failure = delivered.and(closed).err().map(|error| {
        tracing::error!(sink = name, cursor, %error, "the sink has stopped; the ledger keeps its records");
        meter.failed(&error.to_string());
        error.to_string()
    });
    SinkReport { name, cursor, failure }
}

async fn follow(
    sink: &mut dyn Sink,
    mut window: Window,
    paths: &Paths,
    cursor: &mut u64,
    meter: &SinkMeter,
) -> Result<(), DeliveryError> {
    *cursor = sink.cursor().await?;
    let durable = window.durable();
    meter.reached(*cursor, durable);
    if *cursor > durable {
        let sink = sink.name().to_owned();
        return Err(SinkError::Fork { sink, index: durable }.into());
    }
    // The last record that the destination holds is given again, so that the sink compares it: a
    // destination of another history shows at once.
    *cursor = cursor.saturating_sub(1);
    let mut segments = SegmentCursor::new(paths, *cursor);
    let mut draining = false;
    loop {
        let durable = window.durable();
        while *cursor < durable {
            let batch = match window.batch(*cursor).and_then(|batch| batch.since(*cursor)) {
                Some(batch) => batch,
                None => read_segments(&mut segments, paths, *cursor, durable)?,
            };
            failpoint::pass("fan-out");
            *cursor = append(sink, &batch, &window).await?;
            meter.taken(*cursor, durable);
        }
        if draining {
            return Ok(());
        }
        draining = !window.changed().await;
    }
}

fn read_segments(
    segments: &mut SegmentCursor,
    paths: &Paths,
    cursor: u64,
    durable: u64,
) -> Result<CommittedBatch, LedgerError> {
    if segments.next() != cursor {
        *segments = SegmentCursor::new(paths, cursor);
    }
    let (first, lines) = segments.read(durable, READ_BYTES)?;
    Ok(CommittedBatch { first, count: segments.next() - first, lines })
}

/// Appends, waiting out a destination that is not available; not for long once the run is over.
async fn append(
    sink: &mut dyn Sink,
    batch: &CommittedBatch,
    window: &Window,
) -> Result<u64, SinkError> {
    let mut wait = RETRY_MIN;
    let mut last_attempts = DRAIN_ATTEMPTS;
    loop {
        match sink.append(batch).await {
            Err(SinkError::Unavailable { sink, problem, .. }) if last_attempts > 0 => {
                tracing::warn!(sink, problem, ?wait, "trying again");
                tokio::select! {
                    () = tokio::time::sleep(wait) => wait = (wait * 2).min(RETRY_MAX),
                    () = window.closed() => {
                        last_attempts -= 1;
                        tokio::time::sleep(RETRY_MIN).await;
                    }
                }
            }
            result => return result,
        }
    }
}
