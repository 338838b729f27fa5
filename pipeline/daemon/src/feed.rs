//! Takes lines of application events in: reads, batches, submits, and keeps the answers in order.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, bail};
use graven_ledger::{LineReader, ReadLine};
use graven_record::ValueError;
use graven_record::event::{Admission, EVENT_LINE_BYTES_MAX, Event};
use graven_stages::{
    Acknowledgement, BATCH_BYTES_MAX, Closed, EventBatch, Intake, Raw, Rejection, clock,
};
use tokio::sync::{mpsc, oneshot};

use crate::control::Answer;

/// Batches that may be on their way before the reader waits for acknowledgements.
pub const BATCHES_ON_THE_WAY: usize = 64;

/// A graph has ended under a feed.
const STOPPED: &str = "the ledger has stopped: what was not acknowledged is not in it";

/// What becomes of one batch, once it is known.
pub type Pending = oneshot::Receiver<Acknowledgement>;

/// Reads lines into batches. Reading blocks, so it wants a thread of its own.
#[derive(Debug)]
pub struct Feed<R> {
    lines: LineReader<R>,
    strict: bool,
    admission: Arc<Admission>,
    intake: Intake,
    batch: EventBatch,
    line: u64,
}

impl<R: Read> Feed<R> {
    /// A feed of the lines in `input`. `strict` stops it at the first line that is refused.
    pub fn new(input: R, strict: bool, admission: Arc<Admission>, intake: Intake) -> Self {
        Self {
            lines: LineReader::new(input, EVENT_LINE_BYTES_MAX),
            strict,
            admission,
            intake,
            batch: EventBatch::default(),
            line: 0,
        }
    }

    /// Runs to the end of the input, or until nobody takes its batches any more.
    ///
    /// # Errors
    ///
    /// If the input cannot be read, or the graph ends before it does.
    pub fn run(mut self, submitted: &mpsc::Sender<Pending>) -> anyhow::Result<()> {
        loop {
            // Before waiting for more input, what has come is sent on its way.
            if !self.lines.has_line() && !self.flush(submitted)? {
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
                        self.batch.lines.extend_from_slice(line);
                        self.batch.ends.push((self.batch.lines.len(), self.line));
                    }
                    checked.err()
                }
                Some((_, ReadLine::Overlong(bytes))) => Some(ValueError::at("", overlong(bytes))),
            };
            let open = match refused {
                Some(error) => self.refuse(submitted, error)? && !self.strict,
                None => self.batch.lines.len() < BATCH_BYTES_MAX / 2 || self.flush(submitted)?,
            };
            if !open {
                return Ok(());
            }
        }
        self.flush(submitted)?;
        Ok(())
    }

    /// Runs to the end, telling each batch's acknowledgement in order. Where that cannot go on, `hang_up` must
    /// end the input: the reader may be waiting for more of it, from a sender who waits for an answer.
    ///
    /// # Errors
    ///
    /// If the input cannot be read, the graph fails before everything is durable, or `tell` fails.
    pub fn run_scoped(
        self,
        mut tell: impl FnMut(Acknowledgement) -> io::Result<()>,
        hang_up: impl FnOnce(),
    ) -> anyhow::Result<()>
    where
        R: Send,
    {
        let (submitted, mut batches) = mpsc::channel::<Pending>(BATCHES_ON_THE_WAY);
        thread::scope(|scope| {
            let fed = scope.spawn(move || self.run(&submitted));
            let mut told = Ok(());
            while let Some(pending) = batches.blocking_recv() {
                told = pending
                    .blocking_recv()
                    .context(STOPPED)
                    .and_then(|acknowledgement| Ok(tell(acknowledgement)?));
                if told.is_err() {
                    break;
                }
            }
            drop(batches);
            if told.is_err() {
                hang_up();
            }
            told?;
            fed.join().unwrap_or_else(|_| anyhow::bail!("the reader has panicked"))
        })
    }

    /// Sends a refusal down the same way as the answers, so that all are told in order.
    fn refuse(
        &mut self,
        submitted: &mpsc::Sender<Pending>,
        error: ValueError,
    ) -> anyhow::Result<bool> {
        let rejected = vec![Rejection { line: self.line, error }];
        let (answer, answered) = oneshot::channel();
        drop(answer.send(Acknowledgement { accepted: Vec::new(), rejected }));
        Ok(self.flush(submitted)? && submitted.blocking_send(answered).is_ok())
    }

    /// Sends what has come; false once nobody wants to hear of it any more.
    fn flush(&mut self, submitted: &mpsc::Sender<Pending>) -> anyhow::Result<bool> {
        if self.batch.ends.is_empty() {
            return Ok(true);
        }
        let batch = EventBatch {
            mono_ns: clock::mono_ns(),
            admission: Arc::clone(&self.admission),
            ..std::mem::take(&mut self.batch)
        };
        match self.intake.submit_acknowledged(Raw::Events(batch)) {
            Ok(answered) => Ok(submitted.blocking_send(answered).is_ok()),
            Err(Closed) => bail!(STOPPED),
        }
    }
}

fn overlong(bytes: u64) -> String {
    format!("the line is {bytes} bytes long, the limit is {EVENT_LINE_BYTES_MAX}: shorten it")
}

/// An acknowledgement as the control socket gives it.
pub(crate) fn answers_to(acknowledgement: &Acknowledgement) -> impl Iterator<Item = Answer> {
    let receipts = acknowledgement.accepted.iter().map(|(line, receipt)| Answer::Receipt {
        leaf: receipt.leaf.to_string(),
        line: *line,
        seq: receipt.seq,
    });
    let refusals = acknowledgement
        .rejected
        .iter()
        .map(|Rejection { line, error }| Answer::Refused { line: *line, error: error.to_string() });
    receipts.chain(refusals)
}
