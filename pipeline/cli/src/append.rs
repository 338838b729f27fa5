//! `graven append`: takes application events in, one JSON object a line.

mod through;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use graven_daemon::{BATCHES_ON_THE_WAY, Feed, Pending};
use graven_ledger::OpenedLedger;
use graven_record::Value;
use graven_record::event::Admission;
use graven_stages::{Acknowledgement, Rejection};
use graven_verify::screen::number;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::ledger::LedgerArgs;
use crate::{descriptors, exit};

/// Append application events from a file or standard input, one JSON object a line.
///
/// A line that is not an admitted event is refused with a message that names line and member; the good lines
/// around it are kept. Admitted members: `action`, `actor`, `subject` (these three are needed), `bytes_severed`,
/// `external_trace_id`, `occurred`, `payload`, `source`, `target_host`, `trace_id`, `where`.
#[derive(Debug, Args)]
#[command(after_help = r#"Example:
  printf '%s' '{"action":"trade.amended",' \
    '"actor":{"kind":"user","id":"ada"},' \
    '"subject":{"kind":"trade","id":"T-17"}}' |
    graven append --ledger ledger --receipts"#)]
pub(crate) struct AppendArgs {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Stop at the first line that is refused; the lines before it are kept.
    #[arg(long)]
    strict: bool,
    /// Admit this field in `payload.before` and `payload.after`; may be repeated. Without it a payload has
    /// no field to land in.
    #[arg(long = "payload-field", value_name = "NAME")]
    payload_fields: Vec<String>,
    /// Print a receipt for each event once it is durable: its line, its `seq` and its leaf hash.
    #[arg(long)]
    receipts: bool,
    /// File of events; `-` is standard input.
    #[arg(default_value = "-", value_name = "FILE")]
    input: PathBuf,
}

pub(crate) fn run(args: AppendArgs) -> anyhow::Result<u8> {
    descriptors::enough()?;
    match args.ledger.open()? {
        Some(ledger) => actix::System::new().block_on(append(args, ledger)),
        None => through::append(&args),
    }
}

/// Takes the events in with a graph of its own.
async fn append(args: AppendArgs, ledger: OpenedLedger) -> anyhow::Result<u8> {
    let input = open_input(&args.input)?;
    let mut pipeline = args.ledger.start(ledger, Value::object([]), None)?;
    let (batches, mut submitted) = mpsc::channel(BATCHES_ON_THE_WAY);
    let admission = Arc::new(Admission { payload_fields: args.payload_fields.clone() });
    let feed = Feed::new(input, args.strict, admission, pipeline.intake());
    // Not a task of the runtime, which would wait for a read that may never end.
    let (outcome, reader) = oneshot::channel();
    std::thread::Builder::new()
        .name("graven-reader".into())
        .spawn(move || drop(outcome.send(feed.run(&batches))))?;
    let mut report = Report::new(args.receipts);
    let mut waiting = VecDeque::new();
    let (mut all_submitted, mut cut_short) = (false, false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut told = Ok(());
    while told.is_ok() && !(cut_short || all_submitted && waiting.is_empty()) {
        tokio::select! {
            answer = next_answer(&mut waiting), if !waiting.is_empty() => match answer {
                Ok(acknowledgement) => told = report.tell(&acknowledgement),
                Err(_) => cut_short = true,
            },
            batch = submitted.recv(), if !all_submitted => match batch {
                Some(batch) => waiting.push_back(batch),
                None => all_submitted = true,
            },
            _ = interrupt.recv() => cut_short = true,
            _ = terminate.recv() => cut_short = true,
            () = pipeline.failed() => cut_short = true,
        }
    }
    drop(submitted);
    let drained = pipeline.drain().await;
    // What was taken in before an interruption is durable by now.
    for batch in waiting {
        if let (Ok(()), Ok(acknowledgement)) = (&told, batch.await) {
            told = report.tell(&acknowledgement);
        }
    }
    let drained = drained?;
    if all_submitted {
        reader.await.context("the reader has gone")??;
    }
    told.context("the receipts could not be written; the events before this are in the ledger, the rest were not read")?;
    for sink in drained.sinks {
        if let Some(failure) = sink.failure {
            bail!(io::Error::other(format!("{failure}; the ledger itself has every record")));
        }
    }
    Ok(report.finish())
}

/// The oldest batch's answer; the batch leaves the queue with it.
async fn next_answer(
    waiting: &mut VecDeque<Pending>,
) -> Result<Acknowledgement, oneshot::error::RecvError> {
    match waiting.front_mut() {
        Some(batch) => {
            let answer = batch.await;
            waiting.pop_front();
            answer
        }
        None => std::future::pending().await,
    }
}

fn open_input(path: &Path) -> anyhow::Result<Box<dyn Read + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
    Ok(Box::new(file))
}

/// What the sender is told.
struct Report {
    receipts: bool,
    accepted: u64,
    refused: u64,
}

impl Report {
    fn new(receipts: bool) -> Self {
        Self { receipts, accepted: 0, refused: 0 }
    }

    fn tell(&mut self, acknowledgement: &Acknowledgement) -> io::Result<()> {
        for Rejection { line, error } in &acknowledgement.rejected {
            self.refusal(*line, &error.to_string())?;
        }
        let mut out = BufWriter::new(io::stdout().lock());
        for (line, receipt) in &acknowledgement.accepted {
            self.receipt(&mut out, *line, &receipt.leaf.to_string(), receipt.seq)?;
        }
        out.flush()
    }

    fn receipt(&mut self, out: &mut impl Write, line: u64, leaf: &str, seq: u64) -> io::Result<()> {
        self.accepted += 1;
        if self.receipts {
            writeln!(out, r#"{{"leaf":"{leaf}","line":{line},"seq":{seq}}}"#)?;
        }
        Ok(())
    }

    fn refusal(&mut self, line: u64, error: &str) -> io::Result<()> {
        self.refused += 1;
        writeln!(io::stderr().lock(), "graven: line {line}: {error}")
    }

    fn finish(&self) -> u8 {
        let Self { accepted, refused, .. } = self;
        if *refused == 0 {
            return exit::GOOD;
        }
        exit::report(&anyhow::anyhow!(outcome(*accepted, *refused)));
        exit::USAGE
    }
}

/// What became of the lines, where some were refused.
fn outcome(accepted: u64, refused: u64) -> String {
    let all = accepted + refused;
    match (accepted, refused) {
        (0, 1) => "the line was refused; nothing was recorded".to_owned(),
        (0, _) => format!("all {} lines were refused; nothing was recorded", number(all)),
        _ => format!(
            "{} of {} lines refused, {} recorded",
            number(refused),
            number(all),
            number(accepted)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_says_what_is_recorded() {
        assert_eq!(outcome(0, 1), "the line was refused; nothing was recorded");
        assert_eq!(outcome(0, 2), "all 2 lines were refused; nothing was recorded");
        assert_eq!(outcome(1, 5), "5 of 6 lines refused, 1 recorded");
    }
}
