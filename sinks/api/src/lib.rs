//! A sink is a destination to which the ledger's records are copied, in order, behind the commit.
//!
//! The ledger is the spine: a sink reads it with a cursor, from memory while it keeps up and from
//! the segments when it lags. So a sink that is down costs disk, not memory, and loses nothing.

pub mod conformance;

use std::error::Error;
use std::fmt;

use async_trait::async_trait;

/// Durable records, as the ledger holds them: canonical lines, each with its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedBatch {
    /// Leaf index of the first record.
    pub first: u64,
    /// How many records.
    pub count: u64,
    /// Their lines.
    pub lines: Vec<u8>,
}

impl CommittedBatch {
    /// Leaf index behind the last record.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.count
    }

    /// The part from record `from` on; `None` where the batch ends before it.
    #[must_use]
    pub fn since(&self, from: u64) -> Option<Self> {
        let skip = from.saturating_sub(self.first);
        if skip >= self.count {
            return None;
        }
        let lines = self.lines.split_inclusive(|byte| *byte == b'\n');
        let start: usize =
            lines.take(usize::try_from(skip).unwrap_or(usize::MAX)).map(<[u8]>::len).sum();
        Some(Self {
            first: self.first + skip,
            count: self.count - skip,
            lines: self.lines[start..].to_vec(),
        })
    }
}

/// A destination of committed records.
#[async_trait]
pub trait Sink: fmt::Debug + Send {
    /// The sink's name, for people.
    fn name(&self) -> &str;

    /// Returns the next leaf index the destination lacks, read from the destination itself.
    async fn cursor(&mut self) -> Result<u64, SinkError>;

    /// Makes `batch` durable at the destination, then returns its new cursor.
    ///
    /// Repeating a batch changes nothing; a different record at a known index is
    /// [`SinkError::Fork`] and stops the sink.
    async fn append(&mut self, batch: &CommittedBatch) -> Result<u64, SinkError>;

    /// Ends the sink; everything appended is durable already.
    async fn close(self: Box<Self>) -> Result<(), SinkError>;
}

/// Why a destination did not take records, sorted by what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The destination holds another record at this index. Stop, and look at both.
    #[error("{sink} holds a different record {index}: it is not a copy of this ledger")]
    Fork {
        /// The sink.
        sink: String,
        /// Leaf index of the record that differs.
        index: u64,
    },
    /// The batch does not follow what the destination holds.
    #[error("{sink} lacks record {expected}, the batch begins with {first}")]
    Hole {
        /// The sink.
        sink: String,
        /// The destination's cursor.
        expected: u64,
        /// First index of the batch.
        first: u64,
    },
    /// The destination has not any more what it was given. Stop, and look where that is.
    #[error("{sink} has lost what it held: {problem}")]
    Lost {
        /// The sink.
        sink: String,
        /// What is found instead.
        problem: &'static str,
    },
    /// The destination cannot be reached or refuses for now. Try again later.
    #[error("{sink} is not available: {problem}")]
    Unavailable {
        /// The sink.
        sink: String,
        /// What happened.
        problem: String,
        /// Its cause.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}
