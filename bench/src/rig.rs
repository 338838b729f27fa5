//! A ledger and the real graph over it, for as long as a measurement takes.

use std::fs;
use std::path::{Path, PathBuf};

use graven_bench::samples::ORIGIN;
use graven_ledger::{Paths, Run};
use graven_record::{Origin, Value};
use graven_stages::{Intake, Pipeline, PipelineOptions, Summary, clock, host_name};

/// The ledger's directory below a measurement's.
pub(crate) fn ledger_dir(dir: &Path) -> PathBuf {
    dir.join("ledger")
}

/// Makes a ledger in `dir`, starts the graph over it as the commands do, lets `drive` feed it on a thread
/// of its own, and drains it.
pub(crate) fn with_pipeline<T: Send + 'static>(
    dir: &Path,
    drive: impl FnOnce(&Intake) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<(T, Summary)> {
    let (ledger, key) = (ledger_dir(dir), dir.join("ledger.key"));
    let origin = Origin::try_from(ORIGIN.to_owned())?;
    graven_ledger::create(&ledger, &key, origin, clock::now().to_string())?;
    let opened = graven_ledger::open(&ledger, &key, clock::unix_s())?;
    let run = Run {
        host: host_name(),
        ledger: ORIGIN.into(),
        trace_id: uuid::Uuid::new_v4().hyphenated().to_string(),
    };
    actix::System::new().block_on(async {
        let options = PipelineOptions::default();
        let pipeline = Pipeline::start(opened, run, Value::object([]), Vec::new(), &options);
        let intake = pipeline.intake();
        let driven = tokio::task::spawn_blocking(move || drive(&intake)).await?;
        // First the graph's own word: where it failed, what drove it only saw it close.
        let summary = pipeline.drain().await?;
        Ok((driven?, summary))
    })
}

/// Bytes of all segments below `dir`.
pub(crate) fn segment_bytes(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for segment in graven_ledger::list_segments(&Paths::new(&ledger_dir(dir)))? {
        bytes += fs::metadata(segment.path)?.len();
    }
    Ok(bytes)
}
