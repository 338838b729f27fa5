//! The copy of the unsealed records, from which writing goes on.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::Recovery;
use super::tail::Piece;
use crate::disk::DiskFile;
use crate::{LedgerError, SegmentFile};

impl Recovery {
    /// Copies the unsealed records into a segment of their own. Nothing is truncated: the segments
    /// they stood in are superseded, or kept in `torn/` where they hold no sealed record.
    pub(super) fn copy_tail(
        &self,
        first: u64,
        pieces: &[Piece],
        segments: &[SegmentFile],
    ) -> Result<SegmentFile, LedgerError> {
        let path = self.paths.segment(first);
        let temporary = self.paths.tail_copy();
        let mut copy = self.files.open_emptied(&temporary)?;
        copy_pieces(pieces, &mut *copy)
            .map_err(LedgerError::io("copy the unsealed records to", &temporary))?;
        let unsealed: Vec<_> = segments.iter().filter(|it| it.first >= first).collect();
        for segment in &unsealed {
            self.keep_in_torn(segment)?;
        }
        self.files.rename(&temporary, &path)?;
        self.files.sync_dir(&self.paths.segments())?;
        // From the first on, and each one durably: with a segment gone, the copy stands up to the next
        // one's name, but a segment whose successor is gone would end too early.
        for segment in unsealed.iter().filter(|it| it.first > first) {
            self.files.remove(&segment.path)?;
            self.files.sync_dir(&self.paths.segments())?;
        }
        Ok(SegmentFile { first, path })
    }

    /// Gives a segment a second name in `torn/`, so that its bytes outlive the first.
    fn keep_in_torn(&self, segment: &SegmentFile) -> Result<(), LedgerError> {
        let torn = self.paths.torn();
        let mut attempt = 0;
        loop {
            let path = torn.join(format!("{:020}.{attempt}.jsonl", segment.first));
            if self.files.hard_link(&segment.path, &path)? {
                return self.files.sync_dir(&torn);
            }
            attempt += 1;
        }
    }
}

/// Bytes copied at a time.
const CHUNK_BYTES: u64 = 1 << 20;

fn copy_pieces(pieces: &[Piece], copy: &mut dyn DiskFile) -> io::Result<()> {
    let mut chunk = Vec::new();
    for piece in pieces {
        let mut source = File::open(&piece.path)?;
        source.seek(SeekFrom::Start(piece.from))?;
        let mut rest = source.take(piece.to - piece.from);
        while rest.by_ref().take(CHUNK_BYTES).read_to_end(&mut chunk)? > 0 {
            copy.write_all(&chunk)?;
            chunk.clear();
        }
    }
    copy.sync_all()
}
