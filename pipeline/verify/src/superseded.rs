//! Superseded bytes: what recovery left behind in a segment beyond the next one's name.
//!
//! Source: `schemas/format.md`, section 3.1.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};

use graven_ledger::{LineReader, Members, Placement, ReadLine};
use graven_record::{Hash, RECORD_BYTES_MAX, leaf_hash};

use crate::findings::{At, Findings};
use crate::segments::Segment;
use crate::walk::Superseded;
use crate::{FaultKind, NoteKind, VerifyError, files};

/// Compares one superseded stretch with the records that stand; returns how many were equal.
///
/// The stretch is read alone, on one core: an honest one is no longer than what a crash leaves.
pub(crate) fn check(
    stretch: &Superseded,
    segments: &[Segment],
    origin: &str,
    findings: &mut Findings,
) -> Result<u64, VerifyError> {
    let segment = &segments[stretch.segment];
    let (mut lines, mut standing) = (
        open_at(segment, stretch.at_byte)?,
        Standing::new(segments, stretch.segment + 1, stretch.seq),
    );
    let (mut seq, mut prev) = (stretch.seq, stretch.prev);
    let mut damage = None;
    while let Some((at_byte, line)) =
        lines.next_line().map_err(VerifyError::io("read", &segment.path))?
    {
        let at_byte = stretch.at_byte + at_byte;
        let Some((record, leaf)) = chained(&line, seq, prev, origin) else {
            damage = Some(at_byte);
            break;
        };
        if !standing.next_is(record)? {
            let sentence =
                format!("superseded record {seq} is not equal to the one that stands in its place");
            let at = At::file(&segment.name).byte(at_byte).record(seq);
            findings.fault(FaultKind::SupersededDiffers, at, sentence);
            break;
        }
        prev = Some(leaf);
        seq += 1;
    }
    let equal = seq - stretch.seq;
    let at = At::file(&segment.name).byte(stretch.at_byte).record(stretch.seq);
    let sentence = format!("superseded bytes; {equal} records in them equal those that stand");
    let bytes = files::digest_from(&segment.path, stretch.at_byte)?;
    findings.note_of_bytes(NoteKind::Superseded, at, Some(bytes), sentence);
    if let Some(at_byte) = damage {
        let at = At::file(&segment.name).byte(at_byte).record(seq);
        let sentence = "superseded bytes that are no records of this ledger";
        let bytes = files::digest_from(&segment.path, at_byte)?;
        findings.note_of_bytes(NoteKind::SupersededDamage, at, Some(bytes), sentence);
    }
    Ok(equal)
}

/// The line and its leaf hash, if it is whole, canonical and chained.
fn chained<'a>(
    line: &ReadLine<'a>,
    seq: u64,
    prev: Option<Hash>,
    origin: &str,
) -> Option<(&'a [u8], Hash)> {
    let ReadLine::Whole(record) = *line else {
        return None;
    };
    let members = Members::read(record).ok()?;
    let placement = Placement::read(&members, origin).ok()?;
    let fits = placement.seq == seq && prev.is_none_or(|prev| prev == placement.prev);
    fits.then(|| (record, leaf_hash(record)))
}

fn open_at(segment: &Segment, at_byte: u64) -> Result<LineReader<File>, VerifyError> {
    let mut file = files::open_known(&segment.path)?;
    file.seek(SeekFrom::Start(at_byte)).map_err(VerifyError::io("read", &segment.path))?;
    Ok(LineReader::new(file, RECORD_BYTES_MAX))
}

/// The lines that stand, from the beginning of a segment on.
struct Standing<'a> {
    segments: &'a [Segment],
    index: usize,
    lines: Option<LineReader<File>>,
    next: u64,
}

impl<'a> Standing<'a> {
    fn new(segments: &'a [Segment], index: usize, next: u64) -> Self {
        Self { segments, index, lines: None, next }
    }

    /// True where the next standing line is `record`.
    fn next_is(&mut self, record: &[u8]) -> Result<bool, VerifyError> {
        loop {
            let Some(segment) = self.segments.get(self.index) else {
                return Ok(false);
            };
            if self.next >= segment.end {
                self.index += 1;
                self.lines = None;
                continue;
            }
            let mut lines = match self.lines.take() {
                Some(lines) => lines,
                None => open_at(segment, 0)?,
            };
            let line = lines.next_line().map_err(VerifyError::io("read", &segment.path))?;
            let is_equal =
                matches!(line, Some((_, ReadLine::Whole(standing))) if standing == record);
            self.lines = Some(lines);
            self.next += 1;
            return Ok(is_equal);
        }
    }
}
