//! This process's resident size.

use std::fs;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Resident {
    /// Now.
    pub(crate) kib: u64,
    /// At most, since the process began.
    pub(crate) peak_kib: u64,
}

impl Resident {
    /// Source: `proc_pid_status(5)`.
    pub(crate) fn now() -> anyhow::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
            number.with_context(|| format!("/proc/self/status has no {name}"))
        };
        Ok(Self { kib: kib("VmRSS:")?, peak_kib: kib("VmHWM:")? })
    }
}
