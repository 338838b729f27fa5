//! What filters leave out, counted: by the kernel for each call number, by the normalizers for each path.
//!
//! A span ends with the first reading of the kernel's counts in a new minute of UTC, and with the source. It
//! takes its place in line behind the batches that came before, so that the sequencer, which sees them in
//! order, can say what was left out of exactly these.

use std::borrow::Cow;
use std::collections::BTreeMap;

use graven_abi::Arch;
use graven_record::{Timestamp, Value};

/// How often each call was left out, by its name.
pub(crate) type CallCounts = BTreeMap<Cow<'static, str>, u64>;

/// What the record of a span is called, and what it is about.
pub(crate) const ACTION: &str = "capture.left_out";
pub(crate) const SUBJECT: (&str, &str) = ("capture", "kernel");

/// Nanoseconds of a minute.
const MINUTE_NS: i64 = 60_000_000_000;

/// What the kernel left out in a span of time; what was left out by path is added where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    filter: CallCounts,
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    /// The span as members of a record's `detail`; `None` where nothing was left out.
    pub(crate) fn detail(&self, path: &CallCounts) -> Option<Value> {
        let by = [("filter", &self.filter), ("path", path)];
        if by.iter().all(|(_, counts)| counts.is_empty()) {
            return None;
        }
        let by = by.into_iter().filter(|(_, counts)| !counts.is_empty());
        Some(Value::object([
            ("by", Value::object(by.map(|(filter, counts)| (filter, value(counts))))),
            ("from", self.from.to_string().into()),
            ("to", self.to.to_string().into()),
        ]))
    }
}

fn value(counts: &CallCounts) -> Value {
    Value::object(counts.iter().map(|(name, count)| (&**name, (*count).into())))
}

/// Adds `more` to `counts`.
pub(crate) fn add(counts: &mut CallCounts, more: CallCounts) {
    for (name, count) in more {
        *counts.entry(name).or_default() += count;
    }
}

/// Follows the kernel's totals from span to span.
#[derive(Debug)]
pub(crate) struct LeftOut {
    /// By call number of `x86_64`.
    known: Vec<u64>,
    filter: CallCounts,
    from: Timestamp,
}

impl LeftOut {
    /// The first span begins now.
    pub(crate) fn since(now: Timestamp) -> Self {
        Self { known: Vec::new(), filter: CallCounts::new(), from: now }
    }

    /// Takes note of the kernel's totals, which were read `now`; gives the span that this ends, if it does.
    pub(crate) fn count(&mut self, totals: &[u64], now: Timestamp) -> Option<Span> {
        self.known.resize(totals.len().max(self.known.len()), 0);
        for (number, (known, total)) in (0..).zip(self.known.iter_mut().zip(totals)) {
            let more = total.saturating_sub(*known);
            if more > 0 {
                *self.filter.entry(graven_abi::name(Arch::X86_64, number)).or_default() += more;
            }
            *known = *total;
        }
        let minute = |time: Timestamp| time.unix_ns.div_euclid(MINUTE_NS);
        (minute(now) != minute(self.from)).then(|| self.end(now))
    }

    /// Ends the span.
    pub(crate) fn end(&mut self, now: Timestamp) -> Span {
        let from = std::mem::replace(&mut self.from, now);
        Span { filter: std::mem::take(&mut self.filter), from, to: now }
    }

    /// Calls that the kernel has left out in all.
    pub(crate) fn total(&self) -> u64 {
        self.known.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use graven_record::Canonical as _;

    use super::*;

    const GETPPID: usize = 110;
    const READ: usize = 0;

    fn at(second: i64) -> Timestamp {
        Timestamp { unix_ns: second * 1_000_000_000 }
    }

    fn totals(counts: &[(usize, u64)]) -> [u64; 512] {
        let mut totals = [0; 512];
        for (number, count) in counts {
            totals[*number] = *count;
        }
        totals
    }

    fn detail(span: &Span, path: &[(&'static str, u64)]) -> Option<String> {
        let path = path.iter().map(|(name, count)| (Cow::Borrowed(*name), *count)).collect();
        let value = span.detail(&path)?;
        Some(String::from_utf8(value.to_canonical()).unwrap())
    }

    #[test]
    fn a_span_ends_with_its_minute_and_counts_from_the_one_before() {
        let mut left_out = LeftOut::since(at(30));
        assert_eq!(left_out.count(&totals(&[(GETPPID, 5)]), at(31)), None);
        assert_eq!(left_out.count(&totals(&[(GETPPID, 7), (READ, 1)]), at(59)), None);
        let first = left_out.count(&totals(&[(GETPPID, 9), (READ, 1)]), at(60)).unwrap();
        assert_eq!(
            detail(&first, &[("openat", 2)]).unwrap(),
            concat!(
                r#"{"by":{"filter":{"getppid":9,"read":1},"path":{"openat":2}},"#,
                r#""from":"1970-01-01T00:00:30.000000000Z","to":"1970-01-01T00:01:00.000000000Z"}"#
            )
        );
        assert_eq!(left_out.count(&totals(&[(GETPPID, 9), (READ, 2)]), at(61)), None);
        let last = left_out.end(at(62));
        assert_eq!(
            detail(&last, &[]).unwrap(),
            concat!(
                r#"{"by":{"filter":{"read":1}},"#,
                r#""from":"1970-01-01T00:01:00.000000000Z","to":"1970-01-01T00:01:02.000000000Z"}"#
            )
        );
        assert_eq!(left_out.total(), 11);
    }

    #[test]
    fn a_span_without_any_says_nothing() {
        let mut left_out = LeftOut::since(at(30));
        let span = left_out.count(&totals(&[]), at(90)).unwrap();
        assert_eq!(detail(&span, &[]), None);
        assert!(detail(&span, &[("openat", 1)]).is_some());
    }
}
