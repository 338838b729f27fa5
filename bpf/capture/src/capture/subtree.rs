//! Which cgroups are watched. The kernel program adds those made later; here are those that are there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libbpf_rs::{ErrorKind, MapCore, MapFlags};
use rustix::fs::statfs;

use super::claims::{Claim, Claims};
use super::kernel::{Kernel, change};
use crate::error::CaptureError;

/// `CGROUP2_SUPER_MAGIC` (statfs(2)).
const CGROUP2_MAGIC: i64 = 0x6367_7270;

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
        kernel: &Kernel,
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
        self.put(kernel, &top, self.holder(&top))
    }

    /// Takes the claim of a watch away, and gives the cgroups to who has the next one.
    pub(super) fn remove(
        &mut self,
        kernel: &Kernel,
        path: &Path,
        index: u32,
    ) -> Result<(), CaptureError> {
        // Where it is gone, the kernel program has forgotten it already.
        let top = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if !self.tops.remove(&top, index) {
            return Ok(());
        }
        self.put(kernel, &top, self.holder(&top))
    }

    pub(super) fn forget(&mut self, kernel: &Kernel, index: u32) -> Result<(), CaptureError> {
        let paths = self.tops.of_watch(index);
        paths.iter().try_for_each(|path| self.remove(kernel, path, index))
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
        kernel: &Kernel,
        directory: &Path,
        index: Option<u32>,
    ) -> Result<(), CaptureError> {
        let Some(id) = unless_gone(fs::metadata(directory), directory)?.map(|found| found.ino())
        else {
            return Ok(());
        };
        write(kernel, id, index)?;
        let Some(entries) = unless_gone(fs::read_dir(directory), directory)? else {
            // Removed before the kernel program knew of it: it will not take it out.
            return write(kernel, id, None);
        };
        for entry in entries {
            let Some(entry) = unless_gone(entry, directory)? else { break };
            let is_cgroup = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_cgroup && self.tops.holder(&*entry.path()).is_none() {
                self.put(kernel, &entry.path(), index)?;
            }
        }
        Ok(())
    }
}

fn write(kernel: &Kernel, id: u64, index: Option<u32>) -> Result<(), CaptureError> {
    let key = id.to_le_bytes();
    match index {
        Some(index) => kernel
            .watched
            .update(&key, &index.to_le_bytes(), MapFlags::ANY)
            .map_err(change("watch a cgroup")),
        None => match kernel.watched.delete(&key) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(change("take the watch off a cgroup")(error))
            }
            _ => Ok(()),
        },
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
