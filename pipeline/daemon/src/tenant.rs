//! One ledger at work. Its graph is rebuilt after a failure; its place in the daemon stays.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use graven_config::Ledger;
use graven_ledger::{LedgerError, LedgerInfo, OpenedLedger, Run};
use graven_record::Value;
use graven_record::event::Admission;
use graven_sink::Sink;
use graven_sink_file::FileSink;
use graven_stages::{
    Counters, Intake, Observer, OwnBody, OwnRecord, Pipeline, PipelineError, PipelineOptions,
    SinkReport, StageError, Summary, clock, host_name,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::control::Door;
use crate::rates::Rates;
use crate::ring_thread::{Inflow, Way};

/// First and longest pause before a graph that has failed is rebuilt.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// A run that lasted this long has shown that the rebuilding worked: the next pause is short again.
const STEADY_NS: u64 = 60_000_000_000;

/// A graph at work, as the rest of the daemon sees it.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) intake: Intake,
    counters: Arc<Counters>,
}

/// One ledger of the daemon's.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) settings: Ledger,
    pub(crate) info: LedgerInfo,
    pub(crate) rates: Rates,
    admission: Arc<Admission>,
    life: Arc<Life>,
    running: watch::Receiver<Option<Running>>,
    way: Way,
    stop: watch::Sender<bool>,
    ended: JoinHandle<anyhow::Result<()>>,
}

/// What a tenant's life tells of itself.
#[derive(Debug)]
struct Life {
    rebuilds: AtomicU64,
    down: Mutex<Option<String>>,
    last: Mutex<Option<Observer>>,
    /// What is on record of the configuration in force; each run begins with it.
    news: Mutex<Value>,
}

impl Tenant {
    /// Opens the ledger and starts its graph. `news` is what its run begins with.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be opened or the mirror not be written.
    pub(crate) fn start(settings: Ledger, tiers: Value, news: Value) -> anyhow::Result<Self> {
        let at = || format!("ledger \"{}\"", settings.name);
        let opened = open(&settings).with_context(at)?;
        let sinks = sinks(settings.mirror.as_deref()).with_context(at)?;
        let info = opened.info.clone();
        let (door, running) = watch::channel(None);
        let (mouth, way) = watch::channel(None);
        let (stop, stopping) = watch::channel(false);
        let life = Arc::new(Life {
            rebuilds: AtomicU64::new(0),
            down: Mutex::new(None),
            last: Mutex::new(None),
            news: Mutex::new(news),
        });
        let cycle = Cycle {
            settings: settings.clone(),
            tiers,
            life: Arc::clone(&life),
            door,
            mouth,
            stopping,
        };
        // Started at once, so that whoever asks next finds it at work.
        let pipeline = cycle.start(opened, sinks);
        let ended = tokio::task::spawn_local(cycle.run(pipeline));
        let admission = Arc::new(Admission { payload_fields: settings.payload_fields.clone() });
        Ok(Self {
            settings,
            info,
            rates: Rates::default(),
            admission,
            life,
            running,
            way,
            stop,
            ended,
        })
    }

    /// Where its ring's records go.
    pub(crate) fn way(&self) -> Way {
        self.way.clone()
    }

    /// The way in for events; `None` while it is down.
    pub(crate) fn door(&self) -> Option<Door> {
        let running = self.running.borrow().clone()?;
        Some(Door {
            intake: running.intake,
            admission: Arc::clone(&self.admission),
            counters: running.counters,
        })
    }

    /// Puts the configuration that is in force from now on on record; where it is down, its next run begins
    /// with that.
    pub(crate) async fn announce(&self, news: Value) {
        let record = applied(&self.info.origin.to_string(), news.clone());
        *lock(&self.life.news) = news;
        let Some(running) = self.running.borrow().clone() else { return };
        // Intake may wait for room; the daemon must not.
        let submitted =
            tokio::task::spawn_blocking(move || running.intake.record(vec![record])).await;
        if !matches!(submitted, Ok(Ok(()))) {
            tracing::warn!(
                ledger = self.settings.name,
                "a record of the daemon's own came too late"
            );
        }
    }

    /// The newest figures, those of the run before where it is down.
    pub(crate) fn observer(&self) -> Option<Observer> {
        lock(&self.life.last).clone()
    }

    /// Why it is down; `None` where it is at work.
    pub(crate) fn down(&self) -> Option<String> {
        lock(&self.life.down).clone()
    }

    pub(crate) fn rebuilds(&self) -> u64 {
        self.life.rebuilds.load(Ordering::Relaxed)
    }

    /// True once it has ended of itself: [`Self::stop`] then tells why.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_finished()
    }

    /// Drains it: what is inside becomes durable, the last block is sealed, the sinks report.
    ///
    /// # Errors
    ///
    /// Why the ledger could not be written.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.ended
            .await
            .context("the ledger's task has panicked; this is a defect, please report it")?
    }
}

fn open(settings: &Ledger) -> Result<OpenedLedger, LedgerError> {
    graven_ledger::open(&settings.dir, &settings.key, clock::unix_s())
}

/// The destinations beside a ledger.
///
/// # Errors
///
/// If a destination cannot be opened.
pub fn sinks(mirror: Option<&Path>) -> anyhow::Result<Vec<Box<dyn Sink>>> {
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    if let Some(path) = mirror {
        sinks.push(Box::new(FileSink::open(path)?));
    }
    Ok(sinks)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The record that says which configuration is in force.
fn applied(ledger: &str, detail: Value) -> OwnRecord {
    OwnRecord {
        action: "config.applied",
        subject: ("ledger", ledger.to_owned()),
        body: OwnBody::System(detail),
        mono_ns: clock::mono_ns(),
    }
}

/// From one graph to the next.
struct Cycle {
    settings: Ledger,
    tiers: Value,
    life: Arc<Life>,
    door: watch::Sender<Option<Running>>,
    mouth: watch::Sender<Option<Inflow>>,
    stopping: watch::Receiver<bool>,
}

impl Cycle {
    fn start(&self, ledger: OpenedLedger, sinks: Vec<Box<dyn Sink>>) -> Pipeline {
        let origin = ledger.info.origin.to_string();
        let run =
            Run { host: host_name(), ledger: origin.clone(), trace_id: crate::new_trace_id() };
        let Ledger { heartbeat_s, block_ms_max, budget_bytes, .. } = self.settings;
        let options = PipelineOptions {
            heartbeat_s,
            block_ms_max,
            budget_bytes,
            ..PipelineOptions::default()
        };
        let pipeline = Pipeline::start(ledger, run, self.tiers.clone(), sinks, &options);
        let running = Running { intake: pipeline.intake(), counters: pipeline.counters() };
        if running.intake.record(vec![applied(&origin, lock(&self.life.news).clone())]).is_err() {
            tracing::debug!("the graph ended before its first record");
        }
        *lock(&self.life.last) = Some(pipeline.observer());
        *lock(&self.life.down) = None;
        self.mouth
            .send_replace(Some(Inflow { intake: pipeline.intake(), losses: pipeline.losses() }));
        self.door.send_replace(Some(running));
        pipeline
    }

    async fn run(mut self, mut pipeline: Pipeline) -> anyhow::Result<()> {
        let mut pause = BACK_OFF_MIN;
        loop {
            let since_ns = clock::mono_ns();
            tokio::select! {
                () = pipeline.failed() => {}
                _ = self.stopping.wait_for(|stop| *stop) => {}
            }
            self.door.send_replace(None);
            self.mouth.send_replace(None);
            let failure = match pipeline.drain().await {
                Ok(summary) => {
                    self.report_sinks(&summary);
                    return Ok(());
                }
                Err(failure) => failure,
            };
            if let Some(error) = ledger_error(&failure) {
                let error = error.to_string();
                tracing::error!(ledger = self.settings.name, error, "the ledger cannot be written");
                return Err(failure.into());
            }
            if clock::mono_ns() - since_ns > STEADY_NS {
                pause = BACK_OFF_MIN;
            }
            pipeline = match self.rebuild(failure.into(), &mut pause).await? {
                Some(pipeline) => pipeline,
                None => return Ok(()),
            };
        }
    }

    /// Tries until a graph stands again; `None` where the daemon stops first.
    async fn rebuild(
        &mut self,
        mut failure: anyhow::Error,
        pause: &mut Duration,
    ) -> anyhow::Result<Option<Pipeline>> {
        loop {
            let why = format!("{failure:#}");
            tracing::error!(
                ledger = self.settings.name,
                failure = why,
                ?pause,
                "the graph has failed and is rebuilt"
            );
            *lock(&self.life.down) = Some(why);
            tokio::select! {
                () = tokio::time::sleep(*pause) => {}
                _ = self.stopping.wait_for(|stop| *stop) => return Ok(None),
            }
            *pause = (*pause * 2).min(BACK_OFF_MAX);
            self.life.rebuilds.fetch_add(1, Ordering::Relaxed);
            match open(&self.settings) {
                Ok(ledger) => match sinks(self.settings.mirror.as_deref()) {
                    Ok(sinks) => return Ok(Some(self.start(ledger, sinks))),
                    Err(error) => failure = error,
                },
                // What recovery refuses, time does not mend.
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn report_sinks(&self, summary: &Summary) {
        for SinkReport { name: sink, cursor, failure } in &summary.sinks {
            tracing::info!(ledger = self.settings.name, sink, cursor, ?failure, "drained");
        }
    }
}

/// The ledger's own failure, after which nothing may be tried in this process: the tail is unknown.
fn ledger_error(failure: &PipelineError) -> Option<&LedgerError> {
    match &failure.source {
        StageError::Ledger(error) => Some(error),
        _ => None,
    }
}
