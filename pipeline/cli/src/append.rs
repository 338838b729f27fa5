//! `graven append`: takes application events in, one JSON object a line.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use graven_ledger::{LineReader, ReadLine};
use graven_record::event::{Admission, EVENT_LINE_BYTES_MAX, Event};
use graven_record::{Value, ValueError};
use graven_stages::{
    Acknowledgement, BATCH_BYTES_MAX, Closed, EventBatch, Intake, Raw, Rejection, clock,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::exit;
use crate::ledger::LedgerArgs;

/// Batches that may be on their way before the reader waits for acknowledgements.
const BATCHES_ON_THE_WAY: usize = 64;

/// Append application events from a file or standard input, one JSON object a line.
///
/// A line that is not an admitted event is refused with a message that names line and member; the good lines
/// around it are kept. Admitted members: `action`, `actor`, `subject` (these three are needed), `bytes_severed`,
/// `external_trace_id`, `occurred`, `payload`, `source`, `target_host`, `trace_id`, `where`.
#[derive(Debug, Args)]
#[command(after_help = r#"Example:
  echo '{"action":"trade.amended","actor":{"kind":"user","id":"ada"},"subject":{"kind":"trade","id":"T-17"}}' |
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
    actix::System::new().block_on(append(args))
}

async fn append(args: AppendArgs) -> anyhow::Result<u8> {
    let input = open_input(&args.input)?;
    let ledger = args.ledger.open()?;
    let mut pipeline = args.ledger.start(ledger, Value::object([]), None)?;
    let (batches, mut submitted) = mpsc::channel(BATCHES_ON_THE_WAY);
    let feeder = Feeder {
        lines: LineReader::new(input, EVENT_LINE_BYTES_MAX),
        strict: args.strict,
        admission: Arc::new(Admission { payload_fields: args.payload_fields.clone() }),
        intake: pipeline.intake(),
        batches,
        pending: EventBatch::default(),
        line: 0,
    };
    // Not a task of the runtime, which would wait for a read that may never end.
    let (outcome, fed) = oneshot::channel();
    std::thread::Builder::new()
        .name("graven-reader".into())
        .spawn(move || drop(outcome.send(feeder.run())))?;
    let mut report = Report { receipts: args.receipts, accepted: 0, refused: 0 };
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
        fed.await.context("the reader has gone")??;
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
    waiting: &mut VecDeque<oneshot::Receiver<Acknowledgement>>,
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

/// Reads lines into batches, on a thread of its own since reading blocks.
struct Feeder {
    lines: LineReader<Box<dyn Read + Send>>,
    strict: bool,
    admission: Arc<Admission>,
    intake: Intake,
    batches: mpsc::Sender<oneshot::Receiver<Acknowledgement>>,
    pending: EventBatch,
    line: u64,
}

impl Feeder {
    fn run(mut self) -> anyhow::Result<()> {
        loop {
            // Before waiting for more input, what has come is sent on its way.
            if !self.lines.has_line() && !self.flush() {
                return Ok(());
            }
            self.line += 1;
            let refused = match self.lines.next_line().context("failed to read the events")? {
                None => break,
                Some((_, ReadLine::Whole(line) | ReadLine::Unterminated(line))) => {
                    let checked = if self.strict {
                        Event::parse(line, &self.admission).map(drop)
                    } else {
                        Ok(())
                    };
                    if checked.is_ok() {
                        self.pending.lines.extend_from_slice(line);
                        self.pending.ends.push((self.pending.lines.len(), self.line));
                    }
                    checked.err()
                }
                Some((_, ReadLine::Overlong(bytes))) => Some(ValueError::at("", overlong(bytes))),
            };
            let open = match refused {
                Some(error) => self.refuse(error) && !self.strict,
                None => self.pending.lines.len() < BATCH_BYTES_MAX / 2 || self.flush(),
            };
            if !open {
                return Ok(());
            }
        }
        self.flush();
        Ok(())
    }

    /// Sends a refusal down the same way as the answers, so that all are told in order.
    fn refuse(&mut self, error: ValueError) -> bool {
        let rejected = vec![Rejection { line: self.line, error }];
        let (answer, answered) = oneshot::channel();
        drop(answer.send(Acknowledgement { accepted: Vec::new(), rejected }));
        self.flush() && self.batches.blocking_send(answered).is_ok()
    }

    /// Sends what has come; false once nobody takes it any more.
    fn flush(&mut self) -> bool {
        if self.pending.ends.is_empty() {
            return true;
        }
        let batch = EventBatch {
            mono_ns: clock::mono_ns(),
            admission: Arc::clone(&self.admission),
            ..std::mem::take(&mut self.pending)
        };
        match self.intake.submit_acknowledged(Raw::Events(batch)) {
            Ok(answered) => self.batches.blocking_send(answered).is_ok(),
            Err(Closed) => false,
        }
    }
}

fn overlong(bytes: u64) -> String {
    format!("the line is {bytes} bytes long, the limit is {EVENT_LINE_BYTES_MAX}: shorten it")
}

/// What the sender is told.
struct Report {
    receipts: bool,
    accepted: u64,
    refused: u64,
}

impl Report {
    fn tell(&mut self, acknowledgement: &Acknowledgement) -> io::Result<()> {
        self.accepted += acknowledgement.accepted.len() as u64;
        self.refused += acknowledgement.rejected.len() as u64;
        let mut errors = io::stderr().lock();
        for Rejection { line, error } in &acknowledgement.rejected {
            writeln!(errors, "graven: line {line}: {error}")?;
        }
        if self.receipts {
            let mut out = BufWriter::new(io::stdout().lock());
            for (line, receipt) in &acknowledgement.accepted {
                let (leaf, seq) = (receipt.leaf, receipt.seq);
                writeln!(out, r#"{{"leaf":"{leaf}","line":{line},"seq":{seq}}}"#)?;
            }
            out.flush()?;
        }
        Ok(())
    }

    fn finish(&self) -> u8 {
        let Self { accepted, refused, .. } = self;
        if *refused == 0 {
            return exit::GOOD;
        }
        exit::report(&anyhow::anyhow!(
            "{refused} of {} lines were refused; the others are in the ledger",
            accepted + refused
        ));
        exit::USAGE
    }
}
