//! Durable file operations: each returns when the bytes and their directory entry are synced.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::LedgerError;

/// Creates a directory that only its owner may enter. Its parents must exist.
pub(crate) fn make_dir(path: &Path) -> Result<(), LedgerError> {
    DirBuilder::new().mode(0o700).create(path).map_err(LedgerError::io("create", path))
}

/// Syncs a directory's entries.
pub(crate) fn sync_dir(path: &Path) -> Result<(), LedgerError> {
    let sync = || File::open(path)?.sync_all();
    sync().map_err(LedgerError::io("sync the directory", path))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Creates a file that must not exist.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), LedgerError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(LedgerError::io("create", path))?;
    sync_dir(parent(path))
}

/// Replaces a file's content atomically: temporary file, sync, rename, directory synced.
///
/// # Errors
///
/// [`LedgerError::Io`]; the old content then still stands.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), LedgerError> {
    let mut temporary = OsString::from(path);
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(LedgerError::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(LedgerError::io("replace", path))?;
    sync_dir(parent(path))
}

/// Opens a file for appending; `true` when it was created, which the directory does not know yet.
pub(crate) fn open_append(path: &Path) -> Result<(File, bool), LedgerError> {
    let created = !path.exists();
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o644)
        .open(path)
        .map_err(LedgerError::io("open", path))?;
    Ok((file, created))
}

/// The right to write a ledger; held while it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock at once or not at all.
    pub(crate) fn acquire(path: &Path, ledger: &Path) -> Result<Self, LedgerError> {
        let (file, _) = open_append(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LedgerError::InUse(ledger.to_owned())),
            Err(TryLockError::Error(error)) => Err(LedgerError::io("lock", path)(error)),
        }
    }
}

/// Reads a whole small file; `None` where there is none.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::io("read", path)(error)),
    }
}
