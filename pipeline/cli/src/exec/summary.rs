//! What a person sees at the end of `exec`.

use std::io::{self, Write};
use std::path::Path;

use graven_stages::Summary;

use crate::tally::Counts;

/// Calls that are listed by name; the rest are added up.
const CALLS_LISTED: usize = 12;

/// Width of the bar of the most frequent call, in characters.
const BAR: u64 = 24;

pub(super) fn write(
    out: &mut impl Write,
    ledger: &Path,
    summary: &Summary,
    counts: &Counts,
) -> io::Result<()> {
    let calls: u64 = counts.calls.values().sum();
    let gaps = counts.others.get("gap").copied().unwrap_or(0);
    writeln!(out)?;
    let plural = if summary.blocks == 1 { "" } else { "s" };
    writeln!(
        out,
        "Recorded {} records in {} block{plural}: {calls} system calls",
        summary.records, summary.blocks
    )?;
    write_calls(out, counts)?;
    writeln!(out)?;
    let what = match gaps {
        0 => "none: every call of the command is on the record".to_owned(),
        gaps => format!("{gaps} on the record: what they name was not captured"),
    };
    writeln!(out, "  gaps        {what}")?;
    if let Some(header) = &summary.last_header {
        writeln!(out, "  root        {}", header.root)?;
        writeln!(out, "  checkpoint  {} records signed, block {}", header.size, header.height)?;
    }
    for sink in &summary.sinks {
        if let Some(failure) = &sink.failure {
            writeln!(out, "  {}  stopped at record {}: {failure}", sink.name, sink.cursor)?;
        }
    }
    writeln!(out, "  ledger      {}", ledger.display())
}

fn write_calls(out: &mut impl Write, counts: &Counts) -> io::Result<()> {
    let mut calls: Vec<_> = counts.calls.iter().collect();
    calls.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    let most = calls.first().map_or(1, |(_, count)| **count);
    let (listed, rest) = calls.split_at(calls.len().min(CALLS_LISTED));
    for (name, count) in listed {
        let bar = usize::try_from((*count * BAR).div_ceil(most)).unwrap_or(0);
        writeln!(out, "  {name:<18} {count:>8}  {}", "▇".repeat(bar))?;
    }
    if !rest.is_empty() {
        let sum: u64 = rest.iter().map(|(_, count)| **count).sum();
        writeln!(out, "  {:<18} {sum:>8}", format!("{} others", rest.len()))?;
    }
    Ok(())
}
