//! The `graven` command: one file a verb.

mod append;
mod check;
mod completions;
mod daemon;
mod doctor;
mod exec;
mod exit;
mod init;
mod ledger;
mod run;
mod show;
mod status;
mod tail;
mod tally;

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Records what autonomous agents do, so that the record holds up when someone hostile looks at it.
#[derive(Debug, Parser)]
#[command(name = "graven", version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Example:
  graven init ledger
  sudo graven exec --ledger ledger -- ./my-agent
  graven verify ledger --key ledger.vkey

Exit codes of all verbs but `exec`: 0 good; 1 evidence at fault; 2 usage or configuration; 3 input or
output failed; 4 self-consistent, but the signer is unproven.";

const VERIFY_EXAMPLE: &str = "\
Example:
  graven verify ledger --key ledger.vkey --at-least yesterdays.checkpoint";

#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::InitArgs),
    Run(run::RunArgs),
    Exec(exec::ExecArgs),
    Append(append::AppendArgs),
    /// Check everything: chain, tree, headers, signatures, tiles.
    ///
    /// Reads the ledger alone and changes nothing. Without a key from outside the best verdict is "signer
    /// unproven".
    #[command(after_help = VERIFY_EXAMPLE)]
    Verify(graven_verify::command::VerifyArgs),
    Show(show::ShowArgs),
    Status(status::StatusArgs),
    Tail(tail::TailArgs),
    Reload(daemon::ReloadArgs),
    Check(check::CheckArgs),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
    /// Kills a cgroup when the recorder dies; started by `exec` for itself.
    #[command(name = "guard", hide = true)]
    Guard {
        /// The cgroup's directory.
        cgroup: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // A service says what it does; a command says what is wrong.
    start_log(if matches!(cli.verb, Verb::Run(_)) { "info" } else { "warn" });
    match cli.verb {
        Verb::Init(args) => {
            exit::finish(init::run(&args, &mut io::stdout().lock()).map(|()| exit::GOOD))
        }
        Verb::Exec(args) => exec::run(&args),
        Verb::Append(args) => exit::finish(append::run(args)),
        Verb::Verify(args) => {
            let verdict = graven_verify::command::run(&args, &mut io::stdout().lock());
            exit::finish(verdict.map(graven_verify::Verdict::exit_code).map_err(Into::into))
        }
        Verb::Show(args) => {
            exit::finish(exit::seen_enough(show::run(&args, &mut io::stdout().lock())))
        }
        Verb::Run(args) => exit::finish(run::run(&args)),
        Verb::Status(args) => {
            exit::finish(exit::seen_enough(status::run(&args, &mut io::stdout().lock())))
        }
        Verb::Tail(args) => {
            exit::finish(exit::seen_enough(tail::run(&args, &mut io::stdout().lock())))
        }
        Verb::Reload(args) => exit::finish(daemon::reload(&args, &mut io::stdout().lock())),
        Verb::Completions(args) => exit::finish(exit::seen_enough(completions::complete::<Cli>(
            &args,
            &mut io::stdout().lock(),
        ))),
        Verb::Man(args) => exit::finish(completions::man::<Cli>(&args)),
        Verb::Check(args) => {
            exit::finish(exit::seen_enough(check::run(&args, &mut io::stdout().lock())))
        }
        Verb::Doctor(args) => {
            exit::finish(doctor::run(&args, &mut io::stdout().lock()).map_err(Into::into))
        }
        Verb::Guard { cgroup } => exit::finish(exec::guard(&cgroup)),
    }
}

/// Prints help, or what is wrong with the command line.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe leaves nobody to tell.
    drop(error.print());
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if asked_for {
        return ExitCode::SUCCESS;
    }
    // A command under `exec` has all other codes for itself.
    let is_exec = std::env::args_os().nth(1).is_some_and(|verb| verb == OsStr::new("exec"));
    ExitCode::from(if is_exec { exec::GRAVEN_FAILED } else { exit::USAGE })
}

fn start_log(level: &str) {
    let filter = EnvFilter::try_from_env("GRAVEN_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}
