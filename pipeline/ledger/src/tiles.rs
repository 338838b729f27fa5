//! The tree's hashes on disk, level by level.
//!
//! Level L holds the roots of all complete subtrees of 256^L leaves. Source: C2SP tlog-tiles, with
//! the tiles of one level appended to one file.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use graven_record::{Hash, node_hash};

use crate::{Frontier, LedgerError, Paths, files};

/// Hashes in a full tile, and so the ratio between two levels.
pub const TILE_HASHES: u64 = 256;

const TILE_BITS: u32 = TILE_HASHES.trailing_zeros();
const HASH_BYTES: u64 = 32;

/// Levels that a tree of 2^64 leaves has.
const LEVELS: u32 = u64::BITS / TILE_BITS;

/// How many hashes level `level` of a tree of `size` leaves has.
fn level_hashes(size: u64, level: u32) -> u64 {
    size.checked_shr(level * TILE_BITS).unwrap_or(0)
}

/// Bytes of the tiles of a tree of `size` leaves.
pub(crate) fn tile_bytes(size: u64) -> u64 {
    (0..LEVELS).map(|level| level_hashes(size, level) * HASH_BYTES).sum()
}

/// Appends hashes to the tiles.
#[derive(Debug)]
pub(crate) struct TileWriter {
    paths: Paths,
    levels: Vec<Level>,
    entries_synced: bool,
}

#[derive(Debug)]
struct Level {
    file: File,
    /// The subtree that is not yet complete.
    group: Frontier,
    pending: Vec<u8>,
}

impl TileWriter {
    /// Opens the tiles of a tree of `size` leaves; hashes beyond it are dropped.
    ///
    /// Returns `None` where a level is missing or short.
    pub(crate) fn open(paths: &Paths, size: u64) -> Result<Option<Self>, LedgerError> {
        let mut writer = Self { paths: paths.clone(), levels: Vec::new(), entries_synced: false };
        let reader = TileReader::new(paths);
        for level in 0..LEVELS {
            let hashes = level_hashes(size, level);
            let path = paths.tile_level(level);
            if hashes == 0 {
                remove(&path)?;
                continue;
            }
            let (file, _) = files::open_append(&path)?;
            let bytes = file.metadata().map_err(LedgerError::io("read", &path))?.len();
            if bytes < hashes * HASH_BYTES {
                return Ok(None);
            }
            file.set_len(hashes * HASH_BYTES).map_err(LedgerError::io("shorten", &path))?;
            let open = hashes % TILE_HASHES;
            let group = reader.read(level, hashes - open, open)?.into_iter().collect();
            writer.levels.push(Level { file, group, pending: Vec::new() });
        }
        Ok(Some(writer))
    }

    /// Empties the tiles.
    pub(crate) fn create(paths: &Paths) -> Result<Self, LedgerError> {
        for level in 0..LEVELS {
            remove(&paths.tile_level(level))?;
        }
        Ok(Self { paths: paths.clone(), levels: Vec::new(), entries_synced: false })
    }

    /// Appends leaf hashes, and the roots of the subtrees that they complete.
    pub(crate) fn append(&mut self, leaves: &[Hash]) -> Result<(), LedgerError> {
        for leaf in leaves {
            self.push(0, *leaf)?;
        }
        for (level, it) in self.levels.iter_mut().enumerate() {
            it.file.write_all(&it.pending).map_err(|source| LedgerError::Io {
                operation: "write",
                path: self.paths.tile_level(u32::try_from(level).unwrap_or(u32::MAX)),
                source,
            })?;
            it.pending.clear();
        }
        Ok(())
    }

    fn push(&mut self, level: usize, hash: Hash) -> Result<(), LedgerError> {
        if level == self.levels.len() {
            let path = self.paths.tile_level(u32::try_from(level).unwrap_or(u32::MAX));
            let (file, _) = files::open_append(&path)?;
            self.levels.push(Level { file, group: Frontier::default(), pending: Vec::new() });
            self.entries_synced = false;
        }
        let it = &mut self.levels[level];
        it.pending.extend_from_slice(&hash.0);
        it.group.push(hash);
        if it.group.size() == TILE_HASHES {
            let root = it.group.root();
            it.group = Frontier::default();
            self.push(level + 1, root)?;
        }
        Ok(())
    }

    /// Makes what was appended durable.
    pub(crate) fn sync(&mut self) -> Result<(), LedgerError> {
        for (level, it) in self.levels.iter().enumerate() {
            it.file.sync_data().map_err(|source| LedgerError::Io {
                operation: "sync",
                path: self.paths.tile_level(u32::try_from(level).unwrap_or(u32::MAX)),
                source,
            })?;
        }
        if !self.entries_synced {
            files::sync_dir(&self.paths.tiles())?;
            self.entries_synced = true;
        }
        Ok(())
    }
}

/// Removes a level that must not be appended to; there may be none.
fn remove(path: &Path) -> Result<(), LedgerError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LedgerError::io("remove", path)(error))
        }
        _ => Ok(()),
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

fn read_hashes(path: &Path, index: u64, count: u64) -> std::io::Result<Vec<Hash>> {
    let mut bytes = vec![0; usize::try_from(count * HASH_BYTES).unwrap_or(usize::MAX)];
    File::open(path)?.read_exact_at(&mut bytes, index * HASH_BYTES)?;
    let (hashes, _) = bytes.as_chunks::<32>();
    Ok(hashes.iter().map(|hash| Hash(*hash)).collect())
}
