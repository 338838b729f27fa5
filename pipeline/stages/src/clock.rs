//! The kernel's clocks: the only place that reads them.

use std::sync::{Mutex, PoisonError};

use graven_record::{ClockSample, Timestamp, TrueTime};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// How old a sample may get before the clocks are read again: the interval widens by 500 ppm of it.
const SAMPLE_AGE_NS_MAX: u64 = 250_000_000;

/// `CLOCK_MONOTONIC`, in nanoseconds since boot.
#[must_use]
pub fn mono_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Monotonic))).unwrap_or(0)
}

/// `CLOCK_REALTIME`.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp { unix_ns: nanoseconds(clock_gettime(ClockId::Realtime)) }
}

/// `CLOCK_REALTIME` in whole seconds since 1970.
#[must_use]
pub fn unix_s() -> u64 {
    u64::try_from(now().unix_ns / 1_000_000_000).unwrap_or(0)
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Reads the clocks and the kernel's own estimate of their error.
#[must_use]
pub fn sample() -> ClockSample {
    let (max_error_us, synchronised) = kernel_state();
    let before_ns = mono_ns();
    let real = now();
    let after_ns = mono_ns();
    let mono_ns = before_ns.midpoint(after_ns);
    ClockSample {
        mono_ns,
        real,
        reading_error_ns: after_ns - before_ns,
        max_error_ns: max_error_us.saturating_mul(1_000),
        synchronised,
    }
}

/// `maxerror` in microseconds, and whether the clock is synchronised. Source: adjtimex(2).
fn kernel_state() -> (u64, bool) {
    #[expect(unsafe_code, reason = "no safe wrapper of adjtimex(2) is known to us")]
    // SAFETY: all-zero bytes are a valid `timex`, its `modes` of 0 asks to read only, and the
    // kernel writes within the structure it is given.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    // A refused call (some sandboxes) leaves nothing known: that is no synchronisation.
    let synchronised =
        state >= 0 && state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0;
    (u64::try_from(timex.maxerror).unwrap_or(u64::MAX), synchronised)
}

/// A clock sample that is renewed as it ages.
#[derive(Debug)]
pub struct Clock(Mutex<ClockSample>);

impl Default for Clock {
    fn default() -> Self {
        Self(Mutex::new(sample()))
    }
}

impl Clock {
    /// The interval of true time at which `CLOCK_MONOTONIC` read `mono_ns`.
    #[must_use]
    pub fn at(&self, mono_ns: u64) -> TrueTime {
        self.fresh().true_time(mono_ns)
    }

    /// The interval that holds this moment.
    #[must_use]
    pub fn now(&self) -> TrueTime {
        self.at(mono_ns())
    }

    /// A sample of at most a quarter of a second of age.
    #[must_use]
    pub fn fresh(&self) -> ClockSample {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if mono_ns().saturating_sub(held.mono_ns) > SAMPLE_AGE_NS_MAX {
            *held = sample();
        }
        *held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_agrees_with_the_clocks() {
        let sample = sample();
        let here = sample.true_time(mono_ns());
        let real = now();
        // The sample is younger than a second: reading and clock agree to the second.
        assert!((here.earliest.unix_ns - real.unix_ns).abs() < 1_000_000_000 + 17_000_000_000);
        assert_eq!(here.synchronised, sample.synchronised);
        if !sample.synchronised {
            assert_eq!(here.earliest, here.latest);
        }
    }
}
