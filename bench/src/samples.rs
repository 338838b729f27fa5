//! Inputs of known size and mix. They are made beforehand and sent in turn, so that making them takes
//! nothing from what is measured; no two of a turn are equal.

mod calls;
mod events;

pub use calls::{CALLS_IN_MIX, KernelFeed};
pub use events::{DraftFeed, EVENTS_IN_BATCH, EventFeed, event_line, record};

/// Size of an application event's stored record, in bytes without its newline.
pub const RECORD_BYTES: usize = 600;

/// The fields that the events' payloads have.
pub const PAYLOAD_FIELDS: [&str; 2] = ["limit", "note"];

/// The ledger's origin.
pub const ORIGIN: &str = "bench.example/host-1";
