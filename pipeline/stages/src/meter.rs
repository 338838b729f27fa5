//! What the stages measure of themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{SendError, Sender, TrySendError};
use hdrhistogram::Histogram;

use crate::clock;
use crate::figures::{Latency, StageFigures};

/// What one stage has handed on, and how long it had to wait to do so.
#[derive(Debug, Default)]
pub(crate) struct StageMeter {
    records: AtomicU64,
    bytes: AtomicU64,
    waited_us: AtomicU64,
}

impl StageMeter {
    /// Takes note of what goes on to the next stage.
    pub(crate) fn passed(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Sends downstream. The time for which there is no room is put on the meter.
    pub(crate) fn send<T>(&self, downstream: &Sender<T>, message: T) -> Result<(), SendError<T>> {
        match downstream.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(message)) => Err(SendError(message)),
            Err(TrySendError::Full(message)) => {
                let since_ns = clock::mono_ns();
                let sent = downstream.send(message);
                let waited_us = (clock::mono_ns() - since_ns) / 1_000;
                self.waited_us.fetch_add(waited_us, Ordering::Relaxed);
                sent
            }
        }
    }

    pub(crate) fn figures(&self, stage: &str) -> StageFigures {
        StageFigures {
            stage: stage.to_owned(),
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            waited_us: self.waited_us.load(Ordering::Relaxed),
        }
    }
}

/// Span of [`LatencyMeter`]'s recent half, in nanoseconds.
const RECENT_NS: u64 = 60_000_000_000;

/// Longest latency that is told apart, in microseconds: a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Upper bounds of the buckets that are exported, in microseconds.
pub(crate) const BUCKETS_US: [u64; 14] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 5_000_000,
];

/// Latencies since the start, and those of the last minute or two.
#[derive(Debug)]
pub(crate) struct LatencyMeter(Mutex<Spans>);

#[derive(Debug)]
struct Spans {
    all: Histogram<u64>,
    sum_us: u64,
    /// The last whole minute, and the current one.
    before: Histogram<u64>,
    current: Histogram<u64>,
    since_ns: u64,
}

impl Default for LatencyMeter {
    fn default() -> Self {
        let empty = || {
            Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).expect("1 µs to a minute is a range")
        };
        Self(Mutex::new(Spans {
            all: empty(),
            sum_us: 0,
            before: empty(),
            current: empty(),
            since_ns: clock::mono_ns(),
        }))
    }
}

impl LatencyMeter {
    pub(crate) fn record(&self, since_ns: u64) {
        let now_ns = clock::mono_ns();
        let took_us = (now_ns.saturating_sub(since_ns) / 1_000).max(1);
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.turn(now_ns);
        spans.sum_us += took_us;
        // Longer ones count as the longest.
        spans.all.saturating_record(took_us);
        spans.current.saturating_record(took_us);
    }

    pub(crate) fn latency(&self) -> Latency {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.turn(clock::mono_ns());
        let mut recent = spans.before.clone();
        recent.add(&spans.current).expect("both have the same bounds");
        Latency {
            recent_p50_us: recent.value_at_quantile(0.5),
            recent_p99_us: recent.value_at_quantile(0.99),
            recent_max_us: recent.max(),
            count: spans.all.len(),
            sum_us: spans.sum_us,
            buckets: BUCKETS_US.map(|edge| (edge, spans.all.count_between(0, edge))).to_vec(),
        }
    }
}

impl Spans {
    fn turn(&mut self, now_ns: u64) {
        let age_ns = now_ns.saturating_sub(self.since_ns);
        if age_ns < RECENT_NS {
            return;
        }
        self.before.reset();
        if age_ns < 2 * RECENT_NS {
            std::mem::swap(&mut self.before, &mut self.current);
        }
        self.current.reset();
        self.since_ns = now_ns;
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn waiting_for_room_is_metered_and_nothing_else() {
        let meter = StageMeter::default();
        let (sender, receiver) = bounded(1);
        meter.send(&sender, 1).unwrap();
        assert_eq!(meter.figures("x").waited_us, 0, "there was room");
        let slow = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            receiver.iter().count()
        });
        meter.send(&sender, 2).unwrap();
        drop(sender);
        assert_eq!(slow.join().unwrap(), 2);
        assert!(meter.figures("x").waited_us >= 1_000, "{:?}", meter.figures("x"));
    }

    #[test]
    fn buckets_are_cumulative_and_complete() {
        let meter = LatencyMeter::default();
        let now_ns = clock::mono_ns();
        for ago_us in [50, 5_000, 120_000_000] {
            meter.record(now_ns.saturating_sub(ago_us * 1_000));
        }
        let latency = meter.latency();
        assert_eq!(latency.count, 3);
        assert!(latency.buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        assert_eq!(latency.buckets.last().unwrap().1, 2, "the longest is beyond every bucket");
        assert!(latency.recent_p99_us >= LATENCY_US_MAX);
    }
}
