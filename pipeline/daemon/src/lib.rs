//! The recorder as a service: several ledgers side by side, one kernel program for all of them, a control
//! socket, metrics.
//!
//! - [`run`] is the service.
//! - [`control`] is what is said over its socket; [`Client`] asks.
//! - [`RingThread`] and [`Feed`] bring what the kernel and applications give into a graph; `graven exec` and
//!   `graven append` use them too where no daemon runs.
//! - [`warden`] holds sealed segments by file attributes that the recorder itself cannot lift.

pub mod control;
mod daemon;
mod feed;
mod metrics;
mod privileges;
mod rates;
mod ring_thread;
mod tenant;
pub mod warden;
mod watcher;

pub use control::{Client, ControlError};
pub use daemon::{run, tiers_value};
pub use feed::{BATCHES_ON_THE_WAY, Feed, Pending};
pub use ring_thread::{Inflow, RingLine, RingThread, Way, cgroup_lookup};

pub use tenant::sinks;

/// A random UUID in lower case.
#[must_use]
pub fn new_trace_id() -> String {
    uuid::Uuid::new_v4().hyphenated().to_string()
}
