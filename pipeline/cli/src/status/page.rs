//! The status as a page.

use std::collections::BTreeMap;
use std::io::{self, Write};

use console::measure_text_width;
use graven_daemon::control::{LedgerStatus, RingStatus, Status, WatchStatus, WormState};
use graven_stages::{
    ClockFigures, DiskFigures, Figures, IntakeFigures, KernelFigures, Latency, ReleaseFigures,
    SinkFigures, Standing,
};
use graven_verify::screen::{BAD, DIM, GOOD, STRONG, WEAK, bytes, count, number, painted, span};

use super::Verdict;

/// Column in which values begin.
const VALUE: usize = 14;

/// Narrower than this nothing is wrapped any more, in columns.
const VALUE_WIDTH_MIN: usize = 20;

pub(super) struct Page<'a, W> {
    out: &'a mut W,
    /// Columns, where there is a bound.
    width: Option<usize>,
}

impl<'a, W: Write> Page<'a, W> {
    pub(super) fn new(out: &'a mut W, width: Option<usize>) -> Self {
        Self { out, width }
    }

    pub(super) fn write(&mut self, status: &Status) -> io::Result<()> {
        self.verdicts(status)?;
        self.daemon(status)?;
        status.ledgers.iter().try_for_each(|ledger| self.ledger(ledger))
    }

    /// The answer first.
    fn verdicts(&mut self, status: &Status) -> io::Result<()> {
        if let Some(failure) = &status.reload_failure {
            let what = painted(BAD, "reload failed");
            self.wrapped("", 0, &format!("{what}: the old configuration stays: {failure}"))?;
        }
        let names = status.ledgers.iter().map(|ledger| ledger.name.len());
        let column = names.max().unwrap_or(0) + 2;
        for ledger in &status.ledgers {
            let verdict = Verdict::of(ledger);
            let name = format!("{:<column$}", ledger.name);
            let words = painted(verdict.style(), &verdict.words);
            self.wrapped(&painted(STRONG, name), column, &words)?;
            if let Some(remedy) = &verdict.remedy {
                self.wrapped(&" ".repeat(column), column, &format!("→ {remedy}"))?;
            }
        }
        Ok(())
    }

    fn daemon(&mut self, status: &Status) -> io::Result<()> {
        let Status { version, pid, uptime_s, config, config_sha256, tiers, .. } = status;
        let up = span(uptime_s.saturating_mul(1_000_000_000));
        writeln!(self.out, "\ngraven {version}, process {pid}, up {up}")?;
        let hash = config_sha256.get(..19).unwrap_or(config_sha256);
        let text = format!("{}, {hash}…", config.display());
        self.wrapped("configuration ", VALUE, &text)?;
        let mut missing = BTreeMap::<_, Vec<_>>::new();
        for tier in tiers {
            if let Some(reason) = &tier.missing {
                missing.entry(reason).or_default().push(tier.name.as_str());
            }
        }
        if !missing.is_empty() {
            let missing =
                missing.iter().map(|(why, names)| format!("{} ({why})", names.join(", ")));
            let text = format!("without {}", missing.collect::<Vec<_>>().join(", "));
            // Each line in its own style: a style must not run into the next line.
            for line in wrap(&text, self.room(0)) {
                writeln!(self.out, "{}", painted(DIM, line))?;
            }
        }
        Ok(())
    }

    fn ledger(&mut self, ledger: &LedgerStatus) -> io::Result<()> {
        let LedgerStatus { name, dir, origin, down, rebuilds, figures, ring, watches, .. } = ledger;
        let place = format!("{}  {origin}", dir.display());
        writeln!(self.out)?;
        self.wrapped(&format!("{}  ", painted(STRONG, name)), VALUE, &place)?;
        if let Some(down) = down {
            self.line("state", &format!("{}: {down}", painted(BAD, "DOWN, being rebuilt")))?;
        }
        if *rebuilds > 0 {
            let times = format!("{} since the start", count(*rebuilds, "time"));
            self.line("rebuilt", &painted(WEAK, times))?;
        }
        if let Some(figures) = figures {
            self.figures(figures, ledger)?;
            // A ring that nobody was ever watched into says nothing.
            if !watches.is_empty() || figures.kernel.emitted > 0 {
                self.kernel(figures, *ring)?;
            }
            self.clock(&figures.clock)?;
            self.disk(&figures.disk, ledger.disk_free_bytes)?;
            self.worm(&ledger.worm)?;
            self.release(&figures.release)?;
            figures.sinks.iter().try_for_each(|sink| self.sink(sink))?;
        }
        self.watches(watches)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
    fn figures(&mut self, figures: &Figures, ledger: &LedgerStatus) -> io::Result<()> {
        let Figures { size, sealed_size, gaps, rejected, intake, stages, sync, .. } = figures;
        let sealed = match size.saturating_sub(*sealed_size) {
            0 => "all sealed".to_owned(),
            _ => format!("{} sealed", number(*sealed_size)),
        };
        let records_per_s = number(ledger.records_per_s.round() as u64);
        let bytes_per_s = bytes(ledger.bytes_per_s.round() as u64);
        self.line("records", &format!("{} durable, {sealed}", number(*size)))?;
        self.line("rate", &format!("{records_per_s}/s, {bytes_per_s}/s (last 10 s)"))?;
        let Latency { recent_p50_us, recent_p99_us, recent_max_us, .. } = sync;
        if *recent_max_us > 0 {
            let [p50, p99, longest] =
                [recent_p50_us, recent_p99_us, recent_max_us].map(|it| us(*it));
            let text = format!("p50 {p50}, p99 {p99}, longest {longest} (last minute)");
            self.line("disk sync", &text)?;
        }
        let IntakeFigures { used_bytes, max_bytes, waited_us } = intake;
        let waited = match waited_us {
            0 => String::new(),
            waited => format!("; sources waited {} since the start", us(*waited)),
        };
        let text = format!("{} of {} in use{waited}", bytes(*used_bytes), bytes(*max_bytes));
        self.line("intake", &text)?;
        let waits = stages.iter().filter(|stage| stage.waited_us > 0);
        let waits: Vec<_> =
            waits.map(|stage| format!("{} {}", stage.stage, us(stage.waited_us))).collect();
        if !waits.is_empty() {
            let text =
                format!("{}, each for the stage after it, since the start", waits.join(", "));
            self.line("waits", &text)?;
        }
        if *rejected > 0 {
            let text = format!("{} of input since the start", count(*rejected, "line"));
            self.line("refused", &painted(WEAK, text))?;
        }
        let gaps = match gaps {
            0 => painted(GOOD, "none since the start"),
            gaps => painted(BAD, format!("{} on record since the start", number(*gaps))),
        };
        self.line("gaps", &gaps)
    }

    fn kernel(&mut self, figures: &Figures, ring: Option<RingStatus>) -> io::Result<()> {
        let Some(RingStatus { pending_bytes, size_bytes }) = ring else { return Ok(()) };
        let KernelFigures { emitted, dropped, stash_failed, recursion_misses, left_out, .. } =
            figures.kernel;
        let lost = dropped + stash_failed + recursion_misses;
        let style = if lost == 0 { GOOD } else { BAD };
        let lost = painted(style, format!("{} lost", number(lost)));
        let text = format!(
            "{} of {} in use; {} since the start, {lost}",
            bytes(pending_bytes),
            bytes(size_bytes),
            count(emitted, "record")
        );
        self.line("ring", &text)?;
        if left_out > 0 {
            let calls = count(left_out, "call");
            self.line(
                "left out",
                &format!("{calls} by filters since the start, counted on record"),
            )?;
        }
        Ok(())
    }

    fn clock(&mut self, clock: &ClockFigures) -> io::Result<()> {
        let state = if clock.synchronised {
            painted(GOOD, format!("synchronised, within {}", span(clock.max_error_ns)))
        } else {
            format!(
                "{}: records say so instead of claiming an interval",
                painted(WEAK, "not synchronised")
            )
        };
        self.line("clock", &state)
    }

    fn worm(&mut self, worm: &WormState) -> io::Result<()> {
        let style = match worm {
            WormState::Held => GOOD,
            WormState::Missing { .. } => WEAK,
            WormState::Off => DIM,
        };
        self.line("worm", &painted(style, worm))
    }

    fn disk(&mut self, disk: &DiskFigures, free: u64) -> io::Result<()> {
        let DiskFigures { bytes_max, free_bytes_min, used_bytes, standing, waited_us } = *disk;
        let budget = bytes_max.map(|max| format!(" of {}", bytes(max))).unwrap_or_default();
        let keep = free_bytes_min.map(|min| format!(", {} to stay so", bytes(min)));
        let text = format!(
            "{}{budget} used, {} free{}",
            bytes(used_bytes),
            bytes(free),
            keep.unwrap_or_default()
        );
        let waited = match waited_us {
            0 => String::new(),
            waited => format!("; sources waited {} since the start", us(waited)),
        };
        let state = match standing {
            Standing::Open => String::new(),
            Standing::Slowed => format!("; {}", painted(WEAK, "slowed down")),
            Standing::Reached => format!("; {}", painted(BAD, "FULL: nothing is taken in")),
        };
        self.line("disk", &format!("{text}{waited}{state}"))
    }

    fn release(&mut self, release: &ReleaseFigures) -> io::Result<()> {
        let ReleaseFigures { segments, bytes: released, failure } = release;
        if *segments > 0 {
            let text =
                format!("{}, {} since the start", count(*segments, "segment"), bytes(*released));
            self.line("released", &text)?;
        }
        match failure {
            Some(failure) => {
                self.line("release", &format!("{}: {failure}", painted(BAD, "failed, tried again")))
            }
            None => Ok(()),
        }
    }

    fn sink(&mut self, sink: &SinkFigures) -> io::Result<()> {
        let SinkFigures { name, cursor, lag_records, lag_ms, failure } = sink;
        let state = match failure {
            Some(failure) => format!("{}: {failure}", painted(BAD, "stopped")),
            None if *lag_records == 0 => painted(GOOD, "has them all"),
            None => {
                let lag = span(lag_ms.saturating_mul(1_000_000));
                painted(WEAK, format!("{} behind, for {lag}", number(*lag_records)))
            }
        };
        self.line("sink", &format!("{name}  {}  {state}", count(*cursor, "record")))
    }

    /// Agent, target and state in columns.
    fn watches(&mut self, watches: &[WatchStatus]) -> io::Result<()> {
        let rows: Vec<_> = watches
            .iter()
            .flat_map(|watch| watch.targets.iter().map(|target| (&watch.agent, target)))
            .collect();
        let widest = |widths: &mut dyn Iterator<Item = usize>| widths.max().unwrap_or(0);
        let agents = widest(&mut rows.iter().map(|(agent, _)| measure_text_width(agent)));
        let targets = widest(&mut rows.iter().map(|(_, target)| measure_text_width(&target.name)));
        for (index, (agent, target)) in rows.iter().enumerate() {
            let state = match &target.waiting {
                None => painted(GOOD, "watched"),
                Some(why) => format!("{}: {why}", painted(WEAK, "waiting")),
            };
            let label = if index == 0 { "watches" } else { "" };
            let name = &target.name;
            self.line(label, &format!("{agent:<agents$}  {name:<targets$}  {state}"))?;
        }
        Ok(())
    }

    fn line(&mut self, what: &str, text: &str) -> io::Result<()> {
        self.wrapped(&format!("  {what:<width$}", width = VALUE - 2), VALUE, text)
    }

    /// `text` behind `label`, and below the value's column where one line cannot hold it.
    fn wrapped(&mut self, label: &str, column: usize, text: &str) -> io::Result<()> {
        for (index, line) in wrap(text, self.room(column)).iter().enumerate() {
            if index == 0 {
                writeln!(self.out, "{label}{line}")?;
            } else {
                writeln!(self.out, "{:column$}{line}", "")?;
            }
        }
        Ok(())
    }

    /// Columns from `column` on; no bound where there would be hardly any.
    fn room(&self, column: usize) -> usize {
        let room = self.width.and_then(|width| width.checked_sub(column));
        room.filter(|room| *room >= VALUE_WIDTH_MIN).unwrap_or(usize::MAX)
    }
}

/// Lines of at most `width` columns, cut between words; escapes take no room.
fn wrap(text: &str, width: usize) -> Vec<String> {
    if measure_text_width(text) <= width {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if measure_text_width(line) + 1 + measure_text_width(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn us(us: u64) -> String {
    span(us.saturating_mul(1_000))
}

#[cfg(test)]
mod tests;
