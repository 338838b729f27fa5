//! Block headers: one canonical line each in `blocks.jsonl`.

use graven_record::{Hash, canonical, sha256};
use serde::{Deserialize, Serialize};

/// What is known of a sealed block. The fields stand in canonical order.
///
/// Source: `schemas/format.md`, section 4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockHeader {
    /// RFC 6962 root of this block's leaves alone.
    pub block_root: Hash,
    /// The signed note over `size` and `root`; no part of the header hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Records in the block.
    pub count: u64,
    /// The least `earliest` of its records.
    pub earliest: String,
    /// Leaf index of its first record.
    pub first: u64,
    /// How many of its records are gaps.
    pub gaps: u64,
    /// Leaf hash of its last record.
    pub head: Hash,
    /// 0, 1, 2, …
    pub height: u64,
    /// The greatest `latest` of its records.
    pub latest: String,
    /// Header hash of the block before; at height 0 the SHA-256 of `ledger.json`.
    pub prev: Hash,
    /// RFC 6962 root of the first `size` leaves.
    pub root: Hash,
    /// Leaves in the ledger after this block.
    pub size: u64,
}

impl BlockHeader {
    /// The canonical line, without newline.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data serialises")
    }

    /// The header hash: of the canonical line without `checkpoint`, so a function of the records.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let unsigned = Self { checkpoint: None, ..self.clone() };
        sha256(&unsigned.to_line())
    }

    /// Reads a line of `blocks.jsonl`.
    ///
    /// # Errors
    ///
    /// What is wrong with the line, in words.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        canonical::object(line, |_, _| {}).map_err(|error| error.to_string())?;
        let header: Self = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if header.checkpoint.is_none() {
            return Err("the member `checkpoint` is missing".into());
        }
        Ok(header)
    }
}
