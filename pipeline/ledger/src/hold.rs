//! Holding what is sealed: which segment may still be appended to, and which are closed.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::Files;
use crate::{LedgerError, Paths, SegmentFile, list_segments};

/// Mode of a closed segment.
const CLOSED_MODE: u32 = 0o444;

/// What can hold a segment against changes that its mode does not keep off, root's above all. A segment is named by
/// its first record.
///
/// A failure is the protection's own to tell: a ledger goes on without.
pub trait Protection: fmt::Debug + Send + Sync {
    /// From now on the segment can be appended to, and nothing else.
    fn append_only(&self, first: u64);

    /// From now on the segment can be read alone.
    fn close(&self, first: u64);

    /// From now on the segment can be removed.
    ///
    /// # Errors
    ///
    /// Why it is not let go.
    fn release(&self, first: u64) -> io::Result<()>;
}

/// Follows the newest checkpoint: the segment that holds its last record can be appended to, those before it are
/// closed.
///
/// Nothing else decides. So recovery, which renames and links no segment that has a sealed record, never meets a held
/// one; and the last segment, in which writing goes on, is never a closed one: behind each of these
/// stands another with a sealed record.
#[derive(Debug)]
pub(crate) struct Holder {
    files: Files,
    paths: Paths,
    protection: Option<Arc<dyn Protection>>,
    /// First record of the segment that is being written, as its writer tells.
    newest: Arc<AtomicU64>,
    /// That of the segment with the last sealed record, once that has been held.
    open: Option<u64>,
}

impl Holder {
    pub(crate) fn new(files: Files, paths: Paths, newest: Arc<AtomicU64>) -> Self {
        Self { files, paths, protection: None, newest, open: None }
    }

    /// Has `protection` hold what the first `size` records, all sealed, stand in, and what follows.
    pub(crate) fn protect(
        &mut self,
        protection: Arc<dyn Protection>,
        size: u64,
    ) -> Result<(), LedgerError> {
        self.protection = Some(protection);
        self.open = None;
        self.sealed(size)
    }

    /// To be called once a checkpoint over the first `size` records is durable.
    pub(crate) fn sealed(&mut self, size: u64) -> Result<(), LedgerError> {
        if self.open == Some(self.newest.load(Ordering::Relaxed)) {
            return Ok(());
        }
        let mut segments = list_segments(&self.paths)?;
        segments.retain(|segment| segment.first < size);
        let Some(open) = segments.pop() else { return Ok(()) };
        let known = self.open.unwrap_or(0);
        segments.iter().filter(|it| it.first >= known).try_for_each(|it| self.close(it))?;
        if let Some(protection) = &self.protection {
            protection.append_only(open.first);
        }
        self.open = Some(open.first);
        Ok(())
    }

    fn close(&self, segment: &SegmentFile) -> Result<(), LedgerError> {
        if let Some(protection) = &self.protection {
            protection.close(segment.first);
            return Ok(());
        }
        let read = fs::metadata(&segment.path).map_err(LedgerError::io("read", &segment.path))?;
        if read.permissions().mode() & 0o777 == CLOSED_MODE {
            return Ok(());
        }
        match self.files.set_mode(&segment.path, CLOSED_MODE) {
            // The protection of an earlier run holds it, and better than its mode could.
            Err(LedgerError::NotPermitted { .. }) => Ok(()),
            set => set,
        }
    }
}
