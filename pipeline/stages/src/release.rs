//! Release: takes old segments out of the ledger, one after the other, once they are elsewhere.
//!
//! First the record, durable and sealed, then the removal. Source: `schemas/format.md`, section 9.

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};

use graven_ledger::{
    Contents, LedgerError, Oldest, Paths, Protection, RELEASED, Run, begin_release, newest_release,
    oldest, release, release_detail,
};

use crate::batch::{OwnBody, OwnRecord, Raw};
use crate::clock;
use crate::figures::ReleaseFigures;
use crate::observe::Observer;

/// How long a release that failed is left alone, in nanoseconds.
const RETRY_NS: u64 = 60_000_000_000;

/// When a segment may be released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasePolicy {
    /// Seconds that every record stays in the ledger at least.
    pub retention_s: u64,
    /// Names of the sinks that must hold a segment first; none: no copy is asked for.
    pub sinks: Vec<String>,
}

/// What has been released in this run, and why no more; for the observer.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReleaseMeter(Arc<Mutex<ReleaseFigures>>);

impl ReleaseMeter {
    pub(crate) fn figures(&self) -> ReleaseFigures {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut ReleaseFigures)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Releases segments; asked every second.
#[derive(Debug)]
pub(crate) struct Releaser {
    paths: Paths,
    run: Arc<Run>,
    observer: Observer,
    policy: Option<ReleasePolicy>,
    protection: Option<Arc<dyn Protection>>,
    step: Step,
    /// Segments released so far, in all runs.
    segments: u64,
    /// When a failed step is tried again, on `CLOCK_MONOTONIC`.
    retry_ns: u64,
}

/// How far the release of the oldest segment is.
#[derive(Debug)]
enum Step {
    /// What an earlier run has left is not known yet.
    Start,
    /// No closed segment is known.
    Look,
    /// Its newest record is not old enough, or a sink lacks it.
    Wait(Oldest, Contents),
    /// The record that says so is durable, and is sealed and in all sinks once the first so many records are.
    Seal(Oldest, u64),
    /// It is: the file may go.
    Remove(Oldest),
}

/// The next step, or none before the next second.
type Next = Result<Option<Step>, LedgerError>;

impl Releaser {
    pub(crate) fn new(
        paths: Paths,
        run: Arc<Run>,
        observer: Observer,
        policy: Option<ReleasePolicy>,
        protection: Option<Arc<dyn Protection>>,
    ) -> Self {
        let step = Step::Start;
        Self { paths, run, observer, policy, protection, step, segments: 0, retry_ns: 0 }
    }

    /// Goes as far as it can now.
    pub(crate) fn look(&mut self) {
        while clock::mono_ns() >= self.retry_ns {
            let next = match &self.step {
                Step::Start => self.start(),
                Step::Look => self.next(),
                Step::Wait(oldest, contents) if self.is_due(oldest, contents) => {
                    self.record(oldest)
                }
                Step::Wait(..) => Ok(None),
                Step::Seal(oldest, size) => {
                    // A sink that has lost its copy meanwhile does not take the record.
                    let sealed = self.observer.counters.sealed_size() >= *size;
                    let may_go = sealed && self.sinks_hold(*size);
                    Ok(may_go.then(|| Step::Remove(oldest.clone())))
                }
                Step::Remove(oldest) => self.remove(oldest),
            };
            match next {
                Ok(Some(step)) => self.enter(step),
                Ok(None) => return,
                Err(error) => {
                    let failure = match error.source() {
                        Some(cause) => format!("{error}: {cause}"),
                        None => error.to_string(),
                    };
                    tracing::error!(ledger = self.run.ledger, failure, "no segment is released");
                    self.observer.releases.change(|it| it.failure = Some(failure));
                    self.retry_ns = clock::mono_ns() + RETRY_NS;
                }
            }
        }
    }

    fn enter(&mut self, step: Step) {
        if matches!((&self.step, &step), (Step::Wait(..), Step::Seal(..))) {
            self.segments += 1;
        }
        self.step = step;
    }

    /// A crash may have come between the record and the removal.
    fn start(&mut self) -> Next {
        // All that stood at the start is sealed.
        let sealed = self.observer.counters.sealed_size();
        let newest = newest_release(&self.paths, sealed)?;
        self.segments = newest.map_or(0, |newest| newest.segments);
        let oldest = oldest(&self.paths)?;
        let left = oldest.zip(newest).filter(|(oldest, newest)| oldest.end <= newest.end());
        Ok(Some(left.map_or(Step::Look, |(oldest, _)| Step::Seal(oldest, sealed))))
    }

    fn next(&self) -> Next {
        if self.policy.is_none() {
            return Ok(None);
        }
        let Some(oldest) = oldest(&self.paths)? else { return Ok(None) };
        if oldest.end > self.observer.counters.sealed_size() {
            return Ok(None);
        }
        let contents = oldest.read(&self.paths, &self.run.ledger)?;
        Ok(Some(Step::Wait(oldest, contents)))
    }

    fn is_due(&self, oldest: &Oldest, contents: &Contents) -> bool {
        let Some(policy) = &self.policy else { return false };
        let age_s = clock::now().unix_ns.saturating_sub(contents.newest.unix_ns) / 1_000_000_000;
        let is_old = u64::try_from(age_s).is_ok_and(|age_s| age_s >= policy.retention_s);
        is_old && self.sinks_hold(oldest.end)
    }

    /// Whether all that must be elsewhere is, up to record `end`.
    fn sinks_hold(&self, end: u64) -> bool {
        self.policy.iter().flat_map(|policy| &policy.sinks).all(|name| {
            let sink = self.observer.sinks.iter().find(|sink| sink.name() == name);
            sink.is_some_and(|sink| sink.holds() >= end)
        })
    }

    /// Puts the release on record, and waits until that is durable.
    fn record(&self, oldest: &Oldest) -> Next {
        // Read again: it may have been changed since it was looked at.
        let contents = oldest.read(&self.paths, &self.run.ledger)?;
        begin_release(&self.paths, self.observer.counters.size())?;
        let sinks = self.policy.iter().flat_map(|policy| policy.sinks.clone());
        let sinks: Vec<_> = sinks.collect();
        let record = OwnRecord {
            action: RELEASED,
            subject: ("ledger", self.run.ledger.clone()),
            body: OwnBody::System(release_detail(oldest, &contents, self.segments + 1, &sinks)),
            mono_ns: clock::mono_ns(),
        };
        // It is among the durable records that are counted once what comes behind it is durable too. A graph
        // that ends meanwhile leaves the rest to the next one.
        let submitted = self.observer.intake.submit(Raw::Own(vec![record]));
        let settled = submitted.and_then(|()| self.observer.intake.settled()).ok();
        let durable = settled.and_then(|settled| settled.blocking_recv().ok());
        Ok(durable.map(|_| Step::Seal(oldest.clone(), self.observer.counters.size())))
    }

    fn remove(&self, oldest: &Oldest) -> Next {
        let bytes = std::fs::metadata(&oldest.path).map_or(0, |file| file.len());
        if let Some(protection) = &self.protection {
            protection.release(oldest.first).map_err(LedgerError::io("release", &oldest.path))?;
        }
        release(&oldest.path)?;
        self.observer.intake.disk().free(bytes);
        let ledger = &self.run.ledger;
        tracing::info!(ledger, first = oldest.first, end = oldest.end, "a segment was released");
        self.observer.releases.change(|it| {
            it.segments += 1;
            it.bytes += bytes;
            it.failure = None;
        });
        Ok(Some(Step::Look))
    }
}
