//! What the kernel says of a process: its size, its time on a CPU, its threads and descriptors.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use rustix::param::clock_ticks_per_second;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Resident {
    /// Now.
    pub(crate) kib: u64,
    /// At most, since the process began.
    pub(crate) peak_kib: u64,
}

/// A process that runs, by its directory in `/proc`.
#[derive(Debug)]
pub(crate) struct Process(PathBuf);

impl Process {
    pub(crate) fn this() -> Self {
        Self("/proc/self".into())
    }

    pub(crate) fn of(pid: u32) -> Self {
        Self(format!("/proc/{pid}").into())
    }

    /// Source: `proc_pid_status(5)`.
    pub(crate) fn resident(&self) -> anyhow::Result<Resident> {
        let status = self.read("status")?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
            number.with_context(|| format!("{}/status has no {name}", self.0.display()))
        };
        Ok(Resident { kib: kib("VmRSS:")?, peak_kib: kib("VmHWM:")? })
    }

    /// KiB resident in the kernel's rings: a ring's pages are counted for each of the two places where they are
    /// mapped, so that a record that wraps around is in one piece. Source: `proc_pid_smaps(5)`.
    pub(crate) fn rings_kib(&self) -> anyhow::Result<u64> {
        let smaps = self.read("smaps")?;
        let (mut kib, mut is_ring) = (0, false);
        for line in smaps.lines() {
            if let Some(resident) = line.strip_prefix("Rss:") {
                let resident = resident.trim().trim_end_matches(" kB").parse::<u64>()?;
                kib += if is_ring { resident } else { 0 };
            } else if line.contains('-') {
                is_ring = line.ends_with("bpf-map");
            }
        }
        Ok(kib)
    }

    /// Time that its threads have spent on a CPU, in user and in kernel mode. Source: `proc_pid_stat(5)`,
    /// fields 14 and 15.
    pub(crate) fn cpu_ns(&self) -> anyhow::Result<u64> {
        self.times_ns(14)
    }

    /// The same of its children that have ended and were waited for, and of theirs: fields 16 and 17.
    pub(crate) fn children_cpu_ns(&self) -> anyhow::Result<u64> {
        self.times_ns(16)
    }

    /// The sum of field `first` and the next. The kernel counts in ticks, mostly of 10 ms.
    fn times_ns(&self, first: usize) -> anyhow::Result<u64> {
        let stat = self.read("stat")?;
        // The second field is the name, which may hold anything, and ends at the last parenthesis: the third
        // is the first behind it.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut ticks = after_name.split_whitespace().skip(first - 3).map(str::parse::<u64>);
        let mut next = || ticks.next().and_then(Result::ok);
        let (user, system) = next().zip(next()).context("/proc/PID/stat has no times")?;
        Ok((user + system) * (1_000_000_000 / clock_ticks_per_second()))
    }

    pub(crate) fn threads(&self) -> anyhow::Result<u64> {
        self.entries("task")
    }

    pub(crate) fn descriptors(&self) -> anyhow::Result<u64> {
        self.entries("fd")
    }

    fn entries(&self, name: &str) -> anyhow::Result<u64> {
        let path = self.0.join(name);
        let entries = fs::read_dir(&path).with_context(|| format!("no {}", path.display()))?;
        Ok(entries.count() as u64)
    }

    fn read(&self, name: &str) -> anyhow::Result<String> {
        let path = self.0.join(name);
        fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))
    }
}
