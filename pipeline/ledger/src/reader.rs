//! Reading records back: one by its index, or all from an index on.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use graven_record::RECORD_BYTES_MAX;

use crate::{LedgerError, LineReader, Paths, ReadLine, SegmentFile, list_segments};

/// A record and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its canonical bytes.
    pub record: Vec<u8>,
    /// The segment it stands in.
    pub segment: SegmentFile,
    /// Offset of its first byte.
    pub at_byte: u64,
}

/// The paths of the ledger in `dir`, to be read.
///
/// # Errors
///
/// [`LedgerError::NotALedger`]; [`LedgerError::NotPermitted`] where that is not to be seen.
pub fn look(dir: &Path) -> Result<Paths, LedgerError> {
    let paths = Paths::new(dir);
    match File::open(paths.info()) {
        Ok(_) => Ok(paths),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(LedgerError::NotALedger(dir.to_owned()))
        }
        Err(error) => Err(LedgerError::io("read", dir)(error)),
    }
}

/// Leaf index of the first record that stands: those before were released.
///
/// # Errors
///
/// [`LedgerError::Io`]
pub fn begins(paths: &Paths) -> Result<u64, LedgerError> {
    Ok(list_segments(paths)?.first().map_or(0, |segment| segment.first))
}

/// Finds record `seq`; `None` where the ledger ends before it, or begins behind it. Cost: reads one segment up to it.
///
/// # Errors
///
/// [`LedgerError::Io`]
pub fn find(paths: &Paths, seq: u64) -> Result<Option<Found>, LedgerError> {
    let segments = list_segments(paths)?;
    let Some(segment) = segments.into_iter().rev().find(|segment| segment.first <= seq) else {
        return Ok(None);
    };
    let file = File::open(&segment.path).map_err(LedgerError::io("open", &segment.path))?;
    let mut lines = LineReader::new(file, RECORD_BYTES_MAX);
    let mut index = segment.first;
    loop {
        let line = lines.next_line().map_err(LedgerError::io("read", &segment.path))?;
        match line {
            Some((at_byte, ReadLine::Whole(record))) if index == seq => {
                let record = record.to_vec();
                return Ok(Some(Found { record, segment, at_byte }));
            }
            Some((_, ReadLine::Unterminated(_))) | None => return Ok(None),
            Some(_) => index += 1,
        }
    }
}

/// Reads records in order, segment after segment, in batches of whole lines.
///
/// It never reads past what the caller says is durable.
#[derive(Debug)]
pub struct SegmentCursor {
    paths: Paths,
    next: u64,
    open: Option<OpenSegment>,
}

#[derive(Debug)]
struct OpenSegment {
    segment: SegmentFile,
    lines: BufReader<File>,
    /// First record that is known to stand in a later segment.
    end: u64,
}

/// Bytes read from a segment at a time.
const READ_BYTES: usize = 1 << 18;

impl SegmentCursor {
    /// A cursor that begins with record `next`.
    #[must_use]
    pub fn new(paths: &Paths, next: u64) -> Self {
        Self { paths: paths.clone(), next, open: None }
    }

    /// Index of the record that comes next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Reads whole lines up to about `bytes_max` bytes, and no record at or above `end`.
    ///
    /// Returns the first index and the lines; empty at `end`.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Io`]; [`LedgerError::Released`] where the ledger begins later; [`LedgerError::Corrupt`]
    /// where a record below `end` is missing.
    pub fn read(&mut self, end: u64, bytes_max: usize) -> Result<(u64, Vec<u8>), LedgerError> {
        let first = self.next;
        let mut bytes = Vec::new();
        while self.next < end && bytes.len() < bytes_max {
            if self.open.as_ref().is_none_or(|open| self.next >= open.end) {
                self.open = Some(self.open_segment()?);
            }
            let Some(open) = &mut self.open else { break };
            let path = &open.segment.path;
            if read_line(&mut open.lines, &mut bytes).map_err(LedgerError::io("read", path))? {
                self.next += 1;
            } else if self.paths.segment(self.next).exists() {
                // The writer has closed this segment and gone on in the next.
                open.end = self.next;
            } else {
                return Err(missing(path, self.next, "the record is missing"));
            }
        }
        Ok((first, bytes))
    }

    /// Opens the segment that holds the next record, at that record.
    fn open_segment(&self) -> Result<OpenSegment, LedgerError> {
        let dir = self.paths.segments();
        let (later, earlier): (Vec<_>, Vec<_>) =
            list_segments(&self.paths)?.into_iter().partition(|it| it.first > self.next);
        let segment = earlier.into_iter().next_back().ok_or_else(|| match later.first() {
            Some(first) => LedgerError::Released { record: self.next, begins: first.first },
            None => missing(&dir, self.next, "no segment holds the record"),
        })?;
        let end = later.first().map_or(u64::MAX, |it| it.first);
        let at_byte = find(&self.paths, self.next)?.map_or(0, |found| found.at_byte);
        let mut file = File::open(&segment.path).map_err(LedgerError::io("open", &segment.path))?;
        file.seek(SeekFrom::Start(at_byte)).map_err(LedgerError::io("read", &segment.path))?;
        let lines = BufReader::with_capacity(READ_BYTES, file);
        Ok(OpenSegment { segment, lines, end })
    }
}

/// The records in whole lines, as [`SegmentCursor::read`] gives them: without their newlines.
#[must_use]
pub fn records(lines: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn missing(path: &Path, record: u64, problem: &str) -> LedgerError {
    LedgerError::Corrupt {
        path: path.to_owned(),
        at_byte: None,
        record: Some(record),
        problem: problem.into(),
    }
}

/// Appends one line with its newline; false where no whole line is left.
fn read_line(reader: &mut BufReader<File>, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    let start = bytes.len();
    let limit = RECORD_BYTES_MAX as u64 + 1;
    reader.by_ref().take(limit).read_until(b'\n', bytes)?;
    let whole = bytes[start..].ends_with(b"\n");
    if !whole {
        bytes.truncate(start);
    }
    Ok(whole)
}
