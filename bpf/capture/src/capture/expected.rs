//! Cgroups that are to be watched from the moment they are made.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::keys::{KEY_BYTES, Key, key_of};
use crate::error::CaptureError;

/// The inode of the machine's first cgroup namespace (`PROC_CGROUP_INIT_INO` in `include/linux/proc_ns.h`).
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFB;

/// Whether this thread sees cgroups under the names that the kernel has for them. In a container, a cgroup of
/// the same name might be somebody else's.
pub(super) fn in_first_namespace() -> bool {
    fs::metadata("/proc/thread-self/ns/cgroup").is_ok_and(|found| found.ino() == FIRST_NAMESPACE)
}

/// A cgroup that may not be there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Where it will be: its path from the root of the hierarchy, as in `/proc/self/cgroup`.
    Path(PathBuf),
    /// How it will be called, wherever it will be: the cgroup of a systemd unit has the unit's name.
    Name(String),
}

impl Expected {
    /// The text, for messages.
    pub(super) fn as_path(&self) -> &Path {
        match self {
            Self::Path(path) => path,
            Self::Name(name) => Path::new(name),
        }
    }

    /// As the kernel names it: a path with its slashes, or a name without one.
    pub(super) fn key(&self) -> Result<Key, CaptureError> {
        let text = match self {
            Self::Path(path) => {
                let mut components = path.components();
                let rooted = components.next() == Some(Component::RootDir);
                let mut text = Vec::new();
                for component in components {
                    text.push(b'/');
                    text.extend_from_slice(component.as_os_str().as_bytes());
                }
                rooted.then_some(text)
            }
            Self::Name(name) => (!name.contains('/')).then(|| name.clone().into_bytes()),
        };
        // A text that fills the kernel's buffer may have been cut there.
        text.filter(|text| text.len() < KEY_BYTES - 1)
            .and_then(|text| key_of(&text))
            .ok_or_else(|| CaptureError::Expected { expected: self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_name_are_never_taken_for_each_other() {
        let of = |expected: Expected| expected.key().ok();
        let path = |text: &str| of(Expected::Path(text.into()));
        let name = |text: &str| of(Expected::Name(text.into()));
        assert_eq!(path("/a//b/"), key_of(b"/a/b"));
        assert_eq!(name("a.service"), key_of(b"a.service"));
        let (fits, longer) = ("x".repeat(254), "x".repeat(255));
        assert!(name(&fits).is_some() && path(&format!("/{}", &fits[1..])).is_some());
        for refused in ["", "/", "/a", &longer] {
            assert_eq!(name(refused), None, "{refused}");
        }
        for refused in ["", "/", "a", &format!("/{fits}")] {
            assert_eq!(path(refused), None, "{refused}");
        }
    }
}
