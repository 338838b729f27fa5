//! `graven status`: how the daemon is doing.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use clap::Args;
use graven_daemon::control::{LedgerStatus, RingStatus, Status, TargetStatus, TierStatus};
use graven_stages::{ClockFigures, Figures, KernelFigures, Latency, SinkFigures};
use indicatif::{BinaryBytes, HumanCount, HumanDuration};

use crate::daemon::SocketArgs;
use crate::exit;

/// Show how the daemon is doing: each ledger's rate, waits, syncs, lag, gaps, clock and watches.
///
/// Exits with 0 where all is well, and with 1 where a ledger is down, records were lost, or a sink has
/// stopped.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo graven status
  sudo graven status --json | jq '.ledgers[].figures.sync'")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &StatusArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let status = args.socket.status()?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &status)?;
        writeln!(out)?;
    } else {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Page { out, colour }.write(&status)?;
    }
    Ok(if status.ledgers.iter().all(is_well) { exit::GOOD } else { exit::FAULT })
}

fn is_well(ledger: &LedgerStatus) -> bool {
    let whole = |figures: &Figures| {
        figures.gaps == 0 && figures.sinks.iter().all(|sink| sink.failure.is_none())
    };
    ledger.down.is_none() && ledger.figures.as_ref().is_none_or(whole)
}

struct Page<'a, W> {
    out: &'a mut W,
    colour: bool,
}

impl<W: Write> Page<'_, W> {
    fn write(&mut self, status: &Status) -> io::Result<()> {
        let Status { version, pid, uptime_s, config, config_sha256, tiers, ledgers, .. } = status;
        let up = HumanDuration(Duration::from_secs(*uptime_s));
        writeln!(self.out, "graven {version}, process {pid}, up {up}")?;
        let hash = config_sha256.get(..19).unwrap_or(config_sha256);
        writeln!(self.out, "configuration {}, {hash}…", config.display())?;
        if let Some(failure) = &status.reload_failure {
            writeln!(
                self.out,
                "{}: the old configuration stays: {failure}",
                self.bad("reload failed")
            )?;
        }
        for TierStatus { name, missing } in tiers {
            match missing {
                None => writeln!(self.out, "{name:<13} {}", self.good("at work"))?,
                Some(reason) => {
                    writeln!(self.out, "{name:<13} {}: {reason}", self.weak("missing"))?;
                }
            }
        }
        ledgers.iter().try_for_each(|ledger| self.ledger(ledger))
    }

    fn ledger(&mut self, ledger: &LedgerStatus) -> io::Result<()> {
        let LedgerStatus { name, dir, origin, down, rebuilds, figures, ring, watches, .. } = ledger;
        writeln!(self.out, "\n{}  {}  {origin}", self.paint("1", name), dir.display())?;
        if let Some(down) = down {
            self.line("state", &format!("{}: {down}", self.bad("DOWN, being rebuilt")))?;
        }
        if *rebuilds > 0 {
            self.line("rebuilt", &self.weak(&format!("{rebuilds} times since the start")))?;
        }
        if let Some(figures) = figures {
            self.figures(figures, ledger)?;
            self.kernel(figures, *ring)?;
            self.clock(&figures.clock)?;
            self.line("disk", &format!("{} free", BinaryBytes(ledger.disk_free_bytes)))?;
            figures.sinks.iter().try_for_each(|sink| self.sink(sink))?;
        }
        for watch in watches {
            for TargetStatus { name, waiting } in &watch.targets {
                let state = match waiting {
                    None => self.good("watched"),
                    Some(why) => format!("{}: {why}", self.weak("waiting")),
                };
                self.line("watch", &format!("{}  {name}  {state}", watch.agent))?;
            }
        }
        Ok(())
    }

    fn figures(&mut self, figures: &Figures, ledger: &LedgerStatus) -> io::Result<()> {
        let Figures { size, sealed_size, gaps, rejected, intake, stages, sync, .. } = figures;
        let LedgerStatus { records_per_s, bytes_per_s, .. } = ledger;
        let (standing, sealed) = (HumanCount(*size), HumanCount(*sealed_size));
        let kib_per_s = bytes_per_s / 1024.0;
        self.line(
            "records",
            &format!(
                "{standing} durable, {sealed} sealed; {records_per_s:.0}/s, {kib_per_s:.0} KiB/s"
            ),
        )?;
        let Latency { recent_p50_us, recent_p99_us, recent_max_us, .. } = sync;
        self.line(
            "disk sync",
            &format!(
                "p50 {}, p99 {}, longest {} (last minute)",
                ms(*recent_p50_us),
                ms(*recent_p99_us),
                ms(*recent_max_us)
            ),
        )?;
        let (used, max) = (BinaryBytes(intake.used_bytes), BinaryBytes(intake.max_bytes));
        self.line(
            "intake",
            &format!("{used} of {max} in use; sources have waited {}", ms(intake.waited_us)),
        )?;
        let waits: Vec<String> =
            stages.iter().map(|stage| format!("{} {}", stage.stage, ms(stage.waited_us))).collect();
        self.line("waits", &format!("{} (on the stage after it)", waits.join(", ")))?;
        if *rejected > 0 {
            self.line("refused", &self.weak(&format!("{} lines of input", HumanCount(*rejected))))?;
        }
        let gaps = match gaps {
            0 => self.good("none in this run"),
            gaps => self.bad(&format!("{} on record in this run", HumanCount(*gaps))),
        };
        self.line("gaps", &gaps)
    }

    fn kernel(&mut self, figures: &Figures, ring: Option<RingStatus>) -> io::Result<()> {
        let Some(RingStatus { pending_bytes, size_bytes }) = ring else { return Ok(()) };
        let KernelFigures { emitted, dropped, stash_failed, recursion_misses, left_out, .. } =
            figures.kernel;
        let lost = dropped + stash_failed + recursion_misses;
        let state = format!(
            "{} of {} in use; {} records",
            BinaryBytes(pending_bytes),
            BinaryBytes(size_bytes),
            HumanCount(emitted)
        );
        let lost = if lost == 0 {
            self.good("0 lost")
        } else {
            self.bad(&format!("{} lost", HumanCount(lost)))
        };
        self.line("ring", &format!("{state}, {lost}"))?;
        if left_out > 0 {
            self.line(
                "left out",
                &format!("{} calls by filters, counted on record", HumanCount(left_out)),
            )?;
        }
        Ok(())
    }

    fn clock(&mut self, clock: &ClockFigures) -> io::Result<()> {
        let state = if clock.synchronised {
            self.good(&format!("synchronised, within {}", ms(clock.max_error_ns / 1_000)))
        } else {
            self.weak("not synchronised: records say so instead of claiming an interval")
        };
        self.line("clock", &state)
    }

    fn sink(&mut self, sink: &SinkFigures) -> io::Result<()> {
        let SinkFigures { name, cursor, lag_records, lag_ms, failure } = sink;
        let state = match failure {
            Some(failure) => self.bad(&format!("stopped: {failure}")),
            None if *lag_records == 0 => self.good("has them all"),
            None => {
                self.weak(&format!("{} behind, for {} s", HumanCount(*lag_records), lag_ms / 1_000))
            }
        };
        self.line("sink", &format!("{name}  {} records  {state}", HumanCount(*cursor)))
    }

    fn line(&mut self, what: &str, text: &str) -> io::Result<()> {
        writeln!(self.out, "  {what:<11} {text}")
    }

    fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    fn weak(&self, text: &str) -> String {
        self.paint("33", text)
    }

    fn bad(&self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn ms(us: u64) -> String {
    format!("{:.2} ms", us as f64 / 1e3)
}
