//! What travels through the graph.

use std::sync::Arc;

use graven_ledger::{BlockHeader, Leaves, Lines, Receipt, Step};
use graven_record::event::Admission;
use graven_record::{DraftBatch, Gap, TrueTime, Value, ValueError};
use tokio::sync::oneshot;

use crate::agents::Watched;
use crate::budget::Permit;
use crate::cgroups::CgroupName;
use crate::left_out::{CallCounts, Span};

/// Most raw bytes that a source puts into one batch. A record grows at most about sixfold on its
/// way to a line, which keeps a batch below the 4 MiB that may be written and not yet synced.
pub const BATCH_BYTES_MAX: usize = 256 << 10;

/// Raw input, as a source gives it.
#[derive(Debug)]
pub enum Raw {
    /// System calls and tasks, from the kernel.
    Kernel(KernelBatch),
    /// Application events.
    Events(EventBatch),
    /// Graven's own records.
    Own(Vec<OwnRecord>),
    /// Records that were made in this process, in the ledger's form already. Each is acknowledged by
    /// its number in the batch, from 1.
    Drafts(DraftBatch),
}

impl Raw {
    /// Bytes that the batch holds in memory, about.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        match self {
            Self::Kernel(batch) => batch.bytes_len(),
            Self::Events(batch) => batch.lines.len(),
            Self::Own(records) => records.len() * 1_024,
            Self::Drafts(drafts) => drafts.bytes_len(),
        }
    }
}

/// Kernel records, each with its process.
#[derive(Debug, Default)]
pub struct KernelBatch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<Attributed>,
    /// Bytes of the names that the records share in memory, but not in the ledger.
    pub(crate) attributed_bytes: usize,
}

/// What the kernel's record itself does not say.
#[derive(Debug)]
pub(crate) struct Attributed {
    /// Where the record's bytes end.
    pub(crate) end: usize,
    pub(crate) executable: Arc<[u8]>,
    pub(crate) cgroup: Arc<CgroupName>,
    pub(crate) watched: Arc<Watched>,
    /// `None` but where the record is of a cgroup or a move.
    pub(crate) about: Option<Box<AboutCgroup>>,
}

/// What only few records have.
#[derive(Debug)]
pub(crate) struct AboutCgroup {
    /// The cgroup that was made or removed, or that a task was moved out of.
    pub(crate) cgroup: Arc<CgroupName>,
    /// Whether the task is none that is watched.
    pub(crate) by_outsider: bool,
}

impl KernelBatch {
    pub(crate) fn bytes_len(&self) -> usize {
        self.bytes.len() + self.attributed_bytes
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True without records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Lines of JSON, each an event.
#[derive(Debug, Default)]
pub struct EventBatch {
    /// The lines, one after the other, without newlines.
    pub lines: Vec<u8>,
    /// Where each line ends, and its number at the source (from 1).
    pub ends: Vec<(usize, u64)>,
    /// `CLOCK_MONOTONIC` when the batch came in.
    pub mono_ns: u64,
    /// What is admitted.
    pub admission: Arc<Admission>,
}

/// A record that Graven writes of itself.
#[derive(Debug, Clone)]
pub struct OwnRecord {
    /// What was done.
    pub action: &'static str,
    /// Kind and id of what it was done to.
    pub subject: (&'static str, String),
    /// Its own members.
    pub body: OwnBody,
    /// `CLOCK_MONOTONIC` of the moment.
    pub mono_ns: u64,
}

/// The members of a record of Graven's own.
#[derive(Debug, Clone)]
pub enum OwnBody {
    /// `kind: system` with its `detail`.
    System(Value),
    /// `kind: gap`
    Gap(Gap),
    /// `kind: system`, if anything was left out in the span.
    LeftOut(Span),
}

/// A line that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The line's number at its source, from 1.
    pub line: u64,
    /// What is wrong.
    pub error: ValueError,
}

/// What became of a batch of events, told after it is durable.
#[derive(Debug, Default)]
pub struct Acknowledgement {
    /// Line number and receipt of each accepted event, in order.
    pub accepted: Vec<(u64, Receipt)>,
    /// The refused lines, in order.
    pub rejected: Vec<Rejection>,
}

/// Where to tell it.
pub(crate) type AckSender = oneshot::Sender<Acknowledgement>;

/// What goes along with a batch from intake to commit.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// Held for its drop: the bytes are free again once the batch is committed.
    pub(crate) _permit: Permit,
    pub(crate) ack: Option<AckSender>,
}

/// A batch waiting for a normalizer.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) raw: Raw,
    pub(crate) ticket: Ticket,
    pub(crate) reply: crossbeam_channel::Sender<Normalized>,
}

/// A batch as drafts.
#[derive(Debug)]
pub(crate) struct Normalized {
    pub(crate) drafts: DraftBatch,
    /// Source line of each draft; empty where nobody asks.
    pub(crate) lines: Vec<u64>,
    pub(crate) rejected: Vec<Rejection>,
    /// Calls of the batch that were left out by their path.
    pub(crate) left_out: CallCounts,
    /// Spans that end with the batch, and when.
    pub(crate) spans: Vec<(Span, TrueTime)>,
    pub(crate) ticket: Ticket,
}

/// A batch with its place in the chain.
#[derive(Debug)]
pub(crate) struct Sequenced {
    pub(crate) steps: Vec<Step>,
    pub(crate) acknowledgement: Acknowledgement,
    /// `None` for a seal that time alone brought about.
    pub(crate) ticket: Option<Ticket>,
}

impl Sequenced {
    /// The lines to be appended, in order.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Lines> {
        self.steps.iter().filter_map(|step| match step {
            Step::Append(lines) => Some(lines),
            Step::Seal(_) => None,
        })
    }
}

/// What the sealer has to know of durable records.
#[derive(Debug)]
pub(crate) enum Durable {
    /// The leaf hashes of some, in order.
    Leaves(Leaves),
    /// All of this block have been given: sign its header.
    Block(Box<BlockHeader>),
}
