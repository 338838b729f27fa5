//! Real processes that open files at a given pace, or as fast as they can, and what becomes of their calls.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use clap::{Args, ValueEnum};
use graven_abi::{KernelRecord, decode, parse};
use graven_capture::{AgentCgroup, Cgroup2};
use graven_daemon::{RingThread, cgroup_lookup, new_trace_id};
use graven_stages::{Agent, Agents, KernelFigures, KernelSource, Watched, clock};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::part;
use crate::process::{Process, Resident};
use crate::recorder::{self, Counted, Recorder, WATCH};
use crate::rig::{Graph, ledger_dir, lost_in_gaps, verified, with_pipeline};
use crate::stats::{Figure, float, per_second};
use crate::table::shown;

pub(crate) const GROUP: &str = "openat of a real process, each with its path";

/// How long the process calls.
const FLOOD_NS: u64 = 5_000_000_000;
/// How far a given pace is run ahead of, so that it is kept where the process has to pause.
const LEAD_NS: u64 = 5_000_000;
/// Calls between two looks at the clock.
const CALLS_AT_ONCE: u64 = 64;

/// How far the calls go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Ring, parser, decoder: each call is put into words, which are thrown away.
    Decoder,
    /// The whole graph, into a synced ledger.
    Ledger,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::Ledger => "ledger",
        }
    }

    /// Who calls in each run: at a pace that has to come through without a loss, as fast as one process can,
    /// and, where it may be too much, more of them than there are cores.
    const fn loads(self) -> &'static [Load] {
        match self {
            Self::Decoder => &[Load { callers: 1, pace: 400_000 }, Load { callers: 1, pace: 0 }],
            Self::Ledger => &[
                Load { callers: 1, pace: 150_000 },
                Load { callers: 1, pace: 0 },
                Load { callers: 4, pace: 0 },
            ],
        }
    }
}

/// Processes that call, and how often each of them does.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Load {
    callers: u32,
    /// Calls a second; 0 is as many as can be made.
    pace: u64,
}

impl Load {
    fn name(self) -> String {
        match self {
            Self { callers: 1, pace: 0 } => "full speed".into(),
            Self { callers, pace: 0 } => format!("{callers} processes"),
            Self { pace, .. } => format!("{}/s", shown(float(pace))),
        }
    }
}

/// What the processes say of themselves.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Flood {
    calls: u64,
    elapsed_ns: u64,
}

/// What became of its calls.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sustained {
    offered: Flood,
    /// Their opens that came through.
    recorded: u64,
    /// From the start of the processes to the arrival of their last record.
    elapsed_ns: u64,
    /// Records that found the ring full, as the kernel counts them.
    dropped: u64,
    /// CPU time of the recorder until then.
    cpu_ns: u64,
    resident: Resident,
}

/// Measures under each load, in processes of their own.
pub(crate) fn figures(dir: &Path, way: Way) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for load in way.loads() {
        let dir = tempfile::tempdir_in(dir)?;
        let run: Sustained = part::run(
            "sustained",
            dir.path(),
            [way.name().into(), load.callers.to_string(), load.pace.to_string()],
        )?;
        figures.extend(run.rows(way, *load));
    }
    Ok(figures)
}

impl Sustained {
    fn rows(&self, way: Way, load: Load) -> [Figure; 5] {
        let name = format!("{}, {}", way.name(), load.name());
        let row =
            |what: &str, unit, value| Figure::new(GROUP, format!("{name}{what}"), unit, value);
        let Self { offered, recorded, elapsed_ns, dropped, cpu_ns, resident } = *self;
        [
            row(": made", "calls/s", per_second(offered.calls, offered.elapsed_ns)),
            row(": recorded", "calls/s", per_second(recorded, elapsed_ns)),
            row(": lost, all in gaps", "records", float(dropped)),
            row(": CPU of the recorder", "ns/record", float(cpu_ns) / float(recorded.max(1))),
            row(": resident at most", "MiB", float(resident.peak_kib) / 1024.0),
        ]
    }
}

/// Measures in this process.
pub(crate) fn run(dir: &Path, way: Way, load: Load) -> anyhow::Result<Sustained> {
    let missing = fs::canonicalize(dir)?.join("missing");
    let cgroup = Arc::new(recorder::cgroup(way.name())?);
    let run = match way {
        Way::Decoder => to_decoder(&cgroup, &missing, load)?,
        Way::Ledger => to_ledger(dir, &cgroup, &missing, load)?,
    };
    ensure!(
        run.dropped > 0 || run.recorded >= run.offered.calls,
        "{} calls were made, {} recorded, and no loss is known",
        run.offered.calls,
        run.recorded
    );
    Ok(run)
}

fn to_decoder(cgroup: &Arc<AgentCgroup>, missing: &Path, load: Load) -> anyhow::Result<Sustained> {
    let opens = Arc::<AtomicU64>::default();
    let (counted, wanted) = (Arc::clone(&opens), missing.to_owned());
    let recorder = Recorder::start(cgroup, move |bytes| {
        if is_about(bytes, &wanted) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    })?;
    let since = Since::now()?;
    let offered = flood_all(cgroup, missing, load)?;
    let Counted { dropped, .. } = recorder.finish()?;
    since.sustained(offered, opens.load(Ordering::Relaxed), dropped)
}

/// Puts a record into words, and looks at what it is about.
fn is_about(bytes: &[u8], path: &Path) -> bool {
    let Ok(KernelRecord::Call(call)) = parse(bytes) else { return false };
    decode(&call).subject.is_some_and(|subject| *subject.id == *path.as_os_str().as_bytes())
}

fn to_ledger(
    dir: &Path,
    cgroup: &Arc<AgentCgroup>,
    missing: &Path,
    load: Load,
) -> anyhow::Result<Sustained> {
    let (cgroup, missing) = (Arc::clone(cgroup), missing.to_owned());
    let ((mut run, kernel), _) =
        with_pipeline(dir, move |graph| through_graph(graph, &cgroup, &missing, load))?;
    let ledger = ledger_dir(dir);
    let report = verified(&ledger)?;
    run.recorded =
        report.actions.iter().find(|it| it.action == "openat").map_or(0, |openat| openat.count);
    let lost = lost_in_gaps(&ledger)?;
    let counted = kernel.dropped + kernel.stash_failed + kernel.recursion_misses;
    ensure!(lost == counted, "gaps tell of {lost} lost records, the kernel of {counted}");
    Ok(run)
}

/// The capture as the commands have it; ends when all that was captured is durable.
fn through_graph(
    graph: &Graph,
    cgroup: &Arc<AgentCgroup>,
    missing: &Path,
    load: Load,
) -> anyhow::Result<(Sustained, KernelFigures)> {
    let (_capture, ring) = recorder::watch(cgroup)?;
    let agents = Agents::default();
    let agent = Agent { id: "bench".into(), trace_id: new_trace_id() };
    agents.set(WATCH, Watched::new(agent, "graven exec"));
    let source = KernelSource::new(agents, cgroup_lookup(&Cgroup2::find()?));
    let (_mouth, way) = watch::channel(Some(graph.inflow.clone()));
    let thread = RingThread::start(ring, source, way)?;
    let since = Since::now()?;
    let offered = flood_all(cgroup, missing, load)?;
    let runtime = Handle::current();
    runtime.block_on(thread.line().flush())?;
    let mut run = since.sustained(offered, 0, 0)?;
    runtime.block_on(thread.stop())?;
    let kernel = graph.observer.figures().kernel;
    run.dropped = kernel.dropped;
    Ok((run, kernel))
}

/// When the calls begin, and what the recorder had cost until then.
struct Since {
    mono_ns: u64,
    cpu_ns: u64,
}

impl Since {
    fn now() -> anyhow::Result<Self> {
        Ok(Self { mono_ns: clock::mono_ns(), cpu_ns: Process::this().cpu_ns()? })
    }

    fn sustained(&self, offered: Flood, recorded: u64, dropped: u64) -> anyhow::Result<Sustained> {
        let this = Process::this();
        Ok(Sustained {
            offered,
            recorded,
            elapsed_ns: clock::mono_ns() - self.mono_ns,
            dropped,
            cpu_ns: this.cpu_ns()? - self.cpu_ns,
            resident: this.resident()?,
        })
    }
}

/// Lets processes in `cgroup` call, to the end of the last.
fn flood_all(cgroup: &AgentCgroup, missing: &Path, load: Load) -> anyhow::Result<Flood> {
    let mut children = Vec::new();
    for _ in 0..load.callers {
        let mut command = graven_capture::command(part::program()?.as_os_str())?;
        command.arg("flood").arg(missing).arg(load.pace.to_string()).stdout(Stdio::piped());
        children.push(graven_capture::spawn(&mut command, cgroup)?);
    }
    let mut all = Flood::default();
    for child in children {
        let Flood { calls, elapsed_ns } = part::answer(child)?;
        all = Flood { calls: all.calls + calls, elapsed_ns: all.elapsed_ns.max(elapsed_ns) };
    }
    Ok(all)
}

/// The calls themselves: opens `missing`, which is not there, `pace` times a second; 0 is as fast as it goes.
pub(crate) fn flood(missing: &Path, pace: u64) -> anyhow::Result<Flood> {
    let (mut calls, since_ns) = (0, clock::mono_ns());
    loop {
        let elapsed_ns = clock::mono_ns() - since_ns;
        if elapsed_ns >= FLOOD_NS {
            return Ok(Flood { calls, elapsed_ns });
        }
        if pace > 0 && calls > (elapsed_ns + LEAD_NS) * pace / 1_000_000_000 {
            std::hint::spin_loop();
            continue;
        }
        for _ in 0..CALLS_AT_ONCE {
            let opened = openat(CWD, missing, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            ensure!(opened.err() == Some(Errno::NOENT), "{} is there", missing.display());
        }
        calls += CALLS_AT_ONCE;
    }
}
