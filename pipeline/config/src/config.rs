//! The settings once they are checked: plain values that need no second look.

use std::net::SocketAddr;
use std::path::PathBuf;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use graven_record::{Canonical as _, Hash, Value, sha256};
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// The settings of a daemon.
///
/// Everything that is a set is sorted, so that the order in which a file names things changes nothing, not
/// even the hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Config {
    /// How the daemon is spoken to.
    pub control: Control,
    /// Where metrics are served, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// The ledgers by name: 1 to [`crate::limits::LEDGERS_MAX`].
    #[serde(rename = "ledger")]
    pub ledgers: Vec<Ledger>,
}

/// How the daemon is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Control {
    /// The Unix socket; absolute.
    pub socket: PathBuf,
}

/// Where metrics are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// A loopback address with a port.
    pub listen: SocketAddr,
}

/// One ledger, which is one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ledger {
    /// Unique name.
    pub name: String,
    /// The directory; absolute.
    pub dir: PathBuf,
    /// The private key's file; absolute and outside every ledger.
    pub key: PathBuf,
    /// A file with a second copy; absolute and outside every ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<PathBuf>,
    /// Seconds between two heartbeats.
    pub heartbeat_s: u64,
    /// Age at which a block is sealed, in milliseconds.
    pub block_ms_max: u64,
    /// Raw bytes that may be on their way at once.
    pub budget_bytes: usize,
    /// What it may use of its disk.
    #[serde(skip_serializing_if = "Budget::is_unlimited")]
    pub budget: Budget,
    /// Size at which a segment is closed, in bytes.
    #[serde(skip_serializing_if = "is_usual_segment")]
    pub segment_bytes: u64,
    /// When old segments are released; `None`: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// Size of the ring in bytes, a power of two.
    pub ring_bytes: u32,
    /// Whether sealed segments are held by file attributes.
    pub worm: Worm,
    /// Admitted fields of an event's payload, sorted.
    pub payload_fields: Vec<String>,
    /// What is watched, by agent; none: application events only.
    #[serde(rename = "watch")]
    pub watches: Vec<Watch>,
}

/// What a ledger may use of its disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Budget {
    /// Bytes that its directory may hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// Bytes that stay free on its file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes_min: Option<u64>,
}

impl Budget {
    fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

// Skipped where it is the default, so that settings which say nothing of it keep the hash that they had.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_usual_segment(bytes: &u64) -> bool {
    *bytes == crate::limits::SEGMENT_BYTES
}

/// When old segments are released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Release {
    /// How long every record stays in the ledger at least.
    #[serde(serialize_with = "as_text")]
    pub retention: SignedDuration,
    /// Sinks that must hold a segment first, sorted; none: no copy is asked for.
    pub required_sinks: Vec<String>,
    /// That none is required is meant so.
    pub without_copy: bool,
}

impl Release {
    /// The retention in whole seconds.
    #[must_use]
    pub fn retention_s(&self) -> u64 {
        self.retention.as_secs().unsigned_abs()
    }
}

/// ISO 8601, in one spelling.
fn as_text<S: Serializer>(duration: &SignedDuration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(duration)
}

/// One agent, and where its processes are found. All lists are sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Watch {
    /// The actor's name on the record.
    pub agent: String,
    /// Cgroups as in `/proc/self/cgroup`, with all that is below.
    pub cgroups: Vec<String>,
    /// Systemd units.
    pub units: Vec<String>,
    /// Programs; absolute paths of at most [`crate::limits::EXECUTABLE_BYTES_MAX`] bytes.
    pub executables: Vec<PathBuf>,
    /// The calls that are recorded.
    pub syscalls: Syscalls,
    /// Cgroups whose calls are only counted, with all that is below.
    pub exclude_cgroups: Vec<String>,
    /// Globs of paths on which calls are only counted; see [`Self::excluded_paths`].
    pub exclude_paths: Vec<String>,
    /// Environment variables whose values are put on record.
    pub exec_env: Vec<String>,
}

/// The system calls that are recorded; the others are counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Syscalls {
    /// Every call.
    #[default]
    All,
    /// Every call that changes something, crosses a boundary, or begins or ends something.
    Security,
    /// The calls of these names (x86-64), sorted.
    #[serde(untagged)]
    Only(#[schemars(length(min = 1, max = crate::limits::LIST_MAX))] Vec<String>),
}

/// Whether sealed segments are held by file attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Worm {
    /// Where the file system and the daemon's rights allow it.
    #[default]
    Auto,
    /// Without them the daemon does not start.
    Required,
    /// They are not.
    Off,
}

impl Config {
    /// The effective settings, defaults filled in, under the file's own keys.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("strings, numbers and lists serialise")
    }

    /// The effective settings as RFC 8785 canonical bytes.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("strings, numbers and lists serialise");
        let value = Value::parse(&json).expect("its numbers are within 2^53, its keys differ");
        value.to_canonical()
    }

    /// SHA-256 of [`Self::to_canonical`]: the same for all files that say the same.
    #[must_use]
    pub fn sha256(&self) -> Hash {
        sha256(&self.to_canonical())
    }
}

impl Watch {
    /// What [`Self::exclude_paths`] matches: `*` and `?` stop at a slash, `**` does not.
    ///
    /// # Errors
    ///
    /// None for checked settings.
    pub fn excluded_paths(&self) -> Result<GlobSet, globset::Error> {
        excluded(&self.exclude_paths)
    }
}

/// What any of `globs` matches: `*` and `?` stop at a slash, `**` does not.
///
/// # Errors
///
/// None for globs that [`crate::path_glob`] has let pass.
pub fn excluded(globs: &[impl AsRef<str>]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(GlobBuilder::new(glob.as_ref()).literal_separator(true).build()?);
    }
    set.build()
}
