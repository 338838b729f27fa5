//! The thread that empties a ring of the kernel's into the graph.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use graven_capture::{Cgroup2, Ring};
use graven_stages::{
    Acknowledgement, CgroupLookup, Closed, Intake, KernelSource, Losses, Raw, clock,
};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::sync::{oneshot, watch};

/// Longest time a record waits in the ring of a quiet agent.
const POLL: Duration = Duration::from_millis(10);

/// How often open holes are looked at.
const TICK_NS: u64 = 100_000_000;

/// How often the kernel's counters are read.
const COUNT_NS: u64 = 1_000_000_000;

/// How long the end of a killed process is waited for.
const KILLED_NS: u64 = 5_000_000_000;

/// Orders that may wait: as many as there are connections, and more.
const ORDERS: usize = 256;

/// Where the records go. It is `None` while the graph is being rebuilt: then they wait in the ring.
pub type Way = watch::Receiver<Option<Inflow>>;

/// The way into a graph.
#[derive(Debug, Clone)]
pub struct Inflow {
    /// Its door.
    pub intake: Intake,
    /// Where its heartbeats find what was lost.
    pub losses: Losses,
}

#[derive(Debug)]
enum Order {
    /// Answer once all that the kernel has recorded by now is durable.
    Flush(oneshot::Sender<oneshot::Receiver<Acknowledgement>>),
    /// Kill what has left the cgroup of this watch; answer with whether an end is still to come.
    EndStragglers(u32, oneshot::Sender<bool>),
    Stop,
}

/// How full a ring is.
#[derive(Debug, Default)]
pub struct Gauge {
    pending_bytes: AtomicU64,
    ring_bytes: u64,
    emptied_ns: AtomicU64,
}

impl Gauge {
    /// Bytes that waited in the ring when it was last looked at.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// Size of the ring, in bytes.
    #[must_use]
    pub fn ring_bytes(&self) -> u64 {
        self.ring_bytes
    }

    /// What was put into the ring before this moment, on `CLOCK_MONOTONIC`, has been taken out.
    #[must_use]
    pub fn emptied_ns(&self) -> u64 {
        self.emptied_ns.load(Ordering::Acquire)
    }
}

/// Looks up cgroups for a [`KernelSource`].
#[must_use]
pub fn cgroup_lookup(cgroups: &Cgroup2) -> CgroupLookup {
    let mut paths = cgroups.paths();
    Box::new(move |id| paths.path_of(id).map(|path| path.as_os_str().as_bytes().to_vec()))
}

/// A running thread.
#[derive(Debug)]
pub struct RingThread {
    line: RingLine,
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<anyhow::Result<()>>,
}

/// What the thread is told and asked. Clones speak to the same thread.
#[derive(Debug, Clone)]
pub struct RingLine {
    orders: Sender<Order>,
    gauge: Arc<Gauge>,
}

impl RingThread {
    /// Starts to empty `ring`.
    ///
    /// # Errors
    ///
    /// If the operating system gives no thread.
    pub fn start(ring: Ring, source: KernelSource, way: Way) -> anyhow::Result<Self> {
        let (orders, received) = bounded(ORDERS);
        let (finished, ended) = oneshot::channel();
        let gauge = Arc::new(Gauge { ring_bytes: ring.ring_bytes().into(), ..Gauge::default() });
        let drain = Drain {
            ring,
            source,
            way,
            orders: received,
            gauge: Arc::clone(&gauge),
            flushes: Vec::new(),
            ticked: Since(clock::mono_ns()),
            counted: Since(clock::mono_ns()),
            killed: HashMap::new(),
        };
        let thread = thread::Builder::new()
            .name("graven-ring".into())
            .spawn(move || drop(finished.send(drain.run())))?;
        Ok(Self { line: RingLine { orders, gauge }, thread, ended })
    }

    /// The line to the thread.
    #[must_use]
    pub fn line(&self) -> &RingLine {
        &self.line
    }

    /// Empties the ring for the last time, and ends.
    ///
    /// # Errors
    ///
    /// What the thread has failed on.
    pub async fn stop(self) -> anyhow::Result<()> {
        // A thread that has failed takes no orders; its result tells why.
        let _stopped = self.line.orders.try_send(Order::Stop);
        drop(self.line);
        self.ended.await.context(GONE)?
    }

    /// True once it has ended of itself: [`Self::stop`] then tells why.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

impl RingLine {
    /// How full the ring was when it was last looked at.
    #[must_use]
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// Waits until all that the kernel has recorded by now is durable.
    ///
    /// # Errors
    ///
    /// If the thread or the graph has failed.
    pub async fn flush(&self) -> anyhow::Result<()> {
        let (reply, submitted) = oneshot::channel();
        self.order(Order::Flush(reply))?;
        let durable = submitted.await.context(GONE)?;
        durable.await.context("the ledger has stopped before everything was durable")?;
        Ok(())
    }

    /// Kills the processes that have left the cgroup of `watch` and are still followed, and waits until all
    /// that was recorded of them is durable.
    ///
    /// # Errors
    ///
    /// If the thread or the graph has failed.
    pub async fn end_watch(&self, watch: u32) -> anyhow::Result<()> {
        loop {
            self.flush().await?;
            let (reply, ended) = oneshot::channel();
            self.order(Order::EndStragglers(watch, reply))?;
            if !ended.await.context(GONE)? {
                return Ok(());
            }
        }
    }

    fn order(&self, order: Order) -> anyhow::Result<()> {
        self.orders.try_send(order).map_err(|_| anyhow::anyhow!(GONE))
    }
}

const GONE: &str = "the thread that empties the kernel's ring has gone";

/// The loop between ring and intake. It waits where intake does; what the ring cannot hold meanwhile
/// is counted by the kernel and becomes a gap.
struct Drain {
    ring: Ring,
    source: KernelSource,
    way: Way,
    orders: Receiver<Order>,
    gauge: Arc<Gauge>,
    flushes: Vec<oneshot::Sender<oneshot::Receiver<Acknowledgement>>>,
    ticked: Since,
    counted: Since,
    /// Stragglers that were killed, each once: watch and process, and when on `CLOCK_MONOTONIC`.
    killed: HashMap<(u32, u32), u64>,
}

/// When something was last done.
struct Since(u64);

impl Since {
    fn is_due(&mut self, now_ns: u64, every_ns: u64) -> bool {
        let due = now_ns.saturating_sub(self.0) >= every_ns;
        if due {
            self.0 = now_ns;
        }
        due
    }
}

impl Drain {
    fn run(mut self) -> anyhow::Result<()> {
        let mut stopping = false;
        loop {
            stopping |= self.take_orders()?;
            let Some(inflow) = self.way.borrow().clone() else {
                if stopping {
                    return Ok(());
                }
                // What is recorded meanwhile waits in the ring, or is counted as lost.
                thread::sleep(POLL);
                continue;
            };
            match self.turn(&inflow) {
                Ok(0) if stopping => return self.finish(&inflow).or_else(Failure::unless_closed),
                Ok(_) => {}
                // The graph has failed; what was on its way is covered by the gap that its successor writes.
                Err(Failure::Closed) => drop(self.source.take()),
                Err(Failure::Capture(error)) => return Err(error),
            }
        }
    }

    /// Once round; returns the number of records.
    fn turn(&mut self, inflow: &Inflow) -> Result<usize, Failure> {
        let now_ns = clock::mono_ns();
        let records = self.poll(inflow)?;
        if self.ticked.is_due(now_ns, TICK_NS) {
            inflow.intake.record(self.source.tick())?;
        }
        if self.counted.is_due(now_ns, COUNT_NS) {
            self.count(inflow)?;
        }
        // All that was in the ring before this turn is in the graph by now.
        self.gauge.emptied_ns.store(now_ns, Ordering::Release);
        self.flushed(inflow);
        Ok(records)
    }

    /// True once it is to stop.
    fn take_orders(&mut self) -> anyhow::Result<bool> {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Flush(reply)) => self.flushes.push(reply),
                Ok(Order::EndStragglers(watch, reply)) => {
                    // Whoever asked may have gone.
                    let _heard = reply.send(self.end_stragglers(watch)?);
                }
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return Ok(true),
                Err(TryRecvError::Empty) => return Ok(false),
            }
        }
    }

    /// Whoever waits for what was in the ring gets word once the last batch is durable.
    fn flushed(&mut self, inflow: &Inflow) {
        for flush in self.flushes.drain(..) {
            if let Ok(durable) = inflow.intake.submit_acknowledged(Raw::Own(Vec::new())) {
                drop(flush.send(durable));
            }
        }
    }

    /// Kills what has left the cgroup and is still followed, so that nothing runs on unrecorded; its end
    /// comes as a record. False where nothing is left to wait for.
    fn end_stragglers(&mut self, watch: u32) -> anyhow::Result<bool> {
        let Some(alive) = self.source.alive(watch) else {
            tracing::warn!("records were lost: whether a process has left the cgroup is not known");
            return Ok(false);
        };
        self.killed.retain(|(of, pid), _| *of != watch || alive.contains(pid));
        let now_ns = clock::mono_ns();
        let mut waiting = false;
        for pid in alive {
            // The records alone do not tell: it may have been let go, or be another watch's by now.
            let killed = match self.killed.entry((watch, pid)) {
                Entry::Occupied(killed) => Some(*killed.get()),
                Entry::Vacant(entry) => self.ring.follower(watch, pid)?.map(|process| {
                    kill(&process, pid);
                    *entry.insert(now_ns)
                }),
            };
            waiting |= killed.is_some_and(|since_ns| now_ns - since_ns < KILLED_NS);
        }
        Ok(waiting)
    }

    /// Takes over what is in the ring; returns the number of records.
    fn poll(&mut self, inflow: &Inflow) -> Result<usize, Failure> {
        self.gauge.pending_bytes.store(self.ring.pending_bytes(), Ordering::Relaxed);
        let mut submitted = Ok(());
        let Self { ring, source, .. } = self;
        let records = ring.poll(POLL, |bytes| {
            source.push(bytes);
            if submitted.is_ok()
                && let Some(batch) = source.take_full()
            {
                submitted = inflow.intake.submit(Raw::Kernel(batch));
            }
        })?;
        submitted?;
        if let Some(batch) = source.take() {
            inflow.intake.submit(Raw::Kernel(batch))?;
        }
        Ok(records)
    }

    fn count(&mut self, inflow: &Inflow) -> Result<(), Failure> {
        let gaps = self.source.count(&self.ring.counters()?, self.ring.recursion_misses()?);
        inflow.intake.record(gaps)?;
        let left_out = self.source.left_out(&self.ring.left_out()?);
        inflow.losses.set(self.source.losses());
        Ok(inflow.intake.record(left_out)?)
    }

    fn finish(&mut self, inflow: &Inflow) -> Result<(), Failure> {
        self.count(inflow)?;
        inflow.intake.record(self.source.finish())?;
        self.flushed(inflow);
        Ok(())
    }
}

fn kill(straggler: &OwnedFd, process: u32) {
    tracing::warn!(process, "the process had left the command's cgroup: killed");
    if let Err(error) = pidfd_send_signal(straggler, Signal::KILL) {
        tracing::debug!(%error, "it was gone already");
    }
}

enum Failure {
    /// The graph takes nothing any more.
    Closed,
    Capture(anyhow::Error),
}

impl Failure {
    /// The end of a graph ends nothing here.
    fn unless_closed(self) -> anyhow::Result<()> {
        match self {
            Self::Closed => Ok(()),
            Self::Capture(error) => Err(error),
        }
    }
}

impl From<Closed> for Failure {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl From<graven_capture::CaptureError> for Failure {
    fn from(error: graven_capture::CaptureError) -> Self {
        Self::Capture(error.into())
    }
}
