//! The signatures: those of every header, that of the file `checkpoint`, and what they agree on.
//!
//! Headers are read here for the first time, without records. Source: `schemas/format.md`, section 5.

use std::path::Path;

use graven_ledger::{
    BlockHeader, NoteError, Paths, SignedCheckpoint, VerifierKey, open_checkpoint,
};
use graven_record::Hash;

use crate::chunks::{Chunk, cut};
use crate::files::{self, SMALL_BYTES_MAX};
use crate::findings::{At, Findings};
use crate::{FaultKind, NoteKind, VerifyError, pipeline};

pub(crate) const BLOCKS: &str = "blocks.jsonl";
const CHECKPOINT: &str = "checkpoint";

/// Size and root of a tree.
type Head = (u64, Hash);

/// What the headers say, before any record was read.
#[derive(Debug, Default)]
pub(crate) struct Signed {
    /// Whole lines in `blocks.jsonl`.
    pub(crate) blocks: u64,
    /// Bytes of those lines.
    pub(crate) bytes: u64,
    /// Size of the last header that can be read.
    pub(crate) sealed: u64,
    /// The newest checkpoint whose signatures verify.
    pub(crate) newest: Option<SignedCheckpoint>,
    /// Signatures that verified.
    pub(crate) signatures: u64,
    last: Option<Head>,
    before_last: Option<Head>,
    bad: BadSignatures,
}

/// Bad signatures are reported once: under another key all of them are bad.
#[derive(Debug, Default)]
struct BadSignatures {
    count: u64,
    first: Option<(&'static str, u64, String)>,
}

/// A header line and what its checkpoint shows.
struct Checked {
    at_byte: u64,
    /// True where there is a zero byte in it, which no writer writes.
    has_hole: bool,
    read: Result<(Head, Result<SignedCheckpoint, NoteError>), String>,
}

/// The file `checkpoint`, opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CheckpointFile {
    Absent,
    Read(Result<SignedCheckpoint, NoteError>),
}

/// Reads the file `checkpoint`. Before the headers: beside a writer at work, what is read later only
/// reaches further.
pub(crate) fn read_file(paths: &Paths, key: &VerifierKey) -> Result<CheckpointFile, VerifyError> {
    let Some(bytes) = files::read_small(&paths.checkpoint())? else {
        return Ok(CheckpointFile::Absent);
    };
    let opened = match String::from_utf8(bytes) {
        Ok(note) => open_checkpoint(&note, key),
        Err(_) => Err(NoteError::Malformed("it is no text")),
    };
    Ok(CheckpointFile::Read(opened))
}

/// Verifies the checkpoint of every header.
pub(crate) fn read_headers(
    paths: &Paths,
    key: &VerifierKey,
    findings: &mut Findings,
) -> Result<Signed, VerifyError> {
    let mut signed = Signed::default();
    let path = paths.blocks();
    let Some(file) = files::open(&path)? else {
        return Ok(signed);
    };
    let (mut torn, mut holed) = (None, None);
    pipeline::in_order(
        |emit| cut(file, SMALL_BYTES_MAX, emit).map(drop).map_err(VerifyError::io("read", &path)),
        |chunk| check(chunk, key),
        |(headers, tail)| {
            for header in headers {
                // A line with a hole is torn, unless another one follows.
                if let Some(before) = holed.take() {
                    signed.add(before, findings);
                }
                if header.has_hole {
                    holed = Some(header);
                } else {
                    signed.add(header, findings);
                }
            }
            signed.bytes = tail.whole_to;
            torn = tail.torn_at.or(torn);
            Ok(())
        },
    )?;
    match (holed, torn) {
        (Some(last), None) => {
            signed.bytes = last.at_byte;
            torn = Some(last.at_byte);
        }
        (Some(before), Some(_)) => signed.add(before, findings),
        (None, _) => {}
    }
    if let Some(at_byte) = torn {
        torn_header(&path, at_byte, findings)?;
    }
    Ok(signed)
}

fn torn_header(path: &Path, at_byte: u64, findings: &mut Findings) -> Result<(), VerifyError> {
    findings.note_of_bytes(
        NoteKind::TornHeader,
        At::file(BLOCKS).byte(at_byte),
        Some(files::digest_from(path, at_byte)?),
        "the last header line is torn and was dropped",
    );
    Ok(())
}

/// Where the lines of a chunk end.
struct Tail {
    /// Offset behind the last whole line.
    whole_to: u64,
    /// Offset of a torn last line.
    torn_at: Option<u64>,
}

/// Reads the headers of a chunk.
fn check(chunk: Chunk, key: &VerifierKey) -> (Vec<Checked>, Tail) {
    let (mut at_byte, bytes) = match chunk {
        Chunk::Lines { at_byte, bytes } => (at_byte, bytes),
        Chunk::Overlong { at_byte, bytes } => {
            let read = Err(format!("{bytes} bytes long, the limit is {SMALL_BYTES_MAX}"));
            let tail = Tail { whole_to: at_byte + bytes, torn_at: None };
            return (vec![Checked { at_byte, has_hole: false, read }], tail);
        }
    };
    let mut headers = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(header) = line.strip_suffix(b"\n") else {
            return (headers, Tail { whole_to: at_byte, torn_at: Some(at_byte) });
        };
        let read = BlockHeader::parse(header).map(|header| {
            let note = header.checkpoint.as_deref().unwrap_or_default();
            ((header.size, header.root), open_checkpoint(note, key))
        });
        let has_hole = header.contains(&0);
        headers.push(Checked { at_byte, has_hole, read });
        at_byte += line.len() as u64;
    }
    (headers, Tail { whole_to: at_byte, torn_at: None })
}

impl Signed {
    fn add(&mut self, header: Checked, findings: &mut Findings) {
        self.blocks += 1;
        let at = At::file(BLOCKS).byte(header.at_byte);
        let (head, note) = match header.read {
            Ok(read) => read,
            Err(problem) => {
                let sentence = format!("the line is no block header: {problem}");
                return findings.fault(FaultKind::UnreadableHeader, at, sentence);
            }
        };
        if let Some(signed) = self.note(note, at, findings) {
            if (signed.checkpoint.size, signed.checkpoint.root) == head {
                self.newest = Some(signed);
            } else {
                let sentence = format!(
                    "the header of size {} holds a checkpoint of size {} and root {}",
                    head.0, signed.checkpoint.size, signed.checkpoint.root
                );
                findings.fault(FaultKind::HeaderMismatch, at, sentence);
            }
        }
        self.sealed = head.0;
        self.before_last = self.last.replace(head);
    }

    /// Counts the signatures of a note, good or bad.
    fn note(
        &mut self,
        note: Result<SignedCheckpoint, NoteError>,
        at: At<'_>,
        findings: &mut Findings,
    ) -> Option<SignedCheckpoint> {
        match note {
            Ok(signed) => {
                self.signatures += 2;
                return Some(signed);
            }
            Err(NoteError::Malformed(problem)) => findings.fault(
                FaultKind::UnreadableNote,
                at,
                format!("not a signed checkpoint: {problem}"),
            ),
            Err(error) => {
                self.bad.count += 1;
                let file = if at.file == Some(CHECKPOINT) { CHECKPOINT } else { BLOCKS };
                self.bad.first.get_or_insert((
                    file,
                    at.byte.unwrap_or_default(),
                    error.to_string(),
                ));
            }
        }
        None
    }

    /// Compares the file `checkpoint`, as it was before the headers were read and as it is after, with the
    /// headers, and reports what signatures are bad.
    pub(crate) fn compare(
        &mut self,
        file: CheckpointFile,
        after: &CheckpointFile,
        findings: &mut Findings,
    ) {
        // A writer is at work: which header the file belonged to at which moment cannot be said.
        let moving = file != *after;
        let at = At::file(CHECKPOINT);
        match file {
            CheckpointFile::Absent if moving => {}
            CheckpointFile::Absent => self.absent(at, findings),
            CheckpointFile::Read(note) => {
                if let Some(signed) = self.note(note, at.byte(0), findings)
                    && !moving
                {
                    self.compare_signed(&signed, at.byte(0), findings);
                }
            }
        }
        if let Some((file, byte, problem)) = self.bad.first.take() {
            let sentence = match self.bad.count {
                1 => problem,
                count => {
                    format!("{problem}; {count} checkpoints are so, of which this is the first")
                }
            };
            findings.fault(FaultKind::BadSignature, At::file(file).byte(byte), sentence);
        }
    }

    fn absent(&self, at: At<'_>, findings: &mut Findings) {
        match self.blocks {
            0 => {}
            1 => findings.note(
                NoteKind::CheckpointBehind,
                at,
                "the file is absent beside a single header, as a crash can leave it",
            ),
            _ => findings.fault(FaultKind::MissingCheckpoint, at, "the file is missing"),
        }
    }

    fn compare_signed(&self, signed: &SignedCheckpoint, at: At<'_>, findings: &mut Findings) {
        let named = Some((signed.checkpoint.size, signed.checkpoint.root));
        if named == self.last {
            return;
        }
        let (size, sealed) = (signed.checkpoint.size, self.sealed);
        if named == self.before_last {
            findings.note(
                NoteKind::CheckpointBehind,
                at,
                "the file is one block behind the headers, as a crash can leave it",
            );
        } else if size > sealed {
            let sentence = format!(
                "the checkpoint is of {size} records, but the last header ends at {sealed}: headers were removed"
            );
            findings.fault(FaultKind::CutBack, at, sentence);
        } else {
            let sentence = format!(
                "the checkpoint of size {size} is neither the last header's, which is of size {sealed}, nor the one before"
            );
            findings.fault(FaultKind::CheckpointMismatch, at, sentence);
        }
    }
}
