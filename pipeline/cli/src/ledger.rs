//! What `exec` and `append` share: the ledger they write to.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use graven_config::Worm;
use graven_daemon::control::{Answer, Request};
use graven_daemon::warden::{self, Wish};
use graven_daemon::{Client, new_trace_id};
use graven_ledger::{LedgerError, OpenedLedger, Run};
use graven_record::Value;
use graven_sink::Sink;
use graven_stages::{HEARTBEAT_S, Pipeline, PipelineOptions, clock, host_name};

use crate::daemon::{SocketArgs, unexpected};
use crate::init::default_key;
use crate::value::seconds;

#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    /// Directory of the ledger, made by `graven init`.
    #[arg(long, value_name = "DIR", env = "GRAVEN_LEDGER", default_value = "ledger")]
    pub(crate) ledger: PathBuf,
    /// The ledger's private key. Default: DIR.key.
    #[arg(long, value_name = "FILE", env = "GRAVEN_KEY")]
    key: Option<PathBuf>,
    /// Keep a second copy of the records in FILE, for instance on another disk.
    #[arg(long, value_name = "FILE")]
    mirror: Option<PathBuf>,
    /// Seconds between two heartbeat records.
    #[arg(long, value_name = "S", default_value_t = HEARTBEAT_S, value_parser = seconds)]
    heartbeat_s: u64,
    /// Make sealed segments append-only, and closed ones immutable. `chattr -R -i -a DIR` comes before removing such
    /// a ledger.
    #[arg(long)]
    worm: bool,
    #[command(flatten)]
    socket: SocketArgs,
}

impl LedgerArgs {
    /// Opens the ledger for writing, recovering what the last writer left. `None` where another process has it open.
    pub(crate) fn open(&self) -> anyhow::Result<Option<OpenedLedger>> {
        let key = self.key.clone().unwrap_or_else(|| default_key(&self.ledger));
        let mut ledger = match graven_ledger::open(&self.ledger, &key, clock::unix_s()) {
            Err(LedgerError::InUse(_)) => return Ok(None),
            opened => opened?,
        };
        if self.worm {
            let held = warden::hold(&[Wish {
                paths: ledger.paths.clone(),
                worm: Worm::Required,
                retention_s: None,
            }])?;
            held.iter().try_for_each(|hold| hold.over(&mut ledger))?;
        }
        Ok(Some(ledger))
    }

    /// Starts the graph over an open ledger; `sink` reads along beside the configured ones.
    pub(crate) fn start(
        &self,
        ledger: OpenedLedger,
        tiers: Value,
        sink: Option<Box<dyn Sink>>,
    ) -> anyhow::Result<Pipeline> {
        let run = Run {
            host: host_name(),
            ledger: ledger.info.origin.to_string(),
            trace_id: new_trace_id(),
        };
        if let Some(path) = self.mirror.as_ref().filter(|path| lies_in(path, &self.ledger)) {
            bail!(
                "the mirror {} lies in the ledger: name a file elsewhere, at best on another disk",
                path.display()
            );
        }
        let mut sinks = graven_daemon::sinks(self.mirror.as_deref())?;
        sinks.extend(sink);
        let options =
            PipelineOptions { heartbeat_s: self.heartbeat_s, ..PipelineOptions::default() };
        Ok(Pipeline::start(ledger, run, tiers, sinks, &options))
    }

    /// Asks the daemon that writes the ledger for what `request` makes of the directory. Returns the connection
    /// once the daemon is ready, and how many records the ledger has then.
    pub(crate) fn hand_over(
        &self,
        request: impl FnOnce(PathBuf) -> Request,
    ) -> anyhow::Result<(Client, u64)> {
        self.leave_to_daemon()?;
        let in_use = || format!("{} is in use by another process", self.ledger.display());
        let request = request(self.ledger.canonicalize()?);
        let mut client = self.socket.ask(&request).with_context(in_use)?;
        match client.answer().with_context(in_use)? {
            Answer::Ready { size } => Ok((client, size)),
            other => bail!(unexpected(&other)),
        }
    }

    /// Refuses what the daemon's configuration decides.
    fn leave_to_daemon(&self) -> anyhow::Result<()> {
        if self.mirror.is_some() {
            bail!(
                "a daemon writes {}: name the mirror in its configuration",
                self.ledger.display()
            );
        }
        if self.worm {
            bail!("a daemon writes {}: `worm` is in its configuration", self.ledger.display());
        }
        Ok(())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.ledger
    }
}

/// Whether `path`, which need not exist, lies below `dir`.
fn lies_in(path: &Path, dir: &Path) -> bool {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new(".")).canonicalize();
    parent.ok().zip(dir.canonicalize().ok()).is_some_and(|(parent, dir)| parent.starts_with(dir))
}
