//! The `graven` command: one file a verb.

mod append;
mod check;
mod completions;
mod daemon;
mod descriptors;
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
mod value;

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use graven_daemon::warden;
use graven_verify::screen::output;
use tracing_subscriber::EnvFilter;

/// Records what autonomous agents do, so that the record holds up when someone hostile looks at it.
#[derive(Debug, Parser)]
#[command(name = "graven", version, propagate_version = true, max_term_width = 100, after_help = after_help())]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  graven init ledger
  sudo graven exec --ledger ledger -- ./my-agent
  graven verify ledger --key ledger.vkey";

fn after_help() -> String {
    let codes = exit::CODES.map(|(code, meaning)| format!("\n  {code}  {meaning}"));
    format!("{EXAMPLES}\n\nExit codes of all verbs but `exec`:{}", codes.concat())
}

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
    Tail(Box<tail::TailArgs>),
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
    /// Holds sealed segments by file attributes; started by a recorder for itself.
    #[command(name = warden::VERB, hide = true)]
    Warden {
        /// Of each ledger its retention in seconds, or `-`, and its segments' directory.
        #[arg(allow_hyphen_values = true)]
        wards: Vec<OsString>,
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
        Verb::Init(args) => exit::show(false, |out| init::run(&args, out)),
        Verb::Exec(args) => exec::run(&args),
        Verb::Append(args) => exit::finish(append::run(args)),
        Verb::Verify(args) => {
            exit::show(args.json, |out| Ok(graven_verify::command::run(&args, out)?.exit_code()))
        }
        Verb::Show(args) => exit::show(args.json, |out| show::run(&args, out)),
        Verb::Run(args) => exit::finish(run::run(&args)),
        Verb::Status(args) => exit::show(args.json, |out| status::run(&args, out)),
        Verb::Tail(args) => {
            exit::finish(exit::seen_enough(tail::run(&args, &mut output(args.json))))
        }
        Verb::Reload(args) => exit::show(false, |out| daemon::reload(&args, out)),
        Verb::Check(args) => exit::show(args.json, |out| check::run(&args, out)),
        Verb::Doctor(args) => exit::show(args.json, |out| doctor::run(&args, out)),
        Verb::Completions(args) => exit::show(true, |out| completions::complete::<Cli>(&args, out)),
        Verb::Man(args) => exit::finish(completions::man::<Cli>(&args)),
        Verb::Guard { cgroup } => exit::finish(exec::guard(&cgroup)),
        Verb::Warden { wards } => exit::finish(warden::run(&wards).map(|()| exit::GOOD)),
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

/// Columns of the terminal, where output goes to one.
fn width() -> Option<usize> {
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    let terminal = io::stdout().is_terminal();
    terminal.then(|| told().unwrap_or_else(|| console::Term::stdout().size().1.into()))
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
