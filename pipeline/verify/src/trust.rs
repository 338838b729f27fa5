//! What the caller brings from outside the ledger.

use std::path::Path;

use graven_ledger::{Checkpoint, KeyParseError, VerifierKey, open_signed};

use crate::{VerifyError, files};

/// The key and the checkpoint from outside, against which a ledger is verified.
///
/// Without a key a ledger can be shown to agree with itself, and no more.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    key: Option<VerifierKey>,
    at_least: Option<Checkpoint>,
}

impl Trust {
    /// Trust in a key.
    #[must_use]
    pub fn in_key(key: VerifierKey) -> Self {
        Self { key: Some(key), at_least: None }
    }

    /// Trust in the key that `text` is, or that the file of that name holds.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Key`] where it is neither; [`VerifyError::Io`] where the file cannot be read.
    pub fn in_key_or_file(text: &str) -> Result<Self, VerifyError> {
        let problem = match text.parse() {
            Ok(key) => return Ok(Self::in_key(key)),
            Err(problem) => problem,
        };
        let path = Path::new(text);
        // A key holds slashes too, so only a file that is there counts as one.
        let Some(bytes) = files::read_small(path)? else {
            return Err(VerifyError::Key(format!(
                "neither a verifier key nor a file that is there: {problem}"
            )));
        };
        // Never the content: by mistake it may be the private key.
        let key = String::from_utf8_lossy(&bytes).trim_end().parse().map_err(
            |problem: KeyParseError| {
                VerifyError::Key(format!("what {} holds is {problem}", path.display()))
            },
        )?;
        Ok(Self::in_key(key))
    }

    /// Demands that the ledger contain the checkpoint of the signed note `note`, of which one
    /// signature of the key is enough.
    ///
    /// # Errors
    ///
    /// [`VerifyError::AtLeast`] where there is no key, or the note is not one that it signed.
    pub fn and_at_least(self, note: &str) -> Result<Self, VerifyError> {
        let Some(key) = &self.key else {
            return Err(VerifyError::AtLeast(
                "a checkpoint shows something only under a key from outside: give --key too".into(),
            ));
        };
        let at_least = open_signed(note, key).map_err(|error| {
            VerifyError::AtLeast(format!(
                "{error}; give a checkpoint of this ledger as its signer made it"
            ))
        })?;
        Ok(Self { at_least: Some(at_least), ..self })
    }

    /// As [`Self::and_at_least`], with the note in the file at `path`.
    ///
    /// # Errors
    ///
    /// [`VerifyError::AtLeast`], [`VerifyError::Io`].
    pub fn and_at_least_file(self, path: &Path) -> Result<Self, VerifyError> {
        let bytes = files::read_small(path)?
            .ok_or_else(|| VerifyError::AtLeast(format!("there is no file {}", path.display())))?;
        let note = String::from_utf8(bytes)
            .map_err(|_| VerifyError::AtLeast(format!("{} is no text", path.display())))?;
        self.and_at_least(&note)
    }

    /// The key, where one was given.
    #[must_use]
    pub fn key(&self) -> Option<&VerifierKey> {
        self.key.as_ref()
    }

    /// The checkpoint that the ledger must contain, where one was given.
    #[must_use]
    pub fn at_least(&self) -> Option<&Checkpoint> {
        self.at_least.as_ref()
    }
}
