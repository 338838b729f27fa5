//! Watches, and the executables that bring tasks under them.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use graven_abi::CallSet;
use graven_abi::layout::{EXECUTABLE_BYTES, WatchEntry, watch_flag};
use libbpf_rs::{MapCore, MapFlags};

use super::claims::{Claim, Claims};
use super::kernel::{Kernel, change};
use super::ring::RingSlot;
use crate::error::CaptureError;

/// What is recorded of the tasks under a watch, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The ring that the records go to, from [`super::Ring::slot`].
    pub ring: RingSlot,
    /// The calls that go on record. The others are counted by [`super::Ring::left_out`]; forks, execs and
    /// exits, and calls of other architectures than `x86_64`, are recorded all the same.
    ///
    /// [`CallSet::NONE`] makes an exclusion: a task that leaves it for a cgroup that is not watched is let go,
    /// unless another watch had it before; that one has it again.
    pub recorded: CallSet,
    /// Whether exec records carry the environment, up to 8 KiB of it. It may hold secrets.
    pub environment: bool,
}

/// Changes to the watches.
pub(super) struct Watches;

impl Watches {
    pub(super) fn set(kernel: &Kernel, index: u32, watch: &Watch) -> Result<(), CaptureError> {
        let mut slots = kernel.slots();
        let at = usize::try_from(index).ok().filter(|at| *at < slots.watches.len());
        let at = at.ok_or(CaptureError::NoWatch { index })?;
        let mut flags = 0;
        if watch.environment {
            flags |= watch_flag::WANTS_ENV;
        }
        if watch.recorded == CallSet::NONE {
            flags |= watch_flag::EXCLUSION;
        }
        let entry = WatchEntry {
            generation: slots.generation(at),
            ring: watch.ring.index,
            flags,
            wake_bytes: watch.ring.wake_bytes,
            left_out: watch.recorded.left_out(),
        };
        slots.watches[at] = entry;
        kernel.write_watch(index, &entry)
    }

    pub(super) fn drop(kernel: &Kernel, index: u32) -> Result<(), CaptureError> {
        let at = kernel.require_watch(index)?;
        kernel.slots().watches[at] = WatchEntry::default();
        kernel.write_watch(index, &WatchEntry::default())
    }
}

/// The watched executables, by path, each with the watches that claim it.
#[derive(Debug, Default)]
pub(super) struct Executables {
    known: Claims<PathBuf>,
}

impl Executables {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.known.len()).unwrap_or(u32::MAX)
    }

    /// Adds the claim of a watch, in place of that of watch `instead_of`.
    pub(super) fn add(
        &mut self,
        kernel: &Kernel,
        path: &Path,
        claim: Claim,
        instead_of: Option<u32>,
    ) -> Result<(), CaptureError> {
        let path = resolve(path);
        key_of(&path)?;
        let added = self.known.add(path.clone(), claim, instead_of);
        added.map_err(|other| CaptureError::Taken { path: path.clone(), other })?;
        self.put(kernel, &path)
    }

    /// Takes the claim of a watch away, and gives the executable to who has the next one.
    pub(super) fn remove(
        &mut self,
        kernel: &Kernel,
        path: &Path,
        index: u32,
    ) -> Result<(), CaptureError> {
        let path = resolve(path);
        if self.known.remove(&path, index) { self.put(kernel, &path) } else { Ok(()) }
    }

    pub(super) fn forget(&mut self, kernel: &Kernel, index: u32) -> Result<(), CaptureError> {
        let paths = self.known.of_watch(index);
        paths.iter().try_for_each(|path| self.remove(kernel, path, index))
    }

    fn put(&self, kernel: &Kernel, path: &Path) -> Result<(), CaptureError> {
        let (map, key) = (&kernel.executables, key_of(path)?);
        match self.known.holder(path) {
            Some(index) => map
                .update(&key, &index.to_le_bytes(), MapFlags::ANY)
                .map_err(change("watch an executable")),
            None => map.delete(&key).map_err(change("take the watch off an executable")),
        }
    }
}

/// A path that is not there yet may be so later, and is taken as it is.
fn resolve(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The path as the kernel program collects it: components deepest first, each with its NUL.
fn key_of(path: &Path) -> Result<[u8; EXECUTABLE_BYTES], CaptureError> {
    let wrong = || CaptureError::Executable { path: path.to_owned() };
    let mut walk = Vec::new();
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => {
                walk.extend_from_slice(name.as_bytes());
                walk.push(0);
            }
            Component::RootDir => {}
            _ => return Err(wrong()),
        }
    }
    let mut key = [0; EXECUTABLE_BYTES];
    let fits = path.is_absolute() && !walk.is_empty() && walk.len() < EXECUTABLE_BYTES;
    key.get_mut(..walk.len()).filter(|_| fits).ok_or_else(wrong)?.copy_from_slice(&walk);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_is_known_by_its_components() {
        let key = key_of(Path::new("/usr/bin/true")).expect("absolute");
        assert_eq!(&key[..14], b"true\0bin\0usr\0\0");
        assert!(key[14..].iter().all(|byte| *byte == 0));
        let longest = format!("/{}", "a".repeat(EXECUTABLE_BYTES - 2));
        assert!(key_of(Path::new(&longest)).is_ok());
        for path in ["true", "", "/", "/a/../b", &format!("{longest}a")] {
            let refused = key_of(Path::new(path));
            assert!(matches!(refused, Err(CaptureError::Executable { .. })), "{path}");
        }
    }
}
