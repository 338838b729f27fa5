//! The thread that empties a ring of the kernel's into the graph.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use graven_capture::{Cgroup2, Ring};
use graven_stages::{Acknowledgement, CgroupLookup, Intake, KernelSource, Losses, Raw, clock};
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
            outbox: VecDeque::new(),
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
            let (reply, ended) = oneshot::channel();
            self.order(Order::EndStragglers(watch, reply))?;
            let waiting = ended.await.context(GONE)?;
            // Behind the look: who is gone has written down its end, or is about to.
            self.flush().await?;
            if !waiting {
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
    /// What no graph has taken yet.
    outbox: VecDeque<Raw>,
    flushes: Vec<oneshot::Sender<oneshot::Receiver<Acknowledgement>>>,
    ticked: Since,
    counted: Since,
    /// Stragglers that were killed, each once: id and start of the process, and when on `CLOCK_MONOTONIC`.
    killed: HashMap<(u32, u64), u64>,
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
            if !inflow.intake.takes_kernel_records() {
                // Nothing is judged lost that may still be in the ring: so nothing is counted either.
                thread::sleep(POLL);
                continue;
            }
            match self.turn(&inflow) {
                Ok(0) if stopping => return self.finish(&inflow).or_else(Failure::unless_closed),
                // There is no successor to wait for.
                Err(Failure::Closed) if stopping => return Ok(()),
                // What the graph did not take its successor gets; what it took and did not make durable is
                // covered by the gap that its successor writes.
                Ok(_) | Err(Failure::Closed) => {}
                Err(Failure::Capture(error)) => return Err(error),
            }
        }
    }

    /// Once round; returns the number of records.
    fn turn(&mut self, inflow: &Inflow) -> Result<usize, Failure> {
        let now_ns = clock::mono_ns();
        let records = self.poll(inflow)?;
        if self.ticked.is_due(now_ns, TICK_NS) {
            let gaps = self.source.tick();
            self.send(inflow, Raw::Own(gaps))?;
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

    /// Sends a batch after those that wait. One that the graph does not take waits for its successor.
    fn send(&mut self, inflow: &Inflow, raw: Raw) -> Result<(), Failure> {
        if raw.bytes_len() > 0 {
            self.outbox.push_back(raw);
        }
        while let Some(raw) = self.outbox.pop_front() {
            if let Err(raw) = inflow.intake.offer(raw) {
                self.outbox.push_front(raw);
                return Err(Failure::Closed);
            }
        }
        Ok(())
    }

    /// Whoever waits for what was in the ring gets word once the last batch is durable.
    fn flushed(&mut self, inflow: &Inflow) {
        while let Some(flush) = self.flushes.pop() {
            let Ok(durable) = inflow.intake.settled() else {
                return self.flushes.push(flush);
            };
            drop(flush.send(durable));
        }
    }

    /// Kills what is still followed, so that nothing runs on unrecorded; its end comes as a record. False where
    /// nothing was left.
    fn end_stragglers(&mut self, watch: u32) -> anyhow::Result<bool> {
        let followers = self.ring.followers(watch)?;
        let now_ns = clock::mono_ns();
        let mut waiting = false;
        let mut known = HashMap::new();
        for follower in &followers {
            let identity = (follower.pid, follower.start_ns);
            let since_ns = self.killed.get(&identity).copied().unwrap_or_else(|| {
                kill(&follower.process, follower.pid);
                now_ns
            });
            known.insert(identity, since_ns);
            waiting |= now_ns - since_ns < KILLED_NS;
        }
        // Each is killed once; who is gone is forgotten.
        self.killed = known;
        Ok(waiting)
    }

    /// Takes over what is in the ring; returns the number of records.
    fn poll(&mut self, inflow: &Inflow) -> Result<usize, Failure> {
        self.gauge.pending_bytes.store(self.ring.pending_bytes(), Ordering::Relaxed);
        let Self { ring, source, outbox, .. } = self;
        let records = ring.poll(POLL, |bytes| {
            source.push(bytes);
            let Some(batch) = source.take_full() else { return };
            let batch = Raw::Kernel(batch);
            // In order: where one waits, so do those behind it.
            let taken = if outbox.is_empty() { inflow.intake.offer(batch) } else { Err(batch) };
            if let Err(batch) = taken {
                outbox.push_back(batch);
            }
        })?;
        let rest = self.source.take();
        self.send(inflow, rest.map_or(Raw::Own(Vec::new()), Raw::Kernel))?;
        Ok(records)
    }

    fn count(&mut self, inflow: &Inflow) -> Result<(), Failure> {
        let gaps = self.source.count(&self.ring.counters()?, self.ring.recursion_misses()?);
        self.send(inflow, Raw::Own(gaps))?;
        let left_out = self.source.left_out(&self.ring.left_out()?);
        inflow.losses.set(self.source.losses());
        self.send(inflow, Raw::Own(left_out))
    }

    fn finish(&mut self, inflow: &Inflow) -> Result<(), Failure> {
        self.count(inflow)?;
        let last = self.source.finish();
        self.send(inflow, Raw::Own(last))?;
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

impl From<graven_capture::CaptureError> for Failure {
    fn from(error: graven_capture::CaptureError) -> Self {
        Self::Capture(error.into())
    }
}
