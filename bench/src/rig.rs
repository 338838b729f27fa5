//! A ledger and the real graph over it, for as long as a measurement takes.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use graven_bench::samples::ORIGIN;
use graven_daemon::Inflow;
use graven_ledger::{Paths, Run};
use graven_record::{Origin, Value};
use graven_stages::{Observer, Pipeline, PipelineOptions, Summary, clock, host_name};
use graven_verify::{Report, Trust, Verdict, verify};

/// The ledger's directory below a measurement's.
pub(crate) fn ledger_dir(dir: &Path) -> PathBuf {
    dir.join("ledger")
}

/// Makes a ledger at `ledger`, with its key beside it where the commands look for it.
pub(crate) fn create(ledger: &Path) -> anyhow::Result<()> {
    let origin = Origin::try_from(ORIGIN.to_owned())?;
    let key = ledger.with_extension("key");
    graven_ledger::create(ledger, &key, origin, clock::now().to_string())?;
    Ok(())
}

/// A running graph, as what feeds it sees it.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) inflow: Inflow,
    pub(crate) observer: Observer,
}

/// Makes a ledger in `dir`, starts the graph over it as the commands do, lets `drive` feed it on a thread
/// of its own, and drains it.
pub(crate) fn with_pipeline<T: Send + 'static>(
    dir: &Path,
    drive: impl FnOnce(&Graph) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<(T, Summary)> {
    let ledger = ledger_dir(dir);
    create(&ledger)?;
    let opened = graven_ledger::open(&ledger, &ledger.with_extension("key"), clock::unix_s())?;
    let run =
        Run { host: host_name(), ledger: ORIGIN.into(), trace_id: graven_daemon::new_trace_id() };
    actix::System::new().block_on(async {
        let options = PipelineOptions::default();
        let pipeline = Pipeline::start(opened, run, Value::object([]), Vec::new(), &options);
        let inflow = Inflow { intake: pipeline.intake(), losses: pipeline.losses() };
        let graph = Graph { inflow, observer: pipeline.observer() };
        let driven = tokio::task::spawn_blocking(move || drive(&graph)).await?;
        // First the graph's own word: where it failed, what drove it only saw it close.
        let summary = pipeline.drain().await?;
        Ok((driven?, summary))
    })
}

/// Bytes of all segments of the ledger at `ledger`.
pub(crate) fn segment_bytes(ledger: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for segment in graven_ledger::list_segments(&Paths::new(ledger))? {
        bytes += fs::metadata(segment.path)?.len();
    }
    Ok(bytes)
}

/// Verifies the ledger at `ledger` under the key from outside; a fault ends everything.
pub(crate) fn verified(ledger: &Path) -> anyhow::Result<Report> {
    let vkey = ledger.with_extension("vkey");
    let trust = Trust::in_key_or_file(&vkey.to_string_lossy())?;
    let report = verify(ledger, &trust, &())?;
    ensure!(report.verdict == Verdict::Good, "the ledger is at fault: {:?}", report.faults);
    Ok(report)
}

/// How many records of the kernel's the gaps of the ledger at `ledger` say to be lost.
pub(crate) fn lost_in_gaps(ledger: &Path) -> anyhow::Result<u64> {
    let mut lost = 0;
    for segment in graven_ledger::list_segments(&Paths::new(ledger))? {
        for line in BufReader::new(File::open(segment.path)?).lines() {
            let line = line?;
            // Of millions of records only these are worth parsing.
            if line.contains("\"kind\":\"gap\"") {
                let record: serde_json::Value = serde_json::from_str(&line)?;
                let gap = record.pointer("/gap/lost").and_then(serde_json::Value::as_u64);
                lost += gap.with_context(|| format!("a gap of unknown size: {line}"))?;
            }
        }
    }
    Ok(lost)
}
