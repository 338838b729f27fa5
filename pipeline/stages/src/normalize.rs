//! Normalize: raw input to canonical drafts, on several threads.

mod kernel;
mod task;

use std::sync::Arc;

use crossbeam_channel::Receiver;
use graven_ledger::Run;
use graven_record::event::{Defaults, Event};
use graven_record::{Body, DraftBatch, TrueTime, ValueError};

use crate::batch::{EventBatch, Job, Normalized, OwnBody, OwnRecord, Raw, Rejection};
use crate::clock::Clock;
use crate::counters::Counters;
use crate::facts::Namespaces;
use crate::failpoint;
use crate::left_out::{CallCounts, Span};

/// Puts raw input into the ledger's form. It has no state of its own, so any number may run.
#[derive(Debug, Clone)]
pub(crate) struct Normalizer {
    pub(crate) run: Arc<Run>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) counters: Arc<Counters>,
    /// The recorder's own, which the records' are compared with.
    pub(crate) namespaces: Namespaces,
    pub(crate) jobs: Receiver<Job>,
}

impl Normalizer {
    /// Runs until upstream closes. Each batch is handed over at the place that it took at intake.
    pub(crate) fn run(self) {
        while let Ok(Job { raw, ticket, reply }) = self.jobs.recv() {
            failpoint::pass("normalize");
            let mut drafts = DraftBatch::default();
            let (mut lines, mut rejected) = (Vec::new(), Vec::new());
            let (mut left_out, mut spans) = (CallCounts::new(), Vec::new());
            match raw {
                Raw::Kernel(batch) => left_out = kernel::drafts(&self, &batch, &mut drafts),
                Raw::Events(batch) => self.events(&batch, &mut drafts, &mut lines, &mut rejected),
                Raw::Own(records) => spans = self.own(records, &mut drafts),
                Raw::Drafts(made) => {
                    if ticket.ack.is_some() {
                        lines.extend(1..=made.drafts().len() as u64);
                    }
                    drafts = made;
                }
            }
            self.counters.rejected(rejected.len() as u64);
            self.counters.normalize.passed(drafts.drafts().len() as u64, drafts.bytes_len() as u64);
            // The sequencer is gone only where the whole graph is going.
            drop(reply.send(Normalized { drafts, lines, rejected, left_out, spans, ticket }));
        }
    }

    fn events(
        &self,
        batch: &EventBatch,
        drafts: &mut DraftBatch,
        lines: &mut Vec<u64>,
        rejected: &mut Vec<Rejection>,
    ) {
        let defaults = Defaults {
            host: &self.run.host,
            ledger: &self.run.ledger,
            time: self.clock.at(batch.mono_ns),
            trace_id: &self.run.trace_id,
        };
        let mut start = 0;
        for (end, line) in &batch.ends {
            let bytes = batch.lines.get(start..*end).unwrap_or_default();
            start = *end;
            let pushed = Event::parse(bytes, &batch.admission).and_then(|event| {
                drafts
                    .push(&event.draft(&defaults))
                    .map_err(|oversized| ValueError::at("", oversized.to_string()))
            });
            match pushed {
                Ok(()) => lines.push(*line),
                Err(error) => rejected.push(Rejection { line: *line, error }),
            }
        }
    }

    /// Gives the spans that end: only the sequencer knows what belongs to them.
    fn own(&self, records: Vec<OwnRecord>, drafts: &mut DraftBatch) -> Vec<(Span, TrueTime)> {
        let mut spans = Vec::new();
        for OwnRecord { action, subject: (kind, id), body, mono_ns } in records {
            let time = self.clock.at(mono_ns);
            let body = match &body {
                OwnBody::System(detail) => Body::System { detail, process: None },
                OwnBody::Gap(gap) => {
                    self.counters.gap();
                    Body::Gap(gap.clone())
                }
                OwnBody::LeftOut(span) => {
                    spans.push((span.clone(), time));
                    continue;
                }
            };
            let draft = self.run.own(action, (kind, &id), body, time);
            if let Err(oversized) = drafts.push(&draft) {
                tracing::error!(action, %oversized, "a record of our own was left out");
            }
        }
        spans
    }
}
