//! Sealing on disk: tiles, signature, header line and checkpoint, in the order of durability.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::disk::DiskFile;
use crate::files::Files;
use crate::hold::{Holder, Protection};
use crate::signer::Signer;
use crate::tiles::TileWriter;
use crate::{BlockHeader, Leaves, LedgerError, Paths};

/// Signs and stores block headers. Source: `schemas/format.md`, section 6.
#[derive(Debug)]
pub struct BlockWriter {
    files: Files,
    paths: Paths,
    tiles: TileWriter,
    headers: Box<dyn DiskFile>,
    signer: Signer,
    holder: Holder,
    /// The size that a checkpoint must reach to cover the records that name all recoveries so far.
    named_below: Option<u64>,
}

impl BlockWriter {
    pub(crate) fn open(
        files: Files,
        paths: &Paths,
        tiles: TileWriter,
        signer: Signer,
        newest_segment: Arc<AtomicU64>,
    ) -> Result<Self, LedgerError> {
        let headers = files.open_append(&paths.blocks())?;
        // Its name, whether made now or by somebody who died before it was durable.
        files.sync_dir(paths.dir())?;
        let holder = Holder::new(files.clone(), paths.clone(), newest_segment);
        let paths = paths.clone();
        Ok(Self { files, paths, tiles, headers, signer, holder, named_below: None })
    }

    /// Has the segments held that the first `size` records stand in, all of them sealed, and what is sealed later.
    pub(crate) fn hold(
        &mut self,
        protection: Arc<dyn Protection>,
        size: u64,
    ) -> Result<(), LedgerError> {
        self.holder.protect(protection, size)
    }

    /// Promises that each of [`OpenedLedger::recovered`](crate::OpenedLedger::recovered) is named by a record below
    /// `size`. Once those are sealed, no later start has to name them again.
    pub fn recoveries_named_below(&mut self, size: u64) {
        self.named_below = Some(size);
    }

    /// Adds the leaf hashes of records that are durable, in order.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Io`]
    pub fn append(&mut self, leaves: &Leaves) -> Result<(), LedgerError> {
        self.tiles.append(leaves)
    }

    /// Signs the header of a block whose records are durable and whose leaves were all appended,
    /// makes it and its checkpoint durable, and has the segments it covers held. Returns the header with its checkpoint.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; the process must not go on writing then.
    pub fn seal(
        &mut self,
        header: BlockHeader,
        now_unix_s: u64,
    ) -> Result<BlockHeader, LedgerError> {
        self.tiles.sync()?;
        let note = self.signer.sign(header.size, header.root, now_unix_s)?;
        let header = BlockHeader { checkpoint: Some(note.clone()), ..header };
        let path = self.paths.blocks();
        let mut line = header.to_line();
        line.push(b'\n');
        self.headers.write_all(&line).map_err(LedgerError::io("write", &path))?;
        self.headers.sync_data().map_err(LedgerError::io("sync", &path))?;
        self.files.replace(&self.paths.checkpoint(), note.as_bytes(), 0o644)?;
        self.holder.sealed(header.size)?;
        if self.named_below.take_if(|size| *size <= header.size).is_some() {
            self.files.remove(&self.paths.recovering())?;
            self.files.sync_dir(self.paths.dir())?;
        }
        Ok(header)
    }
}
