//! Cgroups of commands that a killed recorder has left behind.

use std::fs::{self, DirEntry, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use super::{cgroup_populated, failed, remove_tree};
use crate::error::CaptureError;

/// What the names of the cgroups begin with that are made for one command each.
pub const COMMAND_PREFIX: &str = "exec-";

/// A younger one may be about to be locked by its recorder.
const AGE_MIN: Duration = Duration::from_mins(1);

/// Marks the cgroup at `path` as in use, for as long as the file is open.
pub(super) fn hold(path: &Path) -> Result<File, CaptureError> {
    let held = || {
        let directory = File::open(path)?;
        flock(&directory, FlockOperation::LockExclusive)?;
        Ok(directory)
    };
    held().map_err(|source: io::Error| failed("lock", path, source))
}

/// Removes what is left behind below `parent`, as seen at the time `now` of the file system's.
pub(super) fn sweep(parent: &Path, now: SystemTime) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let of_command = |entry: &DirEntry| {
        entry.file_name().as_encoded_bytes().starts_with(COMMAND_PREFIX.as_bytes())
    };
    for entry in entries.flatten().filter(of_command) {
        let path = entry.path();
        if is_left(&path, now) {
            // It was on its way out already, or somebody has made a cgroup in it: the next sweep sees to it.
            let removed = remove_tree(&path);
            tracing::debug!(?removed, path = %path.display(), "left behind by a killed recorder");
        }
    }
}

fn is_left(path: &Path, now: SystemTime) -> bool {
    let Ok(directory) = File::open(path) else { return false };
    let made = directory.metadata().and_then(|metadata| metadata.modified());
    let age = made.ok().and_then(|made| now.duration_since(made).ok());
    age.is_some_and(|age| age > AGE_MIN)
        && flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok()
        && cgroup_populated(path).is_ok_and(|populated| !populated)
}
