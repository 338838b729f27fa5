//! The unsealed records: which of them stand, and what a crash made of the rest.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use graven_record::{Hash, RECORD_BYTES_MAX, leaf_hash, sha256};

use super::base::Base;
use super::{Damage, RECOVERED, Recovery, UNSYNCED_BYTES_MAX};
use crate::{
    BlockHeader, Chain, LedgerError, LineReader, Members, Placement, ReadLine, SegmentFile,
};

/// A stretch of a segment that holds unsealed records.
pub(super) struct Piece {
    pub(super) path: PathBuf,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// What stands behind the sealed records.
pub(super) struct Tail {
    pub(super) pieces: Vec<Piece>,
    pub(super) damaged: Option<Damage>,
    pub(super) sealed: Vec<BlockHeader>,
    pub(super) leaves: Vec<Hash>,
    pub(super) last: Option<Placement>,
    /// Details of the records that name what earlier recoveries did.
    pub(super) named: Vec<Vec<u8>>,
}

impl Recovery {
    /// Takes the unsealed records that stand into `chain`.
    pub(super) fn read_tail(
        &self,
        chain: &mut Chain,
        base: &Base,
        segments: &[SegmentFile],
        target: (u64, Hash),
    ) -> Result<Tail, LedgerError> {
        let mut tail = Tail {
            pieces: Vec::new(),
            damaged: None,
            sealed: Vec::new(),
            leaves: Vec::new(),
            last: None,
            named: Vec::new(),
        };
        let begin = base.end.clone().into_iter();
        let unsealed = segments.iter().filter(|it| it.first >= base.chain.size());
        let stretches: Vec<_> = begin.chain(unsealed.map(|it| (it.clone(), 0))).collect();
        for (index, (segment, from)) in stretches.iter().enumerate() {
            if segment.first > chain.size() {
                return Err(LedgerError::Corrupt {
                    path: segment.path.clone(),
                    at_byte: None,
                    record: Some(chain.size()),
                    problem: "the records before this segment are missing".into(),
                });
            }
            // A segment ends where the next one's name begins.
            let end = stretches.get(index + 1).map_or(u64::MAX, |(next, _)| next.first);
            let to = self.read_stretch(chain, segment, *from, end, target, &mut tail)?;
            if to > *from {
                tail.pieces.push(Piece { path: segment.path.clone(), from: *from, to });
            }
            if chain.size() < end {
                tail.damaged =
                    self.damage(&segment.path, to, chain.size(), index + 1 == stretches.len())?;
            }
        }
        Ok(tail)
    }

    /// Reads one segment from byte `from` up to record `end`; returns where the good records end.
    fn read_stretch(
        &self,
        chain: &mut Chain,
        segment: &SegmentFile,
        from: u64,
        end: u64,
        target: (u64, Hash),
        tail: &mut Tail,
    ) -> Result<u64, LedgerError> {
        let file = self.open_at(&segment.path, from)?;
        let mut lines = LineReader::new(file, RECORD_BYTES_MAX);
        let mut to = from;
        while chain.size() < end {
            let line = lines.next_line().map_err(LedgerError::io("read", &segment.path))?;
            let Some((_, ReadLine::Whole(record))) = line else {
                break;
            };
            let Some(placement) = self.take_record(chain, record, tail) else { break };
            to += record.len() as u64 + 1;
            if chain.size() == target.0 && chain.root() != target.1 {
                return Err(LedgerError::Corrupt {
                    path: segment.path.clone(),
                    at_byte: Some(to),
                    record: Some(placement.seq),
                    problem: format!(
                        "the first {} records do not have the root that was signed for them",
                        target.0
                    ),
                });
            }
        }
        Ok(to)
    }

    /// Takes a line into chain and tail, unless it does not continue them.
    fn take_record(&self, chain: &mut Chain, record: &[u8], tail: &mut Tail) -> Option<Placement> {
        let members = Members::read(record).ok().filter(Members::are_complete)?;
        let placement = Placement::read(&members, self.info.origin.as_str()).ok()?;
        let leaf = leaf_hash(record);
        tail.sealed.extend(chain.replay(&placement, leaf).ok()?);
        tail.leaves.push(leaf);
        tail.last = Some(placement);
        if members.is_system(RECOVERED) {
            tail.named.extend(members.detail.map(<[u8]>::to_vec));
        }
        Some(placement)
    }

    /// Describes the bytes from `offset_bytes` to the end of a segment, if a crash explains them.
    fn damage(
        &self,
        path: &Path,
        offset_bytes: u64,
        next: u64,
        is_last: bool,
    ) -> Result<Option<Damage>, LedgerError> {
        let mut file = self.open_at(path, offset_bytes)?;
        let length = file.metadata().map_err(LedgerError::io("read", path))?.len();
        let bytes = length.saturating_sub(offset_bytes);
        if bytes == 0 && is_last {
            return Ok(None);
        }
        if bytes > UNSYNCED_BYTES_MAX || !is_last {
            return Err(LedgerError::Corrupt {
                path: path.to_owned(),
                at_byte: Some(offset_bytes),
                record: Some(next),
                problem: format!(
                    "{bytes} bytes are no records, and they begin before the last {UNSYNCED_BYTES_MAX} bytes \
                     of the ledger, where no crash explains them"
                ),
            });
        }
        let mut damaged = Vec::new();
        file.read_to_end(&mut damaged).map_err(LedgerError::io("read", path))?;
        let segment = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Some(Damage { segment, offset_bytes, bytes, sha256: sha256(&damaged) }))
    }

    fn open_at(&self, path: &Path, at_byte: u64) -> Result<File, LedgerError> {
        let mut file = self.files.open_past_the_cache(path)?;
        file.seek(SeekFrom::Start(at_byte)).map_err(LedgerError::io("read", path))?;
        Ok(file)
    }
}
