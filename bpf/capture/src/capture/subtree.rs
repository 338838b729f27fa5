//! Which cgroups are watched. The kernel program adds those made later; here are those that are there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use graven_abi::layout::CGROUP_BYTES;
use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle};
use rustix::fs::statfs;

use super::claims::{Claim, Claims};
use super::kernel::change;
use crate::error::CaptureError;

/// `CGROUP2_SUPER_MAGIC` (statfs(2)).
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// What the kernel program knows of cgroups.
pub(super) struct Lookup<'a> {
    /// By id, the index of the watch.
    pub(super) watched: &'a MapHandle,
    /// Not zero where an id that ends so may be in there.
    pub(super) perhaps: &'a mut [u8; CGROUP_BYTES],
}

/// The tops of the watched subtrees, each with the watches that claim it.
#[derive(Debug, Default)]
pub(super) struct Subtrees {
    tops: Claims<PathBuf>,
}

impl Subtrees {
    /// Adds the claim of a watch, in place of that of watch `instead_of`. Each cgroup goes from one to the
    /// other by one change of the kernel's map.
    pub(super) fn add(
        &mut self,
        cgroups: &mut Lookup<'_>,
        path: &Path,
        claim: Claim,
        instead_of: Option<u32>,
    ) -> Result<(), CaptureError> {
        let top = fs::canonicalize(path).map_err(|source| failed("watch", path, source))?;
        let magic = statfs(&top).map_err(|errno| failed("watch", path, errno.into()))?.f_type;
        if magic != CGROUP2_MAGIC {
            let source = io::Error::other("it is not on the cgroup2 file system");
            return Err(failed("watch", path, source));
        }
        let added = self.tops.add(top.clone(), claim, instead_of);
        added.map_err(|other| CaptureError::Taken { path: top.clone(), other })?;
        self.put(cgroups, &top, self.holder(&top))
    }

    /// Takes the claim of a watch away, and gives the cgroups to who has the next one.
    pub(super) fn remove(
        &mut self,
        cgroups: &mut Lookup<'_>,
        path: &Path,
        index: u32,
    ) -> Result<(), CaptureError> {
        // Where it is gone, the kernel program has forgotten it already.
        let top = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if !self.tops.remove(&top, index) {
            return Ok(());
        }
        self.put(cgroups, &top, self.holder(&top))
    }

    pub(super) fn forget(
        &mut self,
        cgroups: &mut Lookup<'_>,
        index: u32,
    ) -> Result<(), CaptureError> {
        let paths = self.tops.of_watch(index);
        paths.iter().try_for_each(|path| self.remove(cgroups, path, index))?;
        // The kernel program has put those that were expected under the watch by itself. Where a cgroup above
        // is watched, that watch goes on there.
        let expected = cgroups.of_watch(index)?;
        expected.iter().try_for_each(|id| cgroups.write(*id, None))?;
        let mut above = self.tops.keys().filter(|_| !expected.is_empty());
        above.try_for_each(|path| self.put(cgroups, path, self.tops.holder(path)))
    }

    /// The watch of a top, or else of the nearest above it.
    fn holder(&self, top: &Path) -> Option<u32> {
        top.ancestors().find_map(|above| self.tops.holder(above))
    }

    /// Writes the watch of `directory` and of the cgroups below it that have none of their own; `None` takes
    /// it off.
    ///
    /// From the top down, each before it is listed: a cgroup made meanwhile is either listed, or made
    /// below one that the kernel program knows by then.
    fn put(
        &self,
        cgroups: &mut Lookup<'_>,
        directory: &Path,
        index: Option<u32>,
    ) -> Result<(), CaptureError> {
        let Some(id) = unless_gone(fs::metadata(directory), directory)?.map(|found| found.ino())
        else {
            return Ok(());
        };
        cgroups.write(id, index)?;
        let Some(entries) = unless_gone(fs::read_dir(directory), directory)? else {
            // Removed before the kernel program knew of it: it will not take it out.
            return cgroups.write(id, None);
        };
        for entry in entries {
            let Some(entry) = unless_gone(entry, directory)? else { break };
            let is_cgroup = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_cgroup && self.tops.holder(&*entry.path()).is_none() {
                self.put(cgroups, &entry.path(), index)?;
            }
        }
        Ok(())
    }
}

impl Lookup<'_> {
    /// Puts a cgroup under a watch; `None` takes it off.
    fn write(&mut self, id: u64, index: Option<u32>) -> Result<(), CaptureError> {
        let key = id.to_le_bytes();
        let Some(index) = index else {
            return match self.watched.delete(&key) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(change("take the watch off a cgroup")(error))
                }
                _ => Ok(()),
            };
        };
        // Stays: another cgroup's id may end alike.
        let ending = id % self.perhaps.len() as u64;
        if let Some(perhaps) = usize::try_from(ending).ok().and_then(|at| self.perhaps.get_mut(at))
        {
            *perhaps = 1;
        }
        self.watched
            .update(&key, &index.to_le_bytes(), MapFlags::ANY)
            .map_err(change("watch a cgroup"))
    }

    /// The cgroups that are under a watch.
    fn of_watch(&self, index: u32) -> Result<Vec<u64>, CaptureError> {
        let wanted = index.to_le_bytes();
        let mut ids = Vec::new();
        for key in self.watched.keys() {
            let value = self.watched.lookup(&key, MapFlags::ANY);
            let value = value.map_err(change("list the cgroups of a watch"))?;
            if value.is_some_and(|value| value == wanted)
                && let Ok(id) = <[u8; 8]>::try_from(key)
            {
                ids.push(u64::from_le_bytes(id));
            }
        }
        Ok(ids)
    }
}

fn unless_gone<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>, CaptureError> {
    match result {
        Ok(found) => Ok(Some(found)),
        // ENODEV: removed while it was open.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(source) => Err(failed("list", path, source)),
    }
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> CaptureError {
    CaptureError::Cgroup { operation, path: path.to_owned(), source }
}
