//! Reading records back: one by its index, or all from an index on.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};

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

/// Finds record `seq`; `None` where the ledger ends before it. Cost: reads one segment up to it.
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
    open: Option<(SegmentFile, BufReader<File>)>,
}

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
    /// [`LedgerError::Io`]; [`LedgerError::Corrupt`] where a record below `end` is missing.
    pub fn read(&mut self, end: u64, bytes_max: usize) -> Result<(u64, Vec<u8>), LedgerError> {
        let first = self.next;
        let mut bytes = Vec::new();
        while self.next < end && bytes.len() < bytes_max {
            self.enter_segment()?;
            let Some((segment, reader)) = &mut self.open else {
                break;
            };
            let read =
                read_line(reader, &mut bytes).map_err(LedgerError::io("read", &segment.path))?;
            if !read {
                return Err(LedgerError::Corrupt {
                    path: segment.path.clone(),
                    at_byte: None,
                    record: Some(self.next),
                    problem: "the record is missing".into(),
                });
            }
            self.next += 1;
        }
        Ok((first, bytes))
    }

    /// Opens the segment that holds the next record, unless it is open already.
    fn enter_segment(&mut self) -> Result<(), LedgerError> {
        // Only a record at a name boundary can lie in another segment than the one before.
        if self.open.is_some() && !self.paths.segment(self.next).exists() {
            return Ok(());
        }
        let found = list_segments(&self.paths)?.into_iter().rev().find(|it| it.first <= self.next);
        let Some(segment) = found else {
            return Err(LedgerError::Corrupt {
                path: self.paths.segments(),
                at_byte: None,
                record: Some(self.next),
                problem: "no segment holds the record".into(),
            });
        };
        if self.open.as_ref().is_some_and(|(open, _)| *open == segment) {
            return Ok(());
        }
        let at_byte = match find(&self.paths, self.next)? {
            Some(found) => found.at_byte,
            None => 0,
        };
        let mut file = File::open(&segment.path).map_err(LedgerError::io("open", &segment.path))?;
        file.seek(SeekFrom::Start(at_byte)).map_err(LedgerError::io("read", &segment.path))?;
        self.open = Some((segment, BufReader::with_capacity(1 << 18, file)));
        Ok(())
    }
}

/// Appends one line with its newline; false where no whole line is left.
fn read_line(reader: &mut BufReader<File>, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    use std::io::BufRead as _;
    let start = bytes.len();
    let limit = RECORD_BYTES_MAX as u64 + 1;
    reader.by_ref().take(limit).read_until(b'\n', bytes)?;
    let whole = bytes[start..].ends_with(b"\n");
    if !whole {
        bytes.truncate(start);
    }
    Ok(whole)
}
