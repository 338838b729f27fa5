//! The warden: a small process that alone may hold segments by file attributes, which takes `CAP_LINUX_IMMUTABLE`.
//!
//! The recorder gives that right up; so whoever takes the recorder over can have more held, and nothing lifted early. The
//! warden takes ten bytes an order over a pipe: what, which of the ledgers that it was told of at its start, and
//! which segment. It opens the segment itself, so there is nothing outside these directories that an order
//! could mean. It takes attributes away from closed segments alone, and not before the retention is over that it
//! was told of at its start.

mod attributes;
mod order;
mod process;

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use graven_config::Worm;
use graven_ledger::{LedgerError, OpenedLedger, Paths, Protection};
use serde::{Deserialize, Serialize};

pub use attributes::probe;
pub use order::Order;
pub use process::{Ward, run};

use order::{ANSWER_BYTES, Request, outcome};

/// What is said of a warden that does not answer: its right is given up, so nobody can start another.
const GONE: &str = "the warden has gone: restart graven";

/// The hidden verb of `graven` that calls [`run`].
pub const VERB: &str = "warden";

/// A warden at work. It ends when this is dropped, however that comes about.
#[derive(Debug)]
pub struct Warden {
    pid: u32,
    process: Mutex<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    /// Where orders go and answers come from; `None` once it is to end.
    pipes: Option<(ChildStdin, ChildStdout)>,
}

impl Warden {
    /// Starts it for `wards`: `command` re-executes the recorder's own program so that it calls [`run`].
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(command: &mut Command, wards: &[Ward]) -> anyhow::Result<Self> {
        command.args(wards.iter().flat_map(Ward::arguments));
        // A Ctrl-C is for the recorder: what it still seals is to be held, too.
        command.env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("failed to start the warden")?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let warden = Self { pid: child.id(), process: Mutex::new(Process { child, pipes }) };
        warden.talk(&[]).context("the warden did not start")?;
        Ok(warden)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Gives an order about the segment of ledger number `ledger` whose first record is `first`, and waits.
    ///
    /// # Errors
    ///
    /// What the warden says, or that it has gone.
    pub fn order(&self, order: Order, ledger: u8, first: u64) -> io::Result<()> {
        self.talk(&Request { order, ledger, first }.to_bytes())
    }

    fn talk(&self, order: &[u8]) -> io::Result<()> {
        let mut process = self.process();
        let Some((orders, answers)) = &mut process.pipes else {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, GONE));
        };
        let mut answer = [0; ANSWER_BYTES];
        orders
            .write_all(order)
            .and_then(|()| answers.read_exact(&mut answer))
            .map_err(|error| io::Error::new(error.kind(), GONE))?;
        Ok(outcome(answer)?)
    }

    /// Whether it has ended before it was told to.
    fn has_gone(&self) -> bool {
        self.process().child.try_wait().is_ok_and(|ended| ended.is_some())
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        let mut process = self.process();
        process.pipes = None;
        if let Err(error) = process.child.wait() {
            tracing::debug!(%error, "the warden cannot be waited for");
        }
    }
}

/// Whether a ledger's sealed segments are held by file attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WormState {
    /// Append-only while they are written, and immutable from then on.
    Held,
    /// They are not, or not all of them.
    Missing {
        /// Why.
        why: String,
    },
    /// Nobody asked for it.
    Off,
}

impl fmt::Display for WormState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("append-only and immutable"),
            Self::Missing { why } => write!(f, "not here: {why}"),
            Self::Off => f.write_str("off"),
        }
    }
}

/// What holds one ledger's segments, if anything does.
#[derive(Debug, Clone)]
pub struct Hold {
    state: Arc<Mutex<WormState>>,
    /// The warden, and the ledger's number there.
    by: Option<(Arc<Warden>, u8)>,
    /// Seconds after which the warden lets a closed segment go; `None`: never.
    retention_s: Option<u64>,
}

impl Hold {
    /// Held by nothing but the segments' mode.
    #[must_use]
    pub fn none(state: WormState) -> Self {
        Self { state: Arc::new(Mutex::new(state)), by: None, retention_s: None }
    }

    /// How that stands.
    #[must_use]
    pub fn state(&self) -> WormState {
        match &self.by {
            Some((warden, _)) if warden.has_gone() => WormState::Missing { why: GONE.to_owned() },
            _ => self.known().clone(),
        }
    }

    /// Whether a closed segment can be removed `retention_s` seconds after its last record.
    #[must_use]
    pub fn lets_go_after(&self, retention_s: u64) -> bool {
        self.by.is_none() || self.retention_s.is_some_and(|least| least <= retention_s)
    }

    fn known(&self) -> MutexGuard<'_, WormState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the ledger's sealed segments held, those of earlier runs at once.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub fn over(&self, ledger: &mut OpenedLedger) -> Result<(), LedgerError> {
        if self.by.is_some() {
            ledger.hold(Arc::new(self.clone()))?;
        }
        Ok(())
    }

    /// A ledger goes on where it cannot be held: its records are worth more than their attributes.
    fn give(&self, order: Order, first: u64) {
        let Some((warden, ledger)) = &self.by else { return };
        if let Err(error) = warden.order(order, *ledger, first) {
            let why = format!("segment {first} cannot be held: {error}");
            let mut state = self.known();
            if *state == WormState::Held {
                tracing::error!(why, "sealed records are not held");
                *state = WormState::Missing { why };
            }
        }
    }
}

impl Protection for Hold {
    fn append_only(&self, first: u64) {
        self.give(Order::AppendOnly, first);
    }

    fn close(&self, first: u64) {
        self.give(Order::Close, first);
    }

    fn release(&self, first: u64) -> io::Result<()> {
        self.by
            .as_ref()
            .map_or(Ok(()), |(warden, ledger)| warden.order(Order::Release, *ledger, first))
    }
}

/// A ledger that is to be held.
#[derive(Debug)]
pub struct Wish {
    /// Where it is.
    pub paths: Paths,
    /// Whether it must be.
    pub worm: Worm,
    /// Seconds after which a closed segment may be let go; `None`: never.
    pub retention_s: Option<u64>,
}

/// Finds out which ledgers can be held, and starts one warden for them; it is to be called while the right to do so is
/// there. Each ledger's hold is returned in the order of the ledgers.
///
/// # Errors
///
/// If a ledger is required to be held and cannot be, or the warden cannot be started.
pub fn hold(ledgers: &[Wish]) -> anyhow::Result<Vec<Hold>> {
    let mut wards = Vec::new();
    let mut states = Vec::new();
    for Wish { paths, worm, retention_s } in ledgers {
        if *worm == Worm::Off {
            states.push(WormState::Off);
            continue;
        }
        let segments = paths.segments();
        states.push(match probe(&segments) {
            Ok(()) => {
                // Absolute, since the warden works elsewhere.
                let segments = segments.canonicalize()?;
                wards.push(Ward { segments, retention_s: *retention_s });
                WormState::Held
            }
            Err(why) if *worm == Worm::Required => bail!(
                "the segments in {} cannot be made append-only and immutable: {why}; run as root with \
                 CAP_LINUX_IMMUTABLE on ext4, xfs or btrfs, or do without",
                paths.dir().display()
            ),
            Err(why) => WormState::Missing { why },
        });
    }
    if wards.is_empty() {
        return Ok(states.into_iter().map(Hold::none).collect());
    }
    let warden = Warden::start(Command::new("/proc/self/exe").arg(VERB), &wards)?;
    let (warden, mut numbers) = (Arc::new(warden), 0..);
    let hold = |(wish, state): (&Wish, _)| match state {
        WormState::Held => Hold {
            by: numbers.next().map(|number| (Arc::clone(&warden), number)),
            retention_s: wish.retention_s,
            ..Hold::none(state)
        },
        other => Hold::none(other),
    };
    Ok(ledgers.iter().zip(states).map(hold).collect())
}
