//! How fast a ledger that was just written is verified. Its pages are in the page cache.

use std::path::Path;

use graven_stages::clock;

use crate::rig::{ledger_dir, verified};
use crate::stats::{Figure, float, per_second};
use crate::throughput::Kind;

const GROUP: &str = "verified";

/// Verifies what a full-rate run left in `dir`.
pub(crate) fn figures(dir: &Path, kind: Kind) -> anyhow::Result<[Figure; 2]> {
    let since_ns = clock::mono_ns();
    let report = verified(&ledger_dir(dir))?;
    let elapsed_ns = clock::mono_ns() - since_ns;
    let rate = per_second(report.records, elapsed_ns);
    let mb_per_s = float(report.checks.bytes) / 1e6 / (float(elapsed_ns) / 1e9);
    let name = format!("ledger, {}", kind.name());
    Ok([
        Figure::new(GROUP, name.clone(), "records/s", rate),
        Figure::new(GROUP, format!("  {}", kind.name()), "MB/s", mb_per_s),
    ])
}
