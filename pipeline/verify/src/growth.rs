//! The trees as they grow leaf by leaf, and what must agree with them: headers, tiles, and the
//! checkpoint from outside.

use graven_ledger::{BLOCK_RECORDS_MAX, Checkpoint, Frontier, VerifierKey};
use graven_record::{Hash, Timestamp};

use crate::blocks::{Block, HeaderStream};
use crate::checkpoints::BLOCKS;
use crate::findings::{At, Findings};
use crate::tiles::Tiles;
use crate::{FaultKind, VerifyError};

/// What of a record the blocks have to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) earliest: Timestamp,
    pub(crate) latest: Timestamp,
    pub(crate) is_gap: bool,
    pub(crate) opens_block: bool,
    /// What a `block.opened` says: the hash of the header before, and the height.
    pub(crate) opening: Option<(Hash, u64)>,
}

/// The ledger up to the last record whose leaf hash is settled.
#[derive(Debug)]
pub(crate) struct Growth<'a> {
    key: &'a VerifierKey,
    at_least: Option<&'a Checkpoint>,
    sealed: u64,
    headers: HeaderStream,
    pub(crate) tiles: Tiles,
    /// `None` from the first record on whose leaf hash is nowhere to be had.
    tree: Option<Frontier>,
    /// Records settled.
    pub(crate) size: u64,
    /// Records below this are not there to be read, and may not have to be.
    pub(crate) released: u64,
    /// Leaf hash of the last one, where it is known.
    pub(crate) head: Option<Hash>,
    block: Option<Block>,
    height: u64,
    /// Hash of the header before, where it is known.
    header: Option<Hash>,
    /// Headers compared.
    pub(crate) compared: u64,
    /// Root of the sealed records.
    pub(crate) root: Option<Hash>,
}

impl<'a> Growth<'a> {
    pub(crate) fn new(
        key: &'a VerifierKey,
        at_least: Option<&'a Checkpoint>,
        sealed: u64,
        genesis: Hash,
        (headers, tiles): (HeaderStream, Tiles),
    ) -> Self {
        Self {
            key,
            at_least,
            sealed,
            headers,
            tiles,
            tree: Some(Frontier::default()),
            size: 0,
            released: 0,
            head: Some(genesis),
            block: None,
            height: 0,
            header: Some(genesis),
            compared: 0,
            root: None,
        }
    }

    /// The height of the block that holds the last record.
    pub(crate) fn height(&self) -> u64 {
        self.height
    }

    /// True from the first record on whose leaf hash is nowhere to be had.
    pub(crate) fn is_lost(&self) -> bool {
        self.tree.is_none()
    }

    /// The leaf hash that the tiles hold for the next record.
    pub(crate) fn stored_leaf(
        &mut self,
        findings: &mut Findings,
    ) -> Result<Option<Hash>, VerifyError> {
        if self.is_lost() {
            return Ok(None);
        }
        self.tiles.stored_leaf(self.size, findings)
    }

    /// The `head` of the header whose block ends with the next record.
    pub(crate) fn head_of_header(&self) -> Option<Hash> {
        let size = self.size + 1;
        let stored = self.block.iter().filter_map(|block| block.stored.as_ref());
        stored
            .chain(self.headers.peek())
            .filter_map(|stored| stored.header.as_ref())
            .find(|header| header.size == size)
            .map(|header| header.head)
    }

    /// Settles the next record's leaf hash. `facts` are `None` where the record itself cannot be
    /// read; `doubtful` where its bytes are not those that were hashed.
    pub(crate) fn add(
        &mut self,
        leaf: Hash,
        facts: Option<&Facts>,
        doubtful: bool,
        at: At<'_>,
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        let seq = self.size;
        let opens = facts.is_some_and(|facts| facts.opens_block);
        if self.begins_block(seq, opens) {
            self.close_block(findings);
            let stored = self.headers.pair(self.height, seq, findings)?;
            self.block = Some(Block::new(self.height, seq, stored, leaf));
            if let Some(facts) = facts.filter(|_| !doubtful) {
                self.check_opening(facts, at, findings);
            }
        } else if opens && !doubtful {
            let sentence = format!("record {seq} is a block.opened inside block {}", self.height);
            findings.fault(FaultKind::BlockBoundary, at, sentence);
        }
        if let Some(block) = &mut self.block {
            if seq < self.released {
                block.released = true;
                block.add_leaf(leaf);
            } else {
                grow_block(block, leaf, facts.filter(|_| !doubtful), at, findings);
            }
        }
        if let Some(tree) = &mut self.tree {
            let mut roots = Vec::new();
            tree.push_tiled(leaf, &mut roots);
            self.tiles.add(seq, leaf, &roots, findings)?;
        }
        self.size += 1;
        self.head = Some(leaf);
        self.reached(findings);
        Ok(())
    }

    /// True where record `seq` is the first of a block.
    ///
    /// A `block.opened` is; but where the two differ, a header whose size is signed knows better,
    /// so that one edited record does not shift all blocks behind it.
    fn begins_block(&self, seq: u64, opens: bool) -> bool {
        let Some(block) = &self.block else {
            return true;
        };
        let signed = || {
            let stored = block.stored.as_ref();
            stored.is_some_and(|stored| stored.size_is_signed(self.key))
        };
        match block.stored_size() {
            Some(size) if size == seq => opens || signed(),
            Some(size) if size > seq => opens && !signed(),
            _ => opens,
        }
    }

    fn check_opening(&self, facts: &Facts, at: At<'_>, findings: &mut Findings) {
        let (seq, height) = (self.size, self.height);
        if !facts.opens_block {
            let sentence = format!("record {seq} begins block {height} and is no block.opened");
            return findings.fault(FaultKind::BlockBoundary, at, sentence);
        }
        let Some((header, stated)) = facts.opening else {
            return; // Its form is at fault, and reported.
        };
        if stated != height || self.header.is_some_and(|it| it != header) {
            let sentence = format!(
                "record {seq} opens block {stated} after header {header}, but here begins block {height} after {}",
                self.header.map_or_else(|| "an unknown header".into(), |it| format!("header {it}"))
            );
            findings.fault(FaultKind::WrongOpening, at, sentence);
        }
    }

    fn close_block(&mut self, findings: &mut Findings) {
        if let Some(block) = self.block.take() {
            let root = self.tree.as_ref().map(Frontier::root);
            self.compared += u64::from(!block.damaged && block.stored_size().is_some());
            self.header = block.close(self.header, root, findings);
            self.height += 1;
        }
    }

    /// What is due at this size of the tree. Called once before the first record too.
    pub(crate) fn reached(&mut self, findings: &mut Findings) {
        let Some(tree) = &self.tree else { return };
        if self.size == self.sealed {
            self.root = Some(tree.root());
        }
        if let Some(at_least) = self.at_least.filter(|it| it.size == self.size) {
            let root = tree.root();
            if at_least.root != root {
                let sentence = format!(
                    "the checkpoint given says that the first {} records have the root {}, but here it is {root}",
                    at_least.size, at_least.root
                );
                findings.fault(FaultKind::OtherHistory, At::default(), sentence);
            }
        }
    }

    /// Passes over records up to `until` whose leaf hashes are nowhere to be had: from here on no
    /// tree can be recomputed, but later blocks still can.
    pub(crate) fn lose(&mut self, until: u64) -> Result<(), VerifyError> {
        (self.tree, self.head, self.size) = (None, None, until);
        let mut stored = self.block.take().and_then(|block| block.stored);
        loop {
            let (begins, ends) = match stored.as_ref().or(self.headers.peek()) {
                None => return Ok(()),
                Some(it) => match &it.header {
                    Some(header) => (header.first, header.size),
                    None => (0, 0),
                },
            };
            if begins >= until {
                return Ok(());
            }
            let passed = match stored.take() {
                Some(stored) => Some(stored),
                None => self.headers.next()?,
            };
            if ends > until {
                let mut block = Block::new(self.height, begins, passed, graven_record::sha256(b""));
                block.damaged = true;
                self.block = Some(block);
                return Ok(());
            }
            self.height += 1;
            self.header = passed.and_then(|it| it.header).map(|header| header.hash());
        }
    }

    /// Ends the last block that has a header, and reports headers that have no records.
    pub(crate) fn finish(&mut self, findings: &mut Findings) -> Result<(), VerifyError> {
        if self.block.as_ref().is_some_and(|it| it.stored.is_some()) {
            self.close_block(findings);
        }
        while let Some(stored) = self.headers.next()? {
            if let Some(header) = stored.header {
                let sentence = format!(
                    "header {} of records {} to {} has no block of records",
                    header.height,
                    header.first,
                    header.size.saturating_sub(1)
                );
                let at = At::file(BLOCKS).byte(stored.at_byte).record(header.first);
                findings.fault(FaultKind::ExtraHeader, at, sentence);
            }
        }
        Ok(())
    }
}

fn grow_block(
    block: &mut Block,
    leaf: Hash,
    facts: Option<&Facts>,
    at: At<'_>,
    findings: &mut Findings,
) {
    // Said once, at the first record too many.
    if block.tree.size() == BLOCK_RECORDS_MAX {
        let sentence =
            format!("block {} holds more than {BLOCK_RECORDS_MAX} records", block.height);
        findings.fault(FaultKind::BlockBoundary, at, sentence);
    }
    match facts {
        Some(facts) => {
            if block.utc_day.is_some_and(|day| facts.earliest.utc_day() > day) {
                let sentence = format!(
                    "the record's UTC date is later than that of the first in block {}",
                    block.height
                );
                findings.fault(FaultKind::BlockBoundary, at, sentence);
            }
            block.add_times(facts.earliest, facts.latest);
            block.gaps += u64::from(facts.is_gap);
        }
        None => block.damaged = true,
    }
    block.add_leaf(leaf);
}
