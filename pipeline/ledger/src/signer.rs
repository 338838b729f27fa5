//! The signer: a key, and the memory of what it has signed.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use graven_record::{Hash, Origin, canonical};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::files::{Files, read_if_there};
use crate::{Checkpoint, LedgerError, PrivateKey, VerifierKey};

/// The largest checkpoint that a signer has signed, kept beside its key. Fields in canonical order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerState {
    /// The ledger.
    pub origin: Origin,
    /// Root of its tree.
    pub root: Hash,
    /// Leaves of its tree.
    pub size: u64,
}

/// Signs checkpoints, and nothing that goes back behind the last one.
#[derive(Debug)]
pub struct Signer {
    files: Files,
    key: PrivateKey,
    key_path: PathBuf,
    state: SignerState,
    /// Locked while it lives: two signers of one key could sign two histories.
    _lock: File,
}

impl Signer {
    /// Where the state of the key at `key_path` is kept.
    #[must_use]
    pub fn state_path(key_path: &Path) -> PathBuf {
        let mut path = OsString::from(key_path);
        path.push(".state");
        path.into()
    }

    /// Writes a new key (mode 0600) and the state of an empty ledger beside it.
    pub(crate) fn create(
        files: &Files,
        key: &PrivateKey,
        key_path: &Path,
    ) -> Result<(), LedgerError> {
        let secret = key.to_secret_text();
        let text = Zeroizing::new(format!("{}\n", *secret));
        files.write_new(key_path, text.as_bytes(), 0o600)?;
        let state = SignerState {
            origin: key.verifier().origin().clone(),
            root: crate::Frontier::default().root(),
            size: 0,
        };
        files.write_new(&Self::state_path(key_path), &state.to_bytes(), 0o600)
    }

    /// Reads a key and its state, and keeps other signers of that key away.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Key`] where the key is missing, readable by others or malformed, or where its
    /// state is; [`LedgerError::InUse`] beside another signer.
    pub(crate) fn open(files: &Files, key_path: &Path) -> Result<Self, LedgerError> {
        let files = files.clone();
        let bad = |problem: String| LedgerError::Key { path: key_path.to_owned(), problem };
        let metadata = fs::metadata(key_path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                bad("is missing: name the key that `graven init` made with --key".into())
            }
            _ => LedgerError::io("read", key_path)(error),
        })?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(bad(format!(
                "can be read by others (mode {mode:04o}): run `chmod 600 {}`",
                key_path.display()
            )));
        }
        let mut file = File::open(key_path).map_err(LedgerError::io("open", key_path))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => LedgerError::InUse(key_path.to_owned()),
            TryLockError::Error(error) => LedgerError::io("lock", key_path)(error),
        })?;
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text).map_err(LedgerError::io("read", key_path))?;
        let key: PrivateKey = text.parse().map_err(|error| bad(format!("is {error}")))?;
        let state = Self::read_state(&Self::state_path(key_path))?;
        if state.origin != *key.verifier().origin() {
            return Err(bad(format!(
                "has the signer's state of another ledger, `{}`",
                state.origin
            )));
        }
        Ok(Self { files, key, key_path: key_path.to_owned(), state, _lock: file })
    }

    fn read_state(path: &Path) -> Result<SignerState, LedgerError> {
        let bad =
            |problem: &str| LedgerError::Key { path: path.to_owned(), problem: problem.into() };
        let bytes = read_if_there(path)?.ok_or_else(|| {
            bad("is missing: it holds what the signer has signed; restore it, or write the newest checkpoint known elsewhere into it")
        })?;
        if canonical::object(&bytes, |_, _| {}).is_err() {
            return Err(bad("is not canonical JSON: restore it"));
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| bad(&format!("is malformed ({error}): restore it")))
    }

    /// The public half of the key.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        self.key.verifier()
    }

    /// The largest checkpoint signed so far.
    #[must_use]
    pub fn state(&self) -> &SignerState {
        &self.state
    }

    /// The key file.
    #[must_use]
    pub fn key_path(&self) -> &Path {
        &self.key_path
    }

    /// Remembers a larger checkpoint, then signs it. The same checkpoint may be signed again.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Key`] for a smaller size, or the same size with another root;
    /// [`LedgerError::Io`] if the state could not be made durable. Nothing is signed then.
    pub fn sign(&mut self, size: u64, root: Hash, unix_s: u64) -> Result<String, LedgerError> {
        let same = size == self.state.size && root == self.state.root;
        if !same && size <= self.state.size {
            return Err(LedgerError::Key {
                path: self.key_path.clone(),
                problem: format!(
                    "has signed size {} already and does not go back to size {size}",
                    self.state.size
                ),
            });
        }
        if !same {
            let next = SignerState { root, size, ..self.state.clone() };
            self.files.replace(&Self::state_path(&self.key_path), &next.to_bytes(), 0o600)?;
            self.state = next;
        }
        let origin = self.state.origin.clone();
        Ok(self.key.sign(&Checkpoint { origin, size, root }, unix_s))
    }
}

impl SignerState {
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data serialises")
    }
}
