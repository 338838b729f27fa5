//! Measurements that run in a process of their own: this program again, with a hidden command. The answer
//! is one line of JSON.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use serde::de::DeserializeOwned;

use crate::added::Call;
use crate::latency::Submitters;
use crate::limit::Limit;
use crate::throughput::Kind;
use crate::{added, latency, throughput};

#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Full rate.
    #[command(hide = true)]
    Throughput {
        dir: PathBuf,
        kind: Kind,
        #[command(flatten)]
        limit: Limit,
    },
    /// Single events, each waited for.
    #[command(hide = true)]
    Latency {
        dir: PathBuf,
        submitters: Submitters,
        #[command(flatten)]
        limit: Limit,
    },
    /// The loop whose calls are timed.
    #[command(hide = true)]
    Loop { call: Call, file: PathBuf },
}

impl Part {
    /// Measures, and says what came of it.
    pub(crate) fn measure(self) -> anyhow::Result<String> {
        Ok(match self {
            Self::Throughput { dir, kind, limit } => {
                serde_json::to_string(&throughput::run(&dir, limit, kind)?)?
            }
            Self::Latency { dir, submitters, limit } => {
                serde_json::to_string(&latency::run(&dir, limit, submitters)?)?
            }
            Self::Loop { call, file } => serde_json::to_string(&added::least_ns(call, &file)?)?,
        })
    }
}

/// This program.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("this program cannot be found again")
}

/// Runs the measurement `name` in a process of its own.
pub(crate) fn run<T: DeserializeOwned>(
    name: &str,
    dir: &Path,
    argument: &str,
    limit: Limit,
) -> anyhow::Result<T> {
    let mut command = Command::new(program()?);
    command.arg(name).arg(dir).arg(argument).args(limit.to_args());
    answer(command.stdout(Stdio::piped()).spawn()?)
}

/// Waits for a part and reads its answer.
pub(crate) fn answer<T: DeserializeOwned>(child: Child) -> anyhow::Result<T> {
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "a measurement ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("a measurement gave no answer")
}
