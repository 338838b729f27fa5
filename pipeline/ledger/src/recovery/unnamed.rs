//! What recoveries did that no sealed record names yet: the file `recovering`.
//!
//! A recovery sets bytes aside before any record can say so, and may be the last thing that its process
//! does. So it first writes down what it is about to do, and whoever opens the ledger next reads that.

use graven_record::{Canonical as _, Hash, Value};
use serde::{Deserialize, Serialize};

use super::Recovery;
use crate::LedgerError;
use crate::files::read_if_there;

/// `action` of the record that names what a recovery did.
pub const RECOVERED: &str = "recovery.completed";

/// What recovery did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovered {
    /// Index of the first unsealed record.
    pub first: u64,
    /// Unsealed records that stand and were copied.
    pub copied: u64,
    /// Bytes behind them that are no records.
    pub damaged: Option<Damage>,
}

/// Bytes at the end of a segment that are no records. The cause is not claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Damage {
    /// The segment's name when recovery met it.
    pub segment: String,
    /// Offset of the first such byte.
    pub offset_bytes: u64,
    /// How many.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Hash,
}

impl Recovered {
    /// The `detail` of the `recovery.completed` that names it. Source: `schemas/format.md`, section 1.2.
    #[must_use]
    pub fn detail(&self) -> Value {
        let damaged = self.damaged.as_ref().map(|damage| {
            Value::object([
                ("bytes", damage.bytes.into()),
                ("offset", damage.offset_bytes.into()),
                ("segment", damage.segment.as_str().into()),
                ("sha256", damage.sha256.to_string().into()),
            ])
        });
        let copied = [("count", self.copied.into()), ("first", self.first.into())];
        Value::object([("copied", Value::object(copied)), ("damaged", damaged.into())])
    }
}

impl Recovery {
    /// What is still to be named, this recovery's own part last; durable before anything is set aside.
    ///
    /// `named` are the details of the standing records that name recoveries: of those behind the base, for with
    /// the block that named them sealed, the others are not in the file any more.
    pub(super) fn remember(
        &self,
        found: Option<Recovered>,
        named: &[Vec<u8>],
    ) -> Result<Vec<Recovered>, LedgerError> {
        let path = self.paths.recovering();
        let known: Vec<Recovered> = match read_if_there(&path)? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                // What it says is said nowhere else, so it is not passed over.
                LedgerError::corrupt(
                    &path,
                    format!("malformed ({error}); without it recovery goes on"),
                )
            })?,
            None => Vec::new(),
        };
        let mut unnamed = known.clone();
        unnamed.retain(|it| !named.contains(&it.detail().to_canonical()));
        // Where the recovery before broke off early, this one finds what that one found.
        unnamed.extend(found.filter(|it| !known.contains(it)));
        if unnamed != known {
            let bytes = serde_json::to_vec(&unnamed).expect("plain data serialises");
            self.files.replace(&path, &bytes, 0o644)?;
        }
        Ok(unnamed)
    }
}
