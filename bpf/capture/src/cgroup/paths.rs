//! From a cgroup's id to its path.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Paths of cgroups by id, each looked up once.
///
/// The kernel never uses an id again, so what was found stays true, and what was not found was removed
/// before it could be looked up.
#[derive(Debug)]
pub struct CgroupPaths {
    mount: PathBuf,
    known: HashMap<u64, Option<PathBuf>>,
}

impl CgroupPaths {
    pub(super) fn new(mount: PathBuf) -> Self {
        Self { mount, known: HashMap::new() }
    }

    /// The path as in `/proc/self/cgroup`, such as `/graven/run-1`; `None` if the cgroup is gone.
    ///
    /// The first look-up of an id walks the whole file system.
    pub fn path_of(&mut self, id: u64) -> Option<&Path> {
        let found = match self.known.entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(search(&self.mount, &self.mount, id)),
        };
        found.as_deref()
    }
}

fn search(mount: &Path, directory: &Path, id: u64) -> Option<PathBuf> {
    if fs::metadata(directory).ok()?.ino() == id {
        let below = directory.strip_prefix(mount).ok()?;
        return Some(Path::new("/").join(below));
    }
    fs::read_dir(directory)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .find_map(|entry| search(mount, &entry.path(), id))
}
