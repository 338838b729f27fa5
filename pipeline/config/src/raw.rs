//! The file as it stands: each key with its type, range and default.
//!
//! The JSON Schema is derived from these types, and [`crate::shape`] holds the file against it. What must
//! be there is an `Option` here: when it is missing that has been reported, and the rest is still judged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Syscalls, Worm};
use crate::limits::{
    BLOCK_MS_LEAST, BLOCK_MS_MAX, BLOCK_MS_MOST, BUDGET_BYTES, BUDGET_BYTES_MAX, BUDGET_BYTES_MIN,
    DISK_BYTES_MAX, EXEC_ENV, HEARTBEAT_S, HEARTBEAT_S_MAX, LEDGERS_MAX, LIST_MAX, RING_BYTES,
    RING_BYTES_MAX, RING_BYTES_MIN, SEGMENT_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SOCKET,
    WATCHES_MAX,
};

/// Settings of the Graven daemon, in TOML.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Graven daemon")]
pub(crate) struct RawConfig {
    /// How the daemon is spoken to.
    #[serde(default)]
    pub(crate) control: RawControl,
    /// Prometheus metrics. Without this section there are none, and no port is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawMetrics")]
    pub(crate) metrics: Option<RawMetrics>,
    /// The ledgers, one for each tenant. Up to 32, with up to 64 watches together.
    #[schemars(required, length(min = 1, max = LEDGERS_MAX))]
    pub(crate) ledger: Option<Vec<RawLedger>>,
}

/// How the daemon is spoken to.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawControl {
    /// Unix socket on which the daemon takes commands and events. Absolute, at most 107 bytes.
    #[serde(default = "socket")]
    pub(crate) socket: String,
}

/// Prometheus metrics.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMetrics {
    /// Address and port of `/metrics`, for instance `127.0.0.1:9464`. Only a loopback address: the figures
    /// tell what the agents are doing, and nobody is asked for a password.
    #[schemars(required)]
    pub(crate) listen: Option<String>,
}

/// One ledger.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLedger {
    /// The tenant's name: lower-case letters, digits and `-`, unique, at most 64 bytes.
    #[schemars(required)]
    pub(crate) name: Option<String>,
    /// Directory of the ledger; absolute. Made by `graven init`, never implicitly. No two ledgers share one,
    /// and none lies in another.
    #[schemars(required)]
    pub(crate) dir: Option<String>,
    /// The ledger's private key; absolute, outside every ledger, one for each. Default: `dir` and `.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) key: Option<String>,
    /// A second copy of the records, at best on another disk; absolute, outside every ledger. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) mirror: Option<String>,
    /// Seconds between two heartbeat records.
    #[serde(default = "heartbeat_s")]
    #[schemars(range(min = 1, max = HEARTBEAT_S_MAX))]
    pub(crate) heartbeat_s: u64,
    /// Age at which a block is sealed and signed, in milliseconds.
    #[serde(default = "block_ms_max")]
    #[schemars(range(min = BLOCK_MS_LEAST, max = BLOCK_MS_MOST))]
    pub(crate) block_ms_max: u64,
    /// Raw bytes that may be on their way to the disk at once; some six times as much memory at most.
    #[serde(default = "budget_bytes")]
    #[schemars(range(min = BUDGET_BYTES_MIN, max = BUDGET_BYTES_MAX))]
    pub(crate) budget_bytes: usize,
    /// What the ledger may use of its disk. Where it comes near, sources are slowed down; at the limit they wait,
    /// and what the kernel's ring cannot hold meanwhile is lost, and counted.
    #[serde(default)]
    pub(crate) budget: RawBudget,
    /// Size at which a segment is closed, in bytes: what is released is released by the segment.
    #[serde(default = "segment_bytes")]
    #[schemars(range(min = SEGMENT_BYTES_MIN, max = SEGMENT_BYTES_MAX))]
    pub(crate) segment_bytes: u64,
    /// When old segments are taken out of the ledger. Without `retention`: never.
    #[serde(default)]
    pub(crate) release: RawRelease,
    /// Size of the ring between kernel and daemon, in bytes; a power of two. A larger one bridges longer
    /// stalls of the disk.
    #[serde(default = "ring_bytes")]
    #[schemars(range(min = RING_BYTES_MIN, max = RING_BYTES_MAX))]
    pub(crate) ring_bytes: u32,
    /// Whether sealed segments are made append-only, and closed ones immutable, by file attributes that the daemon
    /// itself cannot lift: `"auto"`: where the file system and the rights allow it; `"required"`: or it does not
    /// start; `"off"`. Remove such a ledger with `chattr -R -i -a DIR` first.
    #[serde(default)]
    pub(crate) worm: Worm,
    /// Fields admitted in `payload.before` and `payload.after` of application events. What is not listed
    /// has no place to land in.
    #[serde(default)]
    #[schemars(length(max = LIST_MAX))]
    pub(crate) payload_fields: Vec<String>,
    /// What is watched. Without a watch the ledger takes application events only.
    #[serde(default)]
    #[schemars(length(max = WATCHES_MAX))]
    pub(crate) watch: Vec<RawWatch>,
}

/// What a ledger may use of its disk.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawBudget {
    /// Bytes that the ledger's directory may hold; 0: no limit, else at least 16 MiB. Sources are slowed down from
    /// nine tenths on; the last hundredth, at least 1 MiB, is for Graven's own records.
    #[serde(default)]
    #[schemars(range(max = DISK_BYTES_MAX))]
    pub(crate) bytes_max: u64,
    /// Bytes that stay free on the ledger's file system, whoever uses them; 0: no limit. Sources are slowed down
    /// when no more than a tenth of it is free beside it.
    #[serde(default)]
    #[schemars(range(max = DISK_BYTES_MAX))]
    pub(crate) free_bytes_min: u64,
}

/// When old segments are taken out of a ledger: first a record that says so, then the file. Their leaf hashes stay.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRelease {
    /// How long every record stays in the ledger at least: an ISO 8601 duration of days, hours, minutes and
    /// seconds, for instance `P7D`. Default: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) retention: Option<String>,
    /// Sinks that must hold a segment before it is released: `"mirror"`.
    #[serde(default)]
    #[schemars(length(max = LIST_MAX))]
    pub(crate) required_sinks: Vec<String>,
    /// Release though no sink is required: what is released is then gone.
    #[serde(default)]
    pub(crate) without_copy: bool,
}

/// One agent, and where its processes are found: by cgroups, units or executables, at least one of them.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawWatch {
    /// The actor's name on the record; unique within the ledger, at most 64 bytes.
    #[schemars(required)]
    pub(crate) agent: Option<String>,
    /// Cgroups as in `/proc/self/cgroup`, each with all that is below it.
    #[serde(default)]
    #[schemars(length(max = LIST_MAX))]
    pub(crate) cgroups: Vec<String>,
    /// Systemd units, wherever they are in the hierarchy, also when they start later.
    #[serde(default)]
    #[schemars(length(max = LIST_MAX))]
    pub(crate) units: Vec<String>,
    /// Programs: whoever executes one is watched from then on, with all descendants. Absolute, without
    /// symbolic links, at most 255 bytes.
    #[serde(default)]
    #[schemars(length(max = LIST_MAX))]
    pub(crate) executables: Vec<String>,
    /// The system calls that are recorded: `"all"`, `"security"` (all that change something, cross a boundary,
    /// begin or end something), or a list of names. The others are counted on the record. The beginning and
    /// the end of a process, and 32-bit calls, are always recorded.
    #[serde(default)]
    pub(crate) syscalls: Syscalls,
    /// Cgroups whose calls are counted, not recorded, each with all that is below it.
    #[serde(default)]
    #[schemars(length(max = LIST_MAX))]
    pub(crate) exclude_cgroups: Vec<String>,
    /// Globs of absolute paths; a call on such a path is counted, not recorded. `*` stops at `/`, `**` does not.
    #[serde(default)]
    #[schemars(length(max = LIST_MAX))]
    pub(crate) exclude_paths: Vec<String>,
    /// Environment variables whose values are put on record when a program is executed. The default are those
    /// that change which code runs. Never name a secret: a ledger cannot forget.
    #[serde(default = "exec_env")]
    #[schemars(length(max = LIST_MAX))]
    pub(crate) exec_env: Vec<String>,
}

impl Default for RawControl {
    fn default() -> Self {
        Self { socket: socket() }
    }
}

fn socket() -> String {
    SOCKET.to_owned()
}

const fn heartbeat_s() -> u64 {
    HEARTBEAT_S
}

const fn block_ms_max() -> u64 {
    BLOCK_MS_MAX
}

const fn budget_bytes() -> usize {
    BUDGET_BYTES
}

const fn segment_bytes() -> u64 {
    SEGMENT_BYTES
}

const fn ring_bytes() -> u32 {
    RING_BYTES
}

fn exec_env() -> Vec<String> {
    EXEC_ENV.map(str::to_owned).to_vec()
}
