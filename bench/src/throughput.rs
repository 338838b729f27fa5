//! The ledger at full rate, through the real graph: how many records a second become durable.

use std::path::Path;
use std::thread;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use crossbeam_channel::bounded;
use graven_bench::samples::{DraftFeed, EVENTS_IN_BATCH, EventFeed, KernelFeed};
use graven_stages::{Intake, Raw, clock};
use serde::{Deserialize, Serialize};

use crate::floor::{GROUP, Rate};
use crate::ledgers::Measured;
use crate::limit::Limit;
use crate::part;
use crate::process::{Process, Resident};
use crate::rig::{ledger_dir, segment_bytes, with_pipeline};
use crate::stats::{Figure, Quantiles, float, per_second};

/// Batches whose acknowledgement may be outstanding; the graph's own budget is reached long before.
const OUTSTANDING: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Application events, as lines of JSON.
    Events,
    /// The same events, made in this process.
    Made,
    /// System calls, as the kernel program hands them over.
    Calls,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Events => "application events",
            Self::Made => "made in process",
            Self::Calls => "system calls",
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Throughput {
    /// Records sent and acknowledged.
    records: u64,
    /// From the first batch handed in to the last acknowledgement.
    elapsed_ns: u64,
    /// Mean size of a stored record, its newline included.
    bytes_per_record: f64,
    resident: Resident,
    /// Of batches: from handing in to acknowledgement, behind all that was handed in before.
    acknowledged: Quantiles,
}

/// Measures in a process of its own; the ledger is left in `dir`.
pub(crate) fn in_a_process(dir: &Path, limit: Limit, kind: Kind) -> anyhow::Result<Throughput> {
    let value = kind.to_possible_value().context("a kind has a name")?;
    let kind = value.get_name().to_owned();
    part::run("throughput", dir, [kind].into_iter().chain(limit.to_args()))
}

pub(crate) fn run(dir: &Path, limit: Limit, kind: Kind) -> anyhow::Result<Throughput> {
    let (pumped, summary) = match kind {
        Kind::Events => {
            let mut feed = EventFeed::new(EVENTS_IN_BATCH);
            let next = move || {
                let batch = feed.next_batch();
                (batch.ends.len() as u64, Raw::Events(batch))
            };
            with_pipeline(dir, move |graph| pump(&graph.inflow.intake, limit, next))?
        }
        Kind::Made => {
            let mut feed = DraftFeed::default();
            let next = move || {
                let batch = feed.next_batch(EVENTS_IN_BATCH);
                (batch.drafts().len() as u64, Raw::Drafts(batch))
            };
            with_pipeline(dir, move |graph| pump(&graph.inflow.intake, limit, next))?
        }
        Kind::Calls => {
            let mut feed = KernelFeed::default();
            let next = move || {
                let batch = feed.next_batch();
                (batch.len() as u64, Raw::Kernel(batch))
            };
            with_pipeline(dir, move |graph| pump(&graph.inflow.intake, limit, next))?
        }
    };
    let Pumped { records, elapsed_ns, resident, times_ns } = pumped;
    let bytes_per_record = float(segment_bytes(&ledger_dir(dir))?) / float(summary.records);
    let acknowledged = Quantiles::of(times_ns);
    Ok(Throughput { records, elapsed_ns, bytes_per_record, resident, acknowledged })
}

#[derive(Debug)]
struct Pumped {
    records: u64,
    elapsed_ns: u64,
    resident: Resident,
    times_ns: Vec<u64>,
}

/// Hands in batches as fast as they are taken, and waits for the acknowledgement of every one.
fn pump(
    intake: &Intake,
    limit: Limit,
    mut next: impl FnMut() -> (u64, Raw),
) -> anyhow::Result<Pumped> {
    let (sent, waiting) = bounded(OUTSTANDING);
    thread::scope(|scope| {
        let collector = scope.spawn(move || {
            let (mut durable, mut times_ns) = (0, Vec::new());
            for (records, begun_ns, acknowledged) in waiting {
                let acknowledged: tokio::sync::oneshot::Receiver<_> = acknowledged;
                let answer: graven_stages::Acknowledgement =
                    acknowledged.blocking_recv().context("the graph failed")?;
                ensure!(answer.rejected.is_empty(), "refused: {:?}", answer.rejected[0]);
                durable += records;
                times_ns.push(clock::mono_ns() - begun_ns);
            }
            Ok((durable, clock::mono_ns(), times_ns))
        });
        let (mut records, since_ns) = (0, clock::mono_ns());
        while limit.allows(records, since_ns) {
            let (count, raw) = next();
            let begun_ns = clock::mono_ns();
            let acknowledged = intake.submit_acknowledged(raw)?;
            if sent.send((count, begun_ns, acknowledged)).is_err() {
                break;
            }
            records += count;
        }
        drop(sent);
        let (records, until_ns, times_ns) =
            collector.join().map_err(|_| anyhow::anyhow!("the collector panicked"))??;
        let resident = Process::this().resident()?;
        Ok(Pumped { records, elapsed_ns: until_ns - since_ns, resident, times_ns })
    })
}

impl Throughput {
    /// Rates, and how many bytes they are of those that `floor` makes durable: system calls have other
    /// sizes than its records.
    pub(crate) fn rates(&self, kind: Kind, floor: Rate) -> [Figure; 4] {
        let name = kind.name();
        let rate = per_second(self.records, self.elapsed_ns);
        let bytes = rate * self.bytes_per_record;
        let percent = bytes / floor.bytes() * 100.0;
        [
            Figure::new(GROUP, format!("ledger, {name}"), "records/s", rate),
            Figure::new(GROUP, format!("  {name}"), "MB/s", bytes / 1e6),
            Figure::new(GROUP, format!("  {name}, stored"), "bytes/record", self.bytes_per_record),
            Figure::new(GROUP, format!("  {name}, bytes of the chained floor"), "%", percent),
        ]
    }

    /// Half of the records a second that were made durable.
    pub(crate) fn half_rate(&self) -> u64 {
        self.records * 1_000_000_000 / self.elapsed_ns.max(1) / 2
    }

    /// The same as what is said of other ledgers.
    pub(crate) fn measured(&self) -> Measured {
        Measured {
            records: self.records,
            elapsed_ns: self.elapsed_ns,
            p50_ns: self.acknowledged.p50_ns,
            p99_ns: self.acknowledged.p99_ns,
            resident_kib: self.resident.peak_kib,
        }
    }

    pub(crate) fn memory(&self, kind: Kind) -> [Figure; 2] {
        const GROUP: &str = "resident at full rate, the input included";
        let name = kind.name();
        let mib = |kib: u64| float(kib) / 1024.0;
        [
            Figure::new(GROUP, format!("{name}, at the end"), "MiB", mib(self.resident.kib)),
            Figure::new(GROUP, format!("{name}, at most"), "MiB", mib(self.resident.peak_kib)),
        ]
    }
}
