//! The tile files, read beside the tree as it grows.

use std::fs::File;
use std::io::{self, BufReader, Read as _};

use graven_ledger::{Paths, TILE_HASHES, TILE_LEVELS, level_hashes};
use graven_record::Hash;

use crate::findings::{At, Findings};
use crate::{FaultKind, NoteKind, VerifyError, files};

const HASH_BYTES: u64 = 32;

/// Bytes of one level held in memory.
const BUFFER_BYTES: usize = 1 << 16;

fn name(level: u32) -> String {
    format!("tile/{level}")
}

/// Compares the tiles with the tree, hash by hash.
#[derive(Debug)]
pub(crate) struct Tiles {
    paths: Paths,
    /// Leaves that the tiles must cover.
    sealed: u64,
    levels: Vec<Level>,
    /// The next hash of level 0, read ahead.
    ahead: Option<Hash>,
    /// Hashes compared.
    pub(crate) compared: u64,
}

#[derive(Debug)]
struct Level {
    /// `None` where the file has ended or was never there.
    file: Option<BufReader<File>>,
    /// Index of the hash that is read next.
    index: u64,
    /// Hashes that are not the tree's.
    wrong: u64,
    /// The first of them: its index, what is stored, and the tree's.
    first_wrong: Option<(u64, Hash, Hash)>,
}

impl Tiles {
    pub(crate) fn new(paths: &Paths, sealed: u64) -> Self {
        Self { paths: paths.clone(), sealed, levels: Vec::new(), ahead: None, compared: 0 }
    }

    /// The stored leaf hash of record `seq`, which is the next one to be added; `None` where there
    /// is none, and above the sealed records.
    pub(crate) fn stored_leaf(
        &mut self,
        seq: u64,
        findings: &mut Findings,
    ) -> Result<Option<Hash>, VerifyError> {
        if self.ahead.is_none() && seq < self.sealed {
            self.ahead = self.read(0, findings)?;
        }
        Ok(self.ahead)
    }

    /// Compares the leaf hash of record `seq`, and the roots of the subtrees that it completes: level by
    /// level, from 1.
    pub(crate) fn add(
        &mut self,
        seq: u64,
        leaf: Hash,
        roots: &[(u32, Hash)],
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        if seq >= self.sealed {
            return Ok(());
        }
        let stored = self.stored_leaf(seq, findings)?;
        self.ahead = None;
        self.compare(0, seq, leaf, stored);
        for (level, root) in roots {
            self.level(*level)?;
            let index = self.levels[*level as usize].index;
            let stored = self.read(*level, findings)?;
            self.compare(*level, index, *root, stored);
        }
        Ok(())
    }

    fn compare(&mut self, level: u32, index: u64, hash: Hash, stored: Option<Hash>) {
        let Some(stored) = stored else { return };
        self.compared += 1;
        if stored != hash {
            let it = &mut self.levels[level as usize];
            it.wrong += 1;
            it.first_wrong.get_or_insert((index, stored, hash));
        }
    }

    /// Reports the wrong hashes, once for each level: one byte too many makes all behind it wrong.
    pub(crate) fn report_wrong(&self, findings: &mut Findings) {
        for (level, it) in (0..).zip(&self.levels) {
            let Some((index, stored, hash)) = it.first_wrong else {
                continue;
            };
            let first = index << (level * TILE_HASHES.trailing_zeros());
            let what = if level == 0 {
                format!("the leaf hash of record {first}")
            } else {
                format!("the root of the subtree that begins with record {first}")
            };
            let count = match it.wrong {
                1 => String::new(),
                wrong => {
                    format!("; {wrong} hashes of this level are wrong, of which this is the first")
                }
            };
            let sentence = format!("hash {index} is {stored}, but {what} is {hash}{count}");
            let file = name(level);
            let at = At::file(&file).byte(HASH_BYTES * index).record(first);
            findings.fault(FaultKind::TileMismatch, at, sentence);
        }
    }

    /// Opens the levels up to `level`.
    fn level(&mut self, level: u32) -> Result<(), VerifyError> {
        for level in u32::try_from(self.levels.len()).unwrap_or(u32::MAX)..=level {
            let file = files::open(&self.paths.tile_level(level))?;
            self.levels.push(Level {
                file: file.map(|file| BufReader::with_capacity(BUFFER_BYTES, file)),
                index: 0,
                wrong: 0,
                first_wrong: None,
            });
        }
        Ok(())
    }

    /// Reads the next hash of a level; where there is none, says so once.
    fn read(&mut self, level: u32, findings: &mut Findings) -> Result<Option<Hash>, VerifyError> {
        self.level(level)?;
        let it = &mut self.levels[level as usize];
        let (index, is_first) = (it.index, it.index == 0);
        it.index += 1;
        let mut hash = [0; 32];
        let read = match &mut it.file {
            Some(file) => file.read_exact(&mut hash),
            None if is_first => Err(io::ErrorKind::UnexpectedEof.into()),
            None => return Ok(None),
        };
        match read {
            Ok(()) => Ok(Some(Hash(hash))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                it.file = None;
                let file = name(level);
                let expected = level_hashes(self.sealed, level);
                findings.fault(
                    FaultKind::MissingTile,
                    At::file(&file).byte(HASH_BYTES * index),
                    format!(
                        "the file is missing or ends before hash {index}, of {expected} hashes"
                    ),
                );
                Ok(None)
            }
            Err(error) => Err(VerifyError::io("read", &self.paths.tile_level(level))(error)),
        }
    }

    /// Notes what the tile files hold beyond the sealed records.
    pub(crate) fn note_longer(&self, findings: &mut Findings) -> Result<(), VerifyError> {
        for level in 0..TILE_LEVELS {
            let expected = level_hashes(self.sealed, level) * HASH_BYTES;
            let length = files::length(&self.paths.tile_level(level))?;
            if length > expected {
                let sentence = format!(
                    "the file is {} bytes longer than the last header's size demands",
                    length - expected
                );
                let file = name(level);
                findings.note(NoteKind::LongerTile, At::file(&file).byte(expected), sentence);
            }
        }
        Ok(())
    }
}

/// True for the name of a tile file.
pub(crate) fn is_level(name: &str) -> bool {
    name.parse::<u32>().is_ok_and(|level| level < TILE_LEVELS && level.to_string() == name)
}
