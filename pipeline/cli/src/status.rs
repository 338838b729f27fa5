//! `graven status`: how the daemon is doing.

mod page;
mod verdict;

use std::io::Write;

use clap::Args;

use crate::daemon::DaemonArgs;
use crate::exit;
use page::Page;
use verdict::Verdict;

/// Show how the daemon is doing: each ledger's rate, waits, syncs, lag, gaps, clock and watches.
///
/// The first lines say how each ledger is, and what to do where it is not well. Exits with 0 where all is well, and with 1 where a ledger is down, records were lost, or a sink has
/// stopped.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo graven status
  sudo graven status --json | jq '.ledgers[].figures.sync'")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Print everything as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &StatusArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let status = args.daemon.socket()?.status()?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &status)?;
        writeln!(out)?;
    } else {
        Page::new(out, crate::width()).write(&status)?;
    }
    let is_well = status.ledgers.iter().all(|ledger| Verdict::of(ledger).is_well());
    Ok(if is_well { exit::GOOD } else { exit::FAULT })
}
