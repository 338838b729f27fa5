//! Which of the command's calls are recorded; the others are counted on the record.

use std::path::Path;

use anyhow::bail;
use clap::Args;
use globset::GlobSet;
use graven_abi::{CallSet, UnknownCall};

#[derive(Debug, Args)]
pub(super) struct Filter {
    /// The calls that are recorded: `all`, `security` (all that change something, cross a boundary, begin or end
    /// something), or names with commas between them. The others are counted on the record.
    #[arg(long, value_name = "CALLS", value_parser = calls)]
    syscalls: Option<CallSet>,
    /// Count calls on paths that match this glob, and do not record them; may be repeated. `*` stops at a slash,
    /// `**` does not.
    #[arg(long = "exclude-path", value_name = "GLOB", value_parser = graven_config::path_glob)]
    exclude_paths: Vec<String>,
}

fn calls(text: &str) -> Result<CallSet, UnknownCall> {
    match text {
        "all" => Ok(CallSet::ALL),
        "security" => Ok(CallSet::security()),
        names => CallSet::of(names.split(',')),
    }
}

impl Filter {
    pub(super) fn recorded(&self) -> CallSet {
        self.syscalls.unwrap_or(CallSet::ALL)
    }

    /// What the paths are held against.
    pub(super) fn excluded(&self) -> anyhow::Result<GlobSet> {
        Ok(graven_config::excluded(&self.exclude_paths)?)
    }

    /// Refuses what the configuration of the daemon that writes the ledger in `dir` decides.
    pub(super) fn leave_to_daemon(&self, dir: &Path) -> anyhow::Result<()> {
        if self.syscalls.is_some() || !self.exclude_paths.is_empty() {
            bail!(
                "a daemon writes {}, and records every call under `exec`: leave out --syscalls and --exclude-path, \
                 or name the command's cgroup or program in its configuration, in a watch with `syscalls` and \
                 `exclude_paths`",
                dir.display()
            );
        }
        Ok(())
    }
}
