//! The machine, in as many words as it takes to quote a figure.

use std::fs;
use std::num::NonZeroUsize;
use std::os::linux::fs::MetadataExt as _;
use std::path::Path;
use std::thread;

use anyhow::Context as _;
use rustix::fs::{major, minor};
use rustix::system::uname;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    file_system: String,
    /// Processes that wanted a core in the minute before.
    load: String,
    /// The same in the minute before the end: rates and times on the clock of a busy machine say little.
    load_at_end: String,
}

impl Machine {
    /// Looks around; the file system is that of `dir`.
    pub(crate) fn look(dir: &Path) -> anyhow::Result<Self> {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Ok(Self {
            cpu: cpu
                .lines()
                .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
                .map_or_else(|| "an unnamed CPU".into(), |(_, name)| name.trim().to_owned()),
            cores: thread::available_parallelism().map_or(1, NonZeroUsize::get),
            kernel: uname().release().to_string_lossy().into_owned(),
            file_system: file_system(dir)?,
            load: load(),
            load_at_end: "unknown".to_owned(),
        })
    }

    /// Looks at the load again, when all is measured.
    pub(crate) fn ended(&mut self) {
        self.load_at_end = load();
    }

    /// True where nothing reaches a disk: then a sync costs nothing, and says nothing.
    pub(crate) fn is_in_memory(&self) -> bool {
        ["tmpfs", "ramfs"].contains(&self.file_system.as_str())
    }

    pub(crate) fn sentence(&self) -> String {
        let Self { cpu, cores, kernel, file_system, load, load_at_end } = self;
        format!("{cpu}, {cores} cores, Linux {kernel}, {file_system}; load {load} to {load_at_end}")
    }
}

/// Source: `proc_loadavg(5)`.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// The file system's type, from the line of mountinfo that has the directory's device
/// (`proc_pid_mountinfo(5)`).
fn file_system(dir: &Path) -> anyhow::Result<String> {
    let device = fs::metadata(dir).with_context(|| format!("no {}", dir.display()))?.st_dev();
    let device = format!("{}:{}", major(device), minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let kind = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(&device))
        .and_then(|line| line.split_once(" - ")?.1.split(' ').next());
    Ok(kind.unwrap_or("an unknown file system").to_owned())
}
