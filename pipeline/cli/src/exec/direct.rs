//! `exec` with a graph of its own: no daemon writes the ledger.

use std::process::ExitStatus;
use std::sync::{Arc, PoisonError};

use anyhow::{Context as _, bail};
use graven_capture::{Capture, Cgroup2, RING_BYTES_DEFAULT, Watch};
use graven_daemon::{Inflow, RingThread, cgroup_lookup, tiers_value};
use graven_ledger::OpenedLedger;
use graven_stages::{Agents, KernelSource, Pipeline, Watched};
use tokio::sync::watch;

use super::{ExecArgs, Subject, command, make_cgroup, remove_cgroup, summarise, summary};
use crate::tally::Tally;

/// The one watch of this run.
const WATCH: u32 = 0;

pub(super) async fn record(
    args: &ExecArgs,
    mut subject: Subject,
    ledger: OpenedLedger,
) -> anyhow::Result<ExitStatus> {
    let tiers = graven_capture::probe();
    let observe = tiers.iter().find(|tier| tier.name == "observe");
    if let Some(reason) = observe.and_then(|tier| tier.reason.as_ref()) {
        bail!("{reason}");
    }
    let (tally, counts) = Tally::new(ledger.chain.size());
    let cgroup = make_cgroup(&subject.agent)?;
    let mut pipeline = args.ledger.start(ledger, tiers_value(&tiers), Some(Box::new(tally)))?;
    let watched = watch(args, &mut subject, &cgroup, &mut pipeline).await;
    // What was captured becomes durable, whatever happened.
    let drained = pipeline.drain().await;
    remove_cgroup(cgroup);
    // Where the graph failed, the rest only follows from it.
    let drained = drained?;
    let status = watched?;
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    summarise(args, &summary::Recorded::of(&drained), &counts);
    Ok(status)
}

/// Runs the command under capture to the end of its last process.
async fn watch(
    args: &ExecArgs,
    subject: &mut Subject,
    cgroup: &Arc<graven_capture::AgentCgroup>,
    pipeline: &mut Pipeline,
) -> anyhow::Result<ExitStatus> {
    let cgroups = Cgroup2::find()?;
    let mut capture = Capture::load()?;
    let ring = capture.open_ring(RING_BYTES_DEFAULT)?;
    let recorded = args.filter.recorded();
    capture.set_watch(WATCH, &Watch { ring: ring.slot(), recorded, environment: false })?;
    capture.watch_cgroup(cgroup.path(), WATCH)?;
    let agents = Agents::default();
    let watched = Watched::new(subject.agent.clone(), "graven exec");
    agents.set(WATCH, Watched { excluded: args.filter.excluded()?, ..watched });
    let inflow = Inflow { intake: pipeline.intake(), losses: pipeline.losses() };
    let (_mouth, way) = watch::channel(Some(inflow));
    let source = KernelSource::new(agents, cgroup_lookup(&cgroups));
    let thread = RingThread::start(ring, source, way)?;
    // A kill right after this leaves a ledger that says that something had begun.
    let begun = pipeline.intake().settled()?.await;
    begun.context("the ledger cannot be written, so the command was not started")?;
    let ended =
        command::run_to_end(&mut subject.command, cgroup, pipeline.failed(), args.keep_going).await;
    if !args.keep_going {
        // A graph that fails makes nothing durable any more.
        tokio::select! {
            over = thread.line().end_watch(WATCH) => over?,
            () = pipeline.failed() => {}
        }
    }
    thread.stop().await?;
    ended
}
