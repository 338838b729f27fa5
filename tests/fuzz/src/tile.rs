//! Tiles: whatever stands in them, and whatever size the tree is said to have.

use std::fs;

use graven_ledger::{Frontier, Paths, TILE_HASHES, TileReader};
use graven_record::Hash;
use tempfile::TempDir;

const HASH_BYTES: usize = 32;
const LEVELS: u32 = 8;

thread_local! {
    static LEDGER: TempDir = {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(Paths::new(dir.path()).tiles()).expect("a directory");
        dir
    };
}

/// Writes levels 0 and 1, and reads them at a size, a place and a number of hashes; says whether the root could be read.
pub fn tile(bytes: &[u8]) -> bool {
    let Some((numbers, rest)) = bytes.split_first_chunk::<26>() else { return false };
    let [size, index, count] = [0, 8, 16].map(|at| {
        let number = numbers[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(number)
    });
    let (level, cut) = (u32::from(numbers[24]) % LEVELS, usize::from(numbers[25]));
    let (leaves, roots) = rest.split_at(rest.len().saturating_sub(cut));
    LEDGER.with(|dir| {
        let paths = Paths::new(dir.path());
        for (level, bytes) in [(0, leaves), (1, roots)] {
            fs::write(paths.tile_level(level), bytes).expect("a tile");
        }
        let tiles = TileReader::new(&paths);
        let stored = [leaves, roots].get(level as usize).copied().unwrap_or_default();
        read(&tiles, level, index, count, stored);
        root(&tiles, size, leaves)
    })
}

/// What is read is what stands there; what does not stand there is an error, not memory.
fn read(tiles: &TileReader, level: u32, index: u64, count: u64, stored: &[u8]) {
    let (hashes, _) = stored.as_chunks::<HASH_BYTES>();
    let range = usize::try_from(index).ok().zip(usize::try_from(count).ok());
    let range = range.and_then(|(index, count)| hashes.get(index..index.checked_add(count)?));
    match (tiles.read(level, index, count), range) {
        (Ok(read), Some(range)) => assert!(read.iter().map(|hash| &hash.0).eq(range)),
        (Ok(read), None) => assert!(read.is_empty() && count == 0, "{index}, {count}"),
        (Err(_), range) => assert!(range.is_none(), "{index}, {count}"),
    }
}

/// The root of a tree of one tile is that of its leaves; the frontier has the root that the tiles have.
fn root(tiles: &TileReader, size: u64, leaves: &[u8]) -> bool {
    let root = tiles.root_of(0, size);
    let frontier = tiles.frontier(size);
    assert_eq!(root.is_ok(), frontier.is_ok());
    let (Ok(root), Ok(frontier)) = (root, frontier) else { return false };
    assert_eq!((frontier.size(), frontier.root()), (size, root));
    if size < TILE_HASHES {
        let (hashes, _) = leaves.as_chunks::<HASH_BYTES>();
        let size = usize::try_from(size).expect("it is small");
        let leaves = hashes.iter().take(size).copied().map(Hash);
        assert_eq!(leaves.collect::<Frontier>(), frontier);
    }
    true
}
