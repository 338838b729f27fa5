//! The name of a ledger.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A ledger's name, for instance `acme.example/prod/host-7`: the C2SP origin line and the name of
/// its signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Origin(String);

/// Longest origin, in bytes.
const ORIGIN_BYTES_MAX: usize = 255;

/// A text that cannot name a ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot name a ledger: use 1 to 255 bytes without white space, control characters or `+`, \
     for instance `acme.example/prod/host-7`"
)]
pub struct OriginError(String);

impl Origin {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Origin {
    type Error = OriginError;

    /// Applies the rules of C2SP signed-note to key names, and keeps the name apart from the first
    /// line of a cosigned message.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if text.is_empty()
            || text.len() > ORIGIN_BYTES_MAX
            || text.contains(bad)
            || text.starts_with("cosignature/")
        {
            return Err(OriginError(text));
        }
        Ok(Self(text))
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
