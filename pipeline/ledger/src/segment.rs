//! Segments: the files that hold the records.

use std::fs;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::DiskFile;
use crate::files::Files;
use crate::{LedgerError, Lines, Paths, UNSYNCED_BYTES_MAX};

/// Size at which a segment is closed, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 256 << 20;

/// Durable bytes that may gather in the page cache before it is told to drop them: so few that they are
/// the same pages again and again, so many that a single record pays nothing.
const FORGET_BYTES: u64 = 1 << 20;

/// Size of a page, or a part of it.
const PAGE_BYTES: u64 = 4_096;

/// A segment and the leaf index it begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFile {
    /// Leaf index of its first record.
    pub first: u64,
    /// The file.
    pub path: PathBuf,
}

/// The segments of a ledger in order. Files of other names are passed over.
///
/// # Errors
///
/// [`LedgerError::Io`] if the directory cannot be read.
pub fn list_segments(paths: &Paths) -> Result<Vec<SegmentFile>, LedgerError> {
    let dir = paths.segments();
    let mut segments = Vec::new();
    for entry in fs::read_dir(&dir).map_err(LedgerError::io("list", &dir))? {
        let path = entry.map_err(LedgerError::io("list", &dir))?.path();
        let first = path.file_name().and_then(|name| name.to_str()).and_then(Paths::segment_first);
        segments.extend(first.map(|first| SegmentFile { first, path }));
    }
    segments.sort_unstable_by_key(|segment| segment.first);
    Ok(segments)
}

/// Appends records. After a failed write or sync it refuses everything: the page cache may say yes
/// to what the disk lost.
#[derive(Debug)]
pub struct SegmentWriter {
    files: Files,
    paths: Paths,
    bytes_max: u64,
    open: Option<OpenSegment>,
    /// First record of the open segment, for whoever closes those before it; none has the largest number.
    newest: Arc<AtomicU64>,
    unsynced_bytes: u64,
    poisoned: bool,
}

#[derive(Debug)]
struct OpenSegment {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    bytes: u64,
    /// Whole pages from the first on that the page cache was told to drop, in bytes.
    forgotten_bytes: u64,
}

impl SegmentWriter {
    /// A writer that goes on in the segment `last`, or makes the first one when it is needed.
    pub(crate) fn open(
        files: Files,
        paths: &Paths,
        last: Option<&SegmentFile>,
    ) -> Result<Self, LedgerError> {
        let open = match last {
            None => None,
            Some(segment) => {
                let path = segment.path.clone();
                let file = files.open_append(&path)?;
                // Whoever made it may have died before its name was durable.
                files.sync_dir(&paths.segments())?;
                let bytes = file.len().map_err(LedgerError::io("read", &path))?;
                Some(OpenSegment { file, path, bytes, forgotten_bytes: whole_pages(bytes) })
            }
        };
        let (paths, bytes_max) = (paths.clone(), SEGMENT_BYTES_MAX);
        let newest = Arc::new(AtomicU64::new(last.map_or(u64::MAX, |segment| segment.first)));
        Ok(Self { files, paths, bytes_max, open, newest, unsynced_bytes: 0, poisoned: false })
    }

    /// First record of the segment that is being written, now and later.
    pub(crate) fn newest(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.newest)
    }

    /// Closes segments at another size than [`SEGMENT_BYTES_MAX`].
    #[must_use]
    pub fn with_bytes_max(self, bytes_max: u64) -> Self {
        Self { bytes_max, ..self }
    }

    /// Writes records behind the last ones. They are not durable before [`Self::sync`], which this calls
    /// itself where more than [`UNSYNCED_BYTES_MAX`] would otherwise be at stake.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Io`]; the writer is then of no further use.
    pub fn append(&mut self, lines: &Lines) -> Result<(), LedgerError> {
        self.guarded(|writer| writer.append_unguarded(lines))
    }

    /// Makes everything appended durable: `fdatasync`.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Io`]; the writer is then of no further use.
    pub fn sync(&mut self) -> Result<(), LedgerError> {
        self.guarded(Self::sync_unguarded)
    }

    fn guarded(
        &mut self,
        operation: impl FnOnce(&mut Self) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        assert!(!self.poisoned, "a segment writer was used after it had failed");
        let result = operation(self);
        self.poisoned = result.is_err();
        result
    }

    fn append_unguarded(&mut self, lines: &Lines) -> Result<(), LedgerError> {
        if self.open.as_ref().is_none_or(|open| open.bytes >= self.bytes_max) {
            self.roll(lines.first)?;
        }
        let mut written = 0;
        while written < lines.bytes.len() {
            let room = usize::try_from(UNSYNCED_BYTES_MAX - self.unsynced_bytes).unwrap_or(0);
            let fitting = lines.ends.partition_point(|end| *end <= written.saturating_add(room));
            // A single line always fits into an empty allowance.
            match lines.ends[..fitting].last().filter(|end| **end > written) {
                Some(end) => {
                    self.write(&lines.bytes[written..*end])?;
                    written = *end;
                }
                None => self.sync_unguarded()?,
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LedgerError> {
        if let Some(open) = &mut self.open {
            open.file.write_all(bytes).map_err(LedgerError::io("write", &open.path))?;
            open.bytes += bytes.len() as u64;
            self.unsynced_bytes += bytes.len() as u64;
        }
        Ok(())
    }

    fn sync_unguarded(&mut self) -> Result<(), LedgerError> {
        if let Some(open) = &mut self.open {
            open.file.sync_data().map_err(LedgerError::io("sync", &open.path))?;
            open.forget();
        }
        self.unsynced_bytes = 0;
        Ok(())
    }

    /// Begins the next segment. The open one is closed once a checkpoint reaches beyond it.
    fn roll(&mut self, first: u64) -> Result<(), LedgerError> {
        self.unsynced_bytes = 0;
        if let Some(closed) = self.open.take() {
            closed.file.sync_all().map_err(LedgerError::io("sync", &closed.path))?;
        }
        let path = self.paths.segment(first);
        self.files.write_new(&path, b"", 0o644)?;
        let file = self.files.open_append(&path)?;
        self.open = Some(OpenSegment { file, path, bytes: 0, forgotten_bytes: 0 });
        self.newest.store(first, Ordering::Relaxed);
        Ok(())
    }
}

impl OpenSegment {
    /// Lets the page cache use the pages of durable records for the next ones. Fresh pages cost more than
    /// the copy into them, and the files that others have in the cache stay there.
    fn forget(&mut self) {
        // The last page is still being filled.
        let full = whole_pages(self.bytes);
        let fresh = full.saturating_sub(self.forgotten_bytes);
        if fresh >= FORGET_BYTES
            && let Some(fresh) = NonZeroU64::new(fresh)
        {
            self.file.forget(self.forgotten_bytes, fresh);
            self.forgotten_bytes = full;
        }
    }
}

fn whole_pages(bytes: u64) -> u64 {
    bytes - bytes % PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Leaves;

    /// However much is appended at once, no more is at stake than a crash may damage.
    #[test]
    fn no_append_leaves_more_unsynced_than_recovery_allows_for() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("segments")).unwrap();
        let mut writer =
            SegmentWriter::open(Files::on_host(), &Paths::new(dir.path()), None).unwrap();
        let line = format!("{}\n", "x".repeat(65_535)).into_bytes();
        for lines in [1_u64, 200, 3] {
            let count = usize::try_from(lines).unwrap();
            let ends = (1..=count).map(|line_number| line_number * line.len()).collect();
            let batch =
                Lines { first: 0, bytes: line.repeat(count), ends, leaves: Leaves::default() };
            writer.append(&batch).unwrap();
            assert!(writer.unsynced_bytes <= UNSYNCED_BYTES_MAX, "{}", writer.unsynced_bytes);
        }
        writer.sync().unwrap();
        assert_eq!(writer.unsynced_bytes, 0);
        let path = Paths::new(dir.path()).segment(0);
        assert_eq!(fs::metadata(path).unwrap().len(), 204 * 65_536);
    }
}
