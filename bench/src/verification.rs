//! How fast a ledger that was just written is verified. Its pages are in the page cache.

use std::path::Path;

use graven_bench::samples::RECORD_BYTES;
use graven_stages::clock;

use crate::rig::{ledger_dir, verified};
use crate::stats::{Figure, float, per_second};
use crate::throughput::Kind;

pub(crate) const GROUP: &str = "verified";

/// Verifies what a full-rate run left in `dir`.
///
/// `hashes` is how many records a second one core hashes, of the size that events have.
pub(crate) fn figures(dir: &Path, kind: Kind, hashes: &Figure) -> anyhow::Result<[Figure; 3]> {
    let cores = std::thread::available_parallelism()?.get() as u64;
    // Once for the page cache: the disk is not what is measured.
    verified(&ledger_dir(dir))?;
    let since_ns = clock::mono_ns();
    let report = verified(&ledger_dir(dir))?;
    let elapsed_ns = clock::mono_ns() - since_ns;
    let rate = per_second(report.records, elapsed_ns);
    let mb_per_s = float(report.checks.bytes) / 1e6 / (float(elapsed_ns) / 1e9);
    let hashed_mb_per_s = hashes.value * float(RECORD_BYTES as u64) / 1e6;
    let of_hashing = mb_per_s / hashed_mb_per_s / float(cores);
    let name = format!("ledger, {}", kind.name());
    Ok([
        Figure::new(GROUP, name.clone(), "records/s", rate),
        Figure::new(GROUP, format!("  {}", kind.name()), "MB/s", mb_per_s),
        Figure::new(GROUP, format!("  {}: of SHA-256 on all cores", kind.name()), "x", of_hashing),
    ])
}
