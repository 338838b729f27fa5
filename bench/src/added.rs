//! What capture adds to a system call, in the process that makes it.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use crossbeam_channel::bounded;
use graven_capture::{
    AgentCgroup, CallSet, Capture, Cgroup2, EmptyPair, RING_BYTES_DEFAULT, Watch,
};
use graven_stages::clock;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::getppid;

use crate::part;
use crate::stats::{Figure, float};

const GROUP: &str = "a system call, least of many loops";
const POLL: Duration = Duration::from_millis(10);

/// Loops of which the quickest counts: whatever else runs only ever adds.
const LOOPS: u32 = 500;
/// Calls in a loop: below the number of descriptors that a process may hold, and few enough that the ring
/// holds all of them and more.
const CALLS: u32 = 500;
/// Between two loops, so that the ring is emptied.
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Call {
    /// The least that the kernel does for anyone. (The C library may remember getpid.)
    Getppid,
    /// A file that is there, by its absolute path; closing it is not timed.
    Openat,
}

impl Call {
    const fn name(self) -> &'static str {
        match self {
            Self::Getppid => "getppid",
            Self::Openat => "openat",
        }
    }
}

/// Nanoseconds that a call takes, alone and under capture.
pub(crate) fn figures(dir: &Path) -> anyhow::Result<Vec<Figure>> {
    let file = fs::canonicalize(dir)?.join("opened");
    fs::write(&file, b"x")?;
    let calls = [Call::Getppid, Call::Openat];
    let mut alone = Vec::new();
    for call in calls {
        alone.push(looped(call, &file, None)?);
    }
    let empty = EmptyPair::load()?;
    let mut floor = Vec::new();
    for call in calls {
        floor.push(looped(call, &file, None)?);
    }
    drop(empty);
    let cgroup = Cgroup2::find()?.create(&format!("bench-{}", std::process::id()))?;
    let recorder = Recorder::start(&cgroup)?;
    let mut figures = Vec::new();
    for ((call, alone_ns), floor_ns) in calls.into_iter().zip(alone).zip(floor) {
        let elsewhere_ns = looped(call, &file, None)?;
        let traced_ns = looped(call, &file, Some(&cgroup))?;
        let name = call.name();
        figures.extend([
            Figure::new(GROUP, format!("{name}, no capture"), "ns", alone_ns),
            Figure::new(
                GROUP,
                format!("  {name}, added by an empty pair of programs"),
                "ns",
                floor_ns - alone_ns,
            ),
            Figure::new(
                GROUP,
                format!("  {name}, added outside the cgroup"),
                "ns",
                elsewhere_ns - alone_ns,
            ),
            Figure::new(
                GROUP,
                format!("  {name}, added in the cgroup"),
                "ns",
                traced_ns - alone_ns,
            ),
        ]);
    }
    let (records, dropped) = recorder.finish()?;
    let expected = 2 * u64::from(LOOPS * CALLS);
    ensure!(records >= expected, "only {records} calls of {expected} were captured");
    ensure!(dropped == 0, "{dropped} records found the ring full, so their calls cost less");
    Ok(figures)
}

/// Runs the loop in a process of its own, in `cgroup` where one is given.
fn looped(call: Call, file: &Path, cgroup: Option<&AgentCgroup>) -> anyhow::Result<f64> {
    let program = part::program()?;
    let mut command = match cgroup {
        Some(_) => graven_capture::command(program.as_os_str())?,
        None => Command::new(program),
    };
    command.arg("loop").arg(call.name()).arg(file).stdout(Stdio::piped());
    let child = match cgroup {
        Some(cgroup) => graven_capture::spawn(&mut command, cgroup)?,
        None => command.spawn()?,
    };
    part::answer(child)
}

/// The loop itself: nanoseconds of one call, in the quickest of many loops.
pub(crate) fn least_ns(call: Call, file: &Path) -> anyhow::Result<f64> {
    let mut least_ns = u64::MAX;
    let mut opened = Vec::with_capacity(CALLS as usize);
    for _ in 0..LOOPS {
        let since_ns = clock::mono_ns();
        match call {
            Call::Getppid => {
                for _ in 0..CALLS {
                    black_box(getppid());
                }
            }
            Call::Openat => {
                for _ in 0..CALLS {
                    opened.push(open(file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
                }
            }
        }
        least_ns = least_ns.min(clock::mono_ns() - since_ns);
        opened.clear();
        thread::sleep(PAUSE);
    }
    Ok(float(least_ns) / f64::from(CALLS))
}

/// Empties the ring and counts, no more: what the recorder does with a record costs the recorder's core,
/// and is measured with the ledger.
struct Recorder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<(u64, u64)>>,
}

impl Recorder {
    fn start(cgroup: &AgentCgroup) -> anyhow::Result<Self> {
        let cgroup = cgroup.path().to_owned();
        let stop = Arc::<AtomicBool>::default();
        let stopping = Arc::clone(&stop);
        let (loaded, ready) = bounded(1);
        let thread = thread::spawn(move || {
            let mut capture = Capture::load()?;
            let mut ring = capture.open_ring(RING_BYTES_DEFAULT)?;
            let watch = Watch { ring: ring.slot(), recorded: CallSet::ALL, environment: false };
            capture.set_watch(0, &watch)?;
            capture.watch_cgroup(&cgroup, 0)?;
            loaded.send(())?;
            let mut records = 0;
            while !stopping.load(Ordering::Acquire) {
                records += ring.poll(POLL, |_| {})? as u64;
            }
            records += ring.consume(|_| {}) as u64;
            let dropped = ring.counters()?.iter().map(|cpu| cpu.dropped).sum();
            Ok((records, dropped))
        });
        if ready.recv().is_ok() {
            return Ok(Self { stop, thread });
        }
        Err(join(thread).err().context("the recorder ended at once")?)
    }

    /// Ends the capture; returns how many records it had, and how many found the ring full.
    fn finish(self) -> anyhow::Result<(u64, u64)> {
        self.stop.store(true, Ordering::Release);
        join(self.thread)
    }
}

fn join(thread: JoinHandle<anyhow::Result<(u64, u64)>>) -> anyhow::Result<(u64, u64)> {
    thread.join().map_err(|_| anyhow::anyhow!("the recorder panicked"))?
}
