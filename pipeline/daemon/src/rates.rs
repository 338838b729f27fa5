//! Rates over the last seconds, from counts that only grow.

use std::collections::VecDeque;

/// Samples that are kept: with one a second, the rate of the last ten seconds.
const SAMPLES: usize = 11;

/// The newest counts, each with its time.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    mono_ns: u64,
    records: u64,
    bytes: u64,
}

impl Rates {
    pub(crate) fn sample(&mut self, mono_ns: u64, records: u64, bytes: u64) {
        // A new run counts from 0 again.
        if self.samples.back().is_some_and(|last| records < last.records) {
            self.samples.clear();
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { mono_ns, records, bytes });
    }

    /// Records and bytes a second.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(crate) fn per_s(&self) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return (0.0, 0.0);
        };
        let span_s = (last.mono_ns - first.mono_ns) as f64 / 1e9;
        if span_s == 0.0 {
            return (0.0, 0.0);
        }
        let rate = |from: u64, to: u64| (to - from) as f64 / span_s;
        (rate(first.records, last.records), rate(first.bytes, last.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds() {
        let mut rates = Rates::default();
        assert_eq!(rates.per_s(), (0.0, 0.0));
        for second in 0..30 {
            let records = if second < 15 { 0 } else { (second - 15) * 100 };
            rates.sample(second * 1_000_000_000, records, records * 10);
        }
        assert_eq!(rates.per_s(), (100.0, 1_000.0));
        rates.sample(30_000_000_000, 5, 5);
        assert_eq!(rates.per_s(), (0.0, 0.0), "a new run begins anew");
    }
}
