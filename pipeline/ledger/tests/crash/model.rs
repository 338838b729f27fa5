//! A disk that fails where it is told to, and knows what a power loss would leave.
//!
//! A real directory plays the page cache: whatever reads, reads there. Beside it the model keeps what
//! is durable and what is not, of each file and of each directory.
//!
//! Modelled: writes torn at any byte, pages and names that reach the disk out of order or not at
//! all, lengths that did not grow, files without their names and names whose files are empty, failed
//! syncs after which the cache is clean and wrong, full disks, read-only files.
//!
//! Not modelled: bytes that rot after they were synced, writes to the wrong place, and an order that
//! holds between one directory and another (there is none here). Pages that the kernel writes by
//! itself before a power loss are among the states that are drawn.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;
use graven_ledger::disk::{Disk, DiskFile, HostDisk, Opening};
use rustix::io::Errno;

use crate::durable::{Change, Directory, Entry, Freedom, Inode, PAGE_BYTES, Renaming};

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The process dies in it: a write may have begun, and nothing follows.
    Death,
    /// EIO, once.
    Io,
    /// ENOSPC, once.
    Full,
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    /// Every file there ever was.
    inodes: Vec<Inode>,
    /// The files that have a name, by it, as the cache has them.
    names: BTreeMap<PathBuf, usize>,
    directories: BTreeMap<PathBuf, Directory>,
    operations: u64,
    fails_at: Option<(u64, Failure)>,
    dead: bool,
    /// Whether syncs are said to be done and are not: to show that the tests would notice.
    lies: bool,
    rng: Rng,
    /// What was done since the last crash, to be told where a test fails.
    log: Vec<String>,
}

/// What is left of an operation that may fail.
enum Outcome {
    Done,
    /// Of a write some bytes, of a sync some pages; then this error.
    Begun(io::Error),
}

impl Model {
    /// An empty disk in `root`, which exists and is empty.
    pub(crate) fn new(root: &Path) -> Self {
        let directories = BTreeMap::from([(root.to_owned(), Directory::default())]);
        Self {
            state: Arc::new(Mutex::new(State {
                root: root.to_owned(),
                inodes: Vec::new(),
                names: BTreeMap::new(),
                directories,
                operations: 0,
                fails_at: None,
                dead: false,
                lies: false,
                rng: Rng::with_seed(0),
                log: Vec::new(),
            })),
        }
    }

    pub(crate) fn as_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// What was done, one line an operation.
    pub(crate) fn log(&self) -> String {
        self.lock().log.join("\n")
    }

    /// Lets the `nth` operation from now on fail, 1 being the next; `seed` decides the details.
    pub(crate) fn fail(&self, nth: u64, failure: Failure, seed: u64) {
        let mut state = self.lock();
        state.fails_at = Some((state.operations + nth, failure));
        state.rng = Rng::with_seed(seed);
    }

    /// Lets nothing fail any more.
    pub(crate) fn fail_no_more(&self) {
        self.lock().fails_at = None;
    }

    /// From now on syncs do nothing.
    pub(crate) fn lie(&self) {
        self.lock().lies = true;
    }

    /// The process alone has died: the cache stands.
    pub(crate) fn die(&self) {
        let mut state = self.lock();
        state.dead = false;
        state.log.push("--- the process has died".into());
    }

    /// The power is lost: puts one of the possible states of the disk in place of the cache.
    pub(crate) fn crash(&self, freedom: Freedom, seed: u64) {
        let mut state = self.lock();
        state.log.push(format!("--- power lost, {freedom:?}"));
        state.crash(freedom, &mut Rng::with_seed(seed));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    /// Counts an operation, and lets it fail where that was asked for.
    fn step(&mut self, what: &str, path: &Path) -> io::Result<Outcome> {
        if self.dead {
            return Err(io::Error::other("the process is dead"));
        }
        self.operations += 1;
        let path = path.strip_prefix(&self.root).unwrap_or(path).display();
        self.log.push(format!("{:4} {what} {path}", self.operations));
        let Some((_, failure)) = self.fails_at.filter(|(at, _)| *at == self.operations) else {
            return Ok(Outcome::Done);
        };
        self.log.push(format!("     fails: {failure:?}"));
        let error = match failure {
            Failure::Death => {
                self.dead = true;
                io::Error::other("the process died")
            }
            Failure::Io => Errno::IO.into(),
            Failure::Full => Errno::NOSPC.into(),
        };
        Ok(Outcome::Begun(error))
    }

    /// As [`Self::step`], for what happens whole or not at all.
    fn step_whole(&mut self, what: &str, path: &Path) -> io::Result<()> {
        match self.step(what, path)? {
            Outcome::Done => Ok(()),
            Outcome::Begun(error) => Err(error),
        }
    }

    fn directory_of(&mut self, path: &Path) -> (&mut Directory, OsString) {
        let directory = self.directories.get_mut(path.parent().unwrap()).unwrap();
        (directory, path.file_name().unwrap().to_owned())
    }

    fn change_names(&mut self, path: &Path, change: impl FnOnce(OsString) -> Renaming) {
        let (directory, name) = self.directory_of(path);
        directory.pending.push(change(name));
    }

    /// Syncs a file, or fails to: then the cache calls clean what may not be on the disk.
    fn sync(&mut self, what: &str, path: &Path, inode: usize, with_mode: bool) -> io::Result<()> {
        match self.step(what, path)? {
            Outcome::Done if self.lies => Ok(()),
            Outcome::Done => {
                self.inodes[inode].sync(with_mode);
                Ok(())
            }
            // The dead are not told, so what they left pending stays so.
            Outcome::Begun(error) if self.dead => Err(error),
            Outcome::Begun(error) => {
                self.inodes[inode].lose(Freedom::AnyOrder, &mut self.rng);
                if self.rng.bool() {
                    self.drop_from_cache(inode)?;
                }
                Err(error)
            }
        }
    }

    /// Lets the cache read the file again from the disk.
    fn drop_from_cache(&mut self, inode: usize) -> io::Result<()> {
        let Some((path, _)) = self.names.iter().find(|(_, it)| **it == inode) else {
            return Ok(());
        };
        let on_disk = &self.inodes[inode].bytes;
        if fs::read(path)? != *on_disk {
            fs::write(path, on_disk)?;
        }
        Ok(())
    }

    fn crash(&mut self, freedom: Freedom, rng: &mut Rng) {
        self.dead = false;
        for entry in fs::read_dir(&self.root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }
        for inode in &mut self.inodes {
            inode.lose(freedom, rng);
        }
        for directory in self.directories.values_mut() {
            directory.lose(freedom, rng);
        }
        self.names.clear();
        let mut before = std::mem::take(&mut self.directories);
        self.put_back(&self.root.clone(), &mut before);
    }

    /// Makes the real files of a directory from what is durable.
    fn put_back(&mut self, path: &Path, before: &mut BTreeMap<PathBuf, Directory>) {
        let directory = before.remove(path).unwrap_or_default();
        for (name, entry) in &directory.entries {
            let path = path.join(name);
            match entry {
                Entry::Directory => {
                    fs::create_dir(&path).unwrap();
                    self.put_back(&path, before);
                }
                Entry::File(inode) => {
                    if let Some((known, _)) = self.names.iter().find(|(_, it)| *it == inode) {
                        fs::hard_link(known, &path).unwrap();
                    } else {
                        let Inode { bytes, mode, .. } = &self.inodes[*inode];
                        fs::write(&path, bytes).unwrap();
                        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
                    }
                    self.names.insert(path, *inode);
                }
            }
        }
        self.directories.insert(path.to_owned(), directory);
    }
}

impl Disk for Model {
    fn open(&self, path: &Path, opening: Opening, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.step_whole(&format!("open {opening:?}"), path)?;
        let known = state.names.get(path).copied();
        if known.is_some() && fs::metadata(path)?.permissions().mode() & 0o200 == 0 {
            // The tests may be root, whom no mode stops.
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).mode(mode);
        match opening {
            Opening::New => options.create_new(true),
            Opening::Append | Opening::Emptied => options.create(true),
        };
        let file = options.open(path)?;
        let inode = known.unwrap_or_else(|| {
            state.inodes.push(Inode { mode, ..Inode::default() });
            let inode = state.inodes.len() - 1;
            state.names.insert(path.to_owned(), inode);
            state.change_names(path, |name| Renaming::Made(name, Entry::File(inode)));
            inode
        });
        if opening == Opening::Emptied {
            file.set_len(0)?;
            state.inodes[inode].pending.push(Change::Length(0));
        }
        Ok(Box::new(ModelFile { model: self.clone(), path: path.to_owned(), inode, file }))
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut state = self.lock();
        state.step_whole("make directory", path)?;
        HostDisk.make_dir(path, mode)?;
        state.directories.insert(path.to_owned(), Directory::default());
        state.change_names(path, |name| Renaming::Made(name, Entry::Directory));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        assert_eq!(from.parent(), to.parent(), "the ledger renames within a directory");
        let mut state = self.lock();
        state.step_whole("rename to", to)?;
        HostDisk.rename(from, to)?;
        let inode = state.names.remove(from).unwrap();
        state.names.insert(to.to_owned(), inode);
        let from = from.file_name().unwrap().to_owned();
        state.change_names(to, |to| Renaming::Moved { from, to, entry: Entry::File(inode) });
        Ok(())
    }

    fn hard_link(&self, file: &Path, name: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step_whole("link as", name)?;
        HostDisk.hard_link(file, name)?;
        let inode = state.names[file];
        state.names.insert(name.to_owned(), inode);
        state.change_names(name, |name| Renaming::Made(name, Entry::File(inode)));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step_whole("remove", path)?;
        HostDisk.remove_file(path)?;
        state.names.remove(path);
        state.change_names(path, Renaming::Removed);
        Ok(())
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut state = self.lock();
        state.step_whole("set mode of", path)?;
        HostDisk.set_mode(path, mode)?;
        let inode = state.names[path];
        state.inodes[inode].pending.push(Change::Mode(mode));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let outcome = state.step("sync directory", path)?;
        let state = &mut *state;
        let directory = state.directories.get_mut(path).unwrap();
        match outcome {
            Outcome::Done if state.lies => {}
            Outcome::Done => directory.sync(),
            Outcome::Begun(error) => {
                directory.sync_in_part(&mut state.rng);
                return Err(error);
            }
        }
        Ok(())
    }

    fn evict(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let inode = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        state.sync("evict", path, inode, true)?;
        state.drop_from_cache(inode)
    }
}

#[derive(Debug)]
struct ModelFile {
    model: Model,
    path: PathBuf,
    inode: usize,
    file: File,
}

impl DiskFile for ModelFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.model.lock();
        let what = format!("write {} to", bytes.len());
        let outcome = state.step(&what, &self.path)?;
        let (written, result) = match outcome {
            Outcome::Done => (bytes.len(), Ok(())),
            Outcome::Begun(error) => (state.rng.usize(..=bytes.len()), Err(error)),
        };
        let from = self.file.metadata()?.len();
        self.file.write_all(&bytes[..written])?;
        let end = from + written as u64;
        let mut at_byte = from - from % PAGE_BYTES;
        while at_byte < end {
            let mut image = vec![0; usize::try_from((end - at_byte).min(PAGE_BYTES)).unwrap()];
            self.file.read_exact_at(&mut image, at_byte)?;
            state.inodes[self.inode].pending.push(Change::Page { at_byte, image });
            at_byte += PAGE_BYTES;
        }
        result
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        let mut state = self.model.lock();
        state.step_whole("set length of", &self.path)?;
        self.file.set_len(len_bytes)?;
        state.inodes[self.inode].pending.push(Change::Length(len_bytes));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.model.lock().sync("sync data of", &self.path, self.inode, false)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.model.lock().sync("sync", &self.path, self.inode, true)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
