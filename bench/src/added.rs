//! What capture adds to a system call, in the process that makes it.

use std::ffi::OsString;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use clap::ValueEnum;
use graven_capture::{AgentCgroup, EmptyPair};
use graven_stages::clock;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::getppid;

use crate::part;
use crate::recorder::{self, Counted, Recorder};
use crate::stats::{Figure, float};

pub(crate) const GROUP: &str = "a system call, least of many loops";

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
    /// A file that is there, by its absolute path; closing it is not timed. (Not `open`, which is a call of its own.)
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
    let file = opened_file(dir)?;
    let others = others_attached();
    let calls = [Call::Getppid, Call::Openat];
    let all = |cgroup: Option<&AgentCgroup>| -> anyhow::Result<Vec<f64>> {
        calls.iter().map(|call| looped(*call, &file, cgroup)).collect()
    };
    let alone = all(None)?;
    let empty = EmptyPair::load()?;
    let floor = all(None)?;
    drop(empty);
    let cgroup = Arc::new(recorder::cgroup("loop")?);
    // What the recorder does with a record costs the recorder's core, and is measured with the ledger.
    let recorder = Recorder::start(&cgroup, |_| {})?;
    let (elsewhere, watched) = (all(None)?, all(Some(&cgroup))?);
    let Counted { records, dropped } = recorder.finish()?;
    let expected = calls.len() as u64 * u64::from(LOOPS * CALLS);
    ensure!(records >= expected, "only {records} calls of {expected} were captured");
    ensure!(dropped == 0, "{dropped} records found the ring full, so their calls cost less");
    let others = Figure::new(GROUP, "others that hold BPF programs".into(), "processes", others);
    let mut figures = vec![others];
    for (at, call) in calls.iter().enumerate() {
        figures.extend(rows(call.name(), alone[at], floor[at], elsewhere[at], watched[at]));
    }
    Ok(figures)
}

/// Processes that hold BPF programs already: what theirs cost is in every figure, that of no capture included.
fn others_attached() -> f64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let holds_program = |process: &fs::DirEntry| {
        let descriptors = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        descriptors
            .filter_map(|it| fs::read_link(it.path()).ok())
            .any(|to| to.as_os_str() == "anon_inode:bpf-prog")
    };
    float(processes.filter(holds_program).count() as u64)
}

/// The file that the loop opens.
pub(crate) fn opened_file(dir: &Path) -> anyhow::Result<PathBuf> {
    let file = fs::canonicalize(dir)?.join("opened");
    fs::write(&file, b"x")?;
    Ok(file)
}

/// What one call takes: alone, with an empty pair of programs, outside the watched cgroup, and in it.
fn rows(
    name: &str,
    alone_ns: f64,
    floor_ns: f64,
    elsewhere_ns: f64,
    watched_ns: f64,
) -> [Figure; 6] {
    let row = |what: &str, unit, value| Figure::new(GROUP, format!("{name}{what}"), unit, value);
    let added = |ns: f64| ns - alone_ns;
    [
        row(", no capture", "ns", alone_ns),
        row(", added by an empty pair of programs", "ns", added(floor_ns)),
        row(", added outside the cgroup", "ns", added(elsewhere_ns)),
        row(", outside the cgroup: of the empty pair's whole call", "x", elsewhere_ns / floor_ns),
        row(
            ", outside the cgroup: of what the empty pair adds",
            "x",
            added(elsewhere_ns) / added(floor_ns),
        ),
        row(", added in the cgroup", "ns", added(watched_ns)),
    ]
}

/// Runs the loop in a process of its own, in `cgroup` where one is given.
pub(crate) fn looped(call: Call, file: &Path, cgroup: Option<&AgentCgroup>) -> anyhow::Result<f64> {
    let mut command = graven_capture::command(part::program()?.as_os_str())?;
    command.args(arguments(call, file, LOOPS)).stdout(Stdio::piped());
    let child = match cgroup {
        Some(cgroup) => graven_capture::spawn(&mut command, cgroup)?,
        None => command.spawn()?,
    };
    part::answer(child)
}

/// What makes a process of this program the loop.
pub(crate) fn arguments(call: Call, file: &Path, loops: u32) -> [OsString; 4] {
    ["loop".into(), call.name().into(), file.into(), loops.to_string().into()]
}

/// The loop itself: nanoseconds of one call, in the quickest of many loops.
pub(crate) fn least_ns(call: Call, file: &Path, loops: u32) -> anyhow::Result<f64> {
    let mut least_ns = u64::MAX;
    let mut opened = Vec::with_capacity(CALLS as usize);
    for _ in 0..loops {
        let since_ns = clock::mono_ns();
        match call {
            Call::Getppid => {
                for _ in 0..CALLS {
                    black_box(getppid());
                }
            }
            Call::Openat => {
                for _ in 0..CALLS {
                    opened.push(openat(
                        CWD,
                        file,
                        OFlags::RDONLY | OFlags::CLOEXEC,
                        Mode::empty(),
                    )?);
                }
            }
        }
        least_ns = least_ns.min(clock::mono_ns() - since_ns);
        opened.clear();
        thread::sleep(PAUSE);
    }
    Ok(float(least_ns) / f64::from(CALLS))
}
