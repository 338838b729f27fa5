//! Asking the daemon: `reload`, and the way to its socket for the other verbs.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use graven_config::ConfigError;
use graven_daemon::control::{Answer, Request, SOCKET_DEFAULT, Status};
use graven_daemon::{Client, ControlError};

use crate::exit;

/// Where the daemon listens.
#[derive(Debug, Clone, Args)]
pub(crate) struct SocketArgs {
    /// The daemon's control socket.
    #[arg(long, value_name = "FILE", env = "GRAVEN_SOCKET", default_value = SOCKET_DEFAULT)]
    socket: PathBuf,
}

/// Which daemon is asked: the one that a configuration is for, or the one on a socket.
#[derive(Debug, Clone, Args)]
pub(crate) struct DaemonArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// The daemon's configuration, for the control socket that it names; that goes before --socket.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Apply the daemon's configuration file anew.
///
/// Everything changes or nothing: where the file has problems or a ledger cannot be opened, the old
/// configuration stays. What changes is printed, and is on record in every ledger with the new
/// configuration's hash.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sudo graven reload")]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    daemon: DaemonArgs,
}

impl DaemonArgs {
    /// The way to its socket.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration.
    pub(crate) fn socket(&self) -> Result<SocketArgs, ConfigError> {
        match &self.config {
            Some(path) => Ok(SocketArgs { socket: graven_config::load(path)?.control.socket }),
            None => Ok(self.socket.clone()),
        }
    }
}

impl SocketArgs {
    pub(crate) fn ask(&self, request: &Request) -> Result<Client, ControlError> {
        Client::ask(&self.socket, request)
    }

    pub(crate) fn status(&self) -> anyhow::Result<Status> {
        match self.ask(&Request::Status {})?.answer()? {
            Answer::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }
}

pub(crate) fn reload(args: &ReloadArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    match args.daemon.socket()?.ask(&Request::Reload {})?.answer()? {
        Answer::Applied { changes, sha256 } => {
            for change in &changes {
                writeln!(out, "{change}")?;
            }
            let what = if changes.is_empty() { "unchanged" } else { "applied" };
            writeln!(out, "{what}: {sha256}")?;
            Ok(exit::GOOD)
        }
        other => bail!(unexpected(&other)),
    }
}

/// An answer that does not fit what was asked.
pub(crate) fn unexpected(answer: &Answer) -> anyhow::Error {
    anyhow::anyhow!(
        "the daemon speaks another version ({answer:?}): use the `graven` that it was started with"
    )
}
