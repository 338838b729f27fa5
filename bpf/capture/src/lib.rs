//! Captures each system call of a cgroup subtree in the kernel, and starts commands inside it.
//!
//! - [`probe()`] tells which means of capture this machine offers, and why not.
//! - [`Cgroup2`] finds the cgroup file system; an [`AgentCgroup`] holds one watched command.
//! - [`Capture`] loads the kernel program and says who is watched; a [`Ring`] hands over the records of one
//!   ledger's watches, which `graven_abi` parses.
//! - [`spawn()`] starts a command so that its first recorded call is the `execve`.
//! - [`Guard`] kills the command should the recorder die: nothing runs unrecorded.
//!
//! The recorder itself stays outside the watched cgroup, so it never records itself.

mod capture;
mod cgroup;
#[cfg(feature = "bench")]
mod empty;
mod error;
mod guard;
mod probe;
mod skeleton;
mod spawn;

pub use capture::{
    Capture, Expected, Follower, RING_BYTES_DEFAULT, RING_BYTES_MIN, Ring, RingSlot, WAKE_BYTES,
    Watch,
};
pub use graven_abi::CallSet;

pub use cgroup::{
    AgentCgroup, COMMAND_PREFIX, Cgroup2, CgroupPaths, cgroup_populated, kill_cgroup,
};
#[cfg(feature = "bench")]
pub use empty::EmptyPair;
pub use error::CaptureError;
pub use guard::{DISARM, Guard, GuardOutcome, run as run_guard};
pub use probe::{Tier, probe};
pub use spawn::{SpawnError, command, spawn};
