//! From one graph of a ledger to the next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use graven_config::Ledger;
use graven_ledger::{LedgerError, OpenedLedger, Run};
use graven_record::Value;
use graven_sink::Sink;
use graven_stages::{Pipeline, PipelineOptions, SinkReport, Summary, clock, host_name};
use tokio::sync::watch;

use super::{Life, Running, applied, lock, open, release, sinks};
use crate::ring_thread::Inflow;

/// First and longest pause before a graph that has failed is rebuilt.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// A run that lasted this long has shown that the rebuilding worked: the next pause is short again.
const STEADY_NS: u64 = 60_000_000_000;

pub(super) struct Cycle {
    pub(super) settings: Ledger,
    pub(super) tiers: Value,
    pub(super) life: Arc<Life>,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Cycle {
    pub(super) fn start(&self, ledger: OpenedLedger, sinks: Vec<Box<dyn Sink>>) -> Pipeline {
        let Self { settings, tiers, life, .. } = self;
        let origin = ledger.info.origin.clone();
        let run =
            Run { host: host_name(), ledger: origin.to_string(), trace_id: crate::new_trace_id() };
        let options = PipelineOptions {
            heartbeat_s: settings.heartbeat_s,
            block_ms_max: settings.block_ms_max,
            budget_bytes: settings.budget_bytes,
            disk: *lock(&life.disk),
            segment_bytes_max: settings.segment_bytes,
            release: release(settings),
            ..PipelineOptions::default()
        };
        let pipeline = Pipeline::start(ledger, run, tiers.clone(), sinks, &options);
        let running = Running { intake: pipeline.intake(), counters: pipeline.counters() };
        if running.intake.record(vec![applied(&origin, lock(&life.news).clone())]).is_err() {
            tracing::debug!("the graph ended before its first record");
        }
        *lock(&life.last) = Some(pipeline.observer());
        *lock(&life.down) = None;
        life.mouth
            .send_replace(Some(Inflow { intake: pipeline.intake(), losses: pipeline.losses() }));
        life.door.send_replace(Some(running));
        pipeline
    }

    /// Keeps a graph going until it is told to stop.
    pub(super) async fn run(mut self, mut pipeline: Pipeline) {
        let mut pause = BACK_OFF_MIN;
        loop {
            let since_ns = clock::mono_ns();
            tokio::select! {
                () = pipeline.failed() => {}
                _ = self.stopping.wait_for(|stop| *stop) => {}
            }
            self.life.door.send_replace(None);
            self.life.mouth.send_replace(None);
            let failure = match pipeline.drain().await {
                Ok(summary) => return self.report_sinks(&summary),
                Err(failure) => failure,
            };
            if clock::mono_ns() - since_ns > STEADY_NS {
                pause = BACK_OFF_MIN;
            }
            pipeline = match self.rebuild(failure.into(), &mut pause).await {
                Some(pipeline) => pipeline,
                None => return,
            };
        }
    }

    /// Tries until a graph stands again; `None` where it is told to stop first.
    ///
    /// A ledger that could not be written is opened like one that a crash has left: recovery copies what
    /// stands, and syncs it, so nothing rests on what the page cache may have kept of the failed write.
    async fn rebuild(
        &mut self,
        mut failure: anyhow::Error,
        pause: &mut Duration,
    ) -> Option<Pipeline> {
        loop {
            self.say(&failure);
            tokio::select! {
                () = tokio::time::sleep(*pause) => {}
                _ = self.stopping.wait_for(|stop| *stop) => return None,
            }
            *pause = (*pause * 2).min(BACK_OFF_MAX);
            self.life.rebuilds.fetch_add(1, Ordering::Relaxed);
            let sinks = sinks(self.settings.mirror.as_deref());
            failure = match (open(&self.settings, &self.life.hold), sinks) {
                (Ok(ledger), Ok(sinks)) => return Some(self.start(ledger, sinks)),
                (Err(error), _) if !may_pass(&error) => {
                    self.say(&error.into());
                    // A person has to look at it, and then to reload or restart.
                    let _stopped = self.stopping.wait_for(|stop| *stop).await;
                    return None;
                }
                (Err(error), _) => error.into(),
                (_, Err(error)) => error,
            };
        }
    }

    fn say(&self, failure: &anyhow::Error) {
        let (ledger, why) = (&self.settings.name, format!("{failure:#}"));
        tracing::error!(ledger, "not being written: {why}");
        *lock(&self.life.down) = Some(why);
    }

    fn report_sinks(&self, summary: &Summary) {
        let ledger = &self.settings.name;
        for SinkReport { name, cursor, failure } in &summary.sinks {
            match failure {
                None => tracing::info!(ledger, "sink {name} has {cursor} records"),
                Some(failure) => {
                    tracing::warn!(ledger, "sink {name} has {cursor} records: {failure}");
                }
            }
        }
    }
}

/// Whether time may mend it: a full disk, another writer, or a disk that is not mounted while it is being
/// repaired. What recovery refuses, it does not.
fn may_pass(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Io { .. } | LedgerError::InUse(_) | LedgerError::NotALedger(_))
}
