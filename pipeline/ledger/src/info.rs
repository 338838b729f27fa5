//! `ledger.json`: what a ledger is, written once.

use graven_record::{Hash, Origin, canonical, sha256};
use serde::{Deserialize, Serialize};

use crate::VerifierKey;

/// The content of `ledger.json`. The fields stand in canonical order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerInfo {
    /// When the ledger was made.
    pub created: String,
    /// 32 random hexadecimal digits.
    pub id: String,
    /// The first verifier key.
    pub key: String,
    /// The ledger's name.
    pub origin: Origin,
}

impl LedgerInfo {
    /// The file's bytes: canonical JSON without a final newline.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data serialises")
    }

    /// Reads the file's bytes; gives the content and its SHA-256, the `prev` of record 0.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Hash), String> {
        canonical::object(bytes, |_, _| {}).map_err(|error| error.to_string())?;
        let info: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let key = info.verifier_key()?;
        if *key.origin() != info.origin {
            return Err(format!("its key is of `{}`, not of `{}`", key.origin(), info.origin));
        }
        Ok((info, sha256(bytes)))
    }

    /// The first verifier key, read.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn verifier_key(&self) -> Result<VerifierKey, String> {
        self.key.parse().map_err(|error: crate::KeyParseError| error.to_string())
    }
}
