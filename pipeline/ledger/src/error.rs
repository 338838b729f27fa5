//! What can go wrong with a ledger, sorted by what the caller should do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A failure to open, read or write a ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The evidence is damaged where no crash can damage it. Stop; keep a copy; verify.
    #[error(
        "{}{}{}: {problem}; keep a copy of the ledger and run `graven verify`",
        path.display(),
        at_byte.map(|at| format!(", byte {at}")).unwrap_or_default(),
        record.map(|seq| format!(", record {seq}")).unwrap_or_default(),
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Offset in it, where known.
        at_byte: Option<u64>,
        /// Leaf index, where known.
        record: Option<u64>,
        /// What is wrong.
        problem: String,
    },
    /// The ledger ends before what its signer has signed: an old copy, or a cut.
    #[error(
        "the signer beside `{}` has signed {signed} records, but {} holds {standing}: an older copy was \
         restored or records were removed; restore the newest copy",
        key.display(), dir.display()
    )]
    GoneBack {
        /// The ledger.
        dir: PathBuf,
        /// The key file.
        key: PathBuf,
        /// Size of the newest signed checkpoint.
        signed: u64,
        /// Records that stand.
        standing: u64,
    },
    /// The record does not stand in the ledger any more.
    #[error(
        "record {record} is not in the ledger any more: its records begin with {begins}; `graven verify` tells \
         whether those before were released"
    )]
    Released {
        /// Leaf index of the record.
        record: u64,
        /// Leaf index of the first record that stands.
        begins: u64,
    },
    /// Another process writes this ledger.
    #[error("{} is in use by another process: wait for it to end, or stop it", .0.display())]
    InUse(PathBuf),
    /// There is no ledger in the directory.
    #[error("{} is not a ledger: make one with `graven init {}`", .0.display(), .0.display())]
    NotALedger(PathBuf),
    /// There is something where the ledger should be made.
    #[error("{} already exists: choose a directory that does not", .0.display())]
    Exists(PathBuf),
    /// The key file cannot be used.
    #[error("the key file {} {problem}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The file is another user's. Run as that one.
    #[error("you may not {operation} {}: run it with sudo, or as its owner", path.display())]
    NotPermitted {
        /// What was attempted.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
    },
    /// The operating system refused.
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

impl LedgerError {
    /// An [`LedgerError::Io`] or [`LedgerError::NotPermitted`] maker for `map_err`.
    pub fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { operation, path },
            _ => Self::Io { operation, path, source },
        }
    }

    /// An [`LedgerError::Corrupt`] of a whole file.
    pub fn corrupt(path: &Path, problem: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            at_byte: None,
            record: None,
            problem: problem.into(),
        }
    }
}
