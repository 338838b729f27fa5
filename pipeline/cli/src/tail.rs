//! `graven tail`: the newest records, as they come.

mod line;

use std::fs;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use globset::{GlobBuilder, GlobMatcher};
use graven_ledger::{LedgerError, Paths, SegmentCursor};
use serde_json::Value;

use crate::exit;

/// How often a followed ledger is looked at. A block is sealed every second while there is something in it.
const LOOK: Duration = Duration::from_millis(200);

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// Show the newest records, and those that come.
///
/// Reads the ledger's directory, up to the newest checkpoint: what is shown is durable and sealed. It changes
/// nothing, needs no daemon, and does not verify: `graven verify` does.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  graven tail --ledger /var/lib/graven/builds --call 'open*' --path '/etc/**'
  graven tail --actor ci --json | jq .subject")]
pub(crate) struct TailArgs {
    /// Directory of the ledger.
    #[arg(long, value_name = "DIR", env = "GRAVEN_LEDGER", default_value = "ledger")]
    ledger: PathBuf,
    /// Begin with the last N records that pass the filters.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Stop at the newest record instead of waiting for more.
    #[arg(long)]
    no_follow: bool,
    /// Only records of this actor.
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// Only records whose action, such as the name of a call, matches this glob.
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    call: Option<GlobMatcher>,
    /// Only records whose subject, such as a file, matches this glob; `*` stops at a slash, `**` does not.
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    path: Option<GlobMatcher>,
    /// Only records with this verdict.
    #[arg(long, value_name = "VERDICT", value_parser = ["PERMIT", "BLOCK", "QUARANTINE"], ignore_case = true)]
    verdict: Option<String>,
    /// Print the records as they are stored, one a line.
    #[arg(long)]
    json: bool,
}

fn glob(text: &str) -> Result<GlobMatcher, globset::Error> {
    Ok(GlobBuilder::new(text).literal_separator(true).build()?.compile_matcher())
}

pub(crate) fn run(args: &TailArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let paths = Paths::new(&args.ledger);
    if !paths.info().exists() {
        return Err(LedgerError::NotALedger(args.ledger.clone()).into());
    }
    let size = sealed_size(&paths)?;
    let mut cursor = SegmentCursor::new(&paths, first_shown(args, &paths, size)?);
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    loop {
        let size = sealed_size(&paths)?;
        while cursor.next() < size {
            let (_, lines) = cursor.read(size, READ_BYTES)?;
            for record in records(&lines) {
                if let Some(value) = args.passes(record) {
                    if args.json {
                        out.write_all(record)?;
                        out.write_all(b"\n")?;
                    } else {
                        line::write(out, &value, colour)?;
                    }
                }
            }
        }
        out.flush()?;
        if args.no_follow {
            return Ok(exit::GOOD);
        }
        thread::sleep(LOOK);
    }
}

impl TailArgs {
    /// The record, if it is to be shown.
    fn passes(&self, record: &[u8]) -> Option<Value> {
        let value: Value = serde_json::from_slice(record).ok()?;
        let text =
            |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let is = |wanted: &Option<String>, pointer| {
            wanted.as_ref().is_none_or(|wanted| wanted == text(pointer))
        };
        let matches = |glob: &Option<GlobMatcher>, pointer| {
            glob.as_ref().is_none_or(|glob| glob.is_match(text(pointer)))
        };
        let passes = is(&self.actor, "/actor/id")
            && self.verdict.as_ref().is_none_or(|it| it.eq_ignore_ascii_case(text("/verdict")))
            && matches(&self.call, "/action")
            && matches(&self.path, "/subject/id");
        passes.then_some(value)
    }
}

fn records(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// Index of the first record to be shown: so that the last `lines` that pass are. Looks back in strides that
/// double, so that a rare match costs no more than twice the way to it.
fn first_shown(args: &TailArgs, paths: &Paths, size: u64) -> anyhow::Result<u64> {
    let mut stride = u64::try_from(args.lines)?;
    loop {
        let first = size.saturating_sub(stride);
        let mut cursor = SegmentCursor::new(paths, first);
        let mut passing = Vec::new();
        while cursor.next() < size {
            let (start, lines) = cursor.read(size, READ_BYTES)?;
            let passes = (start..).zip(records(&lines)).filter(|(_, it)| args.passes(it).is_some());
            passing.extend(passes.map(|(index, _)| index));
        }
        if let Some(at) = passing.len().checked_sub(args.lines) {
            return Ok(passing.get(at).copied().unwrap_or(size));
        }
        if first == 0 {
            return Ok(0);
        }
        stride = stride.saturating_mul(2);
    }
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
