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
        let text: &[u8; Self::TEXT_BYTES] = text.as_bytes().try_into().ok()?;
        let number = |from: usize, digits: usize| {
            text[from..from + digits].iter().try_fold(0, |number, byte| {
                byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
            })
        };
        let marks =
            [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (29, b'Z')];
        if marks.iter().any(|(at, mark)| text[*at] != *mark) {
            return None;
        }
        let day = days_from_civil(number(0, 4)?, number(5, 2)?, number(8, 2)?)?;
        let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let ns = ((hour * 60 + minute) * 60 + second) * 1_000_000_000 + number(20, 9)?;
        // In wider numbers: the first and the last day of the range are not whole.
        let unix_ns = i64::try_from(i128::from(day) * i128::from(NS_PER_DAY) + i128::from(ns));
        unix_ns.ok().map(|unix_ns| Self { unix_ns })
    }

    /// The textual form, without allocation.
    #[must_use]
    pub fn to_text(self) -> [u8; Self::TEXT_BYTES] {
        let mut text = *b"1970-01-01T00:00:00.000000000Z";
        let mut put = |from: usize, digits: usize, mut number: i64| {
            for place in text[from..from + digits].iter_mut().rev() {
                *place = b'0' + u8::try_from(number % 10).expect("a digit");
                number /= 10;
            }
        };
        let (year, month, day) = civil_from_days(self.utc_day());
        let ns = self.unix_ns.rem_euclid(NS_PER_DAY);
        let second = ns / 1_000_000_000;
        put(0, 4, year);
        put(5, 2, month);
        put(8, 2, day);
        put(11, 2, second / 3_600);
        put(14, 2, second / 60 % 60);
        put(17, 2, second % 60);
        put(20, 9, ns % 1_000_000_000);
        text
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; `None` where there is no such date.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`. Two times
/// stand in each record, and a library that reads all of RFC 3339 takes as long for them as the
/// hash of the record does.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_in_month).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is their last.
    let march_year = if month <= 2 { year - 1 } else { year };
    let era = march_year.div_euclid(400);
    let year_of_era = march_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970)
}

/// Year, month and day of a day since 1970-01-01. Source: as above, `civil_from_days`.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_1970;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days in the 400 years after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.to_text()).expect("ASCII"))
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
    use proptest::prelude::*;

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

    proptest! {
        /// Every time of the range is written and read as another implementation does.
        #[test]
        fn text_is_that_of_rfc_3339(unix_ns: i64) {
            let time = Timestamp { unix_ns };
            let other = jiff::Timestamp::from_nanosecond(unix_ns.into()).unwrap();
            prop_assert_eq!(time.to_string(), format!("{other:.9}"));
            prop_assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
        }

        /// What is no time, or spelled in another way, is none.
        #[test]
        fn only_the_one_spelling_is_read(unix_ns: i64, at in 0..30_usize, byte in 0x20..0x7f_u8) {
            let mut text = Timestamp { unix_ns }.to_text();
            text[at] = byte;
            let text = str::from_utf8(&text).unwrap();
            let other = text.parse::<jiff::Timestamp>().ok().filter(|it| format!("{it:.9}") == text);
            let other = other.and_then(|it| i64::try_from(it.as_nanosecond()).ok());
            prop_assert_eq!(Timestamp::parse(text).map(|it| it.unix_ns), other);
        }
    }

    #[test]
    fn the_calendars_edges_are_known() {
        for (text, is_a_date) in [
            ("2024-02-29T00:00:00.000000000Z", true),
            ("2023-02-29T00:00:00.000000000Z", false),
            ("2100-02-29T00:00:00.000000000Z", false),
            ("2000-02-29T23:59:59.999999999Z", true),
            ("2023-04-31T00:00:00.000000000Z", false),
            ("2023-00-01T00:00:00.000000000Z", false),
            ("2016-12-31T23:59:60.000000000Z", false),
            ("2016-12-31T24:00:00.000000000Z", false),
            ("9999-01-01T00:00:00.000000000Z", false),
        ] {
            assert_eq!(Timestamp::parse(text).is_some(), is_a_date, "{text}");
        }
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
