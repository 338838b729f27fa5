//! The Graven verifier: reads a ledger from front to back and says what holds.
//!
//! Everything is recomputed from the records: chain, tree, block headers and tiles. The only things
//! taken on trust are the verifier key and the checkpoint that the caller brings from outside. Memory
//! does not grow with the ledger, and the lines are checked on all cores. The specification is
//! `schemas/format.md`; section 8 says what is a fault and what is a note.

mod blocks;
mod checkpoints;
mod chunks;
pub mod command;
mod error;
mod files;
mod findings;
mod growth;
mod line;
mod missing;
mod pipeline;
mod progress;
mod released;
mod report;
pub mod screen;
mod segments;
mod shape;
mod superseded;
mod tally;
mod text;
mod tiles;
mod trust;
mod verify;
mod walk;

pub use error::VerifyError;
pub use missing::Missing;
pub use progress::{Bar, Progress};
pub use report::{
    ActionCount, Checks, Fault, FaultKind, Kinds, NewestCheckpoint, Note, NoteKind, Released,
    Report, Verdict,
};
pub use trust::Trust;
pub use verify::verify;
