//! Release: taking the oldest segment out of a ledger, behind a record that says so.
//!
//! The leaf hashes stay in the tiles, so every proof goes on working. Source: `schemas/format.md`,
//! section 9.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use graven_record::{Hash, RECORD_BYTES_MAX, Timestamp, Value, canonical, leaf_hash};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::files::{Files, read_if_there};
use crate::{
    LedgerError, LineReader, Members, Paths, Placement, ReadLine, SegmentCursor, TileReader,
    list_segments, records,
};

/// `action` of the record that says what was released.
pub const RELEASED: &str = "segment.released";

/// Leaf hashes that are compared with the tiles at a time.
const COMPARED: usize = 1 << 12;

/// Bytes of records that are looked through at a time.
const READ_BYTES: usize = 1 << 20;

/// A segment that is closed, with all before it released: the next to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oldest {
    /// The file.
    pub path: PathBuf,
    /// Leaf index of its first record.
    pub first: u64,
    /// Leaf index behind its last one.
    pub end: u64,
}

/// What stands in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Bytes of the file, superseded ones included.
    pub bytes: u64,
    /// Leaf hash of its last record.
    pub last: Hash,
    /// Latest time in any of its records.
    pub newest: Timestamp,
    /// SHA-256 of the file.
    pub sha256: Hash,
}

/// What a `segment.released` says, as far as it places records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Leaf index of the segment's first record; all before it were released already.
    pub first: u64,
    /// Records in it.
    pub count: u64,
    /// Segments released by then, this one included.
    pub segments: u64,
}

/// The oldest segment, where it is closed: not the last.
///
/// # Errors
///
/// [`LedgerError::Io`]
pub fn oldest(paths: &Paths) -> Result<Option<Oldest>, LedgerError> {
    let mut segments = list_segments(paths)?.into_iter();
    Ok(segments.next().zip(segments.next()).map(|(oldest, next)| Oldest {
        path: oldest.path,
        first: oldest.first,
        end: next.first,
    }))
}

impl Oldest {
    /// Reads the whole segment, and holds each record against the leaf hash that is sealed for it: what is
    /// released was what was signed.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Corrupt`] where it is not; [`LedgerError::Io`].
    pub fn read(&self, paths: &Paths, origin: &str) -> Result<Contents, LedgerError> {
        let io = |operation| LedgerError::io(operation, &self.path);
        let file = File::open(&self.path).map_err(io("open"))?;
        let mut digested = Digested { file, bytes: 0, sha256: Sha256::new() };
        let mut lines = LineReader::new(&mut digested, RECORD_BYTES_MAX);
        let mut leaves =
            Comparison { tiles: TileReader::new(paths), next: self.first, read: Vec::new() };
        let (mut newest, mut last) = (None, None);
        while let Some((at_byte, line)) = lines.next_line().map_err(io("read"))? {
            let seq = leaves.next();
            if seq == self.end {
                continue; // Superseded, and part of the file's hash alone.
            }
            let corrupt = |problem: &str| self.corrupt(at_byte, seq, problem);
            let ReadLine::Whole(record) = line else {
                return Err(corrupt("the line is no record"));
            };
            let placement = Members::read(record)
                .and_then(|members| Placement::read(&members, origin))
                .map_err(|error| corrupt(&error.to_string()))?;
            newest = newest.max(Some(placement.latest));
            last = Some(leaves.push(leaf_hash(record)));
            if !leaves.agree(self.end)? {
                return Err(corrupt(
                    "the records up to here do not have the leaf hashes in the tiles",
                ));
            }
        }
        let (Some(newest), Some(last)) = (newest, last.filter(|_| leaves.next() == self.end))
        else {
            return Err(self.corrupt(0, leaves.next(), "the record is missing"));
        };
        let Digested { bytes, sha256, .. } = digested;
        Ok(Contents { bytes, last, newest, sha256: Hash(sha256.finalize().into()) })
    }

    fn corrupt(&self, at_byte: u64, record: u64, problem: &str) -> LedgerError {
        LedgerError::Corrupt {
            path: self.path.clone(),
            at_byte: Some(at_byte),
            record: Some(record),
            problem: problem.into(),
        }
    }
}

/// Leaf hashes of records in order, held against the tiles by the batch.
struct Comparison {
    tiles: TileReader,
    /// Index of the first that was not compared yet.
    next: u64,
    read: Vec<Hash>,
}

impl Comparison {
    fn next(&self) -> u64 {
        self.next + self.read.len() as u64
    }

    fn push(&mut self, leaf: Hash) -> Hash {
        self.read.push(leaf);
        leaf
    }

    /// Compares once there are many, and at `end`.
    fn agree(&mut self, end: u64) -> Result<bool, LedgerError> {
        if self.read.len() < COMPARED && self.next() < end {
            return Ok(true);
        }
        let stored = self.tiles.read(0, self.next, self.read.len() as u64)?;
        let agree = stored == self.read;
        self.next = self.next();
        self.read.clear();
        Ok(agree)
    }
}

/// A file whose bytes are hashed as they are read.
struct Digested {
    file: File,
    bytes: u64,
    sha256: Sha256,
}

impl Read for Digested {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.sha256.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

impl Release {
    /// Leaf index behind the last record that is released.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }

    /// Reads the `detail` of a `segment.released`; `None` where it is malformed.
    #[must_use]
    pub fn parse(detail: &[u8]) -> Option<Self> {
        let (mut first, mut count, mut segments) = (None, None, None);
        canonical::members(detail, |key, value| match key {
            b"first" => first = canonical::unsigned(value),
            b"count" => count = canonical::unsigned(value),
            b"segments" => segments = canonical::unsigned(value),
            _ => {}
        });
        Some(Self { first: first?, count: count?, segments: segments? })
    }
}

/// What `segment.released` says of a segment; `segments` are released with it, and `sinks` hold it.
#[must_use]
pub fn release_detail(
    oldest: &Oldest,
    contents: &Contents,
    segments: u64,
    sinks: &[String],
) -> Value {
    let sinks: Vec<Value> = sinks.iter().map(|sink| sink.as_str().into()).collect();
    Value::object([
        ("bytes", contents.bytes.into()),
        ("count", (oldest.end - oldest.first).into()),
        ("first", oldest.first.into()),
        ("last", contents.last.to_string().into()),
        ("newest", contents.newest.to_string().into()),
        ("segments", segments.into()),
        ("sha256", contents.sha256.to_string().into()),
        ("sinks", sinks.into()),
    ])
}

/// Removes a released segment's file: the one place where that is done. A file that is gone already is none
/// to be removed.
///
/// # Errors
///
/// [`LedgerError::Io`] or [`LedgerError::NotPermitted`]; the file then still stands.
pub fn release(path: &Path) -> Result<(), LedgerError> {
    let files = Files::on_host();
    files.remove(path)?;
    files.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Where the newest `segment.released` is to be looked for: in `releasing`, a hint that spares a start the
/// whole ledger.
#[derive(Debug, Serialize, Deserialize)]
struct Hint {
    from: u64,
}

/// Remembers that a `segment.released` comes behind the first `from` records.
///
/// # Errors
///
/// [`LedgerError::Io`]
pub fn begin_release(paths: &Paths, from: u64) -> Result<(), LedgerError> {
    let hint = serde_json::to_vec(&Hint { from }).expect("plain data serialises");
    Files::on_host().replace(&paths.releasing(), &hint, 0o644)
}

/// The newest `segment.released` among the first `size` records; `None` where nothing was ever released.
///
/// # Errors
///
/// [`LedgerError::Io`], [`LedgerError::Corrupt`]
pub fn newest_release(paths: &Paths, size: u64) -> Result<Option<Release>, LedgerError> {
    let begins = crate::begins(paths)?;
    let hint = read_if_there(&paths.releasing())?;
    if hint.is_none() && begins == 0 {
        return Ok(None);
    }
    let hint = hint.and_then(|bytes| serde_json::from_slice::<Hint>(&bytes).ok());
    let from = hint.map_or(begins, |hint| hint.from.max(begins).min(size));
    match newest_among(paths, from, size)? {
        // The hint comes before its record, which a crash may have kept back: then an older one speaks for
        // what is gone.
        None if begins > 0 => newest_among(paths, begins, from),
        newest => Ok(newest),
    }
}

/// The newest `segment.released` among the records from `from` to `size`.
fn newest_among(paths: &Paths, from: u64, size: u64) -> Result<Option<Release>, LedgerError> {
    let mut cursor = SegmentCursor::new(paths, from);
    let mut newest = None;
    while cursor.next() < size {
        let (_, lines) = cursor.read(size, READ_BYTES)?;
        newest = records(&lines).filter_map(release_of).next_back().or(newest);
    }
    Ok(newest)
}

/// What a record says was released.
fn release_of(record: &[u8]) -> Option<Release> {
    // Few records are: the others cost no parsing.
    memchr::memmem::find(record, RELEASED.as_bytes())?;
    let members = Members::read(record).ok()?;
    members.detail.filter(|_| members.is_system(RELEASED)).and_then(Release::parse)
}
