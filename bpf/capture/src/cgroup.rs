//! The cgroup file system (version 2), and the cgroup that holds one watched command.

mod leftovers;
mod paths;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::CaptureError;
pub use leftovers::COMMAND_PREFIX;
pub use paths::CgroupPaths;

/// Directory below the file system's root that holds the cgroups made here.
const PARENT: &str = "graven";
/// A killed task leaves its cgroup a little later: tries, and the pause between them.
const REMOVE_TRIES: u32 = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// The cgroup file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup2 {
    mount: PathBuf,
}

impl Cgroup2 {
    /// Finds where it is mounted: `/sys/fs/cgroup`, or elsewhere beside version 1.
    ///
    /// # Errors
    ///
    /// [`CaptureError::NoCgroup2`] if it is mounted nowhere.
    pub fn find() -> Result<Self, CaptureError> {
        let mounts = fs::read("/proc/mounts").map_err(|_| CaptureError::NoCgroup2)?;
        let mount = mount_in(&mounts).ok_or(CaptureError::NoCgroup2)?;
        Ok(Self { mount })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// Looks up cgroups by their ids, on this file system.
    #[must_use]
    pub fn paths(&self) -> CgroupPaths {
        CgroupPaths::new(self.mount.clone())
    }

    /// Makes the cgroup `graven/<name>`.
    ///
    /// Beside it, those that begin with [`COMMAND_PREFIX`] and that a killed recorder has left behind are
    /// removed: nothing runs in them, nobody holds them as an [`AgentCgroup`], and they are older than a minute.
    ///
    /// # Errors
    ///
    /// [`CaptureError::CgroupName`] if `name` is no single file name; [`CaptureError::Cgroup`] if it exists
    /// already or cannot be made.
    pub fn create(&self, name: &str) -> Result<AgentCgroup, CaptureError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(CaptureError::CgroupName { name: name.to_owned() });
        }
        let parent = self.mount.join(PARENT);
        match fs::create_dir(&parent) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("create", &parent, source));
            }
            _ => {}
        }
        let path = parent.join(name);
        fs::create_dir(&path).map_err(|source| failed("create", &path, source))?;
        let held = leftovers::hold(&path)?;
        let metadata = held.metadata().map_err(|source| failed("read", &path, source))?;
        if let Ok(now) = metadata.modified() {
            leftovers::sweep(&parent, now);
        }
        Ok(AgentCgroup { path, id: metadata.ino(), _held: held })
    }
}

/// Mount points are fields of one line each, with octal escapes (`proc_pid_mounts(5)`).
fn mount_in(mounts: &[u8]) -> Option<PathBuf> {
    let line = mounts
        .split(|byte| *byte == b'\n')
        .find(|line| line.split(|byte| *byte == b' ').nth(2) == Some(b"cgroup2"))?;
    let mount = line.split(|byte| *byte == b' ').nth(1)?;
    Some(PathBuf::from(OsStr::from_bytes(&unescape(mount))))
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..3).filter(|_| *first == b'\\');
        let code = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    bytes
}

/// A cgroup made for one watched command.
///
/// Dropped, it is removed if nothing ever ran in it or is left; [`Self::remove`] says whether it was.
#[derive(Debug)]
pub struct AgentCgroup {
    path: PathBuf,
    id: u64,
    /// Its directory, locked: the sign that its owner lives.
    _held: File,
}

impl AgentCgroup {
    /// The directory, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id in the kernel: the directory's inode.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Opens the file that moves the process that writes `0` to it.
    pub(crate) fn open_procs(&self) -> Result<File, CaptureError> {
        let path = self.path.join("cgroup.procs");
        File::options().write(true).open(&path).map_err(|source| failed("open", &path, source))
    }

    /// Kills every process in it and below: see [`kill_cgroup`].
    ///
    /// # Errors
    ///
    /// As [`kill_cgroup`].
    pub fn kill(&self) -> Result<(), CaptureError> {
        kill_cgroup(&self.path)
    }

    /// Whether a process is in it or below: see [`cgroup_populated`].
    ///
    /// # Errors
    ///
    /// As [`cgroup_populated`].
    pub fn populated(&self) -> Result<bool, CaptureError> {
        cgroup_populated(&self.path)
    }

    /// Waits until it may have become empty, at most `timeout`; returns whether it is empty.
    ///
    /// It may return early though processes are left: then call it again.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Cgroup`] if it cannot be read.
    pub fn wait_empty(&self, timeout: Duration) -> Result<bool, CaptureError> {
        let path = self.path.join("cgroup.events");
        let file = File::open(&path).map_err(|source| failed("open", &path, source))?;
        // Reading arms the notification: the kernel reports what changes after it.
        if !is_populated(
            &io::read_to_string(&file).map_err(|source| failed("read", &path, source))?,
        ) {
            return Ok(true);
        }
        let timeout = Timespec::try_from(timeout).ok();
        match poll(&mut [PollFd::new(&file, PollFlags::PRI)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => self.populated().map(|populated| !populated),
            Err(errno) => Err(failed("wait for", &path, errno.into())),
        }
    }

    /// Removes it and the cgroups below it, which must have no process left.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Cgroup`] if a process is left or the kernel refuses.
    pub fn remove(self) -> Result<(), CaptureError> {
        remove_tree(&self.path)
    }
}

impl Drop for AgentCgroup {
    fn drop(&mut self) {
        // The kernel refuses while a process or a cgroup is in it; that is as it should be.
        let _removed = fs::remove_dir(&self.path);
    }
}

/// Kills every process in the cgroup whose directory is `path` and below, by SIGKILL and without a race.
///
/// # Errors
///
/// [`CaptureError::Cgroup`] if it is gone or the kernel refuses (it needs Linux 5.14).
pub fn kill_cgroup(path: &Path) -> Result<(), CaptureError> {
    let file = path.join("cgroup.kill");
    File::options()
        .write(true)
        .open(&file)
        .and_then(|mut opened| opened.write_all(b"1"))
        .map_err(|source| failed("write", &file, source))
}

/// Removes `path` and what is below it, deepest first.
pub(crate) fn remove_tree(path: &Path) -> Result<(), CaptureError> {
    let entries = fs::read_dir(path).map_err(|source| failed("read", path, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| failed("read", path, source))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    for _ in 1..REMOVE_TRIES {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                thread::sleep(REMOVE_PAUSE);
            }
            Err(source) => return Err(failed("remove", path, source)),
            Ok(()) => return Ok(()),
        }
    }
    fs::remove_dir(path).map_err(|source| failed("remove", path, source))
}

/// Whether a process that is no zombie is in the cgroup whose directory is `path` or below.
///
/// # Errors
///
/// [`CaptureError::Cgroup`] if it cannot be read.
pub fn cgroup_populated(path: &Path) -> Result<bool, CaptureError> {
    let file = path.join("cgroup.events");
    let events = fs::read_to_string(&file).map_err(|source| failed("read", &file, source))?;
    Ok(is_populated(&events))
}

fn is_populated(events: &str) -> bool {
    events.lines().any(|line| line == "populated 1")
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> CaptureError {
    CaptureError::Cgroup { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_version_2_beside_version_1() {
        let mounts = b"tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
            cgroup2 /mnt/a\\040b cgroup2 rw 0 0\n";
        assert_eq!(mount_in(mounts), Some(PathBuf::from("/mnt/a b")));
        assert_eq!(mount_in(b"tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"), None);
    }

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        let cgroups = Cgroup2 { mount: PathBuf::from("/nonexistent") };
        for name in ["", ".", "..", "a/b", "a b"] {
            assert!(
                matches!(cgroups.create(name), Err(CaptureError::CgroupName { .. })),
                "`{name}` was taken"
            );
        }
    }
}
