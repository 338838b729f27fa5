//! The records, how long they are sent, and what is said of it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;

/// How long a peer is under load before anything is counted: compilers at run time and caches settle in it.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// File of records, one a line; they are sent in turn, again and again.
    #[arg(long)]
    records: PathBuf,
    /// Where the data is, on the disk that is measured.
    #[arg(long)]
    dir: PathBuf,
    /// Longest time that is counted of one measurement.
    #[arg(long)]
    seconds: u64,
    /// Most records of one measurement.
    #[arg(long)]
    most: u64,
    /// The server, whose size counts too.
    #[arg(long)]
    server_pid: Option<u32>,
}

/// What there is to do.
#[derive(Debug)]
pub(crate) struct Load {
    records: Vec<Vec<u8>>,
    pub(crate) dir: PathBuf,
    args: LoadArgs,
}

/// How the records are handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    /// As the peer takes most of them.
    Full,
    /// One, and the next when it is acknowledged.
    One,
    /// Single records too, with 64 outstanding.
    Many,
}

/// Records outstanding in [`Shape::Many`].
pub(crate) const MANY: usize = 64;

/// One measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    peer: &'static str,
    shape: Shape,
    how: &'static str,
    records: u64,
    elapsed_ns: u64,
    /// Of an acknowledgement: of a batch's, where records go in batches.
    p50_ns: u64,
    p99_ns: u64,
    /// What the disk holds of a record; of a full load alone, since files begin with sizes of their own.
    bytes_per_record: Option<f64>,
    /// At most, the records that are sent included.
    resident_kib: u64,
    /// Whose size that is.
    resident_of: &'static str,
}

impl Load {
    pub(crate) fn read(args: LoadArgs) -> anyhow::Result<Self> {
        let text = fs::read(&args.records)
            .with_context(|| format!("no records in {}", args.records.display()))?;
        let records: Vec<_> = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(Vec::from)
            .collect();
        ensure!(!records.is_empty(), "{} is empty", args.records.display());
        Ok(Self { records, dir: args.dir.clone(), args })
    }

    /// Record number `n` of those that are sent.
    pub(crate) fn record(&self, n: u64) -> &[u8] {
        &self.records[usize::try_from(n).unwrap_or(0) % self.records.len()]
    }

    pub(crate) fn meter(&self) -> anyhow::Result<Meter<'_>> {
        let begun = now();
        let disk_before = disk_bytes(&self.dir)?;
        Ok(Meter {
            load: self,
            begun,
            since: None,
            all: 0,
            counted: 0,
            times_ns: Vec::new(),
            disk_before,
        })
    }

    fn resident_kib(&self) -> anyhow::Result<u64> {
        let mut kib = 0;
        for pid in [Some(std::process::id()), self.args.server_pid].into_iter().flatten() {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak = peak.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kib += peak.with_context(|| format!("process {pid} has no VmHWM"))?;
        }
        Ok(kib)
    }
}

/// Counts what is acknowledged, from the end of the warm-up.
#[derive(Debug)]
pub(crate) struct Meter<'load> {
    load: &'load Load,
    begun: Instant,
    since: Option<Instant>,
    /// Those of the warm-up included.
    all: u64,
    counted: u64,
    times_ns: Vec<u64>,
    disk_before: u64,
}

impl Meter<'_> {
    /// Counts `records` that were handed in at `at` and are acknowledged now.
    pub(crate) fn acknowledged(&mut self, records: u64, at: Instant) {
        let now = now();
        self.all += records;
        match self.since {
            Some(_) => {
                self.counted += records;
                self.times_ns.push(nanoseconds(now - at));
            }
            None if now - self.begun >= WARM_UP => self.since = Some(now),
            None => {}
        }
    }

    /// Whether to hand in more.
    pub(crate) fn goes_on(&self) -> bool {
        let seconds = Duration::from_secs(self.load.args.seconds);
        self.counted < self.load.args.most
            && self.since.is_none_or(|since| since.elapsed() < seconds)
    }

    /// Records acknowledged so far, those of the warm-up included.
    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    /// Says what was measured, when all that was handed in is acknowledged.
    pub(crate) fn row(
        mut self,
        peer: &'static str,
        shape: Shape,
        how: &'static str,
    ) -> anyhow::Result<Row> {
        let since = self.since.context("nothing was acknowledged after the warm-up")?;
        let elapsed_ns = nanoseconds(since.elapsed());
        self.times_ns.sort_unstable();
        let at = |percent: usize| self.times_ns.get(self.times_ns.len() * percent / 100).copied();
        let grown = disk_bytes(&self.load.dir)?.saturating_sub(self.disk_before);
        Ok(Row {
            peer,
            shape,
            how,
            records: self.counted,
            elapsed_ns,
            p50_ns: at(50).unwrap_or(0),
            p99_ns: at(99).unwrap_or(0),
            bytes_per_record: (shape == Shape::Full).then(|| grown as f64 / self.all as f64),
            resident_kib: self.load.resident_kib()?,
            resident_of: self.load.args.server_pid.map_or("one process", |_| "client and server"),
        })
    }
}

pub(crate) fn now() -> Instant {
    Instant::now()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What the files below `dir` take of the disk, in bytes. A server at work may take one away meanwhile.
fn disk_bytes(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("no {}", dir.display()))? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        bytes +=
            if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}
