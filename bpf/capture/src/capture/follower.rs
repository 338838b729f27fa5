//! Which processes are followed for a watch, by what the kernel program itself keeps of them.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use graven_abi::layout::FollowerEntry;
use libbpf_rs::Iter;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use zerocopy::FromBytes;

use super::ring::Ring;
use crate::error::CaptureError;

/// A process that is followed.
#[derive(Debug)]
pub struct Follower {
    /// Its id.
    pub pid: u32,
    /// When it was started, in nanoseconds of `CLOCK_BOOTTIME`: with [`Self::pid`] it names this process and no
    /// other that gets the number later.
    pub start_ns: u64,
    /// By which it can be killed, and no other.
    pub process: OwnedFd,
}

impl Ring {
    /// The processes that are followed for watch `index`, as that is set now, and have not ended, sorted by id:
    /// whatever was lost of their records. Who hides from it in an excluded cgroup is among them, and who is in
    /// another watch's cgroup by now is not.
    ///
    /// A process of which a thread runs has not ended. One that is not listed any more may still be about to
    /// write down its end.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Read`] if the kernel does not tell.
    pub fn followers(&self, index: u32) -> Result<Vec<Follower>, CaptureError> {
        let opened = |(pid, start_ns)| -> Option<Result<Follower, CaptureError>> {
            let raw = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
            match pidfd_open(raw, PidfdFlags::empty()) {
                Ok(process) => Some(Ok(Follower { pid, start_ns, process })),
                // EINVAL: the number is a thread's by now.
                Err(Errno::SRCH | Errno::INVAL) => None,
                Err(errno) => Some(Err(failed(io::Error::from(errno)))),
            }
        };
        let followers = self.listed(index)?.into_iter().filter_map(opened);
        let mut followers = followers.collect::<Result<Vec<_>, _>>()?;
        // Who is listed before and after has had its number in between, when that was opened.
        let still = self.listed(index)?;
        followers.retain(|follower| still.contains(&(follower.pid, follower.start_ns)));
        Ok(followers)
    }

    /// Ids and starts of the processes of watch `index`.
    fn listed(&self, index: u32) -> Result<BTreeSet<(u32, u64)>, CaptureError> {
        let Ok(at) = self.kernel.require_watch(index) else { return Ok(BTreeSet::new()) };
        let generation = self.kernel.slots().watches[at].generation;
        let claim = u64::from(generation) << 32 | u64::from(index);
        let link = self.kernel.list_followers.as_ref();
        let link = link.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let mut bytes = Vec::new();
        let mut list =
            Iter::new(link).map_err(|source| CaptureError::Read { operation: LISTING, source })?;
        list.read_to_end(&mut bytes).map_err(failed)?;
        let entries = bytes.chunks_exact(size_of::<FollowerEntry>());
        let entries = entries.filter_map(|entry| FollowerEntry::read_from_bytes(entry).ok());
        let own = entries.filter(|entry| entry.claim == claim);
        Ok(own.map(|entry| (entry.pid, entry.start_ns)).collect())
    }
}

const LISTING: &str = "list the followers of a watch";

fn failed(source: io::Error) -> CaptureError {
    CaptureError::Read { operation: LISTING, source: source.into() }
}
