//! `graven completions` and `graven man`: what shells and `man` know of the verbs, made from the verbs.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::exit;

/// Print the completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  graven completions bash > /etc/bash_completion.d/graven")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Write the manual pages.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sudo graven man /usr/local/share/man/man1 && man graven-exec")]
pub(crate) struct ManArgs {
    /// Directory to write to; it is made where it is missing.
    dir: PathBuf,
}

pub(crate) fn complete<C: CommandFactory>(
    args: &CompletionsArgs,
    out: &mut impl Write,
) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "graven", &mut script);
    out.write_all(&script)?;
    Ok(exit::GOOD)
}

pub(crate) fn man<C: CommandFactory>(args: &ManArgs) -> anyhow::Result<u8> {
    let failed = || format!("failed to write {}", args.dir.display());
    fs::create_dir_all(&args.dir).with_context(failed)?;
    clap_mangen::generate_to(C::command(), &args.dir).with_context(failed)?;
    Ok(exit::GOOD)
}
