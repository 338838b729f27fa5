//! The keeper: looks after the disk once a second. It puts on record when its budget is reached, and releases
//! what need not stay.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use graven_ledger::{Paths, Run};
use rustix::fs::statvfs;

use crate::batch::{OwnBody, OwnRecord};
use crate::clock;
use crate::disk_budget::DiskBudget;
use crate::intake::Intake;
use crate::observe::Observer;
use crate::release::Releaser;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Keeper {
    paths: Paths,
    run: Arc<Run>,
    intake: Intake,
    disk: DiskBudget,
    releaser: Releaser,
    /// Whether it is on record that the budget is reached.
    reached: bool,
}

/// A keeper at work; it ends when dropped.
#[derive(Debug)]
pub(crate) struct KeeperThread {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// A keeper of the ledger at `paths`, whose run `observer` sees.
    pub(crate) fn new(
        paths: Paths,
        run: &Arc<Run>,
        observer: &Observer,
        releaser: Releaser,
    ) -> Self {
        let (run, intake) = (Arc::clone(run), observer.intake.clone());
        let disk = intake.disk().clone();
        Self { paths, run, intake, disk, releaser, reached: false }
    }

    /// Starts to look; the first look is taken before this returns, so that nothing comes in unmeasured.
    ///
    /// Where the operating system gives no thread, that is logged: the stages then fail for the same reason.
    pub(crate) fn start(self) -> Option<KeeperThread> {
        self.look();
        let (stop, stopped) = bounded(0);
        let thread = thread::Builder::new().name("graven-keep".into()).spawn(move || {
            self.run(&stopped);
        });
        match thread {
            Ok(thread) => Some(KeeperThread { stop, thread }),
            Err(error) => {
                tracing::error!(%error, "the ledger's disk is not looked after");
                None
            }
        }
    }

    fn run(mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            self.releaser.look();
            self.look();
            self.tell();
        }
    }

    fn look(&self) {
        match statvfs(self.paths.dir()) {
            Ok(found) => self.disk.look(found.f_bavail.saturating_mul(found.f_frsize)),
            Err(error) => {
                tracing::warn!(%error, "the ledger's file system does not tell what is free");
            }
        }
    }

    /// Puts on record when intake stops and goes on.
    fn tell(&mut self) {
        if !self.disk.is_open() && !self.reached {
            self.reached = true;
            tracing::warn!(ledger = self.run.ledger, "its budget of disk is reached: sources wait");
            self.record("budget.reached");
        }
        if self.disk.may_resume() {
            self.reached = false;
            tracing::info!(ledger = self.run.ledger, "there is room on the disk again");
            self.record("budget.resumed");
            self.disk.resume();
        }
    }

    fn record(&self, action: &'static str) {
        let record = OwnRecord {
            action,
            subject: ("ledger", self.run.ledger.clone()),
            body: OwnBody::System(self.disk.to_value()),
            mono_ns: clock::mono_ns(),
        };
        if self.intake.record(vec![record]).is_err() {
            tracing::debug!(action, "the graph ended before the record");
        }
    }
}

impl KeeperThread {
    /// Ends it; waits for what it is at.
    pub(crate) fn end(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the keeper has panicked; this is a defect, please report it");
        }
    }
}
