//! The budget of disk: what a ledger's directory may grow to, and who waits once it has.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use graven_record::Value;
use serde::{Deserialize, Serialize};

use crate::batch::BATCH_BYTES_MAX;
use crate::budget::{ByteBudget, Closed, Permit};
use crate::figures::DiskFigures;
use crate::{clock, pace};

/// Bytes that a raw byte becomes in the ledger, at most and about.
const GROWTH: u64 = 6;

/// What only Graven's own records may use of `bytes_max`: a hundredth, but no less than this, in bytes.
const RESERVE_BYTES_MIN: u64 = 1 << 20;

/// Room that there must be again before intake goes on: half of the slow part, but no less than this, in
/// bytes. It is more than what the largest batch is stopped for, so that intake does not flutter.
const RESUME_BYTES_MIN: u64 = 2 * GROWTH * BATCH_BYTES_MAX as u64;

/// How long a batch waits for those before it to be written, while they may use up what is left.
const BUSY: Duration = Duration::from_millis(1);

/// What a ledger may use of a disk. The default is all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskLimits {
    /// Bytes that its directory may hold.
    pub bytes_max: Option<u64>,
    /// Bytes that stay free on its file system.
    pub free_bytes_min: Option<u64>,
}

/// How a ledger stands to its budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// There is room.
    #[default]
    Open,
    /// Sources are slowed down.
    Slowed,
    /// Nothing but Graven's own records is taken in.
    Reached,
}

/// Counts what a ledger holds, and holds its sources back. Clones are of one budget.
///
/// Well below the slow part a batch costs three atomic loads. Source of the bytes: counted as they are written.
#[derive(Debug, Clone)]
pub struct DiskBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    used: AtomicU64,
    /// Bytes at which sources are stopped, and from which on they are slowed.
    ceiling: AtomicU64,
    slow_from: AtomicU64,
    free: AtomicU64,
    shut: AtomicBool,
    waited_us: AtomicU64,
    limits: Mutex<DiskLimits>,
    line: Mutex<Line>,
    opened: Condvar,
}

/// Whoever is slowed down or stopped.
#[derive(Debug, Default)]
struct Line {
    /// When the next batch may go, on `CLOCK_MONOTONIC`.
    next_ns: u64,
    /// Nothing comes in any more.
    closed: bool,
    /// What the kernel has recorded already is taken in whatever it costs.
    last_call: bool,
}

/// Whether a batch fits into what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    /// Once those before it are written, perhaps.
    Later,
    No,
}

impl DiskBudget {
    /// The budget of a directory that holds `used` bytes.
    pub(crate) fn new(used: u64, limits: DiskLimits) -> Self {
        Self(Arc::new(Inner {
            used: used.into(),
            ceiling: u64::MAX.into(),
            slow_from: u64::MAX.into(),
            free: u64::MAX.into(),
            shut: false.into(),
            waited_us: 0.into(),
            limits: limits.into(),
            line: Mutex::default(),
            opened: Condvar::new(),
        }))
    }

    /// Other limits, from the next look at the disk on.
    pub fn limit(&self, limits: DiskLimits) {
        *lock(&self.0.limits) = limits;
    }

    /// False while sources are stopped.
    pub(crate) fn is_open(&self) -> bool {
        !self.0.shut.load(Ordering::Relaxed)
    }

    /// Takes note of bytes written.
    pub(crate) fn add(&self, bytes: u64) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes note of bytes removed.
    pub(crate) fn free(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _before = self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Waits for room on the disk, then in memory. `is_kernels` says whose the batch is.
    ///
    /// # Errors
    ///
    /// [`Closed`] once nothing comes in any more.
    pub(crate) fn enter(
        &self,
        memory: &ByteBudget,
        bytes: usize,
        is_kernels: bool,
    ) -> Result<Permit, Closed> {
        // With all that may be under way, and be written before the next look.
        let may_be_used =
            self.0.used.load(Ordering::Relaxed).saturating_add(GROWTH * memory.max() as u64);
        if may_be_used < self.0.slow_from.load(Ordering::Relaxed) && self.is_open() {
            return memory.take(bytes);
        }
        let since_ns = clock::mono_ns();
        let permit = self.enter_slowly(memory, bytes, is_kernels);
        let waited_us = (clock::mono_ns() - since_ns) / 1_000;
        self.0.waited_us.fetch_add(waited_us, Ordering::Relaxed);
        permit
    }

    fn enter_slowly(
        &self,
        memory: &ByteBudget,
        bytes: usize,
        is_kernels: bool,
    ) -> Result<Permit, Closed> {
        let mut paced = false;
        loop {
            let mut line = self.line();
            let may_pass = |line: &Line| self.is_open() || line.last_call && is_kernels;
            while !line.closed && !may_pass(&line) {
                line = self.0.opened.wait(line).unwrap_or_else(PoisonError::into_inner);
            }
            if line.closed {
                return Err(Closed);
            }
            if line.last_call && is_kernels {
                return memory.take(bytes);
            }
            if !paced {
                drop(line);
                self.slow_down(memory.used() as u64, bytes as u64);
                paced = true;
                continue;
            }
            match self.fit(memory.used() as u64, bytes as u64) {
                // Under the lock, so that the next in line sees it.
                Fit::Yes => return memory.take(bytes),
                Fit::No => self.0.shut.store(true, Ordering::Relaxed),
                Fit::Later => {
                    drop(line);
                    thread::sleep(BUSY);
                }
            }
        }
    }

    /// Waits for its turn: all sources share one pace.
    fn slow_down(&self, under_way: u64, bytes: u64) {
        let (left, slow) = self.left();
        let left = left.saturating_sub(under_way.saturating_mul(GROWTH));
        let delay_ns = pace::delay_ns(left, slow, bytes);
        let now_ns = clock::mono_ns();
        let turn_ns = {
            let mut line = self.line();
            line.next_ns = line.next_ns.clamp(now_ns, now_ns + pace::DELAY_NS_MAX) + delay_ns;
            line.next_ns
        };
        thread::sleep(Duration::from_nanos(turn_ns - now_ns));
    }

    fn fit(&self, under_way: u64, bytes: u64) -> Fit {
        let (left, _) = self.left();
        let fits = |raw: u64| raw.saturating_mul(GROWTH) <= left;
        if fits(under_way.saturating_add(bytes)) {
            Fit::Yes
        } else if fits(bytes) {
            Fit::Later
        } else {
            Fit::No
        }
    }

    /// Bytes left, and how long the slow part is.
    fn left(&self) -> (u64, u64) {
        let ceiling = self.0.ceiling.load(Ordering::Relaxed);
        let slow = ceiling.saturating_sub(self.0.slow_from.load(Ordering::Relaxed));
        (ceiling.saturating_sub(self.0.used.load(Ordering::Relaxed)), slow)
    }

    /// Takes note of how much is free on the file system, and of what that leaves.
    pub(crate) fn look(&self, free: u64) {
        let (limits, used) = (*lock(&self.0.limits), self.0.used.load(Ordering::Relaxed));
        let (ceiling, slow) = limits.tightest(used, free);
        self.0.free.store(free, Ordering::Relaxed);
        self.0.slow_from.store(ceiling.saturating_sub(slow), Ordering::Relaxed);
        self.0.ceiling.store(ceiling, Ordering::Relaxed);
        if used >= ceiling {
            self.0.shut.store(true, Ordering::Relaxed);
        }
    }

    /// True where sources are stopped and need not be any more.
    pub(crate) fn may_resume(&self) -> bool {
        let (left, slow) = self.left();
        !self.is_open() && left >= RESUME_BYTES_MIN.max(slow / 2)
    }

    /// Lets the sources go on.
    pub(crate) fn resume(&self) {
        let _line = self.line();
        self.0.shut.store(false, Ordering::Relaxed);
        self.0.opened.notify_all();
    }

    /// Takes in what the kernel has recorded already, over the budget where it must be: the service stops, and
    /// what is in the ring would be lost otherwise.
    pub fn last_call(&self) {
        self.line().last_call = true;
        self.0.opened.notify_all();
    }

    /// False where the kernel's records have to stay in the ring.
    pub(crate) fn takes_kernel_records(&self) -> bool {
        self.is_open() || self.line().last_call
    }

    /// Sends away whoever waits, and whoever comes.
    pub(crate) fn close(&self) {
        self.line().closed = true;
        self.0.opened.notify_all();
    }

    pub(crate) fn figures(&self) -> DiskFigures {
        let DiskLimits { bytes_max, free_bytes_min } = *lock(&self.0.limits);
        let used_bytes = self.0.used.load(Ordering::Relaxed);
        let standing = if !self.is_open() {
            Standing::Reached
        } else if used_bytes >= self.0.slow_from.load(Ordering::Relaxed) {
            Standing::Slowed
        } else {
            Standing::Open
        };
        let waited_us = self.0.waited_us.load(Ordering::Relaxed);
        DiskFigures { bytes_max, free_bytes_min, used_bytes, standing, waited_us }
    }

    /// `detail` of the budget's own records.
    pub(crate) fn to_value(&self) -> Value {
        let DiskFigures { bytes_max, free_bytes_min, used_bytes, .. } = self.figures();
        Value::object([
            ("bytes_max", bytes_max.into()),
            ("free_bytes", self.0.free.load(Ordering::Relaxed).into()),
            ("free_bytes_min", free_bytes_min.into()),
            ("used_bytes", used_bytes.into()),
        ])
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        lock(&self.0.line)
    }
}

impl Default for DiskBudget {
    /// Without limits.
    fn default() -> Self {
        Self::new(0, DiskLimits::default())
    }
}

impl DiskLimits {
    /// The bytes at which a ledger of `used` bytes is stopped with `free` bytes beside it, and the length of the
    /// slow part before: by that limit of which the smaller part is left.
    fn tightest(self, used: u64, free: u64) -> (u64, u64) {
        let by_bytes = self.bytes_max.map(|max| {
            let ceiling = max.saturating_sub(RESERVE_BYTES_MIN.max(max / 100));
            (ceiling, ceiling.saturating_sub(max / 10 * 9))
        });
        let by_free = self
            .free_bytes_min
            .map(|min| (used.saturating_add(free.saturating_sub(min)), min / 10));
        let part_left = |(ceiling, slow): &(u64, u64)| {
            (u128::from(ceiling.saturating_sub(used)) << 64) / u128::from((*slow).max(1))
        };
        by_bytes.into_iter().chain(by_free).min_by_key(part_left).unwrap_or((u64::MAX, 0))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
