//! What options may be given as.

use std::num::NonZeroU64;
use std::str::FromStr;

use graven_record::Timestamp;
use graven_stages::clock;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp as Instant};

pub(crate) fn number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "expected a number")
}

pub(crate) fn seconds(text: &str) -> Result<u64, &'static str> {
    text.parse().map(NonZeroU64::get).map_err(|_| "expected a number of at least 1")
}

/// A time, as RFC 3339 has it, or how long ago it was.
pub(crate) fn moment(text: &str) -> Result<Timestamp, &'static str> {
    moment_before(text, clock::now())
}

fn moment_before(text: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    const EXPECTED: &str =
        "expected a time such as 2026-11-21T08:00:00Z, or how long ago, such as 10m or 2h";
    let instant = match (text.parse::<Instant>(), text.parse::<Span>()) {
        (Ok(instant), _) => Some(instant),
        // Days have 24 hours in UTC.
        (_, Ok(span)) => Instant::from_nanosecond(now.unix_ns.into())
            .and_then(|now| now.to_zoned(TimeZone::UTC).checked_sub(span.abs()))
            .ok()
            .map(|it| it.timestamp()),
        _ => None,
    };
    let unix_ns = instant.and_then(|it| i64::try_from(it.as_nanosecond()).ok()).ok_or(EXPECTED)?;
    Ok(Timestamp { unix_ns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = Timestamp::parse("2026-11-21T08:00:00.000000000Z").expect("a time");
        let told = |text| moment_before(text, now).map(|it| it.to_string());
        for (text, expected) in [
            ("2026-11-20T23:00:00Z", "2026-11-20T23:00:00.000000000Z"),
            ("2026-11-20T23:00:00+01:00", "2026-11-20T22:00:00.000000000Z"),
            ("10m", "2026-11-21T07:50:00.000000000Z"),
            ("1h30m", "2026-11-21T06:30:00.000000000Z"),
            ("2 days", "2026-11-19T08:00:00.000000000Z"),
        ] {
            assert_eq!(told(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "yesterday", "10", "9999999999999h"] {
            assert!(told(text).is_err(), "{text}");
        }
        assert_eq!(number::<u64>("x"), Err("expected a number"));
        assert_eq!([seconds("0").is_err(), seconds("7").is_ok()], [true, true]);
    }
}
