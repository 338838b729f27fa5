//! What is said over the control socket: one JSON object a line, either way.
//!
//! A connection is one request and its answers. Whoever may open the socket (mode 0600) may ask for
//! anything, so the file's owner is all the authority there is.

mod client;
mod server;

use std::path::PathBuf;

use graven_stages::Figures;
use serde::{Deserialize, Serialize};

pub use crate::warden::WormState;

pub use client::{Client, ControlError};
pub(crate) use server::{Door, Ending, Order, Server, WatchOrder};

/// Where the socket is unless the configuration says otherwise.
pub const SOCKET_DEFAULT: &str = "/run/graven/control.sock";

/// Longest request, in bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the daemon is doing: one [`Answer::Status`].
    Status {},
    /// Applies the configuration file anew: one [`Answer::Applied`].
    Reload {},
    /// Takes application events in. After [`Answer::Ready`] the client sends event lines and closes its
    /// side; each line is answered by [`Answer::Receipt`] or [`Answer::Refused`], in order, and all by
    /// [`Answer::Done`].
    Append {
        /// The ledger's directory, canonical.
        ledger: PathBuf,
        /// Stop at the first line that is refused.
        strict: bool,
    },
    /// Watches the cgroup until the client closes its side. After [`Answer::Ready`] what runs in it is
    /// recorded; [`Answer::Done`] comes when all of it is durable.
    Watch {
        /// The ledger's directory, canonical.
        ledger: PathBuf,
        /// The agent's name on the record.
        agent: String,
        /// UUID of this run of the agent.
        trace_id: String,
        /// The cgroup's directory.
        cgroup: PathBuf,
        /// Its inode: daemon and client must mean the same one.
        cgroup_id: u64,
        /// Let what runs in it go on if the client closes its side before that has ended; it stays watched.
        keep_going: bool,
    },
}

/// What the daemon says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Answer {
    /// How it is doing.
    Status(Box<Status>),
    /// The configuration that is in force now.
    Applied {
        /// What has changed, one a line.
        changes: Vec<String>,
        /// SHA-256 of its canonical form.
        sha256: String,
    },
    /// Go on.
    Ready {
        /// Durable records in the ledger.
        size: u64,
    },
    /// The event is durable.
    Receipt {
        /// Its leaf hash.
        leaf: String,
        /// Its line, from 1.
        line: u64,
        /// Its index.
        seq: u64,
    },
    /// The line was refused, and nothing of it is in the ledger.
    Refused {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        error: String,
    },
    /// The watch is about to end: kill what runs, then close your side as usual.
    Ending {
        /// Why.
        why: String,
    },
    /// All of it is durable.
    Done {
        /// Durable records in the ledger.
        size: u64,
    },
    /// The request could not be granted, or not to the end.
    Failed {
        /// What is wrong and what to do.
        error: String,
    },
}

/// How a daemon is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Its configuration file.
    pub config: PathBuf,
    /// SHA-256 of the settings in force.
    pub config_sha256: String,
    /// Why the file was not applied the last time that this was asked for; `None` where it was.
    pub reload_failure: Option<String>,
    /// Its means of capture.
    pub tiers: Vec<TierStatus>,
    /// Its ledgers.
    pub ledgers: Vec<LedgerStatus>,
}

/// A means of capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierStatus {
    /// Its name.
    pub name: String,
    /// Why it is missing; `None` where it is at work.
    pub missing: Option<String>,
}

/// How one ledger is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerStatus {
    /// The tenant's name.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
    /// Its origin.
    pub origin: String,
    /// Why it is not being written at this moment; `None` where it is.
    pub down: Option<String>,
    /// How often its graph was rebuilt after a failure.
    pub rebuilds: u64,
    /// Records a second over the last ten seconds or so.
    pub records_per_s: f64,
    /// Bytes a second over the same.
    pub bytes_per_s: f64,
    /// Figures of the run, or of the one before where it is down.
    pub figures: Option<Figures>,
    /// Bytes that are free on the ledger's disk.
    pub disk_free_bytes: u64,
    /// Whether its sealed segments are held by file attributes.
    pub worm: WormState,
    /// Bytes that wait in the kernel's ring, and its size.
    pub ring: Option<RingStatus>,
    /// Who is watched.
    pub watches: Vec<WatchStatus>,
}

/// The ring between kernel and recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingStatus {
    /// Bytes that wait.
    pub pending_bytes: u64,
    /// Its size.
    pub size_bytes: u64,
}

/// Who is watched under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// The agent's name on the record; `exec` for a run of that.
    pub agent: String,
    /// What is watched: cgroups, units, executables.
    pub targets: Vec<TargetStatus>,
}

/// One thing that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its name, as in the configuration; of a run of `exec` the agent's, and how its trace id begins.
    pub name: String,
    /// Why nothing of it is watched at this moment; `None` where it is.
    pub waiting: Option<String>,
}
