//! Where things are in a ledger directory. Source: `schemas/format.md`, section 3.

use std::path::{Path, PathBuf};

use graven_record::INTEGER_MAX;

/// The paths of one ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    dir: PathBuf,
}

impl Paths {
    /// The paths below `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The ledger directory itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `ledger.json`
    #[must_use]
    pub fn info(&self) -> PathBuf {
        self.dir.join("ledger.json")
    }

    /// `lock`
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// `segments/`
    #[must_use]
    pub fn segments(&self) -> PathBuf {
        self.dir.join("segments")
    }

    /// The segment whose first record is `first`.
    #[must_use]
    pub fn segment(&self, first: u64) -> PathBuf {
        self.segments().join(Self::segment_name(first))
    }

    /// The name in `segments/` of the segment whose first record is `first`.
    #[must_use]
    pub fn segment_name(first: u64) -> String {
        format!("{first:020}.jsonl")
    }

    /// The first record of the segment with that name in `segments/`; `None` for the name of another file: not 20
    /// digits and `.jsonl`, or a number that no record can have.
    #[must_use]
    pub fn segment_first(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(".jsonl")?;
        let plain = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
        let first = if plain { digits.parse().ok()? } else { return None };
        (first <= INTEGER_MAX.unsigned_abs()).then_some(first)
    }

    /// Where recovery writes the copy of a tail before that is a segment. One name for all, so that
    /// what a crash leaves of one is found by the next recovery.
    #[must_use]
    pub(crate) fn tail_copy(&self) -> PathBuf {
        self.segments().join("recovered.jsonl.new")
    }

    /// `blocks.jsonl`
    #[must_use]
    pub fn blocks(&self) -> PathBuf {
        self.dir.join("blocks.jsonl")
    }

    /// `tile/`
    #[must_use]
    pub fn tiles(&self) -> PathBuf {
        self.dir.join("tile")
    }

    /// The hashes of one level.
    #[must_use]
    pub fn tile_level(&self, level: u32) -> PathBuf {
        self.tiles().join(level.to_string())
    }

    /// `checkpoint`
    #[must_use]
    pub fn checkpoint(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    /// `releasing`
    #[must_use]
    pub fn releasing(&self) -> PathBuf {
        self.dir.join("releasing")
    }

    /// `recovering`
    #[must_use]
    pub(crate) fn recovering(&self) -> PathBuf {
        self.dir.join("recovering")
    }

    /// `torn/`
    #[must_use]
    pub fn torn(&self) -> PathBuf {
        self.dir.join("torn")
    }
}
