//! The heartbeat: a record at a fixed pace, busy or idle, so that silence is proven silence.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use graven_ledger::Run;

use crate::batch::{OwnBody, OwnRecord};
use crate::clock;
use crate::observe::Observer;

#[derive(Debug)]
pub(crate) struct Heartbeat {
    pub(crate) observer: Observer,
    pub(crate) run: Arc<Run>,
    pub(crate) every_s: u64,
}

impl Heartbeat {
    fn record(&self) -> OwnRecord {
        OwnRecord {
            action: "heartbeat",
            subject: ("pipeline", self.run.trace_id.clone()),
            body: OwnBody::System(self.observer.to_value()),
            mono_ns: clock::mono_ns(),
        }
    }
}

impl Actor for Heartbeat {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(Duration::from_secs(self.every_s.max(1)), |this, _| {
            let (observer, record) = (this.observer.clone(), this.record());
            // Intake may wait for room; the arbiter must not.
            drop(tokio::task::spawn_blocking(move || {
                if observer.intake.record(vec![record]).is_ok() {
                    observer.counters.beat();
                }
            }));
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
