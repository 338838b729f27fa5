//! Segments: the files that hold the records.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::{LedgerError, Lines, Paths, files};

/// Size at which a segment is closed, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 256 << 20;

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
        let first = path.file_name().and_then(|name| name.to_str()).and_then(first_of);
        segments.extend(first.map(|first| SegmentFile { first, path }));
    }
    segments.sort_unstable_by_key(|segment| segment.first);
    Ok(segments)
}

/// Reads a segment's name: 20 digits and `.jsonl`.
fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".jsonl")?;
    let plain = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Appends records. After a failed write or sync it refuses everything: the page cache may say yes
/// to what the disk lost.
#[derive(Debug)]
pub struct SegmentWriter {
    paths: Paths,
    bytes_max: u64,
    open: Option<OpenSegment>,
    poisoned: bool,
}

#[derive(Debug)]
struct OpenSegment {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl SegmentWriter {
    /// A writer that goes on in the segment `last`, or makes the first one when it is needed.
    pub(crate) fn open(paths: &Paths, last: Option<&SegmentFile>) -> Result<Self, LedgerError> {
        let open = match last {
            None => None,
            Some(segment) => {
                let path = segment.path.clone();
                let (file, _) = files::open_append(&path)?;
                let bytes = file.metadata().map_err(LedgerError::io("read", &path))?.len();
                Some(OpenSegment { file, path, bytes })
            }
        };
        let (paths, bytes_max) = (paths.clone(), SEGMENT_BYTES_MAX);
        Ok(Self { paths, bytes_max, open, poisoned: false })
    }

    /// Closes segments at another size than [`SEGMENT_BYTES_MAX`].
    #[must_use]
    pub fn with_bytes_max(self, bytes_max: u64) -> Self {
        Self { bytes_max, ..self }
    }

    /// Writes records behind the last ones. They are not durable before [`Self::sync`].
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
        self.guarded(|writer| match &writer.open {
            Some(open) => open.file.sync_data().map_err(LedgerError::io("sync", &open.path)),
            None => Ok(()),
        })
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
        if let Some(open) = &mut self.open {
            open.file.write_all(&lines.bytes).map_err(LedgerError::io("write", &open.path))?;
            open.bytes += lines.bytes.len() as u64;
        }
        Ok(())
    }

    /// Begins the next segment, and closes the open one, which becomes read-only. In this order: a crash in
    /// between leaves a last segment that can be written.
    fn roll(&mut self, first: u64) -> Result<(), LedgerError> {
        let closed = self.open.take();
        if let Some(closed) = &closed {
            closed.file.sync_all().map_err(LedgerError::io("sync", &closed.path))?;
        }
        let path = self.paths.segment(first);
        files::write_new(&path, b"", 0o644)?;
        let (file, _) = files::open_append(&path)?;
        self.open = Some(OpenSegment { file, path, bytes: 0 });
        closed.map_or(Ok(()), |closed| close(&closed.path))
    }
}

/// Marks a segment as finished: mode 0444.
pub(crate) fn close(path: &std::path::Path) -> Result<(), LedgerError> {
    fs::set_permissions(path, Permissions::from_mode(0o444)).map_err(LedgerError::io("close", path))
}
