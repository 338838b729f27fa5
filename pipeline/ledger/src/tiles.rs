//! The tree's hashes on disk, level by level.
//!
//! Level L holds the roots of all complete subtrees of 256^L leaves. Source: C2SP tlog-tiles, with
//! the tiles of one level appended to one file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use graven_record::{Hash, node_hash};

use crate::disk::DiskFile;
use crate::files::Files;
use crate::{Frontier, Leaves, LedgerError, Paths};

/// Hashes in a full tile, and so the ratio between two levels.
pub const TILE_HASHES: u64 = 256;

pub(crate) const TILE_BITS: u32 = TILE_HASHES.trailing_zeros();
const HASH_BYTES: u64 = 32;

/// Levels that a tree of 2^64 leaves has.
pub const TILE_LEVELS: u32 = u64::BITS / TILE_BITS;

/// How many hashes level `level` of a tree of `size` leaves has.
#[must_use]
pub fn level_hashes(size: u64, level: u32) -> u64 {
    size.checked_shr(level * TILE_BITS).unwrap_or(0)
}

/// Bytes of the tiles of a tree of `size` leaves.
pub(crate) fn tile_bytes(size: u64) -> u64 {
    (0..TILE_LEVELS).map(|level| level_hashes(size, level) * HASH_BYTES).sum()
}

/// Appends hashes to the tiles.
#[derive(Debug)]
pub(crate) struct TileWriter {
    files: Files,
    paths: Paths,
    levels: Vec<Level>,
    entries_synced: bool,
}

#[derive(Debug)]
struct Level {
    file: Box<dyn DiskFile>,
    pending: Vec<u8>,
}

impl TileWriter {
    /// Opens the tiles of a tree of `size` leaves; hashes beyond it are dropped.
    ///
    /// Returns `None` where a level is missing or short.
    pub(crate) fn open(
        files: &Files,
        paths: &Paths,
        size: u64,
    ) -> Result<Option<Self>, LedgerError> {
        let mut writer = Self::empty(files, paths);
        for level in 0..TILE_LEVELS {
            let hashes = level_hashes(size, level);
            let path = paths.tile_level(level);
            if hashes == 0 {
                files.remove(&path)?;
                continue;
            }
            let file = files.open_append(&path)?;
            let bytes = file.len().map_err(LedgerError::io("read", &path))?;
            if bytes < hashes * HASH_BYTES {
                return Ok(None);
            }
            file.set_len(hashes * HASH_BYTES).map_err(LedgerError::io("shorten", &path))?;
            writer.levels.push(Level { file, pending: Vec::new() });
        }
        Ok(Some(writer))
    }

    /// Empties the tiles.
    pub(crate) fn create(files: &Files, paths: &Paths) -> Result<Self, LedgerError> {
        for level in 0..TILE_LEVELS {
            files.remove(&paths.tile_level(level))?;
        }
        Ok(Self::empty(files, paths))
    }

    fn empty(files: &Files, paths: &Paths) -> Self {
        let (files, paths) = (files.clone(), paths.clone());
        Self { files, paths, levels: Vec::new(), entries_synced: false }
    }

    /// Appends leaf hashes, and the roots of the subtrees that they complete.
    pub(crate) fn append(&mut self, leaves: &Leaves) -> Result<(), LedgerError> {
        if !leaves.hashes.is_empty() {
            self.level(0)?.extend(leaves.hashes.iter().flat_map(|leaf| leaf.0));
        }
        for (level, root) in &leaves.roots {
            self.level(*level)?.extend(root.0);
        }
        for (level, it) in (0..).zip(&mut self.levels) {
            let path = || self.paths.tile_level(level);
            it.file
                .write_all(&it.pending)
                .map_err(|error| LedgerError::io("write", &path())(error))?;
            it.pending.clear();
        }
        Ok(())
    }

    /// What is to be written to a level, which is made where it is new.
    fn level(&mut self, level: u32) -> Result<&mut Vec<u8>, LedgerError> {
        let index = level as usize;
        if index == self.levels.len() {
            let file = self.files.open_append(&self.paths.tile_level(level))?;
            self.levels.push(Level { file, pending: Vec::new() });
            self.entries_synced = false;
        }
        Ok(&mut self.levels[index].pending)
    }

    /// Makes what was appended durable.
    pub(crate) fn sync(&mut self) -> Result<(), LedgerError> {
        for (level, it) in (0..).zip(&self.levels) {
            let path = || self.paths.tile_level(level);
            it.file.sync_data().map_err(|error| LedgerError::io("sync", &path())(error))?;
        }
        if !self.entries_synced {
            self.files.sync_dir(&self.paths.tiles())?;
            self.entries_synced = true;
        }
        Ok(())
    }
}

/// Reads hashes and roots from the tiles.
#[derive(Debug, Clone)]
pub struct TileReader {
    paths: Paths,
}

impl TileReader {
    /// Reads the tiles of a ledger.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self { paths: paths.clone() }
    }

    /// Reads `count` hashes of `level`, from `index` on.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Io`], also where the level is shorter than that.
    pub fn read(&self, level: u32, index: u64, count: u64) -> Result<Vec<Hash>, LedgerError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let path = self.paths.tile_level(level);
        read_hashes(&path, index, count).map_err(LedgerError::io("read", &path))
    }

    /// The root of the leaves `first..end`, whose length is a power of two and divides `first`, or
    /// whose `end` is the tree's size. Cost: O(log n) reads of at most 4 KiB.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Io`], also where the tiles are short.
    pub fn root_of(&self, first: u64, end: u64) -> Result<Hash, LedgerError> {
        let roots = self.subtree_roots(first, end)?;
        let root = roots.into_iter().rev().reduce(|right, left| node_hash(&left, &right));
        Ok(root.unwrap_or_else(|| Frontier::default().root()))
    }

    /// The frontier of the first `size` leaves.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Io`], also where the tiles are short.
    pub fn frontier(&self, size: u64) -> Result<Frontier, LedgerError> {
        let roots = self.subtree_roots(0, size)?;
        Ok(Frontier::from_parts(size, roots).expect("one subtree for each set bit"))
    }

    /// Cuts `first..end` into the largest aligned subtrees, left to right.
    fn subtree_roots(&self, mut first: u64, end: u64) -> Result<Vec<Hash>, LedgerError> {
        let mut roots = Vec::new();
        while first < end {
            let bits = first.trailing_zeros().min((end - first).ilog2());
            let level = bits / TILE_BITS;
            let count = 1 << (bits % TILE_BITS);
            let hashes = self.read(level, level_hashes(first, level), count)?;
            roots.push(hashes.into_iter().collect::<Frontier>().root());
            first += 1 << bits;
        }
        Ok(roots)
    }
}

fn read_hashes(path: &Path, index: u64, count: u64) -> io::Result<Vec<Hash>> {
    let file = File::open(path)?;
    let stored = file.metadata()?.len() / HASH_BYTES;
    // Before there is memory for them: a number of hashes may be from a file that anybody wrote.
    if index.checked_add(count).is_none_or(|end| end > stored) {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("it has {stored} hashes, and {count} from {index} on are wanted"),
        ));
    }
    let length = usize::try_from(count * HASH_BYTES).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, index * HASH_BYTES)?;
    let (hashes, _) = bytes.as_chunks::<32>();
    Ok(hashes.iter().map(|hash| Hash(*hash)).collect())
}
