//! One ledger at work. Its graphs come and go; its place in the daemon stays.

mod cycle;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use graven_config::{Budget, Ledger};
use graven_ledger::{LedgerError, OpenedLedger};
use graven_record::event::Admission;
use graven_record::{Origin, Value};
use graven_sink::Sink;
use graven_sink_file::FileSink;
use graven_stages::{
    Counters, DiskLimits, Intake, Observer, OwnBody, OwnRecord, ReleasePolicy, clock,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::control::Door;
use crate::rates::Rates;
use crate::ring_thread::{Inflow, Way};
use crate::warden::{Hold, WormState};
use cycle::Cycle;

/// One ledger of the daemon's.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) settings: Ledger,
    pub(crate) origin: Origin,
    pub(crate) rates: Rates,
    tiers: Value,
    life: Arc<Life>,
    /// `None` only while it is being restarted, or after that has failed for good.
    at_work: Option<AtWork>,
}

/// What a tenant's life tells of itself.
#[derive(Debug)]
struct Life {
    rebuilds: AtomicU64,
    /// Why no graph is at work; `None` where one is.
    down: Mutex<Option<String>>,
    last: Mutex<Option<Observer>>,
    /// What the ledger may use of its disk; changed without a new graph.
    disk: Mutex<DiskLimits>,
    /// What is on record of the configuration in force; each run begins with it.
    news: Mutex<Value>,
    /// What holds its sealed segments.
    hold: Hold,
    door: watch::Sender<Option<Running>>,
    mouth: watch::Sender<Option<Inflow>>,
}

/// A graph as the rest of the daemon sees it.
#[derive(Debug, Clone)]
struct Running {
    intake: Intake,
    counters: Arc<Counters>,
}

/// The task that keeps a graph going.
#[derive(Debug)]
struct AtWork {
    stop: watch::Sender<bool>,
    ended: JoinHandle<()>,
}

impl Tenant {
    /// Opens the ledger and starts its graph. `news` is what its run begins with, `hold` what holds its sealed
    /// segments.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be opened or the mirror not be written.
    pub(crate) fn start(
        settings: Ledger,
        tiers: Value,
        news: Value,
        hold: Hold,
    ) -> anyhow::Result<Self> {
        let life = Arc::new(Life {
            rebuilds: AtomicU64::new(0),
            down: Mutex::new(None),
            last: Mutex::new(None),
            disk: Mutex::new(limits(&settings)),
            news: Mutex::new(news),
            hold,
            door: watch::channel(None).0,
            mouth: watch::channel(None).0,
        });
        let (origin, at_work) = begin(&settings, &tiers, &life)?;
        Ok(Self { settings, origin, rates: Rates::default(), tiers, life, at_work: Some(at_work) })
    }

    /// Goes on under other settings, with a new graph; the ring's records wait meanwhile. Where that fails, it
    /// goes on as before.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub(crate) async fn restart(&mut self, settings: Ledger, news: Value) -> anyhow::Result<()> {
        if let Some(at_work) = self.at_work.take() {
            at_work.end().await?;
        }
        let before = std::mem::replace(&mut *lock(&self.life.news), news);
        *lock(&self.life.disk) = limits(&settings);
        match begin(&settings, &self.tiers, &self.life) {
            Ok((origin, at_work)) => {
                (self.settings, self.origin, self.at_work) = (settings, origin, Some(at_work));
                Ok(())
            }
            Err(failure) => {
                *lock(&self.life.news) = before;
                *lock(&self.life.disk) = limits(&self.settings);
                let (_, at_work) = begin(&self.settings, &self.tiers, &self.life)
                    .context("the ledger could not be taken up again")?;
                self.at_work = Some(at_work);
                Err(failure)
            }
        }
    }

    /// Where its ring's records go.
    pub(crate) fn way(&self) -> Way {
        self.life.mouth.subscribe()
    }

    /// The way in for events; `None` while it is down.
    pub(crate) fn door(&self) -> Option<Door> {
        let Running { intake, counters } = self.life.door.borrow().clone()?;
        let payload_fields = self.settings.payload_fields.clone();
        Some(Door { intake, counters, admission: Arc::new(Admission { payload_fields }) })
    }

    /// Goes on under other settings with the same graph.
    pub(crate) async fn adapt(&mut self, settings: Ledger, news: Value) {
        let limits = limits(&settings);
        *lock(&self.life.disk) = limits;
        if let Some(running) = &*self.life.door.borrow() {
            running.intake.disk().limit(limits);
        }
        self.settings = settings;
        self.announce(news).await;
    }

    /// Takes in what the kernel has recorded already, though the ledger's budget of disk be reached: what is left
    /// in the ring at the end would be lost.
    pub(crate) fn last_call(&self) {
        if let Some(running) = &*self.life.door.borrow() {
            running.intake.disk().last_call();
        }
    }

    /// Puts the configuration that is in force from now on on record; where it is down, its next run begins
    /// with that.
    async fn announce(&self, news: Value) {
        let record = applied(&self.origin, news.clone());
        *lock(&self.life.news) = news;
        let Some(running) = self.life.door.borrow().clone() else { return };
        // Intake may wait for room; the daemon must not.
        let submitted =
            tokio::task::spawn_blocking(move || running.intake.record(vec![record])).await;
        if !matches!(submitted, Ok(Ok(()))) {
            let ledger = &self.settings.name;
            tracing::warn!(ledger, "a record of the daemon's own came too late");
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

    /// Whether its sealed segments are held.
    pub(crate) fn worm(&self) -> WormState {
        self.life.hold.state()
    }

    pub(crate) fn rebuilds(&self) -> u64 {
        self.life.rebuilds.load(Ordering::Relaxed)
    }

    /// Drains it: what is inside becomes durable, the last block is sealed, the sinks report.
    ///
    /// # Errors
    ///
    /// If it was down: then what came last is not durable.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        if let Some(at_work) = self.at_work {
            at_work.end().await?;
        }
        match lock(&self.life.down).take() {
            Some(why) => Err(io::Error::other(why).into()),
            None => Ok(()),
        }
    }
}

impl AtWork {
    async fn end(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.ended
            .await
            .context("the ledger's task has panicked; this is a defect, please report it")
    }
}

/// Opens the ledger, and keeps a graph going over it from now on.
fn begin(settings: &Ledger, tiers: &Value, life: &Arc<Life>) -> anyhow::Result<(Origin, AtWork)> {
    let at = || format!("ledger \"{}\"", settings.name);
    let opened = open(settings, &life.hold).with_context(at)?;
    let sinks = sinks(settings.mirror.as_deref()).with_context(at)?;
    let origin = opened.info.origin.clone();
    let (stop, stopping) = watch::channel(false);
    let (settings, tiers, life) = (settings.clone(), tiers.clone(), Arc::clone(life));
    let cycle = Cycle { settings, tiers, life, stopping };
    // Started at once, so that whoever asks next finds it at work.
    let pipeline = cycle.start(opened, sinks);
    Ok((origin, AtWork { stop, ended: tokio::task::spawn_local(cycle.run(pipeline)) }))
}

fn open(settings: &Ledger, hold: &Hold) -> Result<OpenedLedger, LedgerError> {
    let mut ledger = graven_ledger::open(&settings.dir, &settings.key, clock::unix_s())?;
    hold.over(&mut ledger)?;
    Ok(ledger)
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

/// When its segments are released. The settings' names of sinks are those in [`sinks`].
fn release(settings: &Ledger) -> Option<ReleasePolicy> {
    let release = settings.release.as_ref()?;
    let mirror = settings.mirror.as_deref().filter(|_| !release.required_sinks.is_empty());
    let sinks = mirror.map(FileSink::name_of).into_iter().collect();
    Some(ReleasePolicy { retention_s: release.retention_s(), sinks })
}

/// What the settings allow of the disk.
fn limits(settings: &Ledger) -> DiskLimits {
    let Budget { bytes_max, free_bytes_min, .. } = settings.budget;
    DiskLimits { bytes_max, free_bytes_min }
}

/// The record that says which configuration is in force.
fn applied(ledger: &Origin, detail: Value) -> OwnRecord {
    OwnRecord {
        action: "config.applied",
        subject: ("ledger", ledger.to_string()),
        body: OwnBody::System(detail),
        mono_ns: clock::mono_ns(),
    }
}
