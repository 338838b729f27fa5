//! Figures, and what is left of them after several rounds.

use serde::{Deserialize, Serialize};

/// One figure of one round. Figures of one group and name belong together.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
}

impl Figure {
    pub(crate) const fn new(
        group: &'static str,
        name: String,
        unit: &'static str,
        value: f64,
    ) -> Self {
        Self { group, name, unit, value }
    }
}

/// How many a second.
pub(crate) fn per_second(count: u64, elapsed_ns: u64) -> f64 {
    float(count) / (float(elapsed_ns.max(1)) / 1e9)
}

/// Times of one operation, in nanoseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
}

impl Quantiles {
    pub(crate) fn of(mut times_ns: Vec<u64>) -> Self {
        times_ns.sort_unstable();
        let at = |percent: usize| times_ns.get(times_ns.len() * percent / 100).copied();
        Self {
            count: times_ns.len() as u64,
            p50_ns: at(50).unwrap_or(0),
            p99_ns: at(99).unwrap_or(0),
        }
    }
}

/// Median, least and most of a figure's values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// The median of an even number of values is the mean of the middle two.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let median = sorted[(sorted.len() - 1) / 2].midpoint(sorted[sorted.len() / 2]);
        Some(Self { median, least, most })
    }
}

/// A count as a float; counts here are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds far below 2^52")]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}

/// Slope of the straight line that lies nearest to the points (x, y), by least squares; 0 of fewer than two.
pub(crate) fn slope(points: &[(f64, f64)]) -> f64 {
    let count = float(points.len() as u64);
    let sum = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>();
    let (x_mean, y_mean) = (sum(|(x, _)| *x) / count, sum(|(_, y)| *y) / count);
    let over = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        points.iter().map(|(x, y)| of(x - x_mean, y - y_mean)).sum()
    };
    let width = over(&|x, _| x * x);
    if width > 0.0 { over(&|x, y| x * y) / width } else { 0.0 }
}
