//! Making a ledger: its directory, its key, and the first public file.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_record::Origin;
use zeroize::Zeroizing;

use crate::disk::{Disk, HostDisk};
use crate::files::Files;
use crate::{LedgerError, LedgerInfo, Paths, PrivateKey, Signer, VerifierKey};

/// What [`create`] made.
#[derive(Debug)]
pub struct Created {
    /// Content of `ledger.json`.
    pub info: LedgerInfo,
    /// The private key's file.
    pub key_path: PathBuf,
    /// The file with the verifier key, to be given away.
    pub verifier_path: PathBuf,
    /// That key.
    pub verifier: VerifierKey,
}

/// Makes an empty ledger in `dir`, which must not exist, and its key at `key_path`, which must lie
/// outside. `created` is the time for `ledger.json`.
///
/// # Errors
///
/// [`LedgerError::Exists`] if any of the files exists; [`LedgerError::Key`] if the key would lie in
/// the ledger; [`LedgerError::Io`].
pub fn create(
    dir: &Path,
    key_path: &Path,
    origin: Origin,
    created: String,
) -> Result<Created, LedgerError> {
    create_on(Arc::new(HostDisk), dir, key_path, origin, created)
}

/// As [`create`], on a disk of the caller's.
///
/// # Errors
///
/// Those of [`create`].
pub fn create_on(
    disk: Arc<dyn Disk>,
    dir: &Path,
    key_path: &Path,
    origin: Origin,
    created: String,
) -> Result<Created, LedgerError> {
    let files = Files::on(disk);
    let verifier_path = with_suffix(dir, ".vkey");
    for path in [dir, key_path, &verifier_path, &Signer::state_path(key_path)] {
        if path.exists() {
            return Err(LedgerError::Exists(path.to_owned()));
        }
    }
    if std::path::absolute(key_path)
        .ok()
        .zip(std::path::absolute(dir).ok())
        .is_some_and(|(key, dir)| key.starts_with(dir))
    {
        return Err(LedgerError::Key {
            path: key_path.to_owned(),
            problem: "would lie inside the ledger: whoever copies the ledger must not get the key"
                .into(),
        });
    }
    let mut seed = Zeroizing::new([0; 32]);
    let mut id = [0; 16];
    for bytes in [&mut seed[..], &mut id[..]] {
        getrandom::fill(bytes).map_err(|error| LedgerError::Io {
            operation: "draw randomness for",
            path: key_path.to_owned(),
            source: error.into(),
        })?;
    }
    let key = PrivateKey::from_seed(origin.clone(), &seed);
    let verifier = key.verifier();
    let info = LedgerInfo { created, id: hex::encode(id), key: verifier.to_string(), origin };

    let paths = Paths::new(dir);
    files.make_dir(dir)?;
    for sub in [paths.segments(), paths.tiles(), paths.torn()] {
        files.make_dir(&sub)?;
    }
    Signer::create(&files, &key, key_path)?;
    files.write_new(&verifier_path, format!("{verifier}\n").as_bytes(), 0o644)?;
    // Last: a directory with this file is a ledger.
    files.write_new(&paths.info(), &info.to_bytes(), 0o444)?;
    let dir = fs::canonicalize(dir).map_err(LedgerError::io("find", dir))?;
    files.sync_dir(dir.parent().unwrap_or(&dir))?;
    Ok(Created { info, key_path: key_path.to_owned(), verifier_path, verifier })
}

/// `path` with `suffix` appended to its last part.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    // Through components, so that a trailing slash does not hide the name.
    let mut name = OsString::from(path.components().as_path());
    name.push(suffix);
    name.into()
}
