//! What the figures ought to be.

use Bound::{AtLeast, AtMost, Below};

use crate::table::shown;
use crate::{added, compile, floor, idle, latency, ledgers, start, sustained, verification};

/// A bound of a row's median.
#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) group: &'static str,
    pub(crate) row: &'static str,
    unit: &'static str,
    bound: Bound,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

const fn goal(group: &'static str, row: &'static str, bound: Bound, unit: &'static str) -> Goal {
    Goal { group, row, unit, bound }
}

/// In the order of the table.
pub(crate) const GOALS: &[Goal] = &[
    goal(floor::GROUP, "  made in process, bytes of the chained floor", AtLeast(60.0), "%"),
    goal(floor::GROUP, "ledger, application events", AtLeast(400_000.0), "records/s"),
    goal(floor::GROUP, "  system calls, bytes of the chained floor", AtLeast(60.0), "%"),
    goal(latency::GROUP, "ledger, 64 submitting", AtLeast(80_000.0), "records/s"),
    goal(latency::GROUP, "ledger, at half its rate: p99, of the disk's", AtMost(3.0), "x"),
    goal(verification::GROUP, "  made in process: of SHA-256 on all cores", AtLeast(0.35), "x"),
    goal(start::GROUP, "with a full open block", AtMost(1.0), "s"),
    goal(added::GROUP, "getppid, added in the cgroup", AtMost(550.0), "ns"),
    goal(added::GROUP, "openat, added in the cgroup", AtMost(750.0), "ns"),
    goal(
        added::GROUP,
        "getppid, outside the cgroup: of the empty pair's whole call",
        AtMost(1.2),
        "x",
    ),
    goal(
        added::GROUP,
        "getppid, outside the cgroup: of what the empty pair adds",
        AtMost(1.2),
        "x",
    ),
    goal(
        added::GROUP,
        "openat, outside the cgroup: of the empty pair's whole call",
        AtMost(1.2),
        "x",
    ),
    goal(added::GROUP, "openat, outside the cgroup: of what the empty pair adds", AtMost(1.2), "x"),
    goal(sustained::GROUP, "decoder, 400,000/s: made", AtLeast(400_000.0), "calls/s"),
    goal(sustained::GROUP, "decoder, 400,000/s: lost, all in gaps", AtMost(0.0), "records"),
    goal(sustained::GROUP, "ledger, full speed: recorded", AtLeast(150_000.0), "calls/s"),
    goal(compile::GROUP, "under graven exec, of the time alone", AtMost(1.05), "x"),
    goal(compile::GROUP, "watched by graven run, of the time alone", AtMost(1.05), "x"),
    goal(idle::GROUP, "resident, at most", AtMost(40.0), "MiB"),
    goal(idle::GROUP, "CPU", Below(0.5), "% of a core"),
    goal(ledgers::RATIOS, ledgers::OF_IMMUDB, AtLeast(5.0), "x"),
    goal(ledgers::RATIOS, ledgers::OF_TESSERA, AtLeast(15.0), "x"),
    goal(ledgers::RATIOS, ledgers::OF_SQLITE, AtLeast(3.0), "x"),
    goal(ledgers::RATIOS, ledgers::OF_KAFKA, AtLeast(3.0), "x"),
];

impl Goal {
    /// Whether it is met, in a line; `median` is its row's, if there is one.
    pub(crate) fn verdict(&self, median: Option<f64>) -> String {
        let Self { group, row, unit, bound } = self;
        let (words, value) = match bound {
            AtLeast(value) => ("at least", value),
            AtMost(value) => ("at most", value),
            Below(value) => ("below", value),
        };
        let is_met = |median: f64| match bound {
            AtLeast(value) => median >= *value,
            AtMost(value) => median <= *value,
            Below(value) => median < *value,
        };
        let verdict = match median {
            Some(median) if is_met(median) => format!("met ({})", shown(median)),
            Some(median) => format!("NOT MET ({})", shown(median)),
            None => "NOT MEASURED".to_owned(),
        };
        format!("goal: {group}: {row}: {words} {} {unit}: {verdict}", shown(*value))
    }
}
