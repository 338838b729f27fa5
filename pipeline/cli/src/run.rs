//! `graven run`: the recorder as a service.

use std::path::PathBuf;

use clap::Args;

use crate::{descriptors, exit};

/// Watch what the configuration names, and record it: the service.
///
/// Runs until SIGTERM or Ctrl-C, then makes everything durable that it has taken in. SIGHUP, or `graven
/// reload`, applies a changed configuration. While it runs, `exec` and `append` on its ledgers go through it.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  graven check /etc/graven/graven.toml && sudo graven run")]
pub(crate) struct RunArgs {
    /// The configuration.
    #[arg(
        long,
        value_name = "FILE",
        env = "GRAVEN_CONFIG",
        default_value = "/etc/graven/graven.toml"
    )]
    config: PathBuf,
}

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<u8> {
    descriptors::enough()?;
    actix::System::new().block_on(graven_daemon::run(&args.config))?;
    Ok(exit::GOOD)
}
