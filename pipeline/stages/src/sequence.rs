//! Sequence: one thread a ledger gives every record its place.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use graven_ledger::{Chain, Receipt, Run, Step};
use graven_record::{DraftBatch, TrueTime};

use crate::batch::{Acknowledgement, Normalized, Sequenced};
use crate::clock;
use crate::counters::Counters;
use crate::failpoint;
use crate::left_out::{self, CallCounts, Span};
use crate::stage::StageError;

/// Age at which a block is sealed, in milliseconds from sequencing its first record.
pub const BLOCK_MS_MAX: u64 = 1_000;

/// Longest sleep while no block is open.
const IDLE: Duration = Duration::from_hours(1);

#[derive(Debug)]
pub(crate) struct Sequencer {
    pub(crate) chain: Chain,
    pub(crate) run: Run,
    pub(crate) block_ms_max: u64,
    pub(crate) order: Receiver<Receiver<Normalized>>,
    pub(crate) committer: Sender<Sequenced>,
    pub(crate) counters: Arc<Counters>,
    /// When the open block is due, on `CLOCK_MONOTONIC`.
    pub(crate) due_ns: Option<u64>,
    /// Calls left out by their path since the last span ended.
    pub(crate) left_out: CallCounts,
}

impl Sequencer {
    /// Runs until upstream closes, then seals the open block.
    pub(crate) fn run(mut self) -> Result<(), StageError> {
        loop {
            match self.order.recv_timeout(self.until_due()) {
                Ok(pending) => {
                    // A normalizer that went down takes its reply with it.
                    let batch = pending.recv().map_err(|_| StageError::Lost("normalize"))?;
                    self.place(batch)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.due_ns.is_some_and(|due_ns| clock::mono_ns() >= due_ns) {
                self.seal()?;
            }
        }
        self.seal()
    }

    fn until_due(&self) -> Duration {
        self.due_ns
            .map_or(IDLE, |due_ns| Duration::from_nanos(due_ns.saturating_sub(clock::mono_ns())))
    }

    fn place(&mut self, mut batch: Normalized) -> Result<(), StageError> {
        left_out::add(&mut self.left_out, std::mem::take(&mut batch.left_out));
        for (span, time) in std::mem::take(&mut batch.spans) {
            self.end(&span, time, &mut batch.drafts);
        }
        let (mut steps, mut receipts) = (Vec::new(), Vec::new());
        failpoint::pass("sequence");
        self.chain.append(&self.run, &batch.drafts, &mut steps, &mut receipts);
        let sealed = steps.iter().any(|step| matches!(step, Step::Seal(_)));
        if sealed || self.due_ns.is_none() {
            let due_ns = clock::mono_ns() + self.block_ms_max * 1_000_000;
            self.due_ns = self.chain.block_is_open().then_some(due_ns);
        }
        let accepted: Vec<(u64, Receipt)> = batch.lines.into_iter().zip(receipts).collect();
        self.pass_on(Sequenced {
            steps,
            acknowledgement: Acknowledgement { accepted, rejected: batch.rejected },
            ticket: Some(batch.ticket),
        })
    }

    /// Puts on record what was left out in a span, unless that is nothing.
    fn end(&mut self, span: &Span, time: TrueTime, drafts: &mut DraftBatch) {
        let Some(detail) = span.detail(&std::mem::take(&mut self.left_out)) else {
            return;
        };
        let draft = self.run.system(left_out::ACTION, left_out::SUBJECT, &detail, time);
        drafts.push(&draft).expect("two counts for each call there is fit a record");
    }

    fn seal(&mut self) -> Result<(), StageError> {
        self.due_ns = None;
        let Some(header) = self.chain.seal() else {
            return Ok(());
        };
        self.pass_on(Sequenced {
            steps: vec![Step::Seal(header)],
            acknowledgement: Acknowledgement::default(),
            ticket: None,
        })
    }

    fn pass_on(&self, sequenced: Sequenced) -> Result<(), StageError> {
        let meter = &self.counters.sequence;
        for lines in sequenced.lines() {
            meter.passed(lines.leaves.hashes.len() as u64, lines.bytes.len() as u64);
        }
        meter.send(&self.committer, sequenced).map_err(|_| StageError::Lost("commit"))
    }
}
