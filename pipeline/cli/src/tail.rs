//! `graven tail`: the newest records, as they come.

mod call;
mod filter;
mod line;
mod words;

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use graven_ledger::{LedgerError, Paths, SegmentCursor, records};
use graven_verify::screen::{DIM, count, painted};
use serde_json::Value;

use crate::daemon::SocketArgs;
use crate::exit;
use crate::value::number;
use filter::Filter;

/// How often a followed ledger is looked at. A block is sealed every second while there is something in it.
const LOOK: Duration = Duration::from_millis(200);

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// Records that are shown first unless more is asked for.
const LINES: usize = 10;

/// Records that are looked back over at first, at most.
const STRIDE_MAX: u64 = 1 << 12;

/// Show the newest records, and those that come.
///
/// Each line begins with the record's index: `graven show INDEX` tells all of it. Reads the ledger's directory,
/// up to the newest checkpoint: what is shown is durable and sealed. It changes nothing, needs no daemon, and
/// does not verify: `graven verify` does.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  graven tail /var/lib/graven/builds --call 'open*' --path '/etc/**'
  sudo graven tail builds --since 10m --failed
  graven tail --actor ci --json | jq .subject")]
pub(crate) struct TailArgs {
    /// The ledger's directory, or its name where a daemon writes it.
    #[arg(value_name = "DIR", conflicts_with = "ledger")]
    dir: Option<PathBuf>,
    /// The same.
    #[arg(long, value_name = "DIR", env = "GRAVEN_LEDGER", default_value = "ledger")]
    ledger: PathBuf,
    /// Begin with the last N records that pass the filters. Default: 10, or all with --since.
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<usize>)]
    lines: Option<usize>,
    /// Stop at the newest record instead of waiting for more.
    #[arg(long)]
    no_follow: bool,
    #[command(flatten)]
    filter: Filter,
    /// Print the records as they are stored, one a line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    socket: SocketArgs,
}

pub(crate) fn run(args: &TailArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let paths = args.paths()?;
    let size = sealed_size(&paths)?;
    let mut cursor = SegmentCursor::new(&paths, first_shown(args, &paths, size)?);
    let mut page = Page::new(out, size);
    loop {
        let size = sealed_size(&paths)?;
        while cursor.next() < size {
            let (_, lines) = cursor.read(size, READ_BYTES)?;
            for record in records(&lines) {
                match args.filter.passes(record) {
                    Some(_) if args.json => page.raw(record)?,
                    Some(value) => page.line(&value)?,
                    None => {}
                }
            }
        }
        page.out.flush()?;
        if args.no_follow || args.filter.until.is_some() {
            if !args.json {
                page.end(unsealed(&paths, size)?)?;
            }
            return Ok(exit::GOOD);
        }
        thread::sleep(LOOK);
    }
}

impl TailArgs {
    /// The ledger: a directory, or else what a daemon calls so.
    fn paths(&self) -> anyhow::Result<Paths> {
        let dir = self.dir.as_ref().unwrap_or(&self.ledger);
        let looked = graven_ledger::look(dir);
        if let Err(LedgerError::NotALedger(_)) = looked
            && let Some(name) = self.dir.as_ref().and_then(|name| name.to_str())
            && let Ok(status) = self.socket.status()
            && let Some(ledger) = status.ledgers.into_iter().find(|ledger| ledger.name == name)
        {
            return Ok(graven_ledger::look(&ledger.dir)?);
        }
        Ok(looked?)
    }

    /// How many records are shown first.
    fn first_lines(&self) -> usize {
        let all = self.filter.since.map(|_| usize::MAX);
        self.lines.or(all).unwrap_or(LINES)
    }
}

/// Where the lines go.
struct Page<'a, W> {
    out: &'a mut W,
    /// Columns of the terminal, where there is one.
    width: Option<usize>,
    index_width: usize,
    /// The day of the last line.
    day: String,
}

impl<'a, W: Write> Page<'a, W> {
    fn new(out: &'a mut W, size: u64) -> Self {
        Self { out, width: crate::width(), index_width: size.to_string().len(), day: String::new() }
    }

    fn raw(&mut self, record: &[u8]) -> io::Result<()> {
        self.out.write_all(record)?;
        self.out.write_all(b"\n")
    }

    fn line(&mut self, record: &Value) -> io::Result<()> {
        let day = line::day(record);
        if day != self.day {
            writeln!(self.out, "{}", painted(DIM, format!("── {day} UTC ──")))?;
            day.clone_into(&mut self.day);
        }
        writeln!(self.out, "{}", line::line(record, self.index_width, self.width))
    }

    /// Says how much is left that is not shown.
    fn end(&mut self, unsealed: u64) -> io::Result<()> {
        if unsealed == 0 || self.width.is_none() {
            return Ok(());
        }
        let verb = if unsealed == 1 { "is" } else { "are" };
        let text = format!("{} {verb} durable but not sealed yet", count(unsealed, "record"));
        writeln!(self.out, "{}", painted(DIM, text))
    }
}

/// Index of the first record to be shown: so that the last `lines` that pass are. Looks back in strides that
/// double, so that a rare match costs no more than twice the way to it.
///
/// With --since it looks no further back than to a record that is older.
fn first_shown(args: &TailArgs, paths: &Paths, size: u64) -> anyhow::Result<u64> {
    let wanted = args.first_lines();
    let mut stride = u64::try_from(wanted)?.clamp(1, STRIDE_MAX);
    // What was released before is not to be had.
    let begins = graven_ledger::begins(paths)?.min(size);
    loop {
        let first = size.saturating_sub(stride).max(begins);
        let mut cursor = SegmentCursor::new(paths, first);
        let mut passing = Vec::new();
        while cursor.next() < size {
            let (start, lines) = cursor.read(size, READ_BYTES)?;
            let passes =
                (start..).zip(records(&lines)).filter(|(_, it)| args.filter.passes(it).is_some());
            passing.extend(passes.map(|(index, _)| index));
        }
        if let Some(at) = passing.len().checked_sub(wanted) {
            return Ok(passing.get(at).copied().unwrap_or(size));
        }
        if first == begins || args.filter.since.is_some() && is_before(paths, first, args)? {
            return Ok(first);
        }
        stride = stride.saturating_mul(2);
    }
}

/// Whether record `index` is older than what is asked for.
fn is_before(paths: &Paths, index: u64, args: &TailArgs) -> anyhow::Result<bool> {
    let found = graven_ledger::find(paths, index)?;
    let time = found.and_then(|found| filter::time(&serde_json::from_slice(&found.record).ok()?));
    Ok(time < args.filter.since)
}

/// Whole lines above the newest checkpoint.
fn unsealed(paths: &Paths, size: u64) -> anyhow::Result<u64> {
    let Some(last) = graven_ledger::list_segments(paths)?.pop() else { return Ok(0) };
    let file = File::open(&last.path)
        .with_context(|| format!("failed to open {}", last.path.display()))?;
    let mut lines = BufReader::with_capacity(READ_BYTES, file);
    let mut end = last.first;
    while lines.skip_until(b'\n')? > 0 {
        end += 1;
    }
    Ok(end.saturating_sub(size))
}

/// The size in the newest checkpoint; 0 before the first. Source: C2SP tlog-checkpoint, second line.
fn sealed_size(paths: &Paths) -> anyhow::Result<u64> {
    let path = paths.checkpoint();
    let note = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        note => note.with_context(|| format!("failed to read {}", path.display()))?,
    };
    let size = note.lines().nth(1).and_then(|size| size.parse().ok());
    size.with_context(|| format!("{} is no checkpoint: run `graven verify`", path.display()))
}
