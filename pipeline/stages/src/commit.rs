//! Commit: writes records to the segment, syncs them in groups, and only then acknowledges.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use graven_ledger::{Leaves, Lines, SegmentWriter, Step, WriterLock};
use graven_sink::CommittedBatch;

use crate::batch::{Durable, Sequenced};
use crate::clock;
use crate::counters::Counters;
use crate::disk_budget::DiskBudget;
use crate::failpoint;
use crate::stage::StageError;
use crate::window::WindowWriter;

/// Bytes after which a group is synced without looking for more: large enough that the sync does
/// not decide the speed, small enough that the disk does not stall on it.
const GROUP_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) segments: SegmentWriter,
    pub(crate) sequenced: Receiver<Sequenced>,
    pub(crate) sealer: Sender<Durable>,
    /// `None` where no sink reads along.
    pub(crate) window: Option<WindowWriter>,
    pub(crate) counters: Arc<Counters>,
    /// Told what is written.
    pub(crate) disk: DiskBudget,
    /// Held while segments are written.
    pub(crate) lock: WriterLock,
}

impl Committer {
    /// Runs until upstream closes. A failed write or sync ends it: nothing is acknowledged then,
    /// and nothing is tried again.
    pub(crate) fn run(mut self) -> Result<(), StageError> {
        while let Ok(first) = self.sequenced.recv() {
            let mut group = vec![first];
            let mut unsynced_bytes = self.write(&group[0])?;
            // Whatever has come in meanwhile shares the sync; nobody waits for company.
            while unsynced_bytes < GROUP_BYTES_MAX
                && let Ok(next) = self.sequenced.try_recv()
            {
                unsynced_bytes += self.write(&next)?;
                group.push(next);
            }
            failpoint::pass("commit, written");
            self.sync(unsynced_bytes)?;
            failpoint::pass("commit, synced");
            for committed in group {
                self.hand_over(committed)?;
            }
        }
        tracing::debug!(?self.lock, "commit has drained");
        Ok(())
    }

    fn write(&mut self, sequenced: &Sequenced) -> Result<u64, StageError> {
        let mut bytes = 0;
        for lines in sequenced.lines() {
            self.segments.append(lines)?;
            bytes += lines.bytes.len() as u64;
        }
        self.disk.add(bytes);
        Ok(bytes)
    }

    fn sync(&mut self, unsynced_bytes: u64) -> Result<(), StageError> {
        if unsynced_bytes > 0 {
            let since_ns = clock::mono_ns();
            self.segments.sync()?;
            self.counters.synced(unsynced_bytes, since_ns);
        }
        Ok(())
    }

    /// Acknowledges durable records, then lets sealer and sinks have them.
    fn hand_over(&mut self, committed: Sequenced) -> Result<(), StageError> {
        if let Some(ack) = committed.ticket.and_then(|ticket| ticket.ack) {
            // Whoever submitted may have gone: the records stand all the same.
            drop(ack.send(committed.acknowledgement));
        }
        for step in committed.steps {
            let durable = match step {
                Step::Append(lines) => Durable::Leaves(self.pass_by(lines)),
                Step::Seal(header) => Durable::Block(Box::new(header)),
            };
            let meter = &self.counters.commit;
            meter.send(&self.sealer, durable).map_err(|_| StageError::Lost("seal"))?;
        }
        Ok(())
    }

    /// Lets the sinks have the lines; the sealer needs the leaf hashes alone.
    fn pass_by(&self, lines: Lines) -> Leaves {
        let count = lines.leaves.hashes.len() as u64;
        self.counters.committed(count);
        self.counters.commit.passed(count, lines.bytes.len() as u64);
        if let Some(window) = &self.window {
            window.push(CommittedBatch { first: lines.first, count, lines: lines.bytes });
        }
        lines.leaves
    }
}
