//! Measurements that run in a process of their own: this program again, with a hidden command. The answer
//! is one line of JSON.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use serde::de::DeserializeOwned;

use crate::added::Call;
use crate::latency::Submitters;
use crate::ledgers::Shape;
use crate::limit::Limit;
use crate::soak::SoakArgs;
use crate::sustained::{Load, Way};
use crate::throughput::Kind;
use crate::{added, latency, submit, sustained, throughput};

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
    /// Small batches at a steady rate.
    #[command(hide = true)]
    Paced {
        dir: PathBuf,
        rate: u64,
        #[command(flatten)]
        limit: Limit,
    },
    /// The loop whose calls are timed.
    #[command(hide = true)]
    Loop { call: Call, file: PathBuf, loops: u32 },
    /// The capture of a process that calls without a pause.
    #[command(hide = true)]
    Sustained {
        dir: PathBuf,
        way: Way,
        #[command(flatten)]
        load: Load,
    },
    /// That process.
    #[command(hide = true)]
    Flood { missing: PathBuf, pace: u64 },
    /// Events through a running daemon.
    #[command(hide = true)]
    Submit {
        dir: PathBuf,
        shape: Shape,
        #[command(flatten)]
        limit: Limit,
    },
    /// Build a crate again and again under a watching daemon, and see whether anything grows.
    Soak(SoakArgs),
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
            Self::Paced { dir, rate, limit } => {
                serde_json::to_string(&latency::paced(&dir, limit, rate)?)?
            }
            Self::Loop { call, file, loops } => {
                serde_json::to_string(&added::least_ns(call, &file, loops)?)?
            }
            Self::Sustained { dir, way, load } => {
                serde_json::to_string(&sustained::run(&dir, way, load)?)?
            }
            Self::Flood { missing, pace } => {
                serde_json::to_string(&sustained::flood(&missing, pace)?)?
            }
            Self::Submit { dir, shape, limit } => {
                serde_json::to_string(&submit::run(&dir, shape, limit)?)?
            }
            Self::Soak(args) => args.run()?.to_string(),
        })
    }
}

/// The command `graven`, built beside this program.
pub(crate) fn graven() -> anyhow::Result<PathBuf> {
    let graven = program()?.with_file_name("graven");
    ensure!(graven.is_file(), "no {}: build it with the same profile", graven.display());
    Ok(graven)
}

/// This program.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("this program cannot be found again")
}

/// Runs the measurement `name` in a process of its own.
pub(crate) fn run<T: DeserializeOwned>(
    name: &str,
    dir: &Path,
    arguments: impl IntoIterator<Item = String>,
) -> anyhow::Result<T> {
    let mut command = Command::new(program()?);
    command.arg(name).arg(dir).args(arguments);
    answer(command.stdout(Stdio::piped()).spawn()?)
}

/// Waits for a part and reads its answer.
pub(crate) fn answer<T: DeserializeOwned>(child: Child) -> anyhow::Result<T> {
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "a measurement ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("a measurement gave no answer")
}
