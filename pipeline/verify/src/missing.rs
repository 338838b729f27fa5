//! What is missing from a ledger by its own word: the sum of its gap records.

use std::fmt;

use graven_record::{Timestamp, canonical};
use serde::Serialize;

use crate::screen::{count, number, span};

/// What the standing gap records say was not captured. Source: `schemas/format.md`, section 1.3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Kernel records that came malformed.
    pub decode: u64,
    /// Milliseconds in which no pipeline ran.
    pub downtime_ms: u64,
    /// How often none ran.
    pub downtimes: u64,
    /// Leaf index of the first gap record; `None` where nothing is missing.
    pub first: Option<u64>,
    /// Calls that were seen while the kernel program was running already.
    pub recursion: u64,
    /// Records that found the kernel's ring full.
    pub ring: u64,
    /// Calls that could not be held until their end.
    pub stash: u64,
}

impl Missing {
    /// What one gap record says, from its member `gap`.
    pub(crate) fn read(gap: &[u8]) -> Self {
        let (mut stage, mut lost, mut from, mut to) = (None, 0, None, None);
        let time = |value| {
            let text = canonical::string(value)?;
            Timestamp::parse(&text).map(|it| it.unix_ns)
        };
        // Whether it is well formed has been said elsewhere.
        canonical::members(gap, |key, value| match key {
            b"stage" => stage = canonical::string(value),
            b"lost" => lost = canonical::unsigned(value).unwrap_or(0),
            b"from" => from = time(value),
            b"to" => to = time(value),
            _ => {}
        });
        let none = Self::default();
        match stage.as_deref() {
            Some("decode") => Self { decode: lost, ..none },
            Some("recursion") => Self { recursion: lost, ..none },
            Some("ring") => Self { ring: lost, ..none },
            Some("stash") => Self { stash: lost, ..none },
            Some("downtime") => {
                let ns = from.zip(to).and_then(|(from, to)| to.checked_sub(from)).unwrap_or(0);
                let downtime_ms = u64::try_from(ns).unwrap_or(0) / 1_000_000;
                Self { downtime_ms, downtimes: 1, ..none }
            }
            _ => none,
        }
    }

    /// Adds what the gap record at `seq` says; records come in order.
    pub(crate) fn add(&mut self, seq: u64, gap: &Self) {
        *self = Self {
            decode: self.decode.saturating_add(gap.decode),
            downtime_ms: self.downtime_ms.saturating_add(gap.downtime_ms),
            downtimes: self.downtimes + gap.downtimes,
            first: self.first.or(Some(seq)),
            recursion: self.recursion.saturating_add(gap.recursion),
            ring: self.ring.saturating_add(gap.ring),
            stash: self.stash.saturating_add(gap.stash),
        };
    }
}

/// `3 records lost in the kernel's ring, 1 downtime of 0.7 s (first: record 17)`.
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = [
            (self.ring, "record", "lost in the kernel's ring"),
            (self.stash, "call", "lost for want of memory"),
            (self.recursion, "call", "lost to the kernel program being busy"),
            (self.decode, "record", "lost as unreadable"),
        ];
        let lost = lost.iter().filter(|(lost, ..)| *lost > 0);
        let mut parts: Vec<String> =
            lost.map(|(lost, noun, how)| format!("{} {how}", count(*lost, noun))).collect();
        let downtime = span(self.downtime_ms.saturating_mul(1_000_000));
        match self.downtimes {
            0 => {}
            1 => parts.push(format!("1 downtime of {downtime}")),
            many => parts.push(format!("{} downtimes of {downtime} together", number(many))),
        }
        f.write_str(&parts.join(", "))?;
        match self.first {
            Some(first) if parts.is_empty() => write!(f, "first: record {}", number(first)),
            Some(first) => write!(f, " (first: record {})", number(first)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_records_add_up() {
        let gaps: [&[u8]; 4] = [
            br#"{"cpu":1,"from":0,"lost":3113,"stage":"ring","to":3112}"#,
            br#"{"cpu":0,"from":9,"lost":1,"stage":"ring","to":9}"#,
            br#"{"cpu":null,"from":"2026-11-21T00:00:00.000000000Z","lost":null,"stage":"downtime","to":"2026-11-21T00:00:01.500000000Z"}"#,
            br#"{"cpu":0,"from":null,"lost":1,"stage":"stash","to":null}"#,
        ];
        let mut missing = Missing::default();
        for (seq, gap) in (1017..).zip(gaps) {
            missing.add(seq, &Missing::read(gap));
        }
        let text = "3,114 records lost in the kernel's ring, 1 call lost for want of memory, \
                    1 downtime of 1.50 s (first: record 1,017)";
        assert_eq!(missing.to_string(), text);
        assert_eq!(Missing::read(b"nonsense"), Missing::default());
    }
}
