//! What of a file and of a directory a power loss may leave: pure, drawn from a seed.

use std::collections::BTreeMap;
use std::ffi::OsString;

use fastrand::Rng;

/// What the page cache is written to the disk in.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// How freely the disk chooses among what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freedom {
    /// What was done first is there first: of each file and of each directory a beginning of the
    /// changes, the last write torn at any byte. So does ext4 with `data=ordered`.
    InOrder,
    /// Any of the changes, each page for itself; a page that is missing before a later one reads as
    /// zeros; a file may not have grown. A rename is whole or not at all. So may xfs and btrfs, and
    /// any disk that reorders its own cache.
    AnyOrder,
}

impl Freedom {
    /// Draws which of `changes` are there, in order; the last one drawn in order may be half there.
    fn draw<'a, T>(self, changes: &'a [T], rng: &mut Rng) -> Vec<&'a T> {
        match self {
            Self::InOrder => changes[..rng.usize(..=changes.len())].iter().collect(),
            Self::AnyOrder => {
                let odds = *rng.choice(&[0.1, 0.5, 0.9]).expect("there are three");
                changes.iter().filter(|_| rng.f64() < odds).collect()
            }
        }
    }
}

/// A change of a file that no sync has made durable.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A page as it was after a write; no longer than the file then was.
    Page {
        at_byte: u64,
        image: Vec<u8>,
    },
    /// Cut or filled with zeros.
    Length(u64),
    Mode(u32),
}

/// A file on the disk, under whatever names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inode {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) pending: Vec<Change>,
}

impl Inode {
    /// Everything that is pending has reached the disk; the mode only where it was synced too.
    pub(crate) fn sync(&mut self, with_mode: bool) {
        for change in std::mem::take(&mut self.pending) {
            if with_mode || !matches!(change, Change::Mode(_)) {
                self.apply(&change, usize::MAX);
            } else {
                self.pending.push(change);
            }
        }
    }

    /// Some of what is pending has reached the disk; the rest never will.
    pub(crate) fn lose(&mut self, freedom: Freedom, rng: &mut Rng) {
        let pending = std::mem::take(&mut self.pending);
        let synced = self.bytes.len();
        let drawn = freedom.draw(&pending, rng);
        for (index, change) in drawn.iter().enumerate() {
            let torn = match freedom {
                Freedom::InOrder => index + 1 == drawn.len(),
                Freedom::AnyOrder => rng.u8(..8) == 0,
            };
            self.apply(change, if torn { rng.usize(..=4096) } else { usize::MAX });
        }
        if freedom == Freedom::AnyOrder && self.bytes.len() > synced && rng.u8(..4) == 0 {
            self.bytes.truncate(rng.usize(synced..self.bytes.len()));
        }
    }

    /// Applies a change, of a page no more than its first bytes.
    fn apply(&mut self, change: &Change, bytes_max: usize) {
        match change {
            Change::Page { at_byte, image } => {
                let at = usize::try_from(*at_byte).unwrap();
                let image = &image[..image.len().min(bytes_max)];
                if !image.is_empty() {
                    let end = self.bytes.len().max(at + image.len());
                    self.bytes.resize(end, 0);
                    self.bytes[at..at + image.len()].copy_from_slice(image);
                }
            }
            Change::Length(length) => self.bytes.resize(usize::try_from(*length).unwrap(), 0),
            Change::Mode(mode) => self.mode = *mode,
        }
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    File(usize),
    Directory,
}

/// A change of a directory that no sync has made durable.
#[derive(Debug, Clone)]
pub(crate) enum Renaming {
    Made(OsString, Entry),
    Removed(OsString),
    Moved { from: OsString, to: OsString, entry: Entry },
}

/// A directory on the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    pub(crate) entries: BTreeMap<OsString, Entry>,
    pub(crate) pending: Vec<Renaming>,
}

impl Directory {
    pub(crate) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            self.apply(&change);
        }
    }

    /// A beginning of what is pending has reached the disk; the rest may follow later.
    pub(crate) fn sync_in_part(&mut self, rng: &mut Rng) {
        let later = self.pending.split_off(rng.usize(..=self.pending.len()));
        self.sync();
        self.pending = later;
    }

    /// Some of what is pending has reached the disk; the rest never will.
    pub(crate) fn lose(&mut self, freedom: Freedom, rng: &mut Rng) {
        let pending = std::mem::take(&mut self.pending);
        for change in freedom.draw(&pending, rng) {
            self.apply(change);
        }
    }

    fn apply(&mut self, change: &Renaming) {
        match change {
            Renaming::Made(name, entry) => {
                self.entries.insert(name.clone(), *entry);
            }
            Renaming::Removed(name) => {
                self.entries.remove(name);
            }
            Renaming::Moved { from, to, entry } => {
                self.entries.remove(from);
                self.entries.insert(to.clone(), *entry);
            }
        }
    }
}
