//! Runs a command and keeps its records as the kernel wrote them: `record FILE PROGRAM [ARGUMENT]…`.
//!
//! They are the samples that `graven_abi` replays. The command runs in `/` with a bare environment; its cgroup
//! is in `GRAVEN_CGROUP`.

use std::env;
use std::error::Error;
use std::fs;
use std::time::Duration;

use graven_capture::{CallSet, Capture, Cgroup2, RING_BYTES_DEFAULT, Watch, command, spawn};

const POLL: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let usage = "usage: record FILE PROGRAM [ARGUMENT]…";
    let (file, program) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let cgroup = Cgroup2::find()?.create("record")?;
    let mut capture = Capture::load()?;
    let mut ring = capture.open_ring(RING_BYTES_DEFAULT)?;
    let watch = Watch { ring: ring.slot(), recorded: CallSet::ALL, environment: true };
    capture.set_watch(0, &watch)?;
    capture.watch_cgroup(cgroup.path(), 0)?;

    let mut command = command(&program)?;
    command.args(arguments).current_dir("/").env_clear();
    command.env("PATH", "/usr/bin:/bin").env("GRAVEN_CGROUP", cgroup.path());
    let mut child = spawn(&mut command, &cgroup)?;
    let mut records = Vec::new();
    while child.try_wait()?.is_none() || cgroup.populated()? {
        ring.poll(POLL, |bytes| records.extend_from_slice(bytes))?;
    }
    ring.consume(|bytes| records.extend_from_slice(bytes));
    fs::write(file, records)?;
    Ok(cgroup.remove()?)
}
