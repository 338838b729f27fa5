//! `exec` through the daemon that writes the ledger: the daemon records, this process runs the command.

use std::process::ExitStatus;

use anyhow::{Context as _, bail};
use graven_daemon::control::{Answer, Request};
use graven_daemon::{Client, ControlError};
use graven_ledger::Paths;
use tokio::sync::oneshot;

use super::{ExecArgs, Subject, command, make_cgroup, remove_cgroup, summarise, summary};
use crate::daemon::unexpected;
use crate::tally;

pub(super) async fn record(args: &ExecArgs, mut subject: Subject) -> anyhow::Result<ExitStatus> {
    args.filter.leave_to_daemon(args.ledger.dir())?;
    let cgroup = make_cgroup(&subject.agent)?;
    let request = |ledger| Request::Watch {
        ledger,
        agent: subject.agent.id.clone(),
        trace_id: subject.agent.trace_id.clone(),
        cgroup: cgroup.path().to_owned(),
        cgroup_id: cgroup.id(),
        keep_going: args.keep_going,
    };
    let (client, first) = args.ledger.hand_over(request)?;
    let sender = client.sender()?;
    let mut answers = listen(client)?;
    let gone = async { drop((&mut answers.early).await) };
    let ended = command::run_to_end(&mut subject.command, &cgroup, gone, args.keep_going).await;
    // The daemon sees that nothing more comes, makes all of it durable and says so.
    let _closed = sender.shutdown(std::net::Shutdown::Write);
    let last = answers.last.await.context("the thread that hears the daemon has gone")?;
    remove_cgroup(cgroup);
    let size = match last? {
        Answer::Done { size } => size,
        other => bail!(unexpected(&other)),
    };
    let status = ended?;
    let trace_id = &subject.agent.trace_id;
    let counts = tally::count(&Paths::new(args.ledger.dir()), first, size, trace_id)?;
    summarise(args, &summary::Recorded::by_daemon(&counts), &counts);
    Ok(status)
}

/// What the daemon says, heard by a thread of its own.
struct Answers {
    /// Told once the daemon says that the watch is about to end, or has gone.
    early: oneshot::Receiver<()>,
    last: oneshot::Receiver<Result<Answer, ControlError>>,
}

fn listen(mut client: Client) -> anyhow::Result<Answers> {
    let (word, early) = oneshot::channel();
    let (told, last) = oneshot::channel();
    let hear = move || {
        let mut word = Some(word);
        loop {
            let answer = client.answer();
            // The run that hears both may have ended.
            let _heard = word.take().map(|word| word.send(()));
            match answer {
                Ok(Answer::Ending { why }) => tracing::warn!("the command is ended: {why}"),
                last => return drop(told.send(last)),
            }
        }
    };
    std::thread::Builder::new().name("graven-daemon".into()).spawn(hear)?;
    Ok(Answers { early, last })
}
