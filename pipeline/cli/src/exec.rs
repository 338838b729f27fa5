//! `graven exec`: runs a command and records every system call that it and its children make.

mod capture;
mod summary;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use graven_capture::{AgentCgroup, Cgroup2, Guard, SpawnError, Tier};
use graven_record::Value;
use graven_stages::{Agent, Pipeline};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::exit;
use crate::ledger::{LedgerArgs, new_trace_id};
use crate::tally::Tally;
use capture::CaptureThread;

/// Exit code where Graven itself failed; every other code is the command's.
pub(crate) const GRAVEN_FAILED: u8 = 125;

/// How long the command may go on after it was asked to end.
const GRACE: Duration = Duration::from_secs(10);

/// Longest wait for a notice that the cgroup is empty before it is looked at again.
const EMPTY_WAIT: Duration = Duration::from_secs(1);

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
    match actix::System::new().block_on(record(args)) {
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

/// The guard's own process: see [`Guard`].
pub(crate) fn guard(cgroup: &Path) -> anyhow::Result<u8> {
    graven_capture::run_guard(cgroup)?;
    Ok(exit::GOOD)
}

async fn record(args: &ExecArgs) -> anyhow::Result<ExitStatus> {
    let (program, arguments) = args.command.split_first().context("no command was given")?;
    let mut command = graven_capture::command(program)?;
    command.args(arguments);
    let cgroups = Cgroup2::find()?;
    let tiers = graven_capture::probe();
    if let Some(reason) =
        tiers.iter().find_map(|tier| tier.reason.as_ref().filter(|_| tier.name == "observe"))
    {
        bail!("{reason}");
    }
    let ledger = args.ledger.open()?;
    let (tally, counts) = Tally::new(ledger.chain.size());
    let agent = Agent { id: agent_name(args, program), trace_id: new_trace_id() };
    let cgroup = Arc::new(cgroups.create(&format!("exec-{}", agent.trace_id))?);
    let mut pipeline = args.ledger.start(ledger, tiers_value(&tiers), Some(Box::new(tally)))?;

    let watched = watch(args, &mut command, &cgroup, &cgroups, agent, &mut pipeline).await;
    // What was captured becomes durable, whatever happened.
    let drained = pipeline.drain().await;
    if let Some(Err(error)) = Arc::into_inner(cgroup).map(AgentCgroup::remove) {
        tracing::warn!(%error, "the command's cgroup stays behind");
    }
    // Where the graph failed, the rest only follows from it.
    let drained = drained?;
    let status = watched?;
    if args.summary || std::io::stderr().is_terminal() {
        let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let written =
            summary::write(&mut std::io::stderr().lock(), args.ledger.dir(), &drained, &counts);
        if let Err(error) = written {
            tracing::debug!(%error, "nobody reads the summary");
        }
    }
    Ok(status)
}

fn agent_name(args: &ExecArgs, program: &OsString) -> String {
    args.agent.clone().unwrap_or_else(|| {
        Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
    })
}

fn tiers_value(tiers: &[Tier]) -> Value {
    Value::object(tiers.iter().map(|tier| {
        let state = [("available", tier.available.into()), ("reason", tier.reason.clone().into())];
        (tier.name, Value::object(state))
    }))
}

/// Runs the command under capture to the end of its last process.
async fn watch(
    args: &ExecArgs,
    command: &mut Command,
    cgroup: &Arc<AgentCgroup>,
    cgroups: &Cgroup2,
    agent: Agent,
    pipeline: &mut Pipeline,
) -> anyhow::Result<ExitStatus> {
    let capture = CaptureThread::start(agent, cgroup, cgroups, pipeline, args.keep_going).await?;
    let guard = if args.keep_going { None } else { Some(start_guard(cgroup)?) };
    let ended = match graven_capture::spawn(command, cgroup) {
        Ok(child) => until_empty(child, cgroup, pipeline, args.keep_going).await,
        Err(error) => Err(error.into()),
    };
    let captured = capture.finish().await;
    if let Some(guard) = guard {
        // Undisarmed, it kills whatever is left.
        if cgroup.populated().is_ok_and(|populated| !populated) {
            guard.disarm()?;
        }
    }
    captured?;
    ended
}

fn start_guard(cgroup: &AgentCgroup) -> anyhow::Result<Guard> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("guard").arg(cgroup.path());
    Ok(Guard::start(&mut command)?)
}

/// Waits until nothing is left in the cgroup, passing signals on.
async fn until_empty(
    child: Child,
    cgroup: &Arc<AgentCgroup>,
    pipeline: &mut Pipeline,
    keep_going: bool,
) -> anyhow::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let shared = Arc::clone(cgroup);
    let mut ended = tokio::task::spawn_blocking(move || wait(child, &shared));
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    // A terminal's Ctrl-C reaches the command by itself, which is in the same process group.
    let at_terminal = std::io::stdin().is_terminal();
    let (mut deadline, mut failed) = (None, false);
    loop {
        tokio::select! {
            status = &mut ended => return status?,
            _ = interrupt.recv() => if !at_terminal { pass_on(pid, Signal::INT) },
            _ = terminate.recv() => {
                pass_on(pid, Signal::TERM);
                deadline = Some(Instant::now() + GRACE);
            }
            _ = hang_up.recv() => {
                pass_on(pid, Signal::HUP);
                deadline = Some(Instant::now() + GRACE);
            }
            () = pipeline.failed(), if !failed => {
                failed = true;
                if !keep_going {
                    cgroup.kill()?;
                }
            }
            () = sleep_until(deadline) => {
                deadline = None;
                cgroup.kill()?;
            }
        }
    }
}

/// Waits for the command, then for whatever it has left behind.
fn wait(mut child: Child, cgroup: &AgentCgroup) -> anyhow::Result<ExitStatus> {
    let status = child.wait().context("failed to wait for the command")?;
    while !cgroup.wait_empty(EMPTY_WAIT)? {}
    Ok(status)
}

fn pass_on(pid: Option<Pid>, signal: Signal) {
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, signal)
    {
        tracing::debug!(%error, "the command was gone before the signal");
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
