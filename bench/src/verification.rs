//! How fast a ledger that was just written is verified. Its pages are in the page cache.

use std::path::Path;

use anyhow::ensure;
use graven_stages::clock;
use graven_verify::{Trust, Verdict, verify};

use crate::rig::ledger_dir;
use crate::stats::{Figure, float, per_second};
use crate::throughput::Kind;

const GROUP: &str = "verified";

/// Verifies what a full-rate run left in `dir`, under the key from outside; a fault ends everything.
pub(crate) fn figures(dir: &Path, kind: Kind) -> anyhow::Result<[Figure; 2]> {
    let vkey = ledger_dir(dir).with_extension("vkey");
    let trust = Trust::in_key_or_file(&vkey.to_string_lossy())?;
    let since_ns = clock::mono_ns();
    let report = verify(&ledger_dir(dir), &trust, &())?;
    let elapsed_ns = clock::mono_ns() - since_ns;
    ensure!(report.verdict == Verdict::Good, "the ledger is at fault: {:?}", report.faults);
    let rate = per_second(report.records, elapsed_ns);
    let mb_per_s = float(report.checks.bytes) / 1e6 / (float(elapsed_ns) / 1e9);
    let name = format!("ledger, {}", kind.name());
    Ok([
        Figure::new(GROUP, name.clone(), "records/s", rate),
        Figure::new(GROUP, format!("  {}", kind.name()), "MB/s", mb_per_s),
    ])
}
