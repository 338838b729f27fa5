//! How many files a recorder may have open.

use anyhow::bail;
use rustix::process::{Resource, getrlimit};

/// Open files that are wanted: with the kernel program some 70 are open, and some ten more for each ledger of a
/// service; the rest is room for clients. A shell allows 1,024 by default.
const DESCRIPTORS_MIN: u64 = 256;

/// Refuses to begin where files would run out in the middle, at which the async runtime can only panic.
///
/// # Errors
///
/// With the limit that is in force, and what to do about it.
pub(crate) fn enough() -> anyhow::Result<()> {
    match getrlimit(Resource::Nofile).current {
        Some(allowed) if allowed < DESCRIPTORS_MIN => bail!(
            "only {allowed} files may be open, and recording wants {DESCRIPTORS_MIN}: run `ulimit -n 1024` first"
        ),
        _ => Ok(()),
    }
}
