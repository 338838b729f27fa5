//! Durable file operations: each returns when the bytes and their directory entry are synced.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::LedgerError;
use crate::disk::{Disk, DiskFile, HostDisk, Opening};

/// The files of a disk, with errors that name them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Files(Arc<dyn Disk>);

impl Files {
    pub(crate) fn on(disk: Arc<dyn Disk>) -> Self {
        Self(disk)
    }

    pub(crate) fn on_host() -> Self {
        Self(Arc::new(HostDisk))
    }

    /// Creates a directory that only its owner may enter. Its parents must exist.
    pub(crate) fn make_dir(&self, path: &Path) -> Result<(), LedgerError> {
        self.0.make_dir(path, 0o700).map_err(LedgerError::io("create", path))
    }

    /// Syncs a directory's entries.
    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), LedgerError> {
        self.0.sync_dir(path).map_err(LedgerError::io("sync the directory", path))
    }

    /// Creates a file that must not exist.
    pub(crate) fn write_new(
        &self,
        path: &Path,
        bytes: &[u8],
        mode: u32,
    ) -> Result<(), LedgerError> {
        self.write(path, Opening::New, bytes, mode).map_err(LedgerError::io("create", path))?;
        self.sync_dir(parent(path))
    }

    /// Replaces a file's content atomically: temporary file, sync, rename, directory synced.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), LedgerError> {
        let mut temporary = OsString::from(path);
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        self.write(&temporary, Opening::Emptied, bytes, mode)
            .map_err(LedgerError::io("write", &temporary))?;
        self.rename(&temporary, path)?;
        self.sync_dir(parent(path))
    }

    fn write(&self, path: &Path, opening: Opening, bytes: &[u8], mode: u32) -> io::Result<()> {
        let mut file = self.0.open(path, opening, mode)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Opens a file for appending; `true` when it was created, which the directory does not know yet.
    pub(crate) fn open_append(
        &self,
        path: &Path,
    ) -> Result<(Box<dyn DiskFile>, bool), LedgerError> {
        let created = !path.exists();
        let file =
            self.0.open(path, Opening::Append, 0o644).map_err(LedgerError::io("open", path))?;
        Ok((file, created))
    }

    /// Opens a file that is to be written anew.
    pub(crate) fn open_emptied(&self, path: &Path) -> Result<Box<dyn DiskFile>, LedgerError> {
        self.0.open(path, Opening::Emptied, 0o644).map_err(LedgerError::io("create", path))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), LedgerError> {
        self.0.rename(from, to).map_err(LedgerError::io("replace", to))
    }

    /// Gives a file a second name; false where there is a file of that name.
    pub(crate) fn hard_link(&self, file: &Path, name: &Path) -> Result<bool, LedgerError> {
        match self.0.hard_link(file, name) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(LedgerError::io("give a second name to", file)(error)),
        }
    }

    /// Removes a file; there may be none.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), LedgerError> {
        match self.0.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LedgerError::io("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn set_mode(&self, path: &Path, mode: u32) -> Result<(), LedgerError> {
        self.0.set_mode(path, mode).map_err(LedgerError::io("set the mode of", path))
    }

    /// Opens a file so that reads come from the disk: what the page cache holds may be what a failed
    /// write left there.
    pub(crate) fn open_past_the_cache(&self, path: &Path) -> Result<File, LedgerError> {
        self.0.evict(path).and_then(|()| File::open(path)).map_err(LedgerError::io("open", path))
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Replaces a file's content atomically: temporary file, sync, rename, directory synced.
///
/// # Errors
///
/// [`LedgerError::Io`]; the old content then still stands.
pub fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), LedgerError> {
    Files::on_host().replace(path, bytes, mode)
}

/// The right to write a ledger; held while it lives. The lock is the kernel's, so no disk is asked.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock at once or not at all.
    pub(crate) fn acquire(path: &Path, ledger: &Path) -> Result<Self, LedgerError> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .open(path)
            .map_err(LedgerError::io("open", path))?;
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
