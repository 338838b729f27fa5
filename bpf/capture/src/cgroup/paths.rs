//! From a cgroup's id to its path.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lru::LruCache;
use rustix::time::{ClockId, clock_gettime};

/// Cgroups whose paths are kept: those asked for last, or seen on the way to them. A few hundred bytes each.
const KNOWN_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("not 0");
/// After a walk through the file system, the next one waits this many times as long as it took.
const REST: u32 = 9;

/// Paths of cgroups by id.
///
/// The kernel never uses an id again, so what was found stays true, and what a walk did not find was removed
/// before it could be looked up.
#[derive(Debug)]
pub struct CgroupPaths {
    mount: PathBuf,
    known: LruCache<u64, Option<PathBuf>>,
    /// On `CLOCK_MONOTONIC`.
    next_walk: Duration,
}

impl CgroupPaths {
    pub(super) fn new(mount: PathBuf) -> Self {
        Self { mount, known: LruCache::new(KNOWN_MAX), next_walk: Duration::ZERO }
    }

    /// The path as in `/proc/self/cgroup`, such as `/graven/run-1`; `None` if the cgroup is gone, or cannot be
    /// looked up now.
    ///
    /// An id that is not known costs a walk through the whole file system, which finds the others as well; one
    /// that was never there as much as one that was removed. Walks take a tenth of the time at most: in between,
    /// what is not known yet is not found, and may be asked for again.
    pub fn path_of(&mut self, id: u64) -> Option<&Path> {
        if !self.known.contains(&id) {
            let begun = now();
            if begun < self.next_walk {
                return None;
            }
            let found = self.walk(id);
            self.known.put(id, found);
            let ended = now();
            self.next_walk = ended + ended.saturating_sub(begun) * REST;
        }
        self.known.get(&id)?.as_deref()
    }

    /// Takes in all that are there; gives the path of `wanted` if it is among them.
    fn walk(&mut self, wanted: u64) -> Option<PathBuf> {
        let mut found = None;
        let mut open = vec![(fs::metadata(&self.mount).ok()?.ino(), PathBuf::from("/"))];
        while let Some((id, path)) = open.pop() {
            let directory = self.mount.join(path.strip_prefix("/").unwrap_or(&path));
            // An entry's number is its inode's on this file system: nothing more need be asked of it.
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push((entry.ino(), path.join(entry.file_name())));
                }
            }
            if id == wanted {
                found = Some(path.clone());
            }
            self.known.put(id, Some(path));
        }
        found
    }
}

fn now() -> Duration {
    // Since the machine was started: never negative.
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(path: &Path) -> u64 {
        fs::metadata(path).expect("there").ino()
    }

    #[test]
    fn one_walk_names_all_and_the_next_one_waits() {
        let root = tempfile::tempdir().expect("a directory");
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("a/b")).expect("made");
        fs::create_dir(at("c")).expect("made");
        let mut paths = CgroupPaths::new(root.path().to_owned());
        let ids = ["", "a", "a/b", "c"].map(|name| inode(&at(name)));
        assert_eq!(paths.path_of(ids[2]), Some(Path::new("/a/b")));
        paths.next_walk = Duration::MAX;
        for (id, path) in ids.into_iter().zip(["/", "/a", "/a/b", "/c"]) {
            assert_eq!(paths.path_of(id), Some(Path::new(path)), "no other walk is needed");
        }
        fs::create_dir(at("late")).expect("made");
        let late = inode(&at("late"));
        assert_eq!(paths.path_of(late), None, "not now");
        paths.next_walk = Duration::ZERO;
        assert_eq!(paths.path_of(late), Some(Path::new("/late")));
        assert!(paths.next_walk > Duration::ZERO, "the next one waits");
    }

    #[test]
    fn what_is_gone_is_looked_for_once_and_no_more_is_kept_than_there_may_be() {
        let root = tempfile::tempdir().expect("a directory");
        let mut paths = CgroupPaths::new(root.path().to_owned());
        assert_eq!(paths.path_of(u64::MAX), None);
        let waits = paths.next_walk;
        assert_eq!(paths.path_of(u64::MAX), None);
        assert_eq!(paths.next_walk, waits, "it is known to be gone");
        for id in 0..2 * KNOWN_MAX.get() as u64 {
            paths.next_walk = Duration::ZERO;
            paths.path_of(id);
        }
        assert_eq!(paths.known.len(), KNOWN_MAX.get());
    }
}
