//! Bounded time: an interval in which the true time lies, or the plain word that there is none.

use std::fmt;

/// Nanoseconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// As text: RFC 3339 in UTC with exactly nine fraction digits, so that texts sort as times do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Nanoseconds since the epoch.
    pub unix_ns: i64,
}

const NS_PER_DAY: i64 = 86_400_000_000_000;

impl Timestamp {
    /// Length of the textual form, in bytes.
    pub const TEXT_BYTES: usize = "1970-01-01T00:00:00.000000000Z".len();

    /// Days since the epoch: the UTC date, as a number.
    #[must_use]
    pub fn utc_day(self) -> i64 {
        self.unix_ns.div_euclid(NS_PER_DAY)
    }

    /// Reads the textual form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parsed: jiff::Timestamp = text.parse().ok()?;
        let unix_ns = i64::try_from(parsed.as_nanosecond()).ok()?;
        let time = Self { unix_ns };
        // jiff reads more forms than this format allows: only the one spelling counts.
        (time.to_string() == text).then_some(time)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(self.unix_ns.into()) {
            Ok(time) => write!(f, "{time:.9}"),
            Err(_) => unreachable!("every i64 of nanoseconds lies in jiff's range"),
        }
    }
}

/// The interval in which an event's true time lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrueTime {
    /// The true time is not before this.
    pub earliest: Timestamp,
    /// The true time is not after this.
    pub latest: Timestamp,
    /// False when the kernel says that its clock is not synchronised: the interval is then the
    /// local clock's reading and no claim.
    pub synchronised: bool,
}

/// The kernel's clock, read once: the three clocks at one moment, and the error that the kernel
/// vouches for (adjtimex(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSample {
    /// `CLOCK_MONOTONIC` at the reading, in nanoseconds.
    pub mono_ns: u64,
    /// `CLOCK_REALTIME` at the reading.
    pub real: Timestamp,
    /// How far apart the readings of the two clocks may lie, in nanoseconds.
    pub reading_error_ns: u64,
    /// `maxerror` of adjtimex(2), in nanoseconds: bound on the distance from true time.
    pub max_error_ns: u64,
    /// False when adjtimex(2) reports `STA_UNSYNC`.
    pub synchronised: bool,
}

/// How fast the bound grows with the age of the sample: 500 parts per million, the drift that the
/// kernel itself assumes for an undisciplined clock (`MAXFREQ` in `include/linux/timex.h`).
const DRIFT_PPM: u64 = 500;

impl ClockSample {
    /// The interval that holds the true time at which `CLOCK_MONOTONIC` read `mono_ns`.
    ///
    /// Without synchronisation both ends are the local clock's reading.
    #[must_use]
    pub fn true_time(&self, mono_ns: u64) -> TrueTime {
        let age_ns = i64::try_from(i128::from(mono_ns) - i128::from(self.mono_ns))
            .unwrap_or(if mono_ns > self.mono_ns { i64::MAX } else { i64::MIN });
        let local_ns = self.real.unix_ns.saturating_add(age_ns);
        let error_ns = if self.synchronised {
            let drift_ns = age_ns.unsigned_abs() / (1_000_000 / DRIFT_PPM);
            self.max_error_ns.saturating_add(self.reading_error_ns).saturating_add(drift_ns)
        } else {
            0
        };
        let error_ns = i64::try_from(error_ns).unwrap_or(i64::MAX);
        TrueTime {
            earliest: Timestamp { unix_ns: local_ns.saturating_sub(error_ns) },
            latest: Timestamp { unix_ns: local_ns.saturating_add(error_ns) },
            synchronised: self.synchronised,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: ClockSample = ClockSample {
        mono_ns: 1_000_000_000,
        real: Timestamp { unix_ns: 1_700_000_000_000_000_000 },
        reading_error_ns: 100,
        max_error_ns: 2_000_000,
        synchronised: true,
    };

    #[test]
    fn text_has_nine_digits_and_comes_back() {
        let text = SAMPLE.real.to_string();
        assert_eq!(text, "2023-11-14T22:13:20.000000000Z");
        assert_eq!(text.len(), Timestamp::TEXT_BYTES);
        assert_eq!(Timestamp::parse(&text), Some(SAMPLE.real));
        assert_eq!(Timestamp::parse("2023-11-14T22:13:20Z"), None, "other spellings do not count");
        assert_eq!(Timestamp::parse("2023-11-14T23:13:20.000000000+01:00"), None);
    }

    #[test]
    fn interval_is_the_kernels_bound_widened_by_age() {
        let at_once = SAMPLE.true_time(SAMPLE.mono_ns);
        assert_eq!(at_once.latest.unix_ns - at_once.earliest.unix_ns, 2 * 2_000_100);
        // One second later the bound has grown by 500 µs on each side.
        let later = SAMPLE.true_time(SAMPLE.mono_ns + 1_000_000_000);
        assert_eq!(later.latest.unix_ns - later.earliest.unix_ns, 2 * 2_500_100);
        // An event before the sample is just as uncertain.
        let before = SAMPLE.true_time(0);
        assert_eq!(before.latest.unix_ns - before.earliest.unix_ns, 2 * 2_500_100);
        assert!(before.latest < later.earliest);
    }

    #[test]
    fn unsynchronised_clock_makes_no_claim() {
        let sample = ClockSample { synchronised: false, ..SAMPLE };
        let time = sample.true_time(sample.mono_ns + 5);
        assert!(!time.synchronised);
        assert_eq!(time.earliest, time.latest);
        assert_eq!(time.earliest.unix_ns, SAMPLE.real.unix_ns + 5);
    }

    #[test]
    fn extreme_readings_saturate() {
        let far = SAMPLE.true_time(u64::MAX);
        assert!(far.earliest <= far.latest);
    }
}
