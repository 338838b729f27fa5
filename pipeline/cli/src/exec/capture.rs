//! The thread that empties the kernel's ring into the graph.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use graven_capture::{AgentCgroup, Capture, CaptureOptions, Cgroup2, RING_BYTES_DEFAULT};
use graven_stages::{
    Agent, Agents, CgroupLookup, Intake, KernelSource, Losses, OwnRecord, Pipeline, Raw, Watched,
    clock,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;

/// Longest time a record waits in the ring of a quiet command.
const POLL: Duration = Duration::from_millis(10);

/// How often open holes are looked at.
const TICK_NS: u64 = 100_000_000;

/// How often the kernel's counters are read.
const COUNT_NS: u64 = 1_000_000_000;

/// How long a killed straggler's end is waited for.
const KILLED_NS: u64 = 5_000_000_000;

/// Index of the one watch.
const WATCH: u32 = 0;

/// A running capture.
pub(super) struct CaptureThread {
    stop: Arc<AtomicBool>,
    ended: oneshot::Receiver<anyhow::Result<()>>,
}

impl CaptureThread {
    /// Loads the kernel program and starts to empty its ring.
    pub(super) async fn start(
        agent: Agent,
        cgroup: &AgentCgroup,
        cgroups: &Cgroup2,
        pipeline: &Pipeline,
        keep_going: bool,
    ) -> anyhow::Result<Self> {
        let mut paths = cgroups.paths();
        let lookup: CgroupLookup =
            Box::new(move |id| paths.path_of(id).map(|path| path.as_os_str().as_bytes().to_vec()));
        let options = CaptureOptions {
            cgroup_id: cgroup.id(),
            cgroup_level: cgroup.level(),
            ring_bytes: RING_BYTES_DEFAULT,
        };
        let agents = Agents::default();
        agents.set(WATCH, Watched::new(agent, "graven exec"));
        let stop = Arc::<AtomicBool>::default();
        let drain = Drain {
            source: KernelSource::new(agents, lookup),
            intake: pipeline.intake(),
            losses: pipeline.losses(),
            stop: Arc::clone(&stop),
            keep_going,
            killed: HashMap::new(),
        };
        let (loaded, ready) = oneshot::channel();
        let (finished, ended) = oneshot::channel();
        thread::Builder::new().name("graven-capture".into()).spawn(move || {
            match Capture::load(options) {
                Ok(capture) => {
                    // The other end waits for it; without one the run is over anyway.
                    drop(loaded.send(Ok(())));
                    drop(finished.send(drain.run(capture)));
                }
                Err(error) => drop(loaded.send(Err(error))),
            }
        })?;
        ready.await.context("the capture thread has gone")??;
        Ok(Self { stop, ended })
    }

    /// Empties the ring for the last time; call it when nothing watched runs any more.
    pub(super) async fn finish(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Release);
        self.ended.await.context("the capture thread has gone")?
    }
}

/// The loop between ring and intake. It waits where intake does; what the ring cannot hold meanwhile
/// is counted by the kernel and becomes a gap.
struct Drain {
    source: KernelSource,
    intake: Intake,
    losses: Losses,
    stop: Arc<AtomicBool>,
    keep_going: bool,
    /// Stragglers that were killed, each once, and when on `CLOCK_MONOTONIC`.
    killed: HashMap<Pid, u64>,
}

impl Drain {
    fn run(mut self, mut capture: Capture) -> anyhow::Result<()> {
        let (mut tick_ns, mut count_ns) = (clock::mono_ns(), clock::mono_ns());
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            let records = self.poll(&mut capture)?;
            let now_ns = clock::mono_ns();
            if now_ns - tick_ns > TICK_NS {
                tick_ns = now_ns;
                let gaps = self.source.tick();
                self.record(gaps)?;
            }
            if now_ns - count_ns > COUNT_NS {
                count_ns = now_ns;
                self.count(&capture)?;
            }
            if stopping && records == 0 && (self.keep_going || !self.end_stragglers()) {
                break;
            }
        }
        self.count(&capture)?;
        let gaps = self.source.finish();
        self.record(gaps)
    }

    /// Kills what has left the cgroup and is still followed, so that nothing runs on unrecorded; its end comes
    /// as a record. False where nothing is left to wait for.
    fn end_stragglers(&mut self) -> bool {
        let Some(alive) = self.source.alive(WATCH) else {
            tracing::warn!("records were lost: whether a process has left the cgroup is not known");
            return false;
        };
        let now_ns = clock::mono_ns();
        let left =
            alive.into_iter().filter_map(|pid| i32::try_from(pid).ok().and_then(Pid::from_raw));
        let mut waiting = false;
        for pid in left {
            let since_ns = *self.killed.entry(pid).or_insert_with(|| {
                kill(pid);
                now_ns
            });
            waiting |= now_ns - since_ns < KILLED_NS;
        }
        waiting
    }

    /// Takes over what is in the ring; returns the number of records.
    fn poll(&mut self, capture: &mut Capture) -> anyhow::Result<usize> {
        let mut closed = Ok(());
        let Self { source, intake, .. } = self;
        let records = capture.poll(POLL, |bytes| {
            source.push(bytes);
            if closed.is_ok()
                && let Some(batch) = source.take_full()
            {
                closed = intake.submit(Raw::Kernel(batch));
            }
        })?;
        closed?;
        if let Some(batch) = source.take() {
            intake.submit(Raw::Kernel(batch))?;
        }
        Ok(records)
    }

    fn count(&mut self, capture: &Capture) -> anyhow::Result<()> {
        let gaps = self.source.count(&capture.counters()?, capture.recursion_misses()?);
        self.losses.set(self.source.losses());
        self.record(gaps)
    }

    fn record(&self, gaps: Vec<OwnRecord>) -> anyhow::Result<()> {
        Ok(self.intake.record(gaps)?)
    }
}

fn kill(straggler: Pid) {
    tracing::warn!(
        pid = straggler.as_raw_pid(),
        "the process had left the command's cgroup: killed"
    );
    if let Err(error) = kill_process(straggler, Signal::KILL) {
        tracing::debug!(%error, "it was gone already");
    }
}
