//! How long a ledger takes to open with a full block that was never sealed.

use std::path::Path;

use anyhow::ensure;
use graven_bench::samples::{DraftFeed, EVENTS_IN_BATCH, ORIGIN};
use graven_ledger::{BLOCK_RECORDS_MAX, Run, Step, open};
use graven_stages::clock;

use crate::rig::ledger_dir;
use crate::stats::{Figure, float};

pub(crate) const GROUP: &str = "start";

/// Fills a block of the ledger in `dir`, leaves it as a crash would, and opens the ledger.
pub(crate) fn figures(dir: &Path) -> anyhow::Result<[Figure; 2]> {
    let ledger = ledger_dir(dir);
    let key = ledger.with_extension("key");
    let run = Run {
        host: "host-1".into(),
        ledger: ORIGIN.into(),
        trace_id: graven_daemon::new_trace_id(),
    };
    let mut opened = open(&ledger, &key, clock::unix_s())?;
    let sealed = opened.chain.size();
    let (mut feed, mut steps) = (DraftFeed::default(), Vec::new());
    // One `block.opened`, and no record more than the block holds.
    let mut room = usize::try_from(BLOCK_RECORDS_MAX)? - 1;
    while room > 0 {
        let batch = feed.next_batch(room.min(EVENTS_IN_BATCH));
        room -= batch.drafts().len();
        opened.chain.append(&run, &batch, &mut steps, &mut Vec::new());
    }
    for step in &steps {
        let Step::Append(lines) = step else { anyhow::bail!("the block was sealed") };
        opened.segments.append(lines)?;
    }
    opened.segments.sync()?;
    drop(opened);
    let since_ns = clock::mono_ns();
    let opened = open(&ledger, &key, clock::unix_s())?;
    let elapsed_ns = clock::mono_ns() - since_ns;
    let copied = opened.recovered.last().map_or(0, |recovered| recovered.copied);
    ensure!(copied == BLOCK_RECORDS_MAX, "{copied} records were recovered");
    let name = "with a full open block";
    Ok([
        Figure::new(GROUP, name.into(), "s", float(elapsed_ns) / 1e9),
        Figure::new(GROUP, "  of a ledger of".into(), "records", float(sealed)),
    ])
}
