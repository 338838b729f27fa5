//! What a ledger holds on disk: measured once, then counted as it is written.

use std::fs;
use std::io;
use std::path::Path;

use crate::tiles::tile_bytes;
use crate::{BlockHeader, LedgerError, Paths};

/// Bytes in the files of a ledger's directory. Cost: asks for the length of each.
///
/// # Errors
///
/// [`LedgerError::Io`]
pub fn used_bytes(paths: &Paths) -> Result<u64, LedgerError> {
    files_below(paths.dir()).map_err(LedgerError::io("measure", paths.dir()))
}

/// Bytes that sealing a block adds: its part of the tiles, and its header's line.
#[must_use]
pub fn block_bytes(header: &BlockHeader) -> u64 {
    let tiles = tile_bytes(header.size) - tile_bytes(header.first);
    tiles + header.to_line().len() as u64 + 1
}

fn files_below(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { files_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
