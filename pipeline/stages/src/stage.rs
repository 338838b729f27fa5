//! The actix shell around a stage: it starts the stage's thread, sees how it ends, and says so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use actix::prelude::*;
use graven_ledger::LedgerError;
use tokio::sync::oneshot;

/// Why a stage ended before its input did.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The ledger could not be written: the tail is unknown, so nothing may follow it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A neighbour went down first.
    #[error("the stage `{0}` has gone")]
    Lost(&'static str),
    /// A defect of ours.
    #[error("the stage has panicked; this is a defect, please report it")]
    Panicked,
    /// The operating system gives no more threads.
    #[error("no thread could be started")]
    Thread(#[source] std::io::Error),
}

impl StageError {
    /// False for what only follows from another stage's failure.
    pub(crate) fn is_cause(&self) -> bool {
        !matches!(self, Self::Lost(_))
    }
}

type Work = Box<dyn FnOnce() -> Result<(), StageError> + Send>;

/// Owns one stage's thread. The thread takes its input from a bounded channel; the actor takes none.
pub(crate) struct Stage {
    name: &'static str,
    work: Option<Work>,
    graph: Recipient<StageEnded>,
}

impl Stage {
    pub(crate) fn new(
        name: &'static str,
        graph: Recipient<StageEnded>,
        work: impl FnOnce() -> Result<(), StageError> + Send + 'static,
    ) -> Self {
        Self { name, work: Some(Box::new(work)), graph }
    }
}

/// A stage has ended, in order or not.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StageEnded {
    pub(crate) name: &'static str,
    pub(crate) result: Result<(), StageError>,
}

impl Actor for Stage {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let Some(work) = self.work.take() else { return };
        let (sender, ended) = oneshot::channel();
        let started =
            thread::Builder::new().name(format!("graven-{}", self.name)).spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(work));
                // The actor outlives its thread, unless the whole system is being torn down.
                drop(sender.send(result.unwrap_or(Err(StageError::Panicked))));
            });
        let (name, graph) = (self.name, self.graph.clone());
        let watch = async move {
            let result = match started {
                Ok(_) => ended.await.unwrap_or(Err(StageError::Panicked)),
                Err(error) => Err(StageError::Thread(error)),
            };
            // Awaited, so that it is never dropped for a full mailbox.
            if graph.send(StageEnded { name, result }).await.is_err() {
                tracing::debug!(name, "the graph was gone before its stage");
            }
        };
        context.spawn(watch.into_actor(self).map(|(), _, context| context.stop()));
    }
}
