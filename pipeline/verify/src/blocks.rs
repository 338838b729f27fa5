//! Blocks as the records make them, beside the headers as they are stored.

use std::fs::File;
use std::io::{Read as _, Take};
use std::path::PathBuf;

use graven_ledger::{
    BlockHeader, Frontier, LineReader, Paths, ReadLine, VerifierKey, open_checkpoint,
};
use graven_record::{Hash, Timestamp};

use crate::checkpoints::BLOCKS;
use crate::files::{self, SMALL_BYTES_MAX};
use crate::findings::{At, Findings};
use crate::{FaultKind, VerifyError};

/// A stored header.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) at_byte: u64,
    /// `None` where the line is none, which was reported when the signatures were verified.
    pub(crate) header: Option<BlockHeader>,
}

impl Stored {
    /// True where the header's size is the one that was signed: then it says where the block ends,
    /// whatever its records say.
    pub(crate) fn size_is_signed(&self, key: &VerifierKey) -> bool {
        self.header.as_ref().is_some_and(|header| {
            let note = header.checkpoint.as_deref().unwrap_or_default();
            open_checkpoint(note, key).is_ok_and(|it| it.checkpoint.size == header.size)
        })
    }
}

/// The headers, read beside the records.
#[derive(Debug)]
pub(crate) struct HeaderStream {
    path: PathBuf,
    lines: Option<LineReader<Take<File>>>,
    peeked: Option<Stored>,
}

impl HeaderStream {
    /// Reads the first `bytes` bytes of `blocks.jsonl`: those whose signatures were verified.
    pub(crate) fn open(paths: &Paths, bytes: u64) -> Result<Self, VerifyError> {
        let path = paths.blocks();
        let lines = files::open(&path)?.map(|it| LineReader::new(it.take(bytes), SMALL_BYTES_MAX));
        let mut stream = Self { path, lines, peeked: None };
        stream.advance()?;
        Ok(stream)
    }

    fn advance(&mut self) -> Result<(), VerifyError> {
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let line = lines.next_line().map_err(VerifyError::io("read", &self.path))?;
        self.peeked = line.map(|(at_byte, line)| Stored {
            at_byte,
            header: match line {
                ReadLine::Whole(line) => BlockHeader::parse(line).ok(),
                _ => None,
            },
        });
        Ok(())
    }

    /// The next header, which stays the next.
    pub(crate) fn peek(&self) -> Option<&Stored> {
        self.peeked.as_ref()
    }

    /// The next header, whatever it is.
    pub(crate) fn next(&mut self) -> Result<Option<Stored>, VerifyError> {
        let next = self.peeked.take();
        if next.is_some() {
            self.advance()?;
        }
        Ok(next)
    }

    /// The header of the block at `height` that begins with record `first`.
    ///
    /// Height and first record vote together, so that a header with one wrong member still finds
    /// its block, and a header too many or too few does not shift all those behind it.
    pub(crate) fn pair(
        &mut self,
        height: u64,
        first: u64,
        findings: &mut Findings,
    ) -> Result<Option<Stored>, VerifyError> {
        while let Some(stored) = &self.peeked {
            let at = At::file(BLOCKS).byte(stored.at_byte);
            match &stored.header {
                Some(it) if it.height < height && it.first < first => {
                    let sentence = format!(
                        "header {} of first record {} stands where header {height} belongs",
                        it.height, it.first
                    );
                    findings.fault(FaultKind::ExtraHeader, at, sentence);
                    self.advance()?;
                }
                Some(it) if it.height > height && it.first > first => {
                    let sentence = format!("header {height}, of first record {first}, is missing");
                    findings.fault(FaultKind::MissingHeader, at.record(first), sentence);
                    return Ok(None);
                }
                _ => return self.next(),
            }
        }
        Ok(None)
    }
}

/// A block that is still growing.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) height: u64,
    pub(crate) first: u64,
    /// The header that it must give.
    pub(crate) stored: Option<Stored>,
    /// UTC date of its first record, as days since 1970.
    pub(crate) utc_day: Option<i64>,
    pub(crate) tree: Frontier,
    pub(crate) earliest: Option<Timestamp>,
    pub(crate) latest: Option<Timestamp>,
    pub(crate) gaps: u64,
    pub(crate) head: Hash,
    /// True where records of it are missing or cannot be read: then there is nothing to compare.
    pub(crate) damaged: bool,
    /// True where records of it were released: their hashes are known, their times and kinds are not.
    pub(crate) released: bool,
}

impl Block {
    pub(crate) fn new(height: u64, first: u64, stored: Option<Stored>, head: Hash) -> Self {
        Self {
            height,
            first,
            stored,
            utc_day: None,
            tree: Frontier::default(),
            earliest: None,
            latest: None,
            gaps: 0,
            head,
            damaged: false,
            released: false,
        }
    }

    /// The stored header's size, where it can be read.
    pub(crate) fn stored_size(&self) -> Option<u64> {
        Some(self.stored.as_ref()?.header.as_ref()?.size)
    }

    pub(crate) fn add_leaf(&mut self, leaf: Hash) {
        self.tree.push(leaf);
        self.head = leaf;
    }

    pub(crate) fn add_times(&mut self, earliest: Timestamp, latest: Timestamp) {
        self.utc_day.get_or_insert(earliest.utc_day());
        self.earliest = Some(self.earliest.map_or(earliest, |it| it.min(earliest)));
        self.latest = Some(self.latest.map_or(latest, |it| it.max(latest)));
    }

    /// The header that the records give. `prev` is the hash of the header before.
    fn recomputed(&self, prev: Hash, root: Hash) -> BlockHeader {
        let text = |time: Option<Timestamp>| time.map(|it| it.to_string()).unwrap_or_default();
        BlockHeader {
            block_root: self.tree.root(),
            checkpoint: None,
            count: self.tree.size(),
            earliest: text(self.earliest),
            first: self.first,
            gaps: self.gaps,
            head: self.head,
            height: self.height,
            latest: text(self.latest),
            prev,
            root,
            size: self.first + self.tree.size(),
        }
    }

    /// Compares the stored header with the records; returns the header's hash, where it is known.
    ///
    /// `prev` and `root` are `None` where a fault before has made them unknown.
    pub(crate) fn close(
        self,
        prev: Option<Hash>,
        root: Option<Hash>,
        findings: &mut Findings,
    ) -> Option<Hash> {
        let stored = self.stored.as_ref().and_then(|it| Some((it.at_byte, it.header.as_ref()?)));
        if self.damaged {
            return stored.map(|(_, header)| header.hash());
        }
        let Some((at_byte, header)) = stored else {
            return Some(self.recomputed(prev?, root?).hash());
        };
        let recomputed = self.recomputed(prev.unwrap_or(header.prev), root.unwrap_or(header.root));
        let expected = if self.released {
            let (earliest, latest) = (header.earliest.clone(), header.latest.clone());
            BlockHeader { earliest, gaps: header.gaps, latest, ..recomputed }
        } else {
            recomputed
        };
        let wrong = differences(header, &expected);
        if !wrong.is_empty() {
            let sentence = format!(
                "header {} does not match records {} to {}: {}",
                self.height,
                self.first,
                expected.size - 1,
                wrong.join(", ")
            );
            let at = At::file(BLOCKS).byte(at_byte).record(self.first);
            findings.fault(FaultKind::HeaderMismatch, at, sentence);
        }
        Some(expected.hash())
    }
}

/// The names of the members that differ, `checkpoint` aside.
fn differences(stored: &BlockHeader, expected: &BlockHeader) -> Vec<&'static str> {
    let members = [
        ("block_root", stored.block_root == expected.block_root),
        ("count", stored.count == expected.count),
        ("earliest", stored.earliest == expected.earliest),
        ("first", stored.first == expected.first),
        ("gaps", stored.gaps == expected.gaps),
        ("head", stored.head == expected.head),
        ("height", stored.height == expected.height),
        ("latest", stored.latest == expected.latest),
        ("prev", stored.prev == expected.prev),
        ("root", stored.root == expected.root),
        ("size", stored.size == expected.size),
    ];
    members.into_iter().filter_map(|(name, same)| (!same).then_some(name)).collect()
}
