//! The graph: which stages there are, how they are joined, and how they end together.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use actix::prelude::*;
use crossbeam_channel::bounded;
use graven_ledger::{BlockHeader, OpenedLedger, Paths, Run, SEGMENT_BYTES_MAX};
use graven_record::Value;
use graven_sink::Sink;
use tokio::sync::oneshot;

use crate::batch::{OwnBody, OwnRecord};
use crate::budget::{ByteBudget, Closed};
use crate::clock::{self, Clock};
use crate::commit::Committer;
use crate::counters::{Counters, Losses, SinkMeter};
use crate::disk_budget::{DiskBudget, DiskLimits};
use crate::facts::Namespaces;
use crate::fanout::{SinkReport, deliver};
use crate::heartbeat::Heartbeat;
use crate::intake::{Intake, QUEUE_BATCHES};
use crate::keeper::{Keeper, KeeperThread};
use crate::left_out::CallCounts;
use crate::normalize::Normalizer;
use crate::observe::Observer;
use crate::preamble::first_records;
use crate::release::{ReleaseMeter, ReleasePolicy, Releaser};
use crate::seal::Sealer;
use crate::sequence::{BLOCK_MS_MAX, Sequencer};
use crate::stage::{Stage, StageEnded, StageError};
use crate::window::window;

/// Raw bytes that may be inside the graph at once. A raw byte becomes up to six in the ledger's form, so
/// this bounds the graph's memory to some 25 MiB.
pub const BUDGET_BYTES: usize = 4 << 20;

/// Seconds between two heartbeats.
pub const HEARTBEAT_S: u64 = 60;

/// Settings of a pipeline.
#[derive(Debug, Clone)]
pub struct PipelineOptions {
    /// Raw bytes that may be inside the graph at once. Default [`BUDGET_BYTES`].
    pub budget_bytes: usize,
    /// Threads that normalize. Default: one for each CPU.
    pub normalizers: usize,
    /// Age at which a block is sealed, in milliseconds. Default [`BLOCK_MS_MAX`].
    pub block_ms_max: u64,
    /// Seconds between two heartbeats. Default [`HEARTBEAT_S`].
    pub heartbeat_s: u64,
    /// What the ledger may use of its disk. Default: all of it.
    pub disk: DiskLimits,
    /// Size at which a segment is closed, in bytes. Default [`SEGMENT_BYTES_MAX`].
    pub segment_bytes_max: u64,
    /// When old segments are released. Default: never.
    pub release: Option<ReleasePolicy>,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            budget_bytes: BUDGET_BYTES,
            normalizers: thread::available_parallelism().map_or(1, NonZeroUsize::get),
            block_ms_max: BLOCK_MS_MAX,
            heartbeat_s: HEARTBEAT_S,
            disk: DiskLimits::default(),
            segment_bytes_max: SEGMENT_BYTES_MAX,
            release: None,
        }
    }
}

/// A running graph over one ledger.
#[derive(Debug)]
pub struct Pipeline {
    intake: Intake,
    counters: Arc<Counters>,
    losses: Losses,
    run: Arc<Run>,
    heartbeat: Addr<Heartbeat>,
    keeper: Option<KeeperThread>,
    ended: oneshot::Receiver<Outcome>,
    failure: Option<PipelineError>,
    sinks: Vec<oneshot::Receiver<SinkReport>>,
    observer: Observer,
}

/// Why the graph stopped.
#[derive(Debug, thiserror::Error)]
#[error("the stage `{stage}` failed")]
pub struct PipelineError {
    /// The stage that failed first.
    pub stage: &'static str,
    /// How.
    pub source: StageError,
}

type Outcome = Result<(), PipelineError>;

/// The graph's actor tells the outcome, unless it is itself torn down.
fn outcome_of(told: Result<Outcome, oneshot::error::RecvError>) -> Outcome {
    told.unwrap_or_else(|_| Err(gone()))
}

fn gone() -> PipelineError {
    PipelineError { stage: "graph", source: StageError::Lost("graph") }
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Records made durable.
    pub records: u64,
    /// Blocks sealed.
    pub blocks: u64,
    /// The newest header, with its checkpoint.
    pub last_header: Option<BlockHeader>,
    /// How far each sink came.
    pub sinks: Vec<SinkReport>,
}

impl Pipeline {
    /// Starts the graph and writes the run's first records. Call it inside an actix system.
    ///
    /// `tiers` tells which means of capture there are; it goes into `pipeline.started`.
    ///
    /// # Panics
    ///
    /// Outside an actix system.
    #[must_use]
    pub fn start(
        mut ledger: OpenedLedger,
        run: Run,
        tiers: Value,
        sinks: Vec<Box<dyn Sink>>,
        options: &PipelineOptions,
    ) -> Self {
        let counters = Arc::new(Counters::over(ledger.chain.size()));
        let (run, clock) = (Arc::new(run), Arc::<Clock>::default());
        let disk = DiskBudget::new(used_bytes(&ledger.paths), options.disk);
        let (intake, jobs, order) =
            Intake::new(ByteBudget::new(options.budget_bytes), disk.clone());
        let first = first_records(&ledger, &run, tiers, options);
        // All blocks are sealed, so that `block.opened` comes before them.
        ledger.blocks.recoveries_named_below(ledger.chain.size() + 1 + first.len() as u64);
        let (to_commit, sequenced) = bounded(QUEUE_BATCHES);
        let (to_seal, durable) = bounded(QUEUE_BATCHES);
        let (writer, reader) = window(ledger.chain.size());
        let (sink_meters, sinks): (Vec<_>, Vec<_>) = sinks
            .into_iter()
            .map(|sink| fan_out(sink, reader.clone(), ledger.paths.clone()))
            .unzip();

        let normalizer = Normalizer {
            run: Arc::clone(&run),
            clock: Arc::clone(&clock),
            counters: Arc::clone(&counters),
            namespaces: Namespaces::of_host(),
            jobs,
        };
        let sequence = Sequencer {
            chain: ledger.chain,
            run: Run::clone(&run),
            block_ms_max: options.block_ms_max,
            order,
            committer: to_commit,
            counters: Arc::clone(&counters),
            due_ns: None,
            left_out: CallCounts::new(),
        };
        let group_commit = Committer {
            segments: ledger.segments.with_bytes_max(options.segment_bytes_max),
            sequenced,
            sealer: to_seal,
            window: (!sinks.is_empty()).then_some(writer),
            counters: Arc::clone(&counters),
            disk: disk.clone(),
            lock: ledger.lock,
        };
        let seal = Sealer {
            blocks: ledger.blocks,
            durable,
            counters: Arc::clone(&counters),
            disk: disk.clone(),
        };

        let stages = (sequence, group_commit, seal);
        let ended = run_stages(&intake, options.normalizers.max(1), normalizer, stages);

        if let Err(Closed) = intake.record(first) {
            tracing::debug!("the graph ended before its first record");
        }
        let losses = Losses::default();
        let observer = Observer {
            intake: intake.clone(),
            counters: Arc::clone(&counters),
            clock,
            losses: losses.clone(),
            sinks: sink_meters.into(),
            releases: ReleaseMeter::default(),
        };
        let heartbeat = Heartbeat {
            observer: observer.clone(),
            run: Arc::clone(&run),
            every_s: options.heartbeat_s,
        }
        .start();
        let releaser = Releaser::new(
            ledger.paths.clone(),
            Arc::clone(&run),
            observer.clone(),
            options.release.clone(),
            ledger.protection,
        );
        let keeper = Keeper::new(ledger.paths, &run, &observer, releaser).start();
        Self {
            intake,
            counters,
            losses,
            run,
            heartbeat,
            keeper,
            ended,
            failure: None,
            sinks,
            observer,
        }
    }

    /// The door for batches.
    #[must_use]
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// The figures of this run.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Sees how the run is doing, from any thread and for as long as it likes.
    #[must_use]
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    /// Where sources report their losses for the heartbeats.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses.clone()
    }

    /// Waits until the graph fails; [`Self::drain`] then tells how. Whoever polls this along with its
    /// own work learns of it at once.
    pub async fn failed(&mut self) {
        if self.failure.is_none() {
            self.failure = Some(outcome_of((&mut self.ended).await).err().unwrap_or_else(gone));
        }
    }

    /// Closes the door, lets everything inside become durable, seals the last block, and waits for
    /// the sinks.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] of the stage that failed first.
    pub async fn drain(self) -> Result<Summary, PipelineError> {
        let stopped = OwnRecord {
            action: "pipeline.stopped",
            subject: ("pipeline", self.run.trace_id.clone()),
            body: OwnBody::System(Value::object([
                ("counters", self.counters.to_value()),
                ("losses", self.losses.to_value()),
            ])),
            mono_ns: clock::mono_ns(),
        };
        // The heartbeat's answer comes when its last record is in.
        if self.heartbeat.send(crate::heartbeat::Stop).await.is_err() {
            tracing::debug!("the heartbeat had stopped already");
        }
        let (intake, keeper) = (self.intake.clone(), self.keeper);
        let close = move || {
            keeper.into_iter().for_each(KeeperThread::end);
            intake.close_behind(stopped);
        };
        drop(tokio::task::spawn_blocking(close).await);
        match self.failure {
            Some(failure) => return Err(failure),
            None => outcome_of(self.ended.await)?,
        }
        let mut sinks = Vec::new();
        for report in self.sinks {
            sinks.extend(report.await);
        }
        Ok(Summary {
            records: self.counters.records(),
            blocks: self.counters.blocks(),
            last_header: self.counters.last_header(),
            sinks,
        })
    }
}

/// What the ledger holds before it grows. Where that cannot be measured, the stages meet the same fault.
fn used_bytes(paths: &Paths) -> u64 {
    graven_ledger::used_bytes(paths).unwrap_or_else(|error| {
        tracing::warn!(%error, "what the ledger holds is not known");
        0
    })
}

/// Starts the threads of all stages, and what watches over them; gives where their end is told.
fn run_stages(
    intake: &Intake,
    normalizers: usize,
    normalizer: Normalizer,
    (sequence, group_commit, seal): (Sequencer, Committer, Sealer),
) -> oneshot::Receiver<Outcome> {
    let (outcome, ended) = oneshot::channel();
    let graph = Graph {
        intake: intake.clone(),
        running: normalizers + 3,
        failure: None,
        outcome: Some(outcome),
    }
    .start()
    .recipient();
    for _ in 0..normalizers {
        let normalizer = normalizer.clone();
        Stage::new("normalize", graph.clone(), move || {
            normalizer.run();
            Ok(())
        })
        .start();
    }
    // The stages alone hold the receiving ends: when they go, their neighbours notice.
    drop(normalizer);
    Stage::new("sequence", graph.clone(), move || sequence.run()).start();
    Stage::new("commit", graph.clone(), move || group_commit.run()).start();
    Stage::new("seal", graph, move || seal.run()).start();
    ended
}

/// Gives a sink an arbiter of its own and follows the ledger for it there.
fn fan_out(
    sink: Box<dyn Sink>,
    window: crate::window::Window,
    paths: Paths,
) -> (Arc<SinkMeter>, oneshot::Receiver<SinkReport>) {
    let (sender, report) = oneshot::channel();
    let meter = Arc::new(SinkMeter::new(sink.name()));
    let metered = Arc::clone(&meter);
    let arbiter = Arbiter::new();
    arbiter.spawn(async move {
        // A task of its own, so that it is told of even where it panics.
        let delivery = deliver(sink, window, paths, Arc::clone(&metered));
        let delivered = tokio::task::spawn_local(delivery).await;
        drop(sender.send(delivered.unwrap_or_else(|_| SinkReport::panicked(&metered))));
        Arbiter::current().stop();
    });
    (meter, report)
}

/// Watches over the stages: when one fails, all end.
#[derive(Debug)]
pub(crate) struct Graph {
    intake: Intake,
    running: usize,
    failure: Option<PipelineError>,
    outcome: Option<oneshot::Sender<Outcome>>,
}

impl Actor for Graph {
    type Context = Context<Self>;
}

impl Handler<StageEnded> for Graph {
    type Result = ();

    fn handle(&mut self, ended: StageEnded, context: &mut Self::Context) {
        self.running -= 1;
        tracing::debug!(stage = ended.name, ok = ended.result.is_ok(), "a stage has ended");
        if let Err(source) = ended.result {
            self.intake.close();
            // A stage that missed its neighbour may be heard before the neighbour itself.
            if self
                .failure
                .as_ref()
                .is_none_or(|known| !known.source.is_cause() && source.is_cause())
            {
                self.failure = Some(PipelineError { stage: ended.name, source });
            }
        }
        if self.running == 0 {
            if let Some(outcome) = self.outcome.take() {
                // Nobody waits any more: then nobody asks.
                drop(outcome.send(self.failure.take().map_or(Ok(()), Err)));
            }
            context.stop();
        }
    }
}
