//! Commit latency: single events, each handed in and waited for.

use std::path::Path;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use crossbeam_channel::bounded;
use graven_bench::samples::{DraftFeed, EventFeed};
use graven_stages::{Acknowledgement, Intake, Raw, clock};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::ledgers::Measured;
use crate::limit::Limit;
use crate::part;
use crate::process::{Process, Resident};
use crate::rig::with_pipeline;
use crate::stats::{Figure, Quantiles, float, per_second};

pub(crate) const GROUP: &str = "commit latency";

const TICKS_PER_S: u64 = 1_000;
const TICK_NS: u64 = 1_000_000_000 / TICKS_PER_S;

/// Batches whose acknowledgement may be outstanding.
const OUTSTANDING: usize = 1_024;

/// How many submit at the same time, each waiting for its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submitters(pub(crate) usize);

impl FromStr for Submitters {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    quantiles: Quantiles,
    elapsed_ns: u64,
    resident: Resident,
}

impl Latency {
    /// The same as what is said of other ledgers.
    pub(crate) fn measured(&self) -> Measured {
        Measured {
            records: self.quantiles.count,
            elapsed_ns: self.elapsed_ns,
            p50_ns: self.quantiles.p50_ns,
            p99_ns: self.quantiles.p99_ns,
            resident_kib: self.resident.peak_kib,
        }
    }
}

pub(crate) fn figures(name: &str, quantiles: Quantiles) -> Vec<Figure> {
    let ms = |ns: u64| float(ns) / 1e6;
    vec![
        Figure::new(GROUP, format!("{name}, p50"), "ms", ms(quantiles.p50_ns)),
        Figure::new(GROUP, format!("{name}, p99"), "ms", ms(quantiles.p99_ns)),
    ]
}

/// Measures in a process of its own.
pub(crate) fn in_a_process(
    dir: &Path,
    limit: Limit,
    submitters: Submitters,
) -> anyhow::Result<Latency> {
    part::run("latency", dir, [submitters.0.to_string()].into_iter().chain(limit.to_args()))
}

pub(crate) fn measure(
    dir: &Path,
    limit: Limit,
    submitters: Submitters,
) -> anyhow::Result<Vec<Figure>> {
    let latency = in_a_process(dir, limit, submitters)?;
    let name = format!("ledger, {} submitting", submitters.0);
    let mut figures = figures(&name, latency.quantiles);
    let rate = per_second(latency.quantiles.count, latency.elapsed_ns);
    figures.push(Figure::new(GROUP, name, "records/s", rate));
    Ok(figures)
}

pub(crate) fn run(dir: &Path, limit: Limit, submitters: Submitters) -> anyhow::Result<Latency> {
    let (latency, _) = with_pipeline(dir, move |graph| {
        let since_ns = clock::mono_ns();
        let submit = || closed_loop(&graph.inflow.intake, limit, since_ns);
        let times_ns: anyhow::Result<Vec<u64>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..submitters.0).map(|_| scope.spawn(submit)).collect();
            let mut all = Vec::new();
            for thread in threads {
                all.extend(thread.join().map_err(|_| anyhow::anyhow!("a submitter panicked"))??);
            }
            Ok(all)
        });
        let quantiles = Quantiles::of(times_ns?);
        let elapsed_ns = clock::mono_ns() - since_ns;
        Ok(Latency { quantiles, elapsed_ns, resident: Process::this().resident()? })
    })?;
    Ok(latency)
}

/// Measures in a process of its own what single records wait while `rate` records a second come in, however
/// long that takes: a batch each millisecond.
pub(crate) fn paced_in_a_process(dir: &Path, limit: Limit, rate: u64) -> anyhow::Result<Quantiles> {
    part::run("paced", dir, [rate.to_string()].into_iter().chain(limit.to_args()))
}

/// How much longer the ledger's slow commits take at half its rate than the disk's own slow syncs.
pub(crate) fn ratio(paced: Quantiles, disk: Quantiles) -> Figure {
    let ratio = float(paced.p99_ns) / float(disk.p99_ns.max(1));
    Figure::new(GROUP, "ledger, at half its rate: p99, of the disk's".into(), "x", ratio)
}

pub(crate) fn paced(dir: &Path, limit: Limit, rate: u64) -> anyhow::Result<Quantiles> {
    let records = usize::try_from(rate / TICKS_PER_S)?;
    let (times_ns, _) = with_pipeline(dir, move |graph| {
        let mut feed = DraftFeed::default();
        let (sent, waiting) = bounded(OUTSTANDING);
        thread::scope(|scope| {
            let collector = scope.spawn(move || {
                let mut times_ns = Vec::new();
                for (due_ns, acknowledged) in waiting {
                    let acknowledged: oneshot::Receiver<Acknowledgement> = acknowledged;
                    acknowledged.blocking_recv().context("the graph failed")?;
                    times_ns.push(clock::mono_ns() - due_ns);
                }
                anyhow::Ok(times_ns)
            });
            let since_ns = clock::mono_ns();
            let mut due_ns = since_ns;
            while limit.allows((due_ns - since_ns) / TICK_NS * records as u64, since_ns) {
                let batch = feed.next_batch(records);
                thread::sleep(Duration::from_nanos(due_ns.saturating_sub(clock::mono_ns())));
                let acknowledged = graph.inflow.intake.submit_acknowledged(Raw::Drafts(batch))?;
                if sent.send((due_ns, acknowledged)).is_err() {
                    break;
                }
                due_ns += TICK_NS;
            }
            drop(sent);
            collector.join().map_err(|_| anyhow::anyhow!("the collector panicked"))?
        })
    })?;
    Ok(Quantiles::of(times_ns))
}

/// One event at a time; returns how long each took.
fn closed_loop(intake: &Intake, limit: Limit, since_ns: u64) -> anyhow::Result<Vec<u64>> {
    let mut feed = EventFeed::new(1);
    let mut times_ns = Vec::new();
    while limit.allows(times_ns.len() as u64, since_ns) {
        let batch = feed.next_batch();
        let begun_ns = clock::mono_ns();
        let acknowledged = intake.submit_acknowledged(Raw::Events(batch))?;
        let answer = acknowledged.blocking_recv().context("the graph failed")?;
        times_ns.push(clock::mono_ns() - begun_ns);
        ensure!(answer.accepted.len() == 1, "refused: {:?}", answer.rejected);
    }
    Ok(times_ns)
}
