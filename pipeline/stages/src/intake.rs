//! Intake: the door of the graph. Batches leave it in the order in which they came.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;

use crate::batch::{Acknowledgement, Job, Normalized, OwnRecord, Raw, Ticket};
use crate::budget::{ByteBudget, Closed, Permit};
use crate::disk_budget::DiskBudget;

/// Batches that may wait between two stages. Their bytes are bounded by the budget; this bounds
/// their number.
pub(crate) const QUEUE_BATCHES: usize = 64;

/// Takes batches in. Clones share one door.
#[derive(Debug, Clone)]
pub struct Intake {
    budget: ByteBudget,
    disk: DiskBudget,
    queues: Arc<Mutex<Option<Queues>>>,
}

/// Both ways out of the door: the work itself, and the promise of its result at its place in line.
#[derive(Debug)]
struct Queues {
    jobs: Sender<Job>,
    order: Sender<Receiver<Normalized>>,
}

impl Queues {
    fn send(&self, raw: Raw, ticket: Ticket) -> Result<(), Raw> {
        let (reply, result) = bounded(1);
        if self.order.send(result).is_err() {
            return Err(raw);
        }
        self.jobs.send(Job { raw, ticket, reply }).map_err(|refused| refused.into_inner().raw)
    }
}

impl Intake {
    pub(crate) fn new(
        budget: ByteBudget,
        disk: DiskBudget,
    ) -> (Self, Receiver<Job>, Receiver<Receiver<Normalized>>) {
        let (jobs, jobs_out) = bounded(QUEUE_BATCHES);
        let (order, order_out) = bounded(QUEUE_BATCHES);
        let queues = Arc::new(Mutex::new(Some(Queues { jobs, order })));
        (Self { budget, disk, queues }, jobs_out, order_out)
    }

    /// Takes a batch in, waiting for room.
    ///
    /// # Errors
    ///
    /// [`Closed`] once the graph drains or has failed.
    pub fn submit(&self, raw: Raw) -> Result<(), Closed> {
        self.enter(raw, None)
    }

    /// Takes a batch in, and promises word once its records are durable. No word comes where the
    /// graph fails first.
    ///
    /// # Errors
    ///
    /// [`Closed`] once the graph drains or has failed.
    pub fn submit_acknowledged(
        &self,
        raw: Raw,
    ) -> Result<oneshot::Receiver<Acknowledgement>, Closed> {
        let (ack, acknowledged) = oneshot::channel();
        self.enter(raw, Some(ack))?;
        Ok(acknowledged)
    }

    /// Takes records of Graven's own in.
    ///
    /// # Errors
    ///
    /// [`Closed`] once the graph drains or has failed.
    pub fn record(&self, records: Vec<OwnRecord>) -> Result<(), Closed> {
        if records.is_empty() { Ok(()) } else { self.submit(Raw::Own(records)) }
    }

    /// Promises word once everything that was taken in so far is durable.
    ///
    /// # Errors
    ///
    /// [`Closed`] once the graph drains or has failed.
    pub fn settled(&self) -> Result<oneshot::Receiver<Acknowledgement>, Closed> {
        self.submit_acknowledged(Raw::Own(Vec::new()))
    }

    /// Takes a batch in, waiting for room in memory; gives it back once the graph drains or has failed, and
    /// where the kernel's records have to wait for room on the disk.
    ///
    /// # Errors
    ///
    /// The batch.
    pub fn offer(&self, raw: Raw) -> Result<(), Raw> {
        if matches!(raw, Raw::Kernel(_)) && !self.takes_kernel_records() {
            return Err(raw);
        }
        self.give(raw, None)
    }

    /// False while the kernel's records have to stay in the ring, since the ledger's budget of disk is
    /// reached.
    #[must_use]
    pub fn takes_kernel_records(&self) -> bool {
        self.disk.takes_kernel_records()
    }

    fn enter(&self, raw: Raw, ack: Option<oneshot::Sender<Acknowledgement>>) -> Result<(), Closed> {
        self.give(raw, ack).map_err(|_| Closed)
    }

    fn give(&self, raw: Raw, ack: Option<oneshot::Sender<Acknowledgement>>) -> Result<(), Raw> {
        let Ok(permit) = self.permit(&raw) else { return Err(raw) };
        // Under one lock, so that both queues hold the same order. The sequencer empties `order`
        // whatever happens here, so this waits for no longer than the graph is busy.
        match &*self.queues() {
            Some(queues) => queues.send(raw, Ticket { _permit: permit, ack }),
            None => Err(raw),
        }
    }

    /// Waits for room. Graven's own records need none on the disk: they have a reserve there.
    fn permit(&self, raw: &Raw) -> Result<Permit, Closed> {
        let bytes = raw.bytes_len();
        match raw {
            Raw::Own(_) => self.budget.take(bytes),
            Raw::Kernel(_) => self.disk.enter(&self.budget, bytes, true),
            Raw::Events(_) | Raw::Drafts(_) => self.disk.enter(&self.budget, bytes, false),
        }
    }

    /// Closes the door: what is inside drains.
    pub(crate) fn close(&self) {
        self.disk.close();
        self.budget.close();
        self.queues().take();
    }

    /// Closes the door behind `last`: nothing comes in after it. Waits for room.
    pub(crate) fn close_behind(&self, last: OwnRecord) {
        // Whoever waits for the disk would come behind it.
        self.disk.close();
        let raw = Raw::Own(vec![last]);
        let permit = self.budget.take(raw.bytes_len());
        let queues = self.queues().take();
        if let (Ok(permit), Some(queues)) = (permit, queues) {
            // A graph that fails meanwhile has said so itself.
            drop(queues.send(raw, Ticket { _permit: permit, ack: None }));
        }
        self.budget.close();
    }

    fn queues(&self) -> MutexGuard<'_, Option<Queues>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The budget of memory, for its figures.
    #[must_use]
    pub fn budget(&self) -> &ByteBudget {
        &self.budget
    }

    /// The budget of disk, which may be changed under way.
    #[must_use]
    pub fn disk(&self) -> &DiskBudget {
        &self.disk
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::batch::OwnBody;

    fn own(action: &'static str) -> OwnRecord {
        OwnRecord {
            action,
            subject: ("pipeline", String::new()),
            body: OwnBody::System(graven_record::Value::object([])),
            mono_ns: 0,
        }
    }

    /// Whoever still submits while the door closes is in before the last record, or refused.
    #[test]
    fn nothing_comes_in_behind_the_last_record() {
        for _ in 0..200 {
            let (intake, jobs, order) =
                Intake::new(ByteBudget::new(1 << 20), DiskBudget::default());
            let submitters = [0, 1].map(|_| {
                let intake = intake.clone();
                thread::spawn(move || while intake.record(vec![own("another")]).is_ok() {})
            });
            let drained = thread::spawn(move || {
                order
                    .into_iter()
                    .zip(jobs)
                    .map(|(_, job)| match job.raw {
                        Raw::Own(records) => records[0].action,
                        _ => unreachable!("only own records are submitted"),
                    })
                    .last()
            });
            thread::yield_now();
            intake.close_behind(own("last"));
            for submitter in submitters {
                submitter.join().expect("it ends");
            }
            assert_eq!(drained.join().expect("it ends"), Some("last"));
        }
    }
}
