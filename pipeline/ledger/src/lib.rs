//! The Graven ledger: the chain and its tree, and how they stand on disk.
//!
//! Writing and recovery are here, and so is all that a reader shares with them. The specification
//! is `schemas/format.md`.

mod blocks;
mod chain;
mod create;
pub mod disk;
mod error;
mod files;
mod header;
mod hold;
mod info;
mod line;
mod lines;
mod note;
mod paths;
pub mod proof;
mod reader;
mod recovery;
mod release;
mod segment;
mod signer;
mod tiles;
mod tree;
mod usage;

pub use blocks::BlockWriter;
pub use chain::{BLOCK_RECORDS_MAX, Chain, ChainError, Lines, Receipt, Run, Step};
pub use create::{Created, create, create_on};
pub use error::LedgerError;
pub use files::replace_file;
pub use header::BlockHeader;
pub use hold::Protection;
pub use info::LedgerInfo;
pub use line::{LineError, Members, Placement};
pub use lines::{LineReader, ReadLine};
pub use note::{
    Checkpoint, KeyParseError, NoteError, PrivateKey, SignedCheckpoint, VerifierKey,
    open_checkpoint, open_signed,
};
pub use paths::Paths;
pub use reader::{Found, SegmentCursor, begins, find, look, records};
pub use recovery::{
    Damage, OpenedLedger, RECOVERED, Recovered, UNSYNCED_BYTES_MAX, WriterLock, open, open_on,
};
pub use release::{
    Contents, Oldest, RELEASED, Release, begin_release, newest_release, oldest, release,
    release_detail,
};
pub use segment::{SEGMENT_BYTES_MAX, SegmentFile, SegmentWriter, list_segments};
pub use signer::{Signer, SignerState};
pub use tiles::{TILE_HASHES, TILE_LEVELS, TileReader, level_hashes};
pub use tree::{Frontier, Leaves};
pub use usage::{block_bytes, used_bytes};
