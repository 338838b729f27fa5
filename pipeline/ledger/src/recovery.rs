//! Opening a ledger for writing, whatever the last writer left behind.
//!
//! Source: `schemas/format.md`, section 7.

mod base;
mod copy;
mod silence;
mod tail;
mod unnamed;

use std::path::Path;
use std::sync::Arc;

use graven_record::{Hash, Timestamp};

use crate::disk::{Disk, HostDisk};
use crate::files::{Files, Lock, read_if_there};
use crate::{
    BlockHeader, BlockWriter, Chain, Leaves, LedgerError, LedgerInfo, Paths, Protection,
    SegmentWriter, Signer, list_segments, open_checkpoint,
};

pub use unnamed::{Damage, RECOVERED, Recovered};

/// Most bytes that are written but not yet synced, hence the longest tail that a crash can damage.
pub const UNSYNCED_BYTES_MAX: u64 = 4 << 20;

/// A ledger open for writing. Its parts go to the stages that use them.
#[derive(Debug)]
pub struct OpenedLedger {
    /// Content of `ledger.json`.
    pub info: LedgerInfo,
    /// Where things are.
    pub paths: Paths,
    /// The chain, all of whose blocks are sealed.
    pub chain: Chain,
    /// Appends records.
    pub segments: SegmentWriter,
    /// Seals blocks.
    pub blocks: BlockWriter,
    /// What recoveries did that no sealed record names yet, the latest last: each is to be named by one
    /// of the run's first records, see [`BlockWriter::recoveries_named_below`].
    pub recovered: Vec<Recovered>,
    /// Latest time in the last record, where that is not `pipeline.stopped`: since then, silence.
    pub silent_since: Option<Timestamp>,
    /// What holds its sealed segments, if anything does.
    pub protection: Option<Arc<dyn Protection>>,
    /// Held while the parts are in use.
    pub lock: WriterLock,
}

impl OpenedLedger {
    /// Has sealed segments held from now on, those that there are at once.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Io`] if they cannot be listed.
    pub fn hold(&mut self, protection: Arc<dyn Protection>) -> Result<(), LedgerError> {
        self.protection = Some(Arc::clone(&protection));
        self.blocks.hold(protection, self.chain.size())
    }
}

/// The right to write the ledger; released when dropped.
#[derive(Debug)]
pub struct WriterLock {
    _lock: Lock,
}

/// Opens the ledger in `dir` for writing with the key at `key_path`, recovering an unsealed tail.
///
/// `now_unix_s` is the time for the checkpoints of blocks that recovery seals.
///
/// # Errors
///
/// [`LedgerError::Corrupt`] and [`LedgerError::GoneBack`] where evidence is damaged or missing,
/// [`LedgerError::InUse`] beside another writer, [`LedgerError::Key`], [`LedgerError::Io`]. Nothing
/// was sealed then.
pub fn open(dir: &Path, key_path: &Path, now_unix_s: u64) -> Result<OpenedLedger, LedgerError> {
    open_on(Arc::new(HostDisk), dir, key_path, now_unix_s)
}

/// As [`open`], on a disk of the caller's. What is read, and the locks, are the host's.
///
/// # Errors
///
/// Those of [`open`].
pub fn open_on(
    disk: Arc<dyn Disk>,
    dir: &Path,
    key_path: &Path,
    now_unix_s: u64,
) -> Result<OpenedLedger, LedgerError> {
    let paths = Paths::new(dir);
    let info_bytes =
        read_if_there(&paths.info())?.ok_or_else(|| LedgerError::NotALedger(dir.to_owned()))?;
    let (info, genesis) = LedgerInfo::parse(&info_bytes)
        .map_err(|problem| LedgerError::corrupt(&paths.info(), problem))?;
    let lock = Lock::acquire(&paths.lock(), dir)?;
    let files = Files::on(disk);
    let signer = Signer::open(&files, key_path)?;
    if signer.verifier().to_string() != info.key {
        return Err(LedgerError::Key {
            path: key_path.to_owned(),
            problem: format!("is not the key of this ledger, `{}`", info.origin),
        });
    }
    Recovery { files, paths, info, genesis, signer }.run(now_unix_s, WriterLock { _lock: lock })
}

struct Recovery {
    files: Files,
    paths: Paths,
    info: LedgerInfo,
    genesis: Hash,
    signer: Signer,
}

impl Recovery {
    fn run(self, now_unix_s: u64, lock: WriterLock) -> Result<OpenedLedger, LedgerError> {
        self.files.remove(&self.paths.tail_copy())?;
        let header = self.last_header()?;
        let target = self.largest_signed(header.as_ref())?;
        let tiles = self.open_tiles(header.as_ref())?;
        let base = self.base(header.as_ref())?;
        let segments = list_segments(&self.paths)?;
        let mut chain = base.chain.clone();
        let mut tail = self.read_tail(&mut chain, &base, &segments, target)?;
        if chain.size() < target.0 {
            return Err(LedgerError::GoneBack {
                dir: self.paths.dir().to_owned(),
                key: self.signer.key_path().to_owned(),
                signed: target.0,
                standing: chain.size(),
            });
        }
        let first = base.chain.size();
        let found_tail = !tail.leaves.is_empty() || tail.damaged.is_some();
        let copied = chain.size() - first;
        let found = found_tail.then(|| Recovered { first, copied, damaged: tail.damaged.take() });
        let recovered = self.remember(found, &tail.named)?;
        let last_segment = if found_tail {
            Some(self.copy_tail(first, &tail.pieces, &segments)?)
        } else {
            segments.last().cloned()
        };
        self.bring_checkpoint_up(header.as_ref())?;
        let writer = SegmentWriter::open(self.files.clone(), &self.paths, last_segment.as_ref())?;
        let mut blocks =
            BlockWriter::open(self.files, &self.paths, tiles, self.signer, writer.newest())?;
        tail.sealed.extend(chain.seal());
        let mut rest = tail.leaves;
        let mut tree = base.chain.tree().clone();
        for header in tail.sealed {
            let later = rest.split_off(usize::try_from(header.count).unwrap_or(rest.len()));
            blocks.append(&Leaves::grown(&mut tree, rest))?;
            blocks.seal(header, now_unix_s)?;
            rest = later;
        }
        let silent_since = match tail.last.or(base.last) {
            Some(last) => silence::began(&self.paths, &self.info, last)?,
            None => None,
        };
        Ok(OpenedLedger {
            info: self.info,
            paths: self.paths,
            segments: writer,
            blocks,
            recovered,
            silent_since,
            chain,
            protection: None,
            lock,
        })
    }

    /// A crash may have come between header and checkpoint; two of them must not leave it two behind.
    fn bring_checkpoint_up(&self, header: Option<&BlockHeader>) -> Result<(), LedgerError> {
        let path = self.paths.checkpoint();
        let Some((size, note)) =
            header.and_then(|it| it.checkpoint.as_deref().map(|note| (it.size, note)))
        else {
            return Ok(());
        };
        if let Some(stands) = read_if_there(&path)? {
            let signed =
                open_checkpoint(&String::from_utf8_lossy(&stands), &self.signer.verifier());
            // One that is ahead shows that headers are missing: it is not to be lost as well.
            let is_ahead = signed.is_ok_and(|signed| signed.checkpoint.size > size);
            if is_ahead || stands == note.as_bytes() {
                return Ok(());
            }
        }
        self.files.replace(&path, note.as_bytes(), 0o644)
    }
}
