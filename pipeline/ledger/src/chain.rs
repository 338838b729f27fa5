//! The chain: gives each record its place, grows the trees, and says where blocks end.
//!
//! A pure state machine: no clock, no file. The stage around it decides when a block is old.

use graven_record::{
    Actor, ActorKind, Body, Draft, DraftBatch, DraftMeta, Hash, Source, Stamp, Subject, Text,
    Timestamp, TrueTime, Value, Where, leaf_hash,
};

use crate::{BlockHeader, Frontier, Leaves, Placement};

/// Most records in a block, its `block.opened` included.
pub const BLOCK_RECORDS_MAX: u64 = 65_536;

/// The run that writes: what it puts into its own records.
#[derive(Debug, Clone)]
pub struct Run {
    /// This host's name.
    pub host: String,
    /// The ledger's origin.
    pub ledger: String,
    /// UUID of this run of the pipeline.
    pub trace_id: String,
}

impl Run {
    /// A record of Graven's own.
    #[must_use]
    pub fn system<'a>(
        &'a self,
        action: &'a str,
        subject: (&'a str, &'a str),
        detail: &'a Value,
        time: TrueTime,
    ) -> Draft<'a> {
        self.own(action, subject, Body::System { detail, process: None }, time)
    }

    /// A record that Graven writes of itself, of any kind.
    #[must_use]
    pub fn own<'a>(
        &'a self,
        action: &'a str,
        (kind, id): (&'a str, &'a str),
        body: Body<'a>,
        time: TrueTime,
    ) -> Draft<'a> {
        Draft {
            action,
            actor: Actor { id: "graven".into(), kind: ActorKind::System, via: None },
            body,
            ledger: &self.ledger,
            place: Where { device: None, host: self.host.as_str().into(), ip: None },
            source: Source::System,
            subject: Subject { id: Text::from(id), kind: kind.into() },
            time,
            trace_id: &self.trace_id,
        }
    }
}

/// Where a record went: what its sender may keep as a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Leaf index.
    pub seq: u64,
    /// Leaf hash.
    pub leaf: Hash,
}

/// Finished records, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// Leaf index of the first.
    pub first: u64,
    /// Canonical lines, each with its newline.
    pub bytes: Vec<u8>,
    /// Where each line ends in `bytes`, its newline included.
    pub ends: Vec<usize>,
    /// The leaf hash of each.
    pub leaves: Leaves,
}

/// What the chain tells the stages after it, in order.
#[derive(Debug, Clone)]
pub enum Step {
    /// Make these durable.
    Append(Lines),
    /// All records of this block have been given: sign its header.
    Seal(BlockHeader),
}

/// A block that is still growing.
#[derive(Debug, Clone)]
struct OpenBlock {
    first: u64,
    utc_day: i64,
    tree: Frontier,
    earliest: Timestamp,
    latest: Timestamp,
    gaps: u64,
}

/// The end of the ledger, ready to grow.
#[derive(Debug, Clone)]
pub struct Chain {
    tree: Frontier,
    head: Hash,
    epoch: u64,
    height: u64,
    header: Hash,
    open: Option<OpenBlock>,
}

/// A stored record that does not continue the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Its index is not the next one.
    #[error("`seq` is {actual}, expected {expected}")]
    Seq {
        /// The index that would continue the chain.
        expected: u64,
        /// The index found.
        actual: u64,
    },
    /// It names another predecessor.
    #[error("`prev` is {actual}, but the record before hashes to {expected}")]
    Prev {
        /// Leaf hash of the record before.
        expected: Hash,
        /// What the record names.
        actual: Hash,
    },
    /// It stands outside any block: the first record of a block is `block.opened`.
    #[error("record {0} begins a block and is no `block.opened`")]
    OutsideBlock(u64),
    /// It names another epoch.
    #[error("`epoch` is {actual}, expected {expected}")]
    Epoch {
        /// `seq` of the newest `pipeline.started`.
        expected: u64,
        /// What the record names.
        actual: u64,
    },
}

impl Chain {
    /// The chain of a ledger without records. `genesis` is the SHA-256 of `ledger.json`.
    #[must_use]
    pub fn new(genesis: Hash) -> Self {
        Self {
            tree: Frontier::default(),
            head: genesis,
            epoch: 0,
            height: 0,
            header: genesis,
            open: None,
        }
    }

    /// The chain after a sealed block: `tree` holds its `size` leaves, `epoch` is its last record's.
    #[must_use]
    pub fn after(header: &BlockHeader, tree: Frontier, epoch: u64) -> Self {
        Self {
            tree,
            head: header.head,
            epoch,
            height: header.height + 1,
            header: header.hash(),
            open: None,
        }
    }

    /// Number of records.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The whole tree.
    pub(crate) fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// Root of the whole tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// Leaf hash of the last record; of the empty ledger the SHA-256 of `ledger.json`.
    #[must_use]
    pub fn head(&self) -> Hash {
        self.head
    }

    /// True while a block has records and no header.
    #[must_use]
    pub fn block_is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Appends drafts, opening and sealing blocks where the format says so. One receipt for each
    /// draft goes to `receipts`.
    pub fn append(
        &mut self,
        run: &Run,
        batch: &DraftBatch,
        steps: &mut Vec<Step>,
        receipts: &mut Vec<Receipt>,
    ) {
        let mut lines = Lines { first: self.size(), ..Lines::default() };
        lines.bytes.reserve(batch.bytes_len() + batch.drafts().len() * 128);
        for (index, meta) in batch.drafts().iter().enumerate() {
            if self.block_ends_before(meta) {
                if !lines.leaves.hashes.is_empty() {
                    steps.push(Step::Append(std::mem::take(&mut lines)));
                }
                steps.extend(self.seal().map(Step::Seal));
                lines.first = self.size();
            }
            if self.open.is_none() {
                self.open_block(run, meta.time, &mut lines);
            }
            receipts.push(self.place(batch, index, &mut lines));
        }
        if !lines.leaves.hashes.is_empty() {
            steps.push(Step::Append(lines));
        }
    }

    fn block_ends_before(&self, next: &DraftMeta) -> bool {
        self.open.as_ref().is_some_and(|block| {
            block.tree.size() >= BLOCK_RECORDS_MAX || next.time.earliest.utc_day() > block.utc_day
        })
    }

    /// Writes `block.opened`, at the time of the record that follows it.
    fn open_block(&mut self, run: &Run, time: TrueTime, lines: &mut Lines) {
        let height = i64::try_from(self.height).expect("a height fits");
        let detail = Value::Object(vec![
            ("header".into(), Value::String(self.header.to_string())),
            ("height".into(), Value::Integer(height)),
        ]);
        let subject = height.to_string();
        let mut batch = DraftBatch::default();
        batch
            .push(&run.system("block.opened", ("block", &subject), &detail, time))
            .expect("a block.opened record is short");
        self.open = Some(OpenBlock {
            first: self.size(),
            utc_day: time.earliest.utc_day(),
            tree: Frontier::default(),
            earliest: time.earliest,
            latest: time.latest,
            gaps: 0,
        });
        self.place(&batch, 0, lines);
    }

    fn place(&mut self, batch: &DraftBatch, index: usize, lines: &mut Lines) -> Receipt {
        let meta = &batch.drafts()[index];
        let seq = self.size();
        if meta.begins_epoch {
            self.epoch = seq;
        }
        let start = lines.bytes.len();
        let stamp = Stamp { epoch: self.epoch, prev: self.head, seq };
        batch.stamp(index, &stamp, &mut lines.bytes);
        let leaf = leaf_hash(&lines.bytes[start..]);
        lines.bytes.push(b'\n');
        lines.ends.push(lines.bytes.len());
        lines.leaves.push(&mut self.tree, leaf);
        self.grow(leaf, meta.time.earliest, meta.time.latest, meta.is_gap);
        Receipt { seq, leaf }
    }

    /// Takes a leaf that the tree has into head and block.
    fn grow(&mut self, leaf: Hash, earliest: Timestamp, latest: Timestamp, is_gap: bool) {
        self.head = leaf;
        if let Some(block) = &mut self.open {
            block.tree.push(leaf);
            block.earliest = block.earliest.min(earliest);
            block.latest = block.latest.max(latest);
            block.gaps += u64::from(is_gap);
        }
    }

    /// Ends the open block, if there is one, and gives its header, not yet signed.
    pub fn seal(&mut self) -> Option<BlockHeader> {
        let block = self.open.take()?;
        let header = BlockHeader {
            block_root: block.tree.root(),
            checkpoint: None,
            count: block.tree.size(),
            earliest: block.earliest.to_string(),
            first: block.first,
            gaps: block.gaps,
            head: self.head,
            height: self.height,
            latest: block.latest.to_string(),
            prev: self.header,
            root: self.root(),
            size: self.size(),
        };
        self.height += 1;
        self.header = header.hash();
        Some(header)
    }

    /// Takes a stored record in, checking that it continues the chain. A `block.opened` ends the
    /// block before, whose header is returned.
    ///
    /// # Errors
    ///
    /// [`ChainError`]; the chain is then as it was.
    pub fn replay(
        &mut self,
        record: &Placement,
        leaf: Hash,
    ) -> Result<Option<BlockHeader>, ChainError> {
        if record.seq != self.size() {
            return Err(ChainError::Seq { expected: self.size(), actual: record.seq });
        }
        if record.prev != self.head {
            return Err(ChainError::Prev { expected: self.head, actual: record.prev });
        }
        if self.open.is_none() && !record.opens_block {
            return Err(ChainError::OutsideBlock(record.seq));
        }
        let epoch = if record.begins_epoch { record.seq } else { self.epoch };
        if record.epoch != epoch {
            return Err(ChainError::Epoch { expected: epoch, actual: record.epoch });
        }
        let sealed = if record.opens_block { self.seal() } else { None };
        self.epoch = epoch;
        if record.opens_block {
            self.open = Some(OpenBlock {
                first: record.seq,
                utc_day: record.earliest.utc_day(),
                tree: Frontier::default(),
                earliest: record.earliest,
                latest: record.latest,
                gaps: 0,
            });
        }
        self.tree.push(leaf);
        self.grow(leaf, record.earliest, record.latest, record.is_gap);
        Ok(sealed)
    }
}
