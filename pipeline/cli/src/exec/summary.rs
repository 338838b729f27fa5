//! What a person sees at the end of `exec`.

use std::io::{self, Write};
use std::path::Path;

use graven_stages::{SinkReport, Summary};

use crate::tally::Counts;

/// Calls that are listed by name; the rest are added up.
const CALLS_LISTED: usize = 12;

/// Width of the bar of the most frequent call, in characters.
const BAR: u64 = 24;

/// What became of a run's records.
pub(super) struct Recorded {
    records: u64,
    /// Where the run had a graph of its own: how far it was sealed.
    sealed: Option<Sealed>,
    sinks: Vec<SinkReport>,
}

struct Sealed {
    blocks: u64,
    root: String,
    size: u64,
    height: u64,
}

impl Recorded {
    /// Of a graph of its own.
    pub(super) fn of(summary: &Summary) -> Self {
        let sealed = summary.last_header.as_ref().map(|header| Sealed {
            blocks: summary.blocks,
            root: header.root.to_string(),
            size: header.size,
            height: header.height,
        });
        Self { records: summary.records, sealed, sinks: summary.sinks.clone() }
    }

    /// Of a run that a daemon has recorded.
    pub(super) fn by_daemon(counts: &Counts) -> Self {
        Self { records: counts.records(), sealed: None, sinks: Vec::new() }
    }
}

pub(super) fn write(
    out: &mut impl Write,
    ledger: &Path,
    recorded: &Recorded,
    counts: &Counts,
) -> io::Result<()> {
    let calls: u64 = counts.calls.values().sum();
    let gaps = counts.others.get("gap").copied().unwrap_or(0);
    let how = match &recorded.sealed {
        Some(sealed) if sealed.blocks == 1 => "in 1 block".to_owned(),
        Some(sealed) => format!("in {} blocks", sealed.blocks),
        None => "through the daemon".to_owned(),
    };
    writeln!(out, "\nRecorded {} records {how}: {calls} system calls", recorded.records)?;
    write_calls(out, counts)?;
    writeln!(out)?;
    let what = match gaps {
        0 if counts.others.contains_key("capture.left_out") => {
            "none: every call of the command is on the record, or left out and counted there"
                .to_owned()
        }
        0 if calls == 0 => "no call of the command was recorded: see `graven doctor`".to_owned(),
        0 => "none: every call of the command is on the record".to_owned(),
        gaps => format!("{gaps} on the record: what they name was not captured"),
    };
    writeln!(out, "  gaps        {what}")?;
    if let Some(Sealed { root, size, height, .. }) = &recorded.sealed {
        writeln!(out, "  root        {root}")?;
        writeln!(out, "  checkpoint  {size} records signed, block {height}")?;
    }
    for sink in &recorded.sinks {
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
