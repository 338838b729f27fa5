//! Where the sealed records end, and whether all that is signed leads there.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use graven_record::{Hash, leaf_hash};

use super::Recovery;
use crate::files::read_if_there;
use crate::tiles::TileWriter;
use crate::{
    BlockHeader, Chain, Frontier, Leaves, LedgerError, Members, Placement, SegmentCursor,
    SegmentFile, TileReader, begins, list_segments, open_checkpoint,
};

/// Where the sealed records end.
pub(super) struct Base {
    pub(super) chain: Chain,
    /// The segment that holds the last sealed record, and the offset behind it.
    pub(super) end: Option<(SegmentFile, u64)>,
    pub(super) last: Option<Placement>,
}

impl Recovery {
    /// Reads the last whole header and drops what a crash left behind it.
    pub(super) fn last_header(&self) -> Result<Option<BlockHeader>, LedgerError> {
        let path = self.paths.blocks();
        if !path.exists() {
            return Ok(None);
        }
        self.drop_torn_header(&path)?;
        let (from, bytes) = self.last_lines(&path)?;
        let Some(line) = bytes.strip_suffix(b"\n") else { return Ok(None) };
        let start = memchr::memrchr(b'\n', line).map_or(0, |at| at + 1);
        let corrupt = |problem: String| LedgerError::Corrupt {
            path: path.clone(),
            at_byte: Some(from + start as u64),
            record: None,
            problem,
        };
        let header = BlockHeader::parse(&line[start..]).map_err(corrupt)?;
        let note = header.checkpoint.as_deref().unwrap_or_default();
        let signed = open_checkpoint(note, &self.signer.verifier())
            .map_err(|error| corrupt(error.to_string()))?;
        if (signed.checkpoint.size, signed.checkpoint.root) != (header.size, header.root) {
            return Err(corrupt("the checkpoint is of another size or root".into()));
        }
        if header.size == 0 {
            return Err(corrupt("it is the header of no record".into()));
        }
        Ok(Some(header))
    }

    fn drop_torn_header(&self, path: &Path) -> Result<(), LedgerError> {
        let (from, bytes) = self.last_lines(path)?;
        let end = torn_at(&bytes);
        if end == bytes.len() {
            return Ok(());
        }
        let file = self.files.open_append(path)?;
        file.set_len(from + end as u64)
            .and_then(|()| file.sync_all())
            .map_err(LedgerError::io("drop the torn last line of", path))
    }

    fn last_lines(&self, path: &Path) -> Result<(u64, Vec<u8>), LedgerError> {
        let file = self.files.open_past_the_cache(path)?;
        last_lines(file).map_err(LedgerError::io("read", path))
    }

    /// The largest checkpoint known here: the signer's, the last header's, or the file's.
    pub(super) fn largest_signed(
        &self,
        header: Option<&BlockHeader>,
    ) -> Result<(u64, Hash), LedgerError> {
        let state = self.signer.state();
        let mut largest = (state.size, state.root);
        if let Some(header) = header.filter(|header| header.size > largest.0) {
            largest = (header.size, header.root);
        }
        let path = self.paths.checkpoint();
        if let Some(note) = read_if_there(&path)? {
            let note = String::from_utf8_lossy(&note);
            let signed = open_checkpoint(&note, &self.signer.verifier())
                .map_err(|error| LedgerError::corrupt(&path, error.to_string()))?;
            if signed.checkpoint.size > largest.0 {
                largest = (signed.checkpoint.size, signed.checkpoint.root);
            }
        }
        Ok(largest)
    }

    /// Opens the tiles at the last header's size and checks that they lead to its root and to the
    /// signer's; where they do not, they are made again from the records.
    pub(super) fn open_tiles(
        &self,
        header: Option<&BlockHeader>,
    ) -> Result<TileWriter, LedgerError> {
        let size = header.map_or(0, |header| header.size);
        let reader = TileReader::new(&self.paths);
        if let Some(tiles) = TileWriter::open(&self.files, &self.paths, size)?
            && header
                .is_none_or(|header| reader.root_of(0, size).is_ok_and(|root| root == header.root))
        {
            self.check_signer_history(&reader, size)?;
            return Ok(tiles);
        }
        let begins = begins(&self.paths)?;
        if begins > 0 {
            // They are all that is left of the records before: nothing may be made of them anew.
            return Err(LedgerError::corrupt(
                &self.paths.tiles(),
                format!(
                    "the hashes do not lead to the signed root, and records 0 to {} were released",
                    begins - 1
                ),
            ));
        }
        let mut tiles = TileWriter::create(&self.files, &self.paths)?;
        let mut cursor = SegmentCursor::new(&self.paths, 0);
        let mut tree = Frontier::default();
        while cursor.next() < size {
            let (_, lines) = cursor.read(size, 1 << 20)?;
            let hashes = lines
                .split_inclusive(|byte| *byte == b'\n')
                .map(|line| leaf_hash(&line[..line.len() - 1]))
                .collect();
            tiles.append(&Leaves::grown(&mut tree, hashes))?;
        }
        tiles.sync()?;
        if let Some(header) = header
            && reader.root_of(0, size)? != header.root
        {
            return Err(LedgerError::corrupt(
                &self.paths.segments(),
                format!("the first {size} records do not have the root that was signed for them"),
            ));
        }
        self.check_signer_history(&reader, size)?;
        Ok(tiles)
    }

    /// What the signer remembers must be a beginning of what stands.
    fn check_signer_history(&self, tiles: &TileReader, size: u64) -> Result<(), LedgerError> {
        let state = self.signer.state();
        if state.size <= size && tiles.root_of(0, state.size)? != state.root {
            return Err(LedgerError::corrupt(
                self.paths.dir(),
                format!(
                    "the signer has signed another history of the first {} records",
                    state.size
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn base(&self, header: Option<&BlockHeader>) -> Result<Base, LedgerError> {
        let Some(header) = header else {
            return Ok(Base { chain: Chain::new(self.genesis), end: None, last: None });
        };
        let seq = header.size - 1;
        let corrupt = |path: &Path, at_byte: Option<u64>, problem: &str| LedgerError::Corrupt {
            path: path.to_owned(),
            at_byte,
            record: Some(seq),
            problem: problem.into(),
        };
        let Some(found) = crate::find(&self.paths, seq)? else {
            let segments = list_segments(&self.paths)?;
            let holder = segments.into_iter().rev().find(|segment| segment.first <= seq);
            let path = holder.map_or_else(|| self.paths.segments(), |segment| segment.path);
            return Err(corrupt(&path, None, "the last sealed record is missing"));
        };
        let (path, at_byte) = (&found.segment.path, Some(found.at_byte));
        if leaf_hash(&found.record) != header.head {
            return Err(corrupt(path, at_byte, "the last sealed record has another hash"));
        }
        let last = Members::read(&found.record)
            .and_then(|members| Placement::read(&members, self.info.origin.as_str()))
            .map_err(|error| corrupt(path, at_byte, &error.to_string()))?;
        let tree = TileReader::new(&self.paths).frontier(header.size)?;
        let end = found.at_byte + found.record.len() as u64 + 1;
        Ok(Base {
            chain: Chain::after(header, tree, last.epoch),
            end: Some((found.segment, end)),
            last: Some(last),
        })
    }
}

/// Where the last line begins, if a crash tore it: it has no newline, or zeros where a page of it
/// never reached the disk.
fn torn_at(bytes: &[u8]) -> usize {
    let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let start = memchr::memrchr(b'\n', whole).map_or(0, |at| at + 1);
    let is_torn = whole.len() == bytes.len() || whole[start..].contains(&0);
    if is_torn { start } else { bytes.len() }
}

/// Reads the end of a file of lines, so far back that the last whole line is in it; gives the offset of
/// what was read.
fn last_lines(mut file: File) -> std::io::Result<(u64, Vec<u8>)> {
    let length = file.metadata()?.len();
    let mut wanted: u64 = 1 << 14;
    loop {
        let from = length.saturating_sub(wanted);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)?;
        // Two newlines hold one whole line between them.
        if from == 0 || memchr::memchr_iter(b'\n', &bytes).count() >= 2 {
            return Ok((from, bytes));
        }
        wanted *= 4;
    }
}
