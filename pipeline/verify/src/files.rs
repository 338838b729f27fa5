//! Reading what may be anything: bounded, and never waiting for a pipe.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use graven_record::Hash;
use sha2::{Digest as _, Sha256};

use crate::VerifyError;

/// Longest small file, and longest line of `blocks.jsonl`, in bytes: far above any real one.
pub(crate) const SMALL_BYTES_MAX: usize = 1 << 20;

/// Opens a regular file; `None` where there is nothing of that name.
pub(crate) fn open(path: &Path) -> Result<Option<File>, VerifyError> {
    let open = || {
        // Asked first: opening a pipe would wait for its other end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        File::open(path)
    };
    match open() {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(VerifyError::io("open", path)(error)),
    }
}

/// Opens a file that must be there.
pub(crate) fn open_known(path: &Path) -> Result<File, VerifyError> {
    open(path)?.ok_or_else(|| VerifyError::io("open", path)(io::ErrorKind::NotFound.into()))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Reads a small file, and of a larger one a byte more than is allowed; `None` where there is none.
pub(crate) fn read_small(path: &Path) -> Result<Option<Vec<u8>>, VerifyError> {
    let Some(file) = open(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(SMALL_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(VerifyError::io("read", path))?;
    Ok(Some(bytes))
}

/// Length of a file in bytes; 0 where there is none.
pub(crate) fn length(path: &Path) -> Result<u64, VerifyError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if is_absent(&error) => Ok(0),
        Err(error) => Err(VerifyError::io("read", path)(error)),
    }
}

/// The names in a directory, sorted; none where it is missing.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, VerifyError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(VerifyError::io("list", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(VerifyError::io("list", dir))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Length and SHA-256 of a file's bytes from `offset` on.
pub(crate) fn digest_from(path: &Path, offset: u64) -> Result<(u64, Hash), VerifyError> {
    let mut file = open_known(path)?;
    let mut digest = || {
        file.seek(SeekFrom::Start(offset))?;
        let (mut bytes, mut digest) = (0, Sha256::new());
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => return Ok((bytes, Hash(digest.finalize().into()))),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            digest.update(&buffer[..read]);
            bytes += read as u64;
        }
    };
    digest().map_err(VerifyError::io("read", path))
}
