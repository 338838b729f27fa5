//! The segments of a ledger, and which records stand in each.

use std::path::PathBuf;

use graven_ledger::{Paths, UNSYNCED_BYTES_MAX, list_segments};

use crate::{VerifyError, files};

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Leaf index of its first record.
    pub(crate) first: u64,
    /// The record before which it ends: where the next one's name begins.
    pub(crate) end: u64,
    /// The file.
    pub(crate) path: PathBuf,
    /// The file, relative to the ledger.
    pub(crate) name: String,
    /// Bytes in it when the verification began.
    pub(crate) bytes: u64,
    /// True for the last segment, the only one that a crash can damage.
    pub(crate) is_last: bool,
}

impl Segment {
    /// True where a crash can have damaged what begins at `at_byte`, if it is not sealed.
    pub(crate) fn is_unsynced(&self, at_byte: u64) -> bool {
        self.is_last && at_byte >= self.bytes.saturating_sub(UNSYNCED_BYTES_MAX)
    }
}

/// The segments in order.
pub(crate) fn read(paths: &Paths) -> Result<Vec<Segment>, VerifyError> {
    // A ledger that lost the directory has lost its records, which is a fault and no I/O error.
    if !paths.segments().is_dir() {
        return Ok(Vec::new());
    }
    let files = list_segments(paths).map_err(|error| match error {
        graven_ledger::LedgerError::Io { operation, path, source } => {
            VerifyError::Io { operation, path, source }
        }
        graven_ledger::LedgerError::NotPermitted { operation, path } => {
            VerifyError::NotPermitted { operation, path }
        }
        other => VerifyError::io("list", &paths.segments())(std::io::Error::other(other)),
    })?;
    let ends: Vec<_> = files.iter().skip(1).map(|next| Some(next.first)).collect();
    let ends = ends.into_iter().chain([None]);
    let mut segments = Vec::new();
    for (file, next) in files.into_iter().zip(ends) {
        let name = file.path.file_name().unwrap_or_default();
        segments.push(Segment {
            first: file.first,
            end: next.unwrap_or(u64::MAX),
            name: format!("segments/{}", name.to_string_lossy()),
            bytes: files::length(&file.path)?,
            path: file.path,
            is_last: next.is_none(),
        });
    }
    Ok(segments)
}
