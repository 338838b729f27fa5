//! Whether a process is followed for a watch, by what the kernel program itself keeps of it.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use libbpf_rs::{MapCore, MapFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::ring::Ring;
use crate::cgroup::Cgroup2;
use crate::error::CaptureError;

impl Ring {
    /// The process `pid`, if it is followed for watch `index` as that is set now: a descriptor by which it can
    /// be killed, and no other that gets its number later.
    ///
    /// `None` if it has ended, or was let go, or is another watch's: that may be so although its newest record
    /// in this ring is of `index`, since what follows may be in another ring, or not have been made yet.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Read`] if the kernel does not tell.
    pub fn follower(&self, index: u32, pid: u32) -> Result<Option<OwnedFd>, CaptureError> {
        let failed = |source| CaptureError::Read { operation: "look up a process", source };
        let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let process = match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(process) => process,
            // EINVAL: the number is a thread's by now.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(failed(io::Error::from(errno).into())),
        };
        let key = process.as_raw_fd().to_le_bytes();
        let stash = self.kernel.stashes.lookup(&key, MapFlags::ANY).map_err(failed)?;
        // The claim is the stash's first member.
        let claim = stash.as_ref().and_then(|stash| stash.first_chunk().copied());
        let is_claimed = claim.is_some() && claim.map(u64::from_le_bytes) == self.claim(index);
        let next = self.watch_around(pid).map_err(failed)?;
        Ok(Some(process).filter(|_| is_claimed && next.is_none_or(|next| next == index)))
    }

    /// What the tasks of watch `index` have in their stash, as in `watch.h`; `None` if it is not set.
    fn claim(&self, index: u32) -> Option<u64> {
        let at = self.kernel.require_watch(index).ok()?;
        let generation = self.kernel.slots().watches[at].generation;
        Some(u64::from(generation) << 32 | u64::from(index))
    }

    /// The watch on the cgroup that a process is in, which its next call will be of; `None` if there is none,
    /// or the cgroup cannot be seen from here.
    fn watch_around(&self, pid: u32) -> libbpf_rs::Result<Option<u32>> {
        let hierarchies = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let below = hierarchies.lines().find_map(|line| line.strip_prefix("0::/"));
        let metadata = below
            .zip(Cgroup2::find().ok())
            .and_then(|(below, cgroups)| fs::metadata(cgroups.mount().join(below)).ok());
        let Some(metadata) = metadata else { return Ok(None) };
        let value = self.kernel.watched.lookup(&metadata.ino().to_le_bytes(), MapFlags::ANY)?;
        let index = value.and_then(|value| value.first_chunk().copied()).map(u32::from_le_bytes);
        Ok(index.filter(|index| self.kernel.require_watch(*index).is_ok()))
    }
}
