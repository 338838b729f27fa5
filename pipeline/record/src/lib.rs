//! The Graven record: what its members are, how its bytes are made, and how they are hashed.
//!
//! Everything here is a function over bytes: no clock, no file, no thread. The specification is
//! `schemas/format.md`, sections 1 and 2.

pub mod canonical;
mod draft;
pub mod event;
mod hash;
mod members;
mod origin;
mod time;
mod value;
mod write;

pub use draft::{Draft, DraftBatch, DraftMeta, Oversized, Stamp};
pub use hash::{Hash, HashParseError, leaf_hash, node_hash, sha256};
pub use members::{Actor, ActorKind, Body, Gap, Process, Source, Subject, Syscall, Text, Where};
pub use origin::{Origin, OriginError};
pub use time::{ClockSample, Timestamp, TrueTime};
pub use value::{Value, ValueError};
pub use write::{Canonical, ObjectWriter};

/// The record layout that this crate writes: `schema_version` of every record.
pub const SCHEMA_VERSION: &str = "4.0.0";

/// Longest canonical record, in bytes without its newline: the tlog-tiles limit of an entry.
pub const RECORD_BYTES_MAX: usize = 65_535;

/// Largest magnitude of a JSON number: 2^53 − 1, the last integer that every JSON reader keeps
/// (RFC 8259, section 6).
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

/// Deepest nesting of objects and arrays, the record itself being 1.
pub const DEPTH_MAX: usize = 32;
