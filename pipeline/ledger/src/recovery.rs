//! Opening a ledger for writing, whatever the last writer left behind.
//!
//! Source: `schemas/format.md`, section 7.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use graven_record::{Hash, RECORD_BYTES_MAX, Timestamp, leaf_hash, sha256};

use crate::files::Lock;
use crate::segment::close;
use crate::tiles::TileWriter;
use crate::{
    BlockHeader, BlockWriter, Chain, LedgerError, LedgerInfo, LineReader, Members, Paths,
    Placement, ReadLine, SegmentFile, SegmentWriter, Signer, TileReader, files, list_segments,
    open_checkpoint,
};

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
    /// What was found of an unsealed tail, where there was one.
    pub recovered: Option<Recovered>,
    /// Latest time in the last record, where that is not `pipeline.stopped`: since then, silence.
    pub silent_since: Option<Timestamp>,
    /// Held while the parts are in use.
    pub lock: WriterLock,
}

/// The right to write the ledger; released when dropped.
#[derive(Debug)]
pub struct WriterLock {
    _lock: Lock,
}

/// What recovery did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Index of the first unsealed record.
    pub first: u64,
    /// Unsealed records that stand and were copied.
    pub copied: u64,
    /// Bytes behind them that are no records.
    pub damaged: Option<Damage>,
}

/// Bytes at the end of a segment that are no records. The cause is not claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Offset of the first such byte.
    pub offset_bytes: u64,
    /// How many.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Hash,
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
    let paths = Paths::new(dir);
    let info_bytes = files::read_if_there(&paths.info())?
        .ok_or_else(|| LedgerError::NotALedger(dir.to_owned()))?;
    let (info, genesis) = LedgerInfo::parse(&info_bytes)
        .map_err(|problem| LedgerError::corrupt(&paths.info(), problem))?;
    let lock = Lock::acquire(&paths.lock(), dir)?;
    let signer = Signer::open(key_path)?;
    if signer.verifier().to_string() != info.key {
        return Err(LedgerError::Key {
            path: key_path.to_owned(),
            problem: format!("is not the key of this ledger, `{}`", info.origin),
        });
    }
    Recovery { paths, info, genesis, signer }.run(now_unix_s, WriterLock { _lock: lock })
}

struct Recovery {
    paths: Paths,
    info: LedgerInfo,
    genesis: Hash,
    signer: Signer,
}

/// Where the sealed records end.
struct Base {
    chain: Chain,
    /// The segment that holds the last sealed record, and the offset behind it.
    end: Option<(SegmentFile, u64)>,
    last: Option<Placement>,
}

/// A stretch of a segment that holds unsealed records.
struct Piece {
    path: PathBuf,
    from: u64,
    to: u64,
}

/// A stored record, its leaf hash, and the header of the block that it ended.
type Taken = (Placement, Hash, Option<BlockHeader>);

/// What stands behind the sealed records.
struct Tail {
    pieces: Vec<Piece>,
    damaged: Option<Damage>,
    sealed: Vec<BlockHeader>,
    leaves: Vec<Hash>,
    last: Option<Placement>,
}

impl Recovery {
    fn run(self, now_unix_s: u64, lock: WriterLock) -> Result<OpenedLedger, LedgerError> {
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
        let last_segment = if found_tail {
            Some(self.copy_tail(first, &tail.pieces, &segments, base.end.as_ref())?)
        } else {
            segments.last().cloned()
        };
        self.bring_checkpoint_up(header.as_ref())?;
        let writer = SegmentWriter::open(&self.paths, last_segment.as_ref())?;
        let mut blocks = BlockWriter::open(&self.paths, tiles, self.signer)?;
        tail.sealed.extend(chain.seal());
        let mut rest = &tail.leaves[..];
        for header in tail.sealed {
            let (leaves, later) =
                rest.split_at(usize::try_from(header.count).unwrap_or(rest.len()));
            blocks.append(leaves)?;
            blocks.seal(header, now_unix_s)?;
            rest = later;
        }
        let silent_since = match tail.last.or(base.last) {
            Some(last) => silent_since(&self.paths, &self.info, last)?,
            None => None,
        };
        Ok(OpenedLedger {
            info: self.info,
            paths: self.paths,
            segments: writer,
            blocks,
            recovered: found_tail.then_some(Recovered {
                first,
                copied: chain.size() - first,
                damaged: tail.damaged,
            }),
            silent_since,
            chain,
            lock,
        })
    }

    /// Reads the last whole header and drops what a crash left behind it.
    fn last_header(&self) -> Result<Option<BlockHeader>, LedgerError> {
        let path = self.paths.blocks();
        if !path.exists() {
            return Ok(None);
        }
        let (from, bytes) = last_lines(&path).map_err(LedgerError::io("read", &path))?;
        let end = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
        if end < bytes.len() {
            let cut = || {
                let file = File::options().write(true).open(&path)?;
                file.set_len(from + end as u64)?;
                file.sync_all()
            };
            cut().map_err(LedgerError::io("drop the torn last line of", &path))?;
        }
        let Some(line) = bytes[..end].strip_suffix(b"\n") else { return Ok(None) };
        let start = memchr::memrchr(b'\n', line).map_or(0, |at| at + 1);
        let corrupt = |problem: String| LedgerError::Corrupt {
            path: path.clone(),
            at_byte: Some(from + start as u64),
            record: None,
            problem,
        };
        let header = BlockHeader::parse(&line[start..]).map_err(corrupt)?;
        let note = header.checkpoint.as_deref().unwrap_or_default();
        let signed = open_checkpoint(note, &self.signer.verifier())
            .map_err(|error| corrupt(error.to_string()))?;
        if (signed.checkpoint.size, signed.checkpoint.root) != (header.size, header.root) {
            return Err(corrupt("the checkpoint is of another size or root".into()));
        }
        Ok(Some(header))
    }

    /// A crash may have come between header and checkpoint; two of them must not leave it two behind.
    fn bring_checkpoint_up(&self, header: Option<&BlockHeader>) -> Result<(), LedgerError> {
        let path = self.paths.checkpoint();
        match header.and_then(|header| header.checkpoint.as_deref()) {
            Some(note) if files::read_if_there(&path)?.as_deref() != Some(note.as_bytes()) => {
                files::replace(&path, note.as_bytes(), 0o644)
            }
            _ => Ok(()),
        }
    }

    /// The largest checkpoint known here: the signer's, the last header's, or the file's.
    fn largest_signed(&self, header: Option<&BlockHeader>) -> Result<(u64, Hash), LedgerError> {
        let state = self.signer.state();
        let mut largest = (state.size, state.root);
        if let Some(header) = header.filter(|header| header.size > largest.0) {
            largest = (header.size, header.root);
        }
        let path = self.paths.checkpoint();
        if let Some(note) = files::read_if_there(&path)? {
            let note = String::from_utf8_lossy(&note);
            let signed = open_checkpoint(&note, &self.signer.verifier())
                .map_err(|error| LedgerError::corrupt(&path, error.to_string()))?;
            if signed.checkpoint.size > largest.0 {
                largest = (signed.checkpoint.size, signed.checkpoint.root);
            }
        }
        Ok(largest)
    }

    /// Opens the tiles at the last header's size and checks that they lead to its root and to the
    /// signer's; where they do not, they are made again from the records.
    fn open_tiles(&self, header: Option<&BlockHeader>) -> Result<TileWriter, LedgerError> {
        let size = header.map_or(0, |header| header.size);
        let reader = TileReader::new(&self.paths);
        if let Some(tiles) = TileWriter::open(&self.paths, size)?
            && header
                .is_none_or(|header| reader.root_of(0, size).is_ok_and(|root| root == header.root))
        {
            self.check_signer_history(&reader, size)?;
            return Ok(tiles);
        }
        let begins = crate::begins(&self.paths)?;
        if begins > 0 {
            // They are all that is left of the records before: nothing may be made of them anew.
            return Err(LedgerError::corrupt(
                &self.paths.tiles(),
                format!(
                    "the hashes do not lead to the signed root, and records 0 to {} were released",
                    begins - 1
                ),
            ));
        }
        let mut tiles = TileWriter::create(&self.paths)?;
        let mut cursor = crate::SegmentCursor::new(&self.paths, 0);
        while cursor.next() < size {
            let (_, lines) = cursor.read(size, 1 << 20)?;
            let leaves: Vec<Hash> = lines
                .split_inclusive(|byte| *byte == b'\n')
                .map(|line| leaf_hash(&line[..line.len() - 1]))
                .collect();
            tiles.append(&leaves)?;
        }
        tiles.sync()?;
        if let Some(header) = header
            && reader.root_of(0, size)? != header.root
        {
            return Err(LedgerError::corrupt(
                &self.paths.segments(),
                format!("the first {size} records do not have the root that was signed for them"),
            ));
        }
        self.check_signer_history(&reader, size)?;
        Ok(tiles)
    }

    /// What the signer remembers must be a beginning of what stands.
    fn check_signer_history(&self, tiles: &TileReader, size: u64) -> Result<(), LedgerError> {
        let state = self.signer.state();
        if state.size <= size && tiles.root_of(0, state.size)? != state.root {
            return Err(LedgerError::corrupt(
                self.paths.dir(),
                format!(
                    "the signer has signed another history of the first {} records",
                    state.size
                ),
            ));
        }
        Ok(())
    }

    fn base(&self, header: Option<&BlockHeader>) -> Result<Base, LedgerError> {
        let Some(header) = header else {
            return Ok(Base { chain: Chain::new(self.genesis), end: None, last: None });
        };
        let seq = header.size - 1;
        let missing = |path: &Path, problem: &str| LedgerError::Corrupt {
            path: path.to_owned(),
            at_byte: None,
            record: Some(seq),
            problem: problem.into(),
        };
        let found = crate::find(&self.paths, seq)?
            .ok_or_else(|| missing(&self.paths.segments(), "the last sealed record is missing"))?;
        if leaf_hash(&found.record) != header.head {
            return Err(missing(&found.segment.path, "the last sealed record has another hash"));
        }
        let last = Members::read(&found.record)
            .and_then(|members| Placement::read(&members, self.info.origin.as_str()))
            .map_err(|error| missing(&found.segment.path, &error.to_string()))?;
        let tree = TileReader::new(&self.paths).frontier(header.size)?;
        let end = found.at_byte + found.record.len() as u64 + 1;
        Ok(Base {
            chain: Chain::after(header, tree, last.epoch),
            end: Some((found.segment, end)),
            last: Some(last),
        })
    }

    /// Takes the unsealed records that stand into `chain`.
    fn read_tail(
        &self,
        chain: &mut Chain,
        base: &Base,
        segments: &[SegmentFile],
        target: (u64, Hash),
    ) -> Result<Tail, LedgerError> {
        let mut tail = Tail {
            pieces: Vec::new(),
            damaged: None,
            sealed: Vec::new(),
            leaves: Vec::new(),
            last: None,
        };
        let begin = base.end.clone().into_iter();
        let unsealed = segments.iter().filter(|it| it.first >= base.chain.size());
        let stretches: Vec<_> = begin.chain(unsealed.map(|it| (it.clone(), 0))).collect();
        for (index, (segment, from)) in stretches.iter().enumerate() {
            if segment.first > chain.size() {
                return Err(LedgerError::Corrupt {
                    path: segment.path.clone(),
                    at_byte: None,
                    record: Some(chain.size()),
                    problem: "the records before this segment are missing".into(),
                });
            }
            // A segment ends where the next one's name begins.
            let end = stretches.get(index + 1).map_or(u64::MAX, |(next, _)| next.first);
            let to = self.read_stretch(chain, segment, *from, end, target, &mut tail)?;
            if to > *from {
                tail.pieces.push(Piece { path: segment.path.clone(), from: *from, to });
            }
            if chain.size() < end {
                tail.damaged =
                    Self::damage(&segment.path, to, chain.size(), index + 1 == stretches.len())?;
            }
        }
        Ok(tail)
    }

    /// Reads one segment from byte `from` up to record `end`; returns where the good records end.
    fn read_stretch(
        &self,
        chain: &mut Chain,
        segment: &SegmentFile,
        from: u64,
        end: u64,
        target: (u64, Hash),
        tail: &mut Tail,
    ) -> Result<u64, LedgerError> {
        let file = open_past_the_cache(&segment.path, from)?;
        let mut lines = LineReader::new(file, RECORD_BYTES_MAX);
        let mut to = from;
        while chain.size() < end {
            let line = lines.next_line().map_err(LedgerError::io("read", &segment.path))?;
            let Some((_, ReadLine::Whole(record))) = line else {
                break;
            };
            let Some((placement, leaf, sealed)) = self.take_record(chain, record) else { break };
            tail.sealed.extend(sealed);
            tail.leaves.push(leaf);
            tail.last = Some(placement);
            to += record.len() as u64 + 1;
            if chain.size() == target.0 && chain.root() != target.1 {
                return Err(LedgerError::Corrupt {
                    path: segment.path.clone(),
                    at_byte: Some(to),
                    record: Some(placement.seq),
                    problem: format!(
                        "the first {} records do not have the root that was signed for them",
                        target.0
                    ),
                });
            }
        }
        Ok(to)
    }

    /// Takes a line into the chain, unless it does not continue it.
    fn take_record(&self, chain: &mut Chain, record: &[u8]) -> Option<Taken> {
        let members = Members::read(record).ok().filter(Members::are_complete)?;
        let placement = Placement::read(&members, self.info.origin.as_str()).ok()?;
        let leaf = leaf_hash(record);
        let sealed = chain.replay(&placement, leaf).ok()?;
        Some((placement, leaf, sealed))
    }

    /// Describes the bytes from `offset_bytes` to the end of a segment, if a crash explains them.
    fn damage(
        path: &Path,
        offset_bytes: u64,
        next: u64,
        is_last: bool,
    ) -> Result<Option<Damage>, LedgerError> {
        let mut file = open_past_the_cache(path, offset_bytes)?;
        let length = file.metadata().map_err(LedgerError::io("read", path))?.len();
        let bytes = length.saturating_sub(offset_bytes);
        if bytes == 0 && is_last {
            return Ok(None);
        }
        if bytes > UNSYNCED_BYTES_MAX || !is_last {
            return Err(LedgerError::Corrupt {
                path: path.to_owned(),
                at_byte: Some(offset_bytes),
                record: Some(next),
                problem: format!(
                    "{bytes} bytes are no records, and they begin before the last {UNSYNCED_BYTES_MAX} bytes \
                     of the ledger, where no crash explains them"
                ),
            });
        }
        let mut damaged = Vec::new();
        file.read_to_end(&mut damaged).map_err(LedgerError::io("read", path))?;
        Ok(Some(Damage { path: path.to_owned(), offset_bytes, bytes, sha256: sha256(&damaged) }))
    }

    /// Copies the unsealed records into a segment of their own. Nothing is truncated: the segments
    /// they stood in are superseded, or kept in `torn/` where they hold no sealed record.
    fn copy_tail(
        &self,
        first: u64,
        pieces: &[Piece],
        segments: &[SegmentFile],
        base: Option<&(SegmentFile, u64)>,
    ) -> Result<SegmentFile, LedgerError> {
        let path = self.paths.segment(first);
        let temporary = path.with_extension("jsonl.new");
        let copy = || {
            let mut copy = File::create(&temporary)?;
            for piece in pieces {
                let mut source = File::open(&piece.path)?;
                source.seek(SeekFrom::Start(piece.from))?;
                std::io::copy(&mut source.take(piece.to - piece.from), &mut copy)?;
            }
            copy.flush()?;
            copy.sync_all()
        };
        copy().map_err(LedgerError::io("copy the unsealed records to", &temporary))?;
        let unsealed: Vec<_> = segments.iter().filter(|it| it.first >= first).collect();
        for segment in &unsealed {
            self.keep_in_torn(segment)?;
        }
        fs::rename(&temporary, &path).map_err(LedgerError::io("replace", &path))?;
        files::sync_dir(&self.paths.segments())?;
        for segment in unsealed.iter().filter(|it| it.first > first) {
            fs::remove_file(&segment.path).map_err(LedgerError::io("remove", &segment.path))?;
        }
        files::sync_dir(&self.paths.segments())?;
        if let Some((superseded, _)) = base {
            close(&superseded.path)?;
        }
        Ok(SegmentFile { first, path })
    }

    /// Gives a segment a second name in `torn/`, so that its bytes outlive the first.
    fn keep_in_torn(&self, segment: &SegmentFile) -> Result<(), LedgerError> {
        let torn = self.paths.torn();
        let mut attempt = 0;
        loop {
            let path = torn.join(format!("{:020}.{attempt}.jsonl", segment.first));
            match fs::hard_link(&segment.path, &path) {
                Ok(()) => return files::sync_dir(&torn),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => attempt += 1,
                Err(error) => {
                    return Err(LedgerError::io("keep a name in torn/ for", &segment.path)(error));
                }
            }
        }
    }
}

/// Opens a file at `from` so that reads come from the disk: what the page cache holds may be what a
/// failed write left there.
fn open_past_the_cache(path: &Path, from: u64) -> Result<File, LedgerError> {
    let open = || {
        let mut file = File::open(path)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        file.seek(SeekFrom::Start(from))?;
        Ok(file)
    };
    open().map_err(LedgerError::io("open", path))
}

/// Reads the end of a file of lines, so far back that the last whole line is in it; gives the offset of
/// what was read.
fn last_lines(path: &Path) -> std::io::Result<(u64, Vec<u8>)> {
    let mut file = open_past_the_cache(path, 0).map_err(std::io::Error::other)?;
    let length = file.metadata()?.len();
    let mut wanted: u64 = 1 << 14;
    loop {
        let from = length.saturating_sub(wanted);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)?;
        // Two newlines hold one whole line between them.
        if from == 0 || memchr::memchr_iter(b'\n', &bytes).count() >= 2 {
            return Ok((from, bytes));
        }
        wanted *= 4;
    }
}

/// Most records that are walked back over: a few starts that were each cut short.
const PREAMBLE_MAX: u32 = 32;

/// When the silence before this run began: at the last record of the run before, unless that run stopped
/// in order. A start that was cut short before its own gap record passes the silence before it on.
fn silent_since(
    paths: &Paths,
    info: &LedgerInfo,
    last: Placement,
) -> Result<Option<Timestamp>, LedgerError> {
    let mut record = last;
    for _ in 0..PREAMBLE_MAX {
        if !record.is_preamble || record.seq == 0 {
            break;
        }
        let before = crate::find(paths, record.seq - 1)?.and_then(|found| {
            let members = Members::read(&found.record).ok()?;
            Placement::read(&members, info.origin.as_str()).ok()
        });
        match before {
            // It stopped in order: the silence began with the start that was cut short.
            Some(before) if before.ends_run => break,
            Some(before) => record = before,
            None => break,
        }
    }
    Ok(if last.ends_run { None } else { Some(record.latest) })
}
