//! `graven run` over ledgers of its own, for as long as a measurement takes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use graven_bench::samples::PAYLOAD_FIELDS;
use graven_capture::{AgentCgroup, Cgroup2};
use graven_daemon::control::{Answer, Request, Status};
use graven_daemon::{Client, ControlError};
use rustix::process::{Pid, Signal, kill_process};

use crate::part;
use crate::process::Process;
use crate::rig;

const PAUSE: Duration = Duration::from_millis(20);
/// Pauses until a service must have answered: 20 s.
const PAUSES: u32 = 1_000;

/// A service that watches; killed when dropped, unless it was stopped.
#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    socket: PathBuf,
}

impl Service {
    /// Starts it in `dir`, with a ledger for each cgroup, and waits until it answers. `more` is put at the
    /// top of its configuration.
    pub(crate) fn start(dir: &Path, cgroups: &[&AgentCgroup], more: &str) -> anyhow::Result<Self> {
        let dir = fs::canonicalize(dir)?;
        let socket = socket(&dir);
        let mut config = format!("{more}\n[control]\nsocket = \"{}\"\n", socket.display());
        let mount = Cgroup2::find()?;
        for (at, cgroup) in cgroups.iter().enumerate() {
            let ledger = ledger(&dir, at);
            rig::create(&ledger)?;
            let below = Path::new("/").join(cgroup.path().strip_prefix(mount.mount())?);
            let (ledger, below) = (ledger.display(), below.display());
            writeln!(
                config,
                "[[ledger]]\nname = \"tenant-{at}\"\ndir = \"{ledger}\"\nworm = \"off\""
            )?;
            writeln!(config, "payload_fields = {PAYLOAD_FIELDS:?}")?;
            writeln!(config, "[[ledger.watch]]\nagent = \"agent-{at}\"")?;
            writeln!(config, "cgroups = [\"{below}\"]")?;
        }
        let file = dir.join("graven.toml");
        fs::write(&file, config)?;
        let mut command = Command::new(part::graven()?);
        command.arg("run").arg("--config").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(fs::File::create(dir.join("log"))?).spawn()?;
        let mut service = Self { child, socket };
        for _ in 0..PAUSES {
            if let Some(status) = service.child.try_wait()? {
                bail!("graven run: {status}: {}", fs::read_to_string(dir.join("log"))?);
            }
            if service.is_watching()? {
                return Ok(service);
            }
            thread::sleep(PAUSE);
        }
        bail!("graven run does not answer")
    }

    fn is_watching(&self) -> anyhow::Result<bool> {
        match self.status() {
            Ok(status) => Ok(status.ledgers.iter().all(|ledger| {
                let mut targets = ledger.watches.iter().flat_map(|watch| &watch.targets);
                ledger.figures.is_some() && targets.all(|target| target.waiting.is_none())
            })),
            Err(error) if matches!(error.downcast_ref(), Some(ControlError::NotRunning { .. })) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn status(&self) -> anyhow::Result<Status> {
        match Client::ask(&self.socket, &Request::Status {})?.answer()? {
            Answer::Status(status) => Ok(*status),
            other => bail!("the daemon was asked for its status, and says {other:?}"),
        }
    }

    pub(crate) fn process(&self) -> Process {
        Process::of(self.child.id())
    }

    /// Ends it in order: all that it has taken in is durable then.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process has an id")?, Signal::TERM)?;
        let status: ExitStatus = self.child.wait()?;
        ensure!(status.success(), "graven run ended with {status}");
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may end by itself meanwhile.
            let _killed = self.child.kill();
            let _ended = self.child.wait();
        }
    }
}

/// Where the service in `dir` is asked.
pub(crate) fn socket(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// The ledger of the cgroup at index `at`, in the service's directory.
pub(crate) fn ledger(dir: &Path, at: usize) -> PathBuf {
    dir.join(format!("tenant-{at}"))
}
