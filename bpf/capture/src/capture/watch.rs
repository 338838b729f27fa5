//! Watches, and the executables that bring tasks under them.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use graven_abi::CallSet;
use graven_abi::layout::{WatchEntry, watch_flag};

use super::kernel::Kernel;
use super::keys::{Key, key_of};
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

/// The path, symbolic links resolved, as the kernel program collects it: components deepest first, each with
/// its NUL. One that is not there yet may be so later, and is taken as it is.
pub(super) fn executable_key(path: &Path) -> Result<Key, CaptureError> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let wrong = || CaptureError::Executable { path: path.clone() };
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
    key_of(&walk).filter(|_| path.is_absolute()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::keys::KEY_BYTES;

    #[test]
    fn an_executable_is_known_by_its_components() {
        let key = executable_key(Path::new("/no/bin/true")).expect("absolute");
        assert_eq!(&key[..13], b"true\0bin\0no\0\0");
        assert!(key[13..].iter().all(|byte| *byte == 0));
        let longest = format!("/{}", "a".repeat(KEY_BYTES - 2));
        assert!(executable_key(Path::new(&longest)).is_ok());
        for path in ["true", "", "/", "/a/../b", &format!("{longest}a")] {
            let refused = executable_key(Path::new(path));
            assert!(matches!(refused, Err(CaptureError::Executable { .. })), "{path}");
        }
    }
}
