//! Why there is no verdict, sorted by what the caller should do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A ledger could not be verified. What is wrong with a ledger is never an error: it stands in the
/// [`crate::Report`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no ledger in the directory: name another one.
    #[error("{} is not a ledger: there is no ledger.json in it", .0.display())]
    NotALedger(PathBuf),
    /// The key cannot be used: give another one.
    #[error("--key: {0}")]
    Key(String),
    /// The checkpoint from outside cannot be used: give another one.
    #[error("--at-least: {0}")]
    AtLeast(String),
    /// The ledger is another user's: run as that one.
    #[error("you may not {operation} {}: run it with sudo, or as its owner", path.display())]
    NotPermitted {
        /// What was attempted.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
    },
    /// The operating system refused. This says nothing about the ledger: try again.
    #[error("failed to {operation} {}", path.display())]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl VerifyError {
    /// An [`VerifyError::Io`] or [`VerifyError::NotPermitted`] maker for `map_err`.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { operation, path },
            _ => Self::Io { operation, path, source },
        }
    }

    /// The exit code: 2 for a usage error, 3 for an I/O error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotALedger(_) | Self::Key(_) | Self::AtLeast(_) => 2,
            Self::NotPermitted { .. } | Self::Io { .. } => 3,
        }
    }
}
