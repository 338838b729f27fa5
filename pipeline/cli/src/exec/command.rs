//! The command in its cgroup: started, waited for, told of signals, and killed where its recorder fails.

use std::future::Future;
use std::io::IsTerminal as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use graven_capture::{AgentCgroup, Guard};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// How long the command may go on after it was asked to end.
const GRACE: Duration = Duration::from_secs(10);

/// Longest wait for a notice that the cgroup is empty before it is looked at again.
const EMPTY_WAIT: Duration = Duration::from_secs(1);

/// Runs the command to the end of its last process. Should `failed` come true before, the command is killed
/// unless it is to be kept going; should this process die, a guard does that.
pub(super) async fn run_to_end(
    command: &mut Command,
    cgroup: &Arc<AgentCgroup>,
    failed: impl Future<Output = ()>,
    keep_going: bool,
) -> anyhow::Result<ExitStatus> {
    let guard = if keep_going { None } else { Some(start_guard(cgroup)?) };
    let ended = match graven_capture::spawn(command, cgroup) {
        Ok(child) => until_empty(child, cgroup, failed, keep_going).await,
        Err(error) => Err(error.into()),
    };
    if let Some(guard) = guard {
        // Undisarmed, it kills whatever is left.
        if cgroup.populated().is_ok_and(|populated| !populated) {
            guard.disarm()?;
        }
    }
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
    recorder_failed: impl Future<Output = ()>,
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
    tokio::pin!(recorder_failed);
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
            () = &mut recorder_failed, if !failed => {
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
