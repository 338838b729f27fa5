//! The heartbeat: a record at a fixed pace, busy or idle, so that silence is proven silence.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use graven_ledger::Run;
use graven_record::Value;

use crate::batch::{OwnBody, OwnRecord};
use crate::clock::Clock;
use crate::counters::{Counters, Losses};
use crate::intake::Intake;

#[derive(Debug)]
pub(crate) struct Heartbeat {
    pub(crate) intake: Intake,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) losses: Losses,
    pub(crate) run: Arc<Run>,
    pub(crate) every_s: u64,
}

impl Heartbeat {
    fn record(&self) -> OwnRecord {
        let clock = self.clock.fresh();
        let budget = self.intake.budget();
        let detail = Value::object([
            (
                "clock",
                Value::object([
                    ("max_error_ns", clock.max_error_ns.into()),
                    ("synchronised", clock.synchronised.into()),
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
            ("losses", self.losses.get()),
        ]);
        OwnRecord {
            action: "heartbeat",
            subject: ("pipeline", self.run.trace_id.clone()),
            body: OwnBody::System(detail),
            mono_ns: crate::clock::mono_ns(),
        }
    }
}

impl Actor for Heartbeat {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(Duration::from_secs(self.every_s.max(1)), |this, _| {
            let (intake, record) = (this.intake.clone(), this.record());
            // Intake may wait for room; the arbiter must not.
            drop(tokio::task::spawn_blocking(move || intake.record(vec![record])));
        });
    }
}

/// Ends the heartbeat.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

impl Handler<Stop> for Heartbeat {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Self::Context) {
        context.stop();
    }
}
