//! Other ledgers on the same machine in the same run, each synced before it acknowledges, and Graven beside them.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::os::linux::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use graven_bench::samples::record;
use serde::{Deserialize, Serialize};

use crate::floor::{self, Appends};
use crate::latency::{self, Submitters};
use crate::limit::Limit;
use crate::service::{self, Service};
use crate::stats::{Figure, float, per_second};
use crate::table::Table;
use crate::throughput::{self, Kind};
use crate::{recorder, rig, settled, submit};

/// Installs the others, and measures them.
const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/run");

/// Distinct records, sent in turn.
const RECORDS: usize = 16_384;

/// Records outstanding in [`Shape::Many`].
pub(crate) const MANY: usize = 64;

const IN_PROCESS: &str = "Graven in process";
const THROUGH: &str = "Graven through graven run";

pub(crate) const RATIOS: &str = "side by side: Graven's records/s, of theirs";

/// Like is set against like: a library against a library, a server and its client against the same.
pub(crate) const OF_TESSERA: &str = "in process, of Tessera's";
pub(crate) const OF_SQLITE: &str = "in process, of SQLite's";
pub(crate) const OF_IMMUDB: &str = "through graven run, of immudb's";
pub(crate) const OF_KAFKA: &str = "through graven run, of Kafka's";

const COMPARED: [(&str, &str, &str); 5] = [
    (OF_TESSERA, IN_PROCESS, "Tessera"),
    (OF_SQLITE, IN_PROCESS, "SQLite"),
    (OF_IMMUDB, THROUGH, "immudb"),
    (OF_KAFKA, THROUGH, "Kafka"),
    ("in process, of a plain file's", IN_PROCESS, "a plain file"),
];

/// How records are handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    /// As the ledger takes most of them.
    Full,
    /// One, and the next when it is acknowledged.
    One,
    /// Single records too, with [`MANY`] outstanding.
    Many,
}

impl Shape {
    const fn group(self) -> &'static str {
        match self {
            Self::Full => "side by side: each in the way that it takes most",
            Self::One => "side by side: one record at a time",
            Self::Many => "side by side: single records, 64 outstanding",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().ok_or(fmt::Error)?;
        f.write_str(value.get_name())
    }
}

/// What came of sending records for a while.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Acknowledged.
    pub(crate) records: u64,
    pub(crate) elapsed_ns: u64,
    /// Of an acknowledgement: of a batch's, where records go in batches.
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    /// At most; the input included.
    pub(crate) resident_kib: u64,
}

/// The same, and of whom.
#[derive(Debug, Deserialize)]
struct Row {
    peer: String,
    shape: Shape,
    how: String,
    #[serde(flatten)]
    measured: Measured,
    /// Processes whose sizes are in `measured`: "client and server", or "one process".
    resident_of: String,
    /// What the disk holds of a record, with all that belongs to it; of a full load alone.
    bytes_per_record: Option<f64>,
}

/// What the others' script says, a line each.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Said {
    Skipped { peer: String, skipped: String },
    Measured(Row),
}

/// Measures the others, then Graven.
pub(crate) fn measure(dir: &Path, limit: Limit, table: &mut Table) -> anyhow::Result<()> {
    let records = dir.join("records");
    write_records(&records)?;
    // Not counted, for the reason that the floor has.
    settled(dir, |dir| floor::appends(dir, limit, Appends::Plain))?;
    let mut rows = Vec::new();
    for said in settled(dir, |dir| others(dir, &records, limit))? {
        match said {
            Said::Measured(row) => rows.push(row),
            Said::Skipped { peer, skipped } => table.skip(format!("SKIPPED: {peer}: {skipped}")),
        }
    }
    rows.push(settled(dir, |dir| in_process(dir, limit))?);
    for (shape, submitters) in [(Shape::One, Submitters(1)), (Shape::Many, Submitters(MANY))] {
        let latency = settled(dir, |dir| latency::in_a_process(dir, limit, submitters))?;
        rows.push(Row::of_graven(IN_PROCESS, shape, latency.measured()));
    }
    for shape in [Shape::Full, Shape::One, Shape::Many] {
        match settled(dir, |dir| Ok(through(dir, shape, limit)))? {
            Ok(row) => rows.push(row),
            Err(reason) => table.skip(format!("SKIPPED: {THROUGH}: {reason:#}")),
        }
    }
    for shape in [Shape::Full, Shape::One, Shape::Many] {
        for row in rows.iter().filter(|row| row.shape == shape) {
            table.add(row.figures());
        }
    }
    table.add(ratios(&rows));
    Ok(())
}

fn write_records(path: &Path) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create_new(path)?);
    for n in 0..RECORDS {
        file.write_all(&record(n))?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}

fn others(dir: &Path, records: &Path, limit: Limit) -> anyhow::Result<Vec<Said>> {
    let mut run = Command::new(RUN);
    run.arg("measure").arg(records.canonicalize()?).arg(dir.canonicalize()?);
    run.arg(limit.seconds.to_string()).arg(limit.records.to_string());
    let mut child = run.stdout(Stdio::piped()).spawn().with_context(|| format!("no {RUN}"))?;
    let mut said = Vec::new();
    for line in BufReader::new(child.stdout.take().context("it has an output")?).lines() {
        let line = line?;
        said.push(serde_json::from_str(&line).with_context(|| format!("{RUN} says: {line}"))?);
    }
    let status = child.wait()?;
    ensure!(status.success(), "{RUN} ended with {status}");
    Ok(said)
}

fn in_process(dir: &Path, limit: Limit) -> anyhow::Result<Row> {
    let measured = throughput::in_a_process(dir, limit, Kind::Made)?.measured();
    let mut row = Row::of_graven(IN_PROCESS, Shape::Full, measured);
    let ledger = rig::ledger_dir(dir);
    row.bytes_per_record = Some(float(disk_bytes(&ledger)?) / float(measured.records));
    Ok(row)
}

/// A running service and a client, a process each.
fn through(dir: &Path, shape: Shape, limit: Limit) -> anyhow::Result<Row> {
    // The service watches somebody, who does nothing.
    let cgroup = recorder::cgroup("peers")?;
    let service = Service::start(dir, &[&cgroup], "")?;
    let mut measured = submit::in_a_process(dir, shape, limit)?;
    measured.resident_kib += service.process().resident()?.peak_kib;
    service.stop()?;
    let mut row = Row::of_graven(THROUGH, shape, measured);
    let ledger = service::ledger(dir, 0);
    let verified = rig::verified(&ledger)?;
    ensure!(verified.records >= measured.records, "more was acknowledged than is in the ledger");
    let per_record = float(disk_bytes(&ledger)?) / float(measured.records);
    row.bytes_per_record = (shape == Shape::Full).then_some(per_record);
    Ok(row)
}

/// What the files below `dir` take of the disk, in bytes.
fn disk_bytes(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes +=
            if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.st_blocks() * 512 };
    }
    Ok(bytes)
}

fn ratios(rows: &[Row]) -> Vec<Figure> {
    let rate = |peer: &str| {
        let row = rows.iter().find(|row| row.peer == peer && row.shape == Shape::Full);
        row.map(Row::rate)
    };
    let ratio = |(name, ours, theirs): (&str, &str, &str)| {
        Some(Figure::new(RATIOS, name.to_owned(), "x", rate(ours)? / rate(theirs)?))
    };
    COMPARED.into_iter().filter_map(ratio).collect()
}

impl Row {
    fn of_graven(peer: &str, shape: Shape, measured: Measured) -> Self {
        let (how, resident_of) = match (peer, shape) {
            (IN_PROCESS, Shape::Full) => ("batches as graven append makes them", "one process"),
            (_, Shape::Full) => ("lines on one connection", "client and server"),
            (IN_PROCESS, Shape::One) => ("one at a time", "one process"),
            (IN_PROCESS, Shape::Many) => ("64 submitting", "one process"),
            (_, Shape::One) => ("a line, and the next after its receipt", "client and server"),
            (_, Shape::Many) => ("64 lines outstanding on one connection", "client and server"),
        };
        Self {
            peer: peer.to_owned(),
            shape,
            how: how.to_owned(),
            measured,
            resident_of: resident_of.to_owned(),
            bytes_per_record: None,
        }
    }

    fn rate(&self) -> f64 {
        per_second(self.measured.records, self.measured.elapsed_ns)
    }

    fn figures(&self) -> Vec<Figure> {
        let Self { peer, shape, how, measured, resident_of, bytes_per_record } = self;
        let figure = |name: String, unit, value| Figure::new(shape.group(), name, unit, value);
        let ms = |ns: u64| float(ns) / 1e6;
        let mut figures = vec![
            figure(format!("{peer}: {how}"), "records/s", self.rate()),
            figure(format!("  {peer}: acknowledged, p50"), "ms", ms(measured.p50_ns)),
            figure(format!("  {peer}: acknowledged, p99"), "ms", ms(measured.p99_ns)),
        ];
        if let Some(bytes) = *bytes_per_record {
            let mib = float(measured.resident_kib) / 1024.0;
            figures.push(figure(format!("  {peer}: on the disk"), "bytes/record", bytes));
            figures.push(figure(format!("  {peer}: resident, {resident_of}"), "MiB", mib));
        }
        figures
    }
}
