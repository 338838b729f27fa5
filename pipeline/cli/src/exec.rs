//! `graven exec`: runs a command and records every system call that it and its children make.

mod command;
mod direct;
mod filter;
mod summary;
mod through;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use graven_capture::{AgentCgroup, COMMAND_PREFIX, Cgroup2, SpawnError};
use graven_daemon::new_trace_id;
use graven_stages::Agent;

use crate::ledger::LedgerArgs;
use crate::tally::Counts;
use crate::{descriptors, exit};

/// Exit code where Graven itself failed; every other code is the command's.
pub(crate) const GRAVEN_FAILED: u8 = 125;

/// Run a command and record every system call of it and its children.
///
/// The command gets a cgroup of its own. It ends when the last process in that cgroup has ended. Should
/// Graven die, the command is killed: nothing runs unrecorded.
///
/// Exits with the command's status, 128+n where signal n killed it, 127 where it was not found, 126 where
/// it cannot be executed, and 125 where Graven itself failed.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sudo graven exec --ledger ledger --agent builder -- make all")]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// The agent's name on the record. Default: the command's name.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    agent: Option<String>,
    #[command(flatten)]
    filter: filter::Filter,
    /// Let the command go on if Graven dies. What it does then is on no record.
    #[arg(long)]
    keep_going: bool,
    /// Print what was recorded, on standard error, even where that is no terminal.
    #[arg(long)]
    summary: bool,
    /// The command and its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &ExecArgs) -> ExitCode {
    match descriptors::enough().and_then(|()| actix::System::new().block_on(record(args))) {
        Ok(status) => ExitCode::from(code_of(status)),
        Err(error) => {
            exit::report(&error);
            let code =
                error.downcast_ref::<SpawnError>().map_or(GRAVEN_FAILED, SpawnError::exit_code);
            ExitCode::from(code)
        }
    }
}

/// What shells give: the code, or 128 and the signal.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(GRAVEN_FAILED)
}

/// The guard's own process: see [`graven_capture::Guard`].
pub(crate) fn guard(cgroup: &Path) -> anyhow::Result<u8> {
    graven_capture::run_guard(cgroup)?;
    Ok(exit::GOOD)
}

/// The command, looked up, and the agent on whose behalf it runs.
struct Subject {
    command: Command,
    agent: Agent,
}

async fn record(args: &ExecArgs) -> anyhow::Result<ExitStatus> {
    let (program, arguments) = args.command.split_first().context("no command was given")?;
    let mut command = graven_capture::command(program)?;
    command.args(arguments);
    let agent = Agent { id: agent_name(args, program), trace_id: new_trace_id() };
    let subject = Subject { command, agent };
    match args.ledger.open()? {
        Some(ledger) => direct::record(args, subject, ledger).await,
        None => through::record(args, subject).await,
    }
}

fn agent_name(args: &ExecArgs, program: &OsString) -> String {
    args.agent.clone().unwrap_or_else(|| {
        Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
    })
}

/// Makes the command's cgroup.
fn make_cgroup(agent: &Agent) -> anyhow::Result<Arc<AgentCgroup>> {
    Ok(Arc::new(Cgroup2::find()?.create(&format!("{COMMAND_PREFIX}{}", agent.trace_id))?))
}

/// Removes it; nothing runs in it any more.
fn remove_cgroup(cgroup: Arc<AgentCgroup>) {
    if let Some(Err(error)) = Arc::into_inner(cgroup).map(AgentCgroup::remove) {
        tracing::warn!(%error, "the command's cgroup stays behind");
    }
}

/// Prints what was recorded, where somebody reads it.
fn summarise(args: &ExecArgs, summary: &summary::Recorded, counts: &Counts) {
    if !args.summary && !std::io::stderr().is_terminal() {
        return;
    }
    let mut out = std::io::stderr().lock();
    if let Err(error) = summary::write(&mut out, args.ledger.dir(), summary, counts) {
        tracing::debug!(%error, "nobody reads the summary");
    }
}
