//! The kernel's program with nothing behind it but what a measurement does with each record.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::bounded;
use graven_capture::{AgentCgroup, CallSet, Capture, Cgroup2, RING_BYTES_DEFAULT, Ring, Watch};

const POLL: Duration = Duration::from_millis(10);

/// The one watch.
pub(crate) const WATCH: u32 = 0;

/// A cgroup of this process's own; it goes when this is dropped and nothing runs in it.
pub(crate) fn cgroup(purpose: &str) -> anyhow::Result<AgentCgroup> {
    Ok(Cgroup2::find()?.create(&format!("bench-{purpose}-{}", std::process::id()))?)
}

/// Watches `cgroup`, every call of it, and opens the ring for its records.
pub(crate) fn watch(cgroup: &AgentCgroup) -> anyhow::Result<(Capture, Ring)> {
    let mut capture = Capture::load()?;
    let ring = capture.open_ring(RING_BYTES_DEFAULT)?;
    let watch = Watch { ring: ring.slot(), recorded: CallSet::ALL, environment: false };
    capture.set_watch(WATCH, &watch)?;
    capture.watch_cgroup(cgroup.path(), WATCH)?;
    Ok((capture, ring))
}

/// How many records came, and how many found the ring full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) records: u64,
    pub(crate) dropped: u64,
}

/// Empties the ring on a thread of its own.
pub(crate) struct Recorder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Counted>>,
}

impl Recorder {
    /// Returns once `cgroup` is watched; `on_record` is given the bytes of each record.
    pub(crate) fn start(
        cgroup: &Arc<AgentCgroup>,
        mut on_record: impl FnMut(&[u8]) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let cgroup = Arc::clone(cgroup);
        let stop = Arc::<AtomicBool>::default();
        let stopping = Arc::clone(&stop);
        let (loaded, ready) = bounded(1);
        let thread = thread::spawn(move || {
            let (_capture, mut ring) = watch(&cgroup)?;
            loaded.send(())?;
            let mut records = 0;
            while !stopping.load(Ordering::Acquire) {
                records += ring.poll(POLL, &mut on_record)? as u64;
            }
            records += ring.consume(&mut on_record) as u64;
            let dropped = ring.counters()?.iter().map(|cpu| cpu.dropped).sum();
            Ok(Counted { records, dropped })
        });
        if ready.recv().is_ok() {
            return Ok(Self { stop, thread });
        }
        Err(join(thread).err().context("the recorder ended at once")?)
    }

    /// Empties the ring for the last time, and ends the capture.
    pub(crate) fn finish(self) -> anyhow::Result<Counted> {
        self.stop.store(true, Ordering::Release);
        join(self.thread)
    }
}

fn join(thread: JoinHandle<anyhow::Result<Counted>>) -> anyhow::Result<Counted> {
    thread.join().map_err(|_| anyhow::anyhow!("the recorder panicked"))?
}
