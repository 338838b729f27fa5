//! The observer: reads what the stages count, and holds nothing up.

use std::sync::Arc;

use graven_record::Value;

use crate::clock::Clock;
use crate::counters::{Counters, Losses, SinkMeter};
use crate::figures::{ClockFigures, Figures, IntakeFigures};
use crate::intake::Intake;
use crate::release::ReleaseMeter;

/// Sees how a run is doing.
#[derive(Debug, Clone)]
pub struct Observer {
    pub(crate) intake: Intake,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) losses: Losses,
    pub(crate) sinks: Arc<[Arc<SinkMeter>]>,
    pub(crate) releases: ReleaseMeter,
}

impl Observer {
    /// What the stages count, for who needs a number or two: [`Self::figures`] reads everything.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The figures at this moment. Each is exact; they are not read at one instant.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let Self { intake, counters, clock, sinks, .. } = self;
        let (budget, sample, size) = (intake.budget(), clock.fresh(), counters.size());
        Figures {
            size,
            sealed_size: counters.sealed_size(),
            records: counters.records(),
            bytes: counters.bytes(),
            syncs: counters.syncs(),
            blocks: counters.blocks(),
            rejected: counters.rejections(),
            gaps: counters.gaps(),
            heartbeat_age_ms: counters.heartbeat_age_ms(),
            disk: intake.disk().figures(),
            release: self.releases.figures(),
            intake: IntakeFigures {
                used_bytes: budget.used() as u64,
                max_bytes: budget.max() as u64,
                waited_us: budget.waited_us(),
            },
            stages: vec![
                counters.normalize.figures("normalize"),
                counters.sequence.figures("sequence"),
                counters.commit.figures("commit"),
                counters.seal.figures("seal"),
            ],
            sync: counters.sync.latency(),
            sinks: sinks.iter().map(|sink| sink.figures(size)).collect(),
            clock: ClockFigures {
                synchronised: sample.synchronised,
                max_error_ns: sample.max_error_ns,
            },
            kernel: self.losses.get().unwrap_or_default(),
        }
    }

    /// What a heartbeat says.
    pub(crate) fn to_value(&self) -> Value {
        let (sample, budget) = (self.clock.fresh(), self.intake.budget());
        Value::object([
            (
                "clock",
                Value::object([
                    ("max_error_ns", sample.max_error_ns.into()),
                    ("synchronised", sample.synchronised.into()),
                ]),
            ),
            ("counters", self.counters.to_value()),
            (
                "intake",
                Value::object([
                    ("used_bytes", (budget.used() as u64).into()),
                    ("waited_us", budget.waited_us().into()),
                ]),
            ),
            ("losses", self.losses.to_value()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use graven_record::Canonical as _;

    use super::*;
    use crate::budget::ByteBudget;
    use crate::disk_budget::DiskBudget;
    use crate::figures::KernelFigures;

    #[test]
    fn what_the_kernel_has_counted_is_seen() {
        let (intake, _jobs, _order) = Intake::new(ByteBudget::new(1), DiskBudget::default());
        let observer = Observer {
            intake,
            counters: Arc::default(),
            clock: Arc::default(),
            losses: Losses::default(),
            sinks: Arc::default(),
            releases: ReleaseMeter::default(),
        };
        let losses = |observer: &Observer| {
            let json = observer.to_value().to_canonical();
            let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
            json["losses"].clone()
        };
        assert_eq!(observer.figures().kernel, KernelFigures::default());
        assert_eq!(losses(&observer), serde_json::Value::Null, "no source has told");

        let kernel = KernelFigures {
            emitted: 1,
            dropped: 2,
            stash_failed: 3,
            skipped_mid_call: 4,
            recursion_misses: 5,
            left_out: 6,
        };
        observer.losses.set(kernel);
        assert_eq!(observer.figures().kernel, kernel);
        // The same members under the same names.
        assert_eq!(losses(&observer), serde_json::to_value(kernel).unwrap());
    }
}
