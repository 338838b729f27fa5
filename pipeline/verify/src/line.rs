//! What a worker finds out about each line, without knowing those before it.

use std::collections::HashMap;

use graven_ledger::{LineError, Members, Placement, RELEASED, Release};
use graven_record::{Hash, RECORD_BYTES_MAX, canonical, leaf_hash};

use crate::chunks::Chunk;
use crate::{FaultKind, Missing, shape};

/// What the lines are checked against.
#[derive(Debug)]
pub(crate) struct LineChecker {
    /// The ledger's name.
    pub(crate) origin: String,
    /// The bytes of `ledger.json`.
    pub(crate) info: Vec<u8>,
}

/// The lines of a chunk, checked.
#[derive(Debug)]
pub(crate) struct CheckedLines {
    /// Bytes of the chunk.
    pub(crate) bytes: u64,
    /// The actions that occur in it.
    pub(crate) actions: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Offset in its segment.
    pub(crate) at_byte: u64,
    /// SHA-256(0x00 ‖ bytes), whatever the bytes are.
    pub(crate) leaf: Hash,
    pub(crate) read: Result<Entry, BadLine>,
}

/// Why a line cannot be placed.
#[derive(Debug)]
pub(crate) struct BadLine {
    pub(crate) kind: FaultKind,
    pub(crate) problem: String,
    /// Of a record that lacks another member: its `seq` and `prev`.
    pub(crate) place: Option<(u64, Hash)>,
}

/// A record's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Event,
    Gap,
    Syscall,
    System,
}

/// What is kept of a record.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) placement: Placement,
    pub(crate) kind: Kind,
    /// Index among the chunk's actions.
    pub(crate) action: usize,
    /// Of `block.opened`: the hash of the header before, and the height.
    pub(crate) opening: Option<(Hash, u64)>,
    /// Of `ledger.created`: whether it says what `ledger.json` says.
    pub(crate) created: Option<bool>,
    /// Of a gap: what it says is missing.
    pub(crate) missing: Option<Box<Missing>>,
    /// Of `segment.released`: what it says.
    pub(crate) released: Option<Box<Release>>,
    /// What is wrong with its form.
    pub(crate) wrong: Option<Box<str>>,
    /// The first member that is not known.
    pub(crate) unknown: Option<Box<str>>,
}

impl LineChecker {
    /// Checks every line of a chunk.
    pub(crate) fn check(&self, chunk: Chunk) -> CheckedLines {
        let (at_byte, bytes) = match chunk {
            Chunk::Lines { at_byte, bytes } => (at_byte, bytes),
            Chunk::Overlong { at_byte, bytes } => return overlong(at_byte, bytes),
        };
        let mut checked =
            CheckedLines { bytes: bytes.len() as u64, actions: Vec::new(), lines: Vec::new() };
        let mut indices = HashMap::new();
        let mut before = Members::default();
        let mut start = 0;
        while start < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[start..]).map(|length| start + length);
            let record = &bytes[start..end.unwrap_or(bytes.len())];
            let read = match end {
                Some(_) => self.entry(record, &mut before, &mut checked.actions, &mut indices),
                None => Err(BadLine {
                    kind: FaultKind::TornRecord,
                    problem: "the line has no newline".into(),
                    place: None,
                }),
            };
            let at_byte = at_byte + start as u64;
            checked.lines.push(Line { at_byte, leaf: leaf_hash(record), read });
            start = end.map_or(bytes.len(), |end| end + 1);
        }
        checked
    }

    fn entry<'a>(
        &self,
        record: &'a [u8],
        before: &mut Members<'a>,
        actions: &mut Vec<String>,
        indices: &mut HashMap<&'a [u8], usize>,
    ) -> Result<Entry, BadLine> {
        let members = Members::read_after(before, record)?;
        let placement = Placement::read(&members, &self.origin).map_err(|error| BadLine {
            place: match error {
                // Another ledger's, which is damage; one that names none lacks a member.
                LineError::Member("ledger") if members.ledger.is_some() => None,
                _ => place(&members),
            },
            ..error.into()
        })?;
        let shape = shape::check(&members, before);
        let raw = members.action.unwrap_or_default();
        let action = *indices.entry(raw).or_insert_with(|| {
            let text = canonical::string(raw).unwrap_or_default();
            actions.push(text.into_owned());
            actions.len() - 1
        });
        let kind = match members.kind {
            Some(b"\"syscall\"") => Kind::Syscall,
            Some(b"\"gap\"") => Kind::Gap,
            Some(b"\"system\"") => Kind::System,
            _ => Kind::Event,
        };
        let releases = members.is_system(RELEASED);
        let creates = members.is_system("ledger.created");
        let entry = Entry {
            placement,
            kind,
            action,
            opening: members.detail.filter(|_| placement.opens_block).and_then(opening),
            created: creates.then(|| members.detail == Some(&self.info)),
            released: members.detail.filter(|_| releases).and_then(Release::parse).map(Box::new),
            missing: members
                .gap
                .filter(|_| kind == Kind::Gap)
                .map(|gap| Box::new(Missing::read(gap))),
            wrong: shape.wrong.map(Into::into),
            unknown: shape.unknown.map(Into::into),
        };
        // Nothing is the same as in a record that is not as it should be.
        let is_good = entry.wrong.is_none() && entry.unknown.is_none();
        *before = if is_good { members } else { Members::default() };
        Ok(entry)
    }
}

fn place(members: &Members<'_>) -> Option<(u64, Hash)> {
    let prev = canonical::string(members.prev?)?.parse().ok()?;
    Some((canonical::unsigned(members.seq?)?, prev))
}

/// Reads `{header, height}`.
fn opening(detail: &[u8]) -> Option<(Hash, u64)> {
    let (mut header, mut height) = (None, None);
    canonical::members(detail, |key, value| match key {
        b"header" => header = canonical::string(value).and_then(|text| text.parse().ok()),
        b"height" => height = canonical::unsigned(value),
        _ => {}
    });
    Some((header?, height?))
}

fn overlong(at_byte: u64, bytes: u64) -> CheckedLines {
    let problem = format!("the line is {bytes} bytes long, the limit is {RECORD_BYTES_MAX}");
    let line = Line {
        at_byte,
        // Of bytes that were never held; no fault depends on it.
        leaf: leaf_hash(b""),
        read: Err(BadLine { kind: FaultKind::TooLong, problem, place: None }),
    };
    CheckedLines { bytes, actions: Vec::new(), lines: vec![line] }
}

impl From<LineError> for BadLine {
    fn from(error: LineError) -> Self {
        let kind = match error {
            LineError::NotCanonical(_) => FaultKind::NotCanonical,
            LineError::TooLong(_) => FaultKind::TooLong,
            LineError::Member("ledger") => FaultKind::WrongLedger,
            LineError::Member(_) => FaultKind::WrongShape,
        };
        Self { kind, problem: error.to_string(), place: None }
    }
}
